"""CRPS from the cdf by adaptive quadrature, for all rows at once."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, MixtureSameFamily

from ..distributions import cdf, icdf
from ._inputs import device_of

# Mass left out on either side; what it adds is of the order of its square.
TAIL = 1e-12
# Between two of these quantiles a cdf holds no surprise; every member of a mixture is cut at its own.
_CUTS = (1e-7, 0.5, 1 - 1e-7)
_NODES = 12
_TOLERANCE = 1e-8
# Halving can reach a step in the cdf to 1e-12 of the panel it lies in; at most so many panels are halved at a time.
_ROUNDS, _WORST = 40, 8
# Elements of one evaluation of the cdf: 32 MiB of float64.
BLOCK = 2**22


def quadrature_crps(distribution: Distribution, y: Tensor) -> Tensor:
    """CRPS of every coordinate from the cdf of a continuous float64 distribution."""
    low, high = cuts(distribution, (TAIL,)).amin(0), cuts(distribution, (1 - TAIL,)).amax(0)
    inside = torch.minimum(torch.maximum(y, low), high)
    # outside the two extreme quantiles F is 0 or 1
    outside = (y - inside).abs()
    edges = torch.cat([cuts(distribution), torch.stack([low, high, inside])]).sort(0).values

    def integrand(x: Tensor) -> Tensor:
        return (cdf(distribution, x) - (x > inside).to(x.dtype)).square()

    return integrate(integrand, edges, outside, cells(distribution)) + outside


def quantiles(distribution: Distribution, levels: tuple[float, ...]) -> Tensor:
    """Quantiles stacked along a new first axis, as places to cut at: no gradient flows through them."""
    shape = distribution.batch_shape + distribution.event_shape
    q = torch.tensor(levels, dtype=torch.float64, device=device_of(distribution)).reshape((-1,) + (1,) * len(shape))
    with torch.no_grad():
        return icdf(distribution, q).double().expand((len(levels), *shape))


def cuts(distribution: Distribution, levels: tuple[float, ...] = _CUTS) -> Tensor:
    """Quantiles of the distribution or of all members of a mixture, along a new first axis.

    The quantiles of the mixture itself would not do: a narrow member can hide between two nodes beside a wide one.
    """
    if isinstance(distribution, Independent):
        return cuts(distribution.base_dist, levels)
    if isinstance(distribution, MixtureSameFamily):
        members = cuts(distribution.component_distribution, levels)
        return members.movedim(-1 - len(distribution.event_shape), 0).flatten(0, 1)
    return quantiles(distribution, levels)


def cells(distribution: Distribution) -> int:
    """Numbers behind one value of the cdf for every row: rows x targets x members."""
    if isinstance(distribution, MixtureSameFamily):
        distribution = distribution.component_distribution
    return (distribution.batch_shape + distribution.event_shape).numel()


def integrate(function: Callable[[Tensor], Tensor], edges: Tensor, scale: Tensor, cells: int) -> Tensor:
    """Integral over the panels between sorted edges by Gauss-Legendre quadrature, with halving of the bad panels.

    Parameters
    ----------
    function : callable
        (k, *B) -> (k, *B), non-negative, smooth inside the panels but for single steps and kinks.
    edges : Tensor, (panels + 1, *B)
    scale : Tensor, (*B,)
        What will be added to the integral: errors count relative to both.
    cells : int
        Numbers behind one value of `function` for every row; it is called for `BLOCK` of them at a time.

    Returns
    -------
    Tensor, (*B,)
    """
    left, right = edges[:-1], edges[1:]
    value, error = _panels(function, left, right, cells)
    for _ in range(_ROUNDS):
        allowed = _TOLERANCE * (value.sum(0) + scale) / value.shape[0]
        bad = (error > allowed).sum(0)
        worst = min(_WORST, int(bad.amax())) if bad.numel() else 0
        if worst == 0:
            break
        index = error.topk(worst, dim=0).indices
        low, high = left.gather(0, index), right.gather(0, index)
        middle = 0.5 * (low + high)
        halves, errors = _panels(function, torch.cat([low, middle]), torch.cat([middle, high]), cells)
        left, right = torch.cat([left, middle]), torch.cat([right.scatter(0, index, middle), high])
        value = torch.cat([value.scatter(0, index, halves[:worst]), halves[worst:]])
        error = torch.cat([error.scatter(0, index, errors[:worst]), errors[worst:]])
    return value.sum(0)


def _panels(function: Callable[[Tensor], Tensor], left: Tensor, right: Tensor, cells: int) -> tuple[Tensor, Tensor]:
    """Integral over every panel and a bound of its error, in blocks of panels."""
    size = max(1, BLOCK // (_NODES * max(1, cells)))
    blocks = [_gauss(function, *block) for block in zip(left.split(size), right.split(size), strict=True)]
    value, error = zip(*blocks, strict=True)
    return torch.cat(value), torch.cat(error)


def _gauss(function: Callable[[Tensor], Tensor], left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    nodes, rule = torch.from_numpy(_GAUSS_NODES).to(left), torch.from_numpy(_GAUSS_RULE).to(left)
    width = right - left
    x = left.unsqueeze(1) + width.unsqueeze(1) * nodes.reshape((-1,) + (1,) * (left.ndim - 1))
    f = function(x.flatten(0, 1)).reshape(x.shape)
    value, *highest = torch.einsum("rk,pk...->rp...", rule, f) * width
    return value, sum((h.detach().abs() for h in highest), torch.zeros_like(value))


def _gauss_legendre(nodes: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Nodes on [0, 1] and three rules: the integral, and the two highest Legendre coefficients that the nodes resolve.

    The coefficients are about the square root of the relative error of the integral, which makes them a safe bound.
    """
    x, weights = np.polynomial.legendre.leggauss(nodes)
    degrees = np.array([0, nodes - 2, nodes - 1])
    rules = np.polynomial.legendre.legvander(x, nodes - 1)[:, degrees].T * weights * (degrees[:, None] + 0.5)
    return (x + 1) / 2, rules


_GAUSS_NODES, _GAUSS_RULE = _gauss_legendre(_NODES)
