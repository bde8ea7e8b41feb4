"""Laws of the weights of groups: the Beta law and its relatives."""

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from ..random import KeyedRandom, Uniform, member_keys
from .registry import register_law
from .simplex import FoldMoments, dirichlet, dirichlet_fold, symmetric_logit, with_heavier_first

# Below it logits of the weights overflow in float32; the law is that of a fair coin long before.
_SMALLEST_ALPHA = 1e-32
# Draws of a law that does not tell its moments.
_DRAWS = 2**18


@runtime_checkable
class WeightLaw(Protocol):
    r"""How much each of the rows of a group counts.

    A law with ``needs_distances = True`` is also given ``distances``, Euclidean ones of pairs, (\*L, \*shape). One that
    knows the moments of its largest weight tells them by a method ``fold_moments(order)``; see `FoldMoments`.
    """

    def sample(self, shape: tuple[int, ...], uniform: Uniform, order: int = 2) -> Tensor:
        r"""Draw weights of groups on the simplex.

        Parameters
        ----------
        shape : tuple of int
            Of the groups.
        uniform : callable
            Source of uniform numbers: ``uniform(shape)`` has shape (\*L, \*shape).
        order : int
            How many rows a group has, K. The first weight is that of the row itself.

        Returns
        -------
        Tensor, (\*L, \*shape, K)
        """
        ...


def fold_moments(law: WeightLaw, order: int) -> FoldMoments:
    """Moments of the largest weight of a law, from many draws if it does not tell."""
    if (own := getattr(law, "fold_moments", None)) is not None:
        told: FoldMoments = own(order)
        return told
    uniform = KeyedRandom(member_keys(0, 1)).uniform
    distances = {"distances": torch.ones(1, _DRAWS)} if getattr(law, "needs_distances", False) else {}
    weights = law.sample((_DRAWS,), uniform, order, **distances).double()
    theta = weights.amax(-1)
    others = weights.square().sum(-1) - theta.square()
    return FoldMoments(float(theta.mean()), float(theta.var(correction=0)), float(others.mean()), is_estimate=True)


def check_pairs(law: object, order: int) -> None:
    """Raise unless groups are pairs."""
    if order != 2:
        raise ValueError(
            f"{type(law).__name__} is a law of pairs; got order={order}. Use DirichletWeights, FixedWeights or "
            "TwoPointWeights for larger groups."
        )


def pairs_from(first: Tensor) -> Tensor:
    """Weights of pairs from those of the rows themselves: (*B,) -> (*B, 2)."""
    return torch.stack([first, 1 - first], -1)


def _check_alpha(law: object, alpha: float) -> None:
    if not (math.isfinite(alpha) and alpha >= _SMALLEST_ALPHA):
        raise ValueError(
            f"`alpha` of {type(law).__name__} must be finite and at least {_SMALLEST_ALPHA:g}; got {alpha}. "
            "Use the preset 'erm' for no mixup."
        )


@register_law
@dataclass(frozen=True)
class BetaWeights:
    r"""Weights :math:`(\lambda, 1 - \lambda)`, :math:`\lambda \sim \mathrm{Beta}(\alpha, \alpha)`, drawn per pair.

    For groups of K rows the law is the Dirichlet with the same concentration for all, of which this is K = 2.

    Parameters
    ----------
    alpha : float, at least 1e-32
        Towards 0 the pair collapses onto one of its rows (ERM), towards infinity onto the midpoint.

    References
    ----------
    Zhang et al. (2018), mixup: Beyond Empirical Risk Minimization, ICLR.

    Examples
    --------
    >>> import torch
    >>> from probmix.mixup import BetaWeights
    >>> from probmix.random import generator_uniform
    >>> uniform = generator_uniform(torch.Generator().manual_seed(0), torch.device("cpu"))
    >>> BetaWeights(0.5).sample((1000,), uniform).mean(0).round(decimals=1)
    tensor([0.5000, 0.5000])
    """

    alpha: float = 0.2

    def __post_init__(self) -> None:
        _check_alpha(self, self.alpha)

    def sample(self, shape: tuple[int, ...], uniform: Uniform, order: int = 2) -> Tensor:
        return dirichlet(self.alpha, shape, uniform, order)

    def fold_moments(self, order: int) -> FoldMoments:
        return dirichlet_fold(self.alpha, order)


