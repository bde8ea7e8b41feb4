"""Robust units of the columns of a table."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ..networks.inputs import CLIP_LIMIT, InputUnits

# Central ranges that tell the scale of a column, by what they leave out at either end, and how many times as long as
# the range between the quartiles they are for a normal distribution.
_RANGES = ((0.25, 1.0), (0.05, 2.4387), (0.01, 3.4490))
# Shares that differ by less are equal: the same rows as copies and with weights add up to other roundings.
_TIE = 1e-9
_CONSTANT = 1e-12


def robust_units(x: Tensor, share: Tensor, is_number: Sequence[bool] | None = None) -> InputUnits:
    """Median and robust scale of each column of numbers.

    The scale is the widest of three: the range between the quartiles, and the central 90 % and 98 %, each in units of
    the first for a normal distribution; so neither a few values far out nor many equal ones decide. Where all are zero
    half of the full range takes their place, and one where that is zero as well: an indicator, however rare, is at most
    two units from zero. Quantiles are the averaged inverse of the distribution function, which depends on the weight of
    each value and on nothing else.

    Parameters
    ----------
    x : Tensor, (n, F), float64
    share : Tensor, (M, n)
        Weight of each row in each member, 0 for rows that it does not have; a row of `share` sums to one.
    is_number : sequence of bool, (F,), optional
        Which columns are numbers; all by default. Others, indicators and codes of levels, have no unit: location 0,
        scale 1, no limit and no range.

    Returns
    -------
    InputUnits
        (M, 1, F).
    """
    is_number = [True] * x.shape[1] if is_number is None else is_number
    numbers = [column for column, one in enumerate(is_number) if one]
    if not numbers:
        return _without_units(x, share)
    columns = [_of_column(x[:, column], share) for column in numbers]
    low, quantiles, high = (torch.stack(parts, 1) for parts in zip(*columns, strict=True))
    median, ends = quantiles[..., -1], quantiles[..., :-1].unflatten(-1, (-1, 2))
    relative = ends.new_tensor([length for _, length in _RANGES])
    width, spread = high - low, (ends.diff().squeeze(-1) / relative).amax(-1)
    scale = torch.where(spread > _CONSTANT * width, spread, width / 2)
    scale = torch.where(width <= _CONSTANT * median.abs(), torch.ones_like(scale), scale)
    limit = torch.full_like(scale, CLIP_LIMIT)
    units = InputUnits(*(one.unsqueeze(1) for one in (median, scale, limit, low, high)))
    if len(numbers) == x.shape[1]:
        return units
    every = _without_units(x, share)
    for name, of_numbers in vars(units).items():
        getattr(every, name)[..., numbers] = of_numbers
    return every


def _without_units(x: Tensor, share: Tensor) -> InputUnits:
    """Those of columns that are no numbers."""
    ends = (0.0, 1.0, torch.inf, -torch.inf, torch.inf)
    return InputUnits(*(x.new_full((len(share), 1, x.shape[1]), end) for end in ends))


def _of_column(column: Tensor, share: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Least value, quantiles and largest value of a column, (n,), under shares (M, n); the median is the last one."""
    values, order = column.sort()
    below = share[:, order].cumsum(1)
    levels = below.new_tensor([level for tail, _ in _RANGES for level in (tail, 1 - tail)] + [0.5])
    levels = levels.repeat(len(share), 1)
    quantiles = inverse(values, below, levels)
    present = share > 0
    least = torch.where(present, column, torch.inf).amin(1)
    largest = torch.where(present, column, -torch.inf).amax(1)
    return least, quantiles, largest


def inverse(values: Tensor, below: Tensor, levels: Tensor) -> Tensor:
    """Quantiles (M, Q) of sorted values, (n,), of which shares (M, n) lie below or at each."""
    # where the distribution function passes through a level between two values, the middle of both
    last = len(values) - 1
    lower, upper = (values[torch.searchsorted(below, levels + tie).clamp(max=last)] for tie in (-_TIE, _TIE))
    return lower + (upper - lower) / 2
