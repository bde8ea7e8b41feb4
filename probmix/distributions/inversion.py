"""Quantiles from a cdf by halving a bracket, for all rows at once."""

from collections.abc import Callable

import torch
from torch import Tensor

# Halving from any bracket that float64 can span to its last bit.
_BISECTIONS = 64


def with_ends(y: Tensor, q: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """The quantiles `y`, with the ends of the support at the levels 0 and 1, and NaN where there is no level."""
    y = torch.where(q <= 0, low, torch.where(q >= 1, high, y))
    return torch.where((q >= 0) & (q <= 1), y, torch.full_like(y, torch.nan))


def invert_continuous(function: Callable[[Tensor], Tensor], q: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Solve an increasing function(y) = q by bisection; the upper end of the bracket grows as needed."""
    low, high = _grow(function, q, low, high)
    for _ in range(_BISECTIONS):
        middle = 0.5 * (low + high)
        below = function(middle) < q
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return 0.5 * (low + high)


def invert_discrete(function: Callable[[Tensor], Tensor], q: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """The smallest integer y in (low, high] with function(y) >= q."""
    low, high = _grow(function, q, low.floor(), high.ceil())
    while True:
        middle = ((low + high) / 2).floor()
        # where floating-point numbers lie more than 1 apart, nothing is left between neighbours
        if not bool(((low < middle) & (middle < high)).any()):
            return high
        below = function(middle) < q
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)


def _grow(function: Callable[[Tensor], Tensor], q: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """Double the bracket upwards until its end is not below any quantile."""
    for _ in range(_BISECTIONS):
        below = function(high) < q
        if not bool(below.any()):
            break
        low, high = torch.where(below, high, low), torch.where(below, high + 2 * (high - low).clamp(min=1e-300), high)
    return low, high
