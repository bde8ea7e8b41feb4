"""Sharpness: how narrow the predicted distributions are, whatever y is."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..adapters import as_distribution
from ..distributions import icdf
from ..distributions.parts import device_of, to_dtype_of, widen


def interval_width(distribution: Any, level: float) -> Tensor:
    r"""Width of the central interval that should hold y with probability `level`, in the unit of y.

    .. math:: F^{-1}((1 + c)/2) - F^{-1}((1 - c)/2)

    with c the level: the interval of `coverage`. The narrower the sharper. Sharpness is a property of the predictions
    alone and counts among calibrated ones only: Gneiting et al. tabulate the mean widths at 50 % and 90 % beside the
    coverage. The standard deviation, the other usual measure, is ``distribution.stddev``.

    Parameters
    ----------
    distribution : distribution, or what else `probmix.adapters.as_distribution` takes
        With quantiles; see `probmix.distributions.icdf`.
    level : float
        Between 0 and 1, both excluded.

    Returns
    -------
    Tensor, (*batch_shape, *event_shape), in the dtype of the distribution
        One value per row, and for several targets one per coordinate.

    Raises
    ------
    ValueError
        If `level` is not between 0 and 1.

    References
    ----------
    Gneiting, Balabdaoui and Raftery (2007), Probabilistic forecasts, calibration and sharpness, JRSS B 69, 243-268.

    Examples
    --------
    >>> import torch
    >>> from probmix.scores import interval_width
    >>> interval_width(torch.distributions.Normal(torch.zeros(2), torch.tensor([1.0, 2.0])), 0.9)
    tensor([3.2897, 6.5794])
    """
    if not 0 < level < 1:
        raise ValueError(f"`level` must lie between 0 and 1, got {level}. For 90 % pass 0.9.")
    distribution = as_distribution(distribution)
    wide, shape = widen(distribution), distribution.batch_shape + distribution.event_shape
    low, high = (
        icdf(wide, torch.tensor(q, dtype=torch.float64, device=device_of(distribution)).expand(shape))
        for q in ((1 - level) / 2, (1 + level) / 2)
    )
    return to_dtype_of(distribution, high - low)
