"""Laws of the weights of groups: uniform, fixed, and two-point."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .._checks import check_integer
from ..random import Uniform
from .registry import register_law
from .simplex import FoldMoments, dirichlet, dirichlet_fold
from .weights import pairs_from


@register_law
@dataclass(frozen=True)
class UniformWeights:
    r"""Weights :math:`(\lambda, 1 - \lambda)` with lambda uniform between two bounds; of larger groups on the simplex.

    Parameters
    ----------
    low, high : float, 0 <= low < high <= 1
        Bounds of the weight of the row itself, such as 0.5 and 1. Larger groups have the whole simplex.

    Examples
    --------
    >>> import torch
    >>> from probmix.mixup import UniformWeights
    >>> from probmix.random import generator_uniform
    >>> uniform = generator_uniform(torch.Generator().manual_seed(0), torch.device("cpu"))
    >>> UniformWeights(0.5, 1.0).sample((1000,), uniform).mean(0).round(decimals=2)
    tensor([0.7500, 0.2500])
    """

    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.low < self.high <= 1:
            raise ValueError(
                f"`low` and `high` of UniformWeights must be 0 <= low < high <= 1; got {self.low} and {self.high}. Use "
                "FixedWeights for one weight."
            )

    def sample(self, shape: tuple[int, ...], uniform: Uniform, order: int = 2) -> Tensor:
        self._check_order(order)
        if order > 2:
            return dirichlet(1.0, shape, uniform, order)
        return pairs_from(self.low + (self.high - self.low) * uniform(shape))

    def fold_moments(self, order: int) -> FoldMoments:
        self._check_order(order)
        if order > 2:
            return dirichlet_fold(1.0, order)
        # the distance from one half, over the part below it and the part above
        parts = [(max(0.5 - self.high, 0.0), 0.5 - self.low), (max(self.low - 0.5, 0.0), self.high - 0.5)]
        width = self.high - self.low
        first, second = (
            sum((far**power - near**power) / (power * width) for near, far in parts if far > near) for power in (2, 3)
        )
        s2 = second - first**2
        return FoldMoments(0.5 + first, s2, s2 + (0.5 - first) ** 2)

    def _check_order(self, order: int) -> None:
        check_integer("order", order, 2)
        if order > 2 and (self.low, self.high) != (0, 1):
            raise ValueError(f"{self!r} is a law of pairs; got order={order}. Use UniformWeights() for larger groups.")


@register_law
@dataclass(frozen=True)
class FixedWeights:
    """The same weights for all groups: a share for the row itself, and the rest to its partners in equal parts.

    Parameters
    ----------
    share : float, from 0 to 1

    Examples
    --------
    >>> import torch
    >>> from probmix.mixup import FixedWeights
    >>> FixedWeights(0.7).sample((1,), torch.rand, order=4)
    tensor([[0.7000, 0.1000, 0.1000, 0.1000]])
    """

    share: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise ValueError(f"`share` of FixedWeights must be from 0 to 1; got {self.share}.")

    def sample(self, shape: tuple[int, ...], uniform: Uniform, order: int = 2) -> Tensor:
        return _shared_evenly(torch.full_like(uniform(shape), self.share), order)

    def fold_moments(self, order: int) -> FoldMoments:
        return _mixture([(1.0, self.share)], order)


@register_law
@dataclass(frozen=True)
class TwoPointWeights:
    r"""One of two weights of the row itself, the rest to its partners in equal parts.

    By default the weights of pairs with the largest :math:`s^2/\bar\theta^2 = 1/8` of all laws; see `strength`.

    Parameters
    ----------
    low, high : float, 0 <= low <= high <= 1
    probability : float, from 0 to 1
        Of the low one.

    Examples
    --------
    >>> from probmix.mixup import TwoPointWeights, strength
    >>> round(strength(TwoPointWeights()).relative_variance, 3)
    0.125
    """

    low: float = 0.5
    high: float = 1.0
    probability: float = 2 / 3

    def __post_init__(self) -> None:
        if not (0 <= self.low <= self.high <= 1 and 0 <= self.probability <= 1):
            raise ValueError(
                "TwoPointWeights must have 0 <= low <= high <= 1 and a probability from 0 to 1; got "
                f"low={self.low}, high={self.high} and probability={self.probability}."
            )

    def sample(self, shape: tuple[int, ...], uniform: Uniform, order: int = 2) -> Tensor:
        numbers = uniform(shape)
        low, high = (torch.full_like(numbers, one) for one in (self.low, self.high))
        return _shared_evenly(torch.where(numbers < self.probability, low, high), order)

    def fold_moments(self, order: int) -> FoldMoments:
        return _mixture([(self.probability, self.low), (1 - self.probability, self.high)], order)


def _mixture(shares: Sequence[tuple[float, float]], order: int) -> FoldMoments:
    """Of laws that have probabilities and fixed shares of the row itself."""
    check_integer("order", order, 2)
    each = [(p, share, (1 - share) / (order - 1)) for p, share in shares]
    theta_bar = sum(p * max(own, other) for p, own, other in each)
    s2 = sum(p * (max(own, other) - theta_bar) ** 2 for p, own, other in each)
    g2 = sum(p * (own**2 + (order - 1) * other**2 - max(own, other) ** 2) for p, own, other in each)
    return FoldMoments(theta_bar, s2, g2)


def _shared_evenly(first: Tensor, order: int) -> Tensor:
    check_integer("order", order, 2)
    rest = ((1 - first) / (order - 1)).unsqueeze(-1)
    return torch.cat([first.unsqueeze(-1), rest.expand(*first.shape, order - 1)], -1)
