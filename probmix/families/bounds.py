"""How far a head may go from the targets it was trained on, and how sure it may be."""

import math

import torch
from torch import Tensor

# A log-mean leaves the range of the training targets by at most this, and half a unit: a factor of e.
_LOG_REACH = 0.5
# Families have log-means from -20 or -30 to 30, which they reach only in the limit.
_LOG_LIMITS = -19.0, 29.0
# Where a head fades out below its least scale, half a unit of a logarithm further down, the scale is the least one.
_FADE = math.exp(0.5)
# The least scale in training, as a share of the targets' own.
LEAST_SHARE = 0.001
# Gaps of a lattice are multiples of its step up to rounding.
_TOLERANCE = 1e-4
# Expected counts of which a zero tells next to nothing: it costs a thousandth of a nat.
_LEAST_COUNT = 1e-3


def reach(y: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """The range of targets, with half of its length at both ends; `dim` is kept with length 1."""
    low, high = y.amin(dim, keepdim=True), y.amax(dim, keepdim=True)
    half = (high - low) / 2
    return low - half, high + half


def log_reach(y: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """Within which the log-mean of positive targets may lie; `dim` is kept with length 1."""
    low, high = y.amin(dim, keepdim=True), y.amax(dim, keepdim=True)
    return _within(low.log() - _LOG_REACH, high.log() + _LOG_REACH)


def logit_reach(y: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """Within which the logit of the mean of shares may lie; `dim` is kept with length 1."""
    low, high = y.amin(dim, keepdim=True), y.amax(dim, keepdim=True)
    return low.logit() - _LOG_REACH, high.logit() + _LOG_REACH


def log_count_reach(y: Tensor, mean: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """Within which the log-mean of targets may lie that can be zero, given their mean; `dim` is kept with length 1."""
    low, high = y.amin(dim, keepdim=True), y.amax(dim, keepdim=True)
    least = _LEAST_COUNT * mean.clamp(max=1.0)
    return _within(torch.maximum(low, least).log() - _LOG_REACH, torch.maximum(high, least).log() + _LOG_REACH)


def _within(low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """Bounds of log-means inside those that families have for their own sake."""
    return low.clamp(*_LOG_LIMITS), high.clamp(*_LOG_LIMITS)


def least_scale(y: Tensor, least: Tensor, dim: int, unit: Tensor | None = None) -> Tensor:
    """From where on downwards a scale fades out: to end at a least one, or at the rounding error of the targets.

    Parameters
    ----------
    y : Tensor
        Targets.
    least : Tensor
        The least scale; `dim` is kept with length 1.
    dim : int
        The axis of the rows.
    unit : Tensor, optional
        What the scale is relative to, if it is so, as `least`.
    """
    error = rounding(y, dim)
    return _FADE * torch.maximum(error if unit is None else error / unit, least)


def rounding(y: Tensor, dim: int) -> Tensor:
    r"""Standard deviation of the rounding error of targets on a lattice, step / sqrt(12); 0 where there is none.

    Below it a density learns nothing but where the points of the lattice are.

    Examples
    --------
    >>> import torch
    >>> from probmix.families.bounds import rounding
    >>> rounding(torch.tensor([0.5, 3.0, 1.5, 1.0]), 0)
    tensor([0.1443])
    """
    return lattice_step(y, dim) / math.sqrt(12)


def lattice_step(y: Tensor, dim: int) -> Tensor:
    """The smallest gap of distinct values, if all gaps are multiples of it and there are at least two; else 0."""
    gaps = y.sort(dim).values.diff(dim=dim)
    # equal values may differ by rounding where a scaler has been at work
    tied = gaps <= 1e-12 * y.abs().amax(dim, keepdim=True)
    gaps = gaps.masked_fill(tied, 0.0)
    step = gaps.masked_fill(tied, math.inf).amin(dim, keepdim=True) if gaps.shape[dim] else torch.full_like(y, math.inf)
    multiples = gaps / step
    regular = ((multiples - multiples.round()).abs() <= _TOLERANCE).all(dim, keepdim=True)
    enough = (~tied).sum(dim, keepdim=True) >= 2
    return torch.where(regular & enough, step, torch.zeros_like(step))