@register_law
@dataclass(frozen=True)
class DirichletWeights:
    r"""Weights of K rows from the Dirichlet distribution with the concentration alpha for each.

    Parameters
    ----------
    alpha : float, at least 1e-32
        1 is the uniform distribution on the simplex.

    Examples
    --------
    >>> import torch
    >>> from probmix.mixup import DirichletWeights
    >>> from probmix.random import generator_uniform
    >>> uniform = generator_uniform(torch.Generator().manual_seed(0), torch.device("cpu"))
    >>> DirichletWeights().sample((2,), uniform, order=4).sum(-1)
    tensor([1.0000, 1.0000])
    """

    alpha: float = 1.0

    def __post_init__(self) -> None:
        _check_alpha(self, self.alpha)

    def sample(self, shape: tuple[int, ...], uniform: Uniform, order: int = 2) -> Tensor:
        return dirichlet(self.alpha, shape, uniform, order)

    def fold_moments(self, order: int) -> FoldMoments:
        return dirichlet_fold(self.alpha, order)


@register_law
@dataclass(frozen=True)
class FoldedBetaWeights:
    r"""Weights of `BetaWeights` with the largest on the row itself, :math:`\theta = \max(\lambda, 1 - \lambda)`.

    Where labels are pooled as rows are, folding changes no expected loss of pairs; it does with `label_weights`.

    Parameters
    ----------
    alpha : float, at least 1e-32

    References
    ----------
    Carratino et al. (2022), On Mixup Regularization, JMLR 23, section 2.

    Examples
    --------
    >>> import torch
    >>> from probmix.mixup import FoldedBetaWeights
    >>> from probmix.random import generator_uniform
    >>> uniform = generator_uniform(torch.Generator().manual_seed(0), torch.device("cpu"))
    >>> FoldedBetaWeights(1.0).sample((1000,), uniform)[:, 0].min() >= 0.5
    tensor(True)
    """

    alpha: float = 0.2

    def __post_init__(self) -> None:
        _check_alpha(self, self.alpha)

    def sample(self, shape: tuple[int, ...], uniform: Uniform, order: int = 2) -> Tensor:
        return with_heavier_first(dirichlet(self.alpha, shape, uniform, order))

    def fold_moments(self, order: int) -> FoldMoments:
        return dirichlet_fold(self.alpha, order)


@register_law
@dataclass(frozen=True)
class WWeights:
    r"""Pairs with :math:`\theta = (1 + X)/2`, :math:`X \sim \mathrm{Beta}(\alpha, \alpha)`, on either side.

    The density of lambda is that of two Betas of half the width, for alpha below one of the shape of a W: it likes rows
    as they are and the midpoint, and is the strongest regulariser of the laws of one parameter.

    Parameters
    ----------
    alpha : float, at least 1e-32

    References
    ----------
    Carratino et al. (2022), On Mixup Regularization, JMLR 23.

    Examples
    --------
    >>> import torch
    >>> from probmix.mixup import WWeights, strength
    >>> round(strength(WWeights(0.5)).relative_variance, 4)
    0.0556
    """

    alpha: float = 0.5

    def __post_init__(self) -> None:
        _check_alpha(self, self.alpha)

    def sample(self, shape: tuple[int, ...], uniform: Uniform, order: int = 2) -> Tensor:
        check_pairs(self, order)
        *numbers, side = uniform((*shape, 5)).unbind(-1)
        heavier = (1 + torch.sigmoid(symmetric_logit(self.alpha, torch.stack(numbers, -1)))) / 2
        return pairs_from(torch.where(side < 0.5, heavier, 1 - heavier))

    def fold_moments(self, order: int) -> FoldMoments:
        check_pairs(self, order)
        s2 = 1 / (16 * (2 * self.alpha + 1))
        return FoldMoments(0.75, s2, s2 + 1 / 16)
