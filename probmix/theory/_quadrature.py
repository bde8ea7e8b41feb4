"""Nodes and probabilities of the larger weight of a pair."""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import special
from torch import Tensor
from torch.quasirandom import SobolEngine

from ..mixup import BetaWeights, DirichletWeights, FoldedBetaWeights, WeightLaw, WWeights

Array = NDArray[np.float64]

# Draws of a law whose density is not known, and uniform numbers that one of them may need.
_DRAWS, _UNIFORMS = 1 << 14, 32
# Above it the density has died away before 1, below it is cut where it is smaller than rounding.
_NARROW, _STANDARD_DEVIATIONS = 8.0, 7.0


def check_law(weights: WeightLaw) -> None:
    """Raise for laws that look at the rows, of which the theory knows nothing."""
    if getattr(weights, "needs_distances", False) or getattr(weights, "is_learned", False):
        raise ValueError(
            f"the theory is that of weights that do not depend on the rows, unlike {type(weights).__name__}. Use a law "
            "such as BetaWeights."
        )


def fold_nodes(weights: WeightLaw, count: int) -> tuple[Array, Array]:
    r"""Nodes on [1/2, 1] and probabilities for expectations of functions of :math:`\theta = \max(\lambda, 1-\lambda)`.

    For Beta and W laws these are exact for smooth functions up to rounding. The law of any other is that of 16,384
    quasi-random draws.
    """
    check_law(weights)
    if isinstance(weights, (BetaWeights, DirichletWeights, FoldedBetaWeights)):
        return _beta_nodes(weights.alpha, count)
    if isinstance(weights, WWeights):
        nodes, probabilities = special.roots_jacobi(count, weights.alpha - 1, weights.alpha - 1)
        return 0.75 + nodes / 4, probabilities / probabilities.sum()
    return _gauss(draws(weights, 2).max(1), count)


def kept_nodes(weights: WeightLaw, count: int) -> tuple[Array, Array]:
    r"""Nodes on [0, 1] and probabilities of the law of density :math:`2 \lambda` times that of a pair's weight.

    For Beta(a, a) it is Beta(a + 1, a).
    """
    theta, p = fold_nodes(weights, count)
    return np.concatenate([theta, 1 - theta]), np.concatenate([p * theta, p * (1 - theta)])


def _beta_nodes(alpha: float, count: int) -> tuple[Array, Array]:
    if alpha <= _NARROW:
        # Gauss-Jacobi takes the singularity at 1, the other factor of the density is smooth
        nodes, probabilities = special.roots_jacobi(count, alpha - 1, 0)
        theta = 0.75 + nodes / 4
        probabilities = probabilities * theta ** (alpha - 1)
    else:
        width = min(0.5, _STANDARD_DEVIATIONS / math.sqrt(8 * alpha + 4))
        nodes, probabilities = special.roots_legendre(count)
        shift = width * (nodes + 1) / 2
        theta = 0.5 + shift
        probabilities = probabilities * np.exp((alpha - 1) * np.log1p(-4 * shift**2))
    return theta, probabilities / probabilities.sum()


def draws(weights: WeightLaw, order: int) -> Array:
    """Quasi-random draws of the weights of a group, (16384, order)."""
    points = SobolEngine(_UNIFORMS, scramble=True, seed=0).draw(_DRAWS, dtype=torch.float64)
    # within what single precision tells from 0 and 1, for laws that compute in it
    points, used = points.clamp(2.0**-24, 1 - 2.0**-23), 0

    def uniform(shape: tuple[int, ...]) -> Tensor:
        nonlocal used
        columns = math.prod(shape) // _DRAWS
        used += columns
        return points[:, used - columns : used].reshape(shape)

    drawn: Array = weights.sample((_DRAWS,), uniform, order).double().numpy()
    return drawn


def _gauss(values: Array, count: int) -> tuple[Array, Array]:
    """Nodes and weights that give equally likely values' means of polynomials up to degree 2 count - 1 (Lanczos)."""
    distinct, copies = np.unique(values, return_counts=True)
    probabilities = copies / len(values)
    if len(distinct) <= count:
        return distinct, probabilities
    basis = [np.sqrt(probabilities)]
    diagonal, beside = [], []
    for _ in range(count):
        vector = distinct * basis[-1]
        diagonal.append(float(vector @ basis[-1]))
        # twice, since orthogonality is lost otherwise
        for _ in range(2):
            vector = vector - np.stack(basis, 1) @ (np.stack(basis) @ vector)
        beside.append(float(np.linalg.norm(vector)))
        basis.append(vector / beside[-1])
    nodes, vectors = np.linalg.eigh(np.diag(diagonal) + np.diag(beside[:-1], 1) + np.diag(beside[:-1], -1))
    return nodes, vectors[0] ** 2
