"""CRPS of discrete distributions from their cdf: sums, and what replaces a sum over a wide range."""

from collections.abc import Callable
from functools import partial

import torch
from scipy import special
from torch import Tensor
from torch.distributions import Distribution

from .counts import SMOOTH_FROM, counted, has_smooth_cdf, masses, smooth_cdf, summed_counts
from .marginals import cdf
from .normal_scores import finite_quantile, from_normal_score
from .panels import BLOCK, integrate
from .quadrature import TAIL, cells, panel_edges, quantiles, step_outside

_TOLERANCE = 1e-9
_TAIL_SCORE = float(-special.ndtri(TAIL))


def counts_within(distribution: Distribution) -> tuple[Tensor, Tensor]:
    """The least and the largest count between the tails that a sum leaves out, the latter finite whatever the base."""
    low, high = quantiles(distribution, (TAIL, 1 - TAIL))
    if not bool(high.isfinite().all()):
        with torch.no_grad():
            score = torch.full_like(high, _TAIL_SCORE)
            high = finite_quantile(lambda at: from_normal_score(distribution, at).expand_as(score), score)
    return low, high


def sum_crps(distribution: Distribution, y: Tensor) -> Tensor:
    r""":math:`\sum_k (F(k) - 1[k \ge y])^2` of a discrete float64 distribution; high counts by an integral if F allows.

    With F continued to real numbers and :math:`g = (F - 1[x \ge y - 1/2])^2`, the Euler-Maclaurin formula for midpoints
    gives

    .. math:: \sum_{k \ge s} g(k) \approx \int_{s - 1/2}^\infty g(x)\,dx
        + C[g](s - \tfrac12) - 2\,C[F](y - \tfrac12),\qquad C[g] = \tfrac1{24} g' - \tfrac7{5760} g'''

    where the last term comes from the step of g at y, if s < y.
    """
    low, high = counts_within(distribution)
    inside = torch.minimum(torch.maximum(y, low), high)
    # outside the two extreme quantiles F is 0 or 1
    outside, size = (y - inside).abs(), cells(distribution)
    if not has_smooth_cdf(distribution):
        return outside + _sum(lambda k: cdf(distribution, k), inside, low, high, size)
    smooth = partial(smooth_cdf, distribution)
    split = _terms(distribution, high)
    total = outside + _sum_of_masses(distribution, inside, split, size)
    wide = high >= split
    if not bool(wide.any()):
        return total
    first = low.clamp(min=split)
    start, stop = first - 0.5, torch.maximum(high, first) + 0.5
    step = inside - 0.5

    def integrand(x: Tensor) -> Tensor:
        return (smooth(x) - (x > step).to(x.dtype)).square()

    edges = torch.cat([panel_edges(distribution), torch.stack([start, stop, step])])
    edges = torch.minimum(torch.maximum(edges, start), stop).sort(0).values
    # no panel is halved for the sake of rows that have no high counts
    tail = integrate(integrand, edges, torch.where(wide, total.detach(), torch.inf), size, _TOLERANCE)
    offsets = torch.arange(-2, 2, dtype=y.dtype, device=y.device).reshape((-1,) + (1,) * y.ndim)
    at_start = _midpoint_correction((smooth(first + offsets) - (first >= inside).to(y.dtype)).square())
    at_y = _midpoint_correction(smooth(torch.maximum(inside, first) + offsets))
    return total + torch.where(wide, tail + at_start - 2 * torch.where(inside > first, at_y, 0.0), 0.0)


def _midpoint_correction(values: Tensor) -> Tensor:
    """C[g] at the middle of four values of g at unit distance, derivatives by central differences."""
    before, left, right, after = values.unbind(0)
    first, third = right - left, after - before - 3 * (right - left)
    # the first difference is the first derivative plus 1/24 of the third
    return first / 24 - 17 / 5760 * third


def _terms(distribution: Distribution, high: Tensor) -> int:
    """How many counts to sum over."""
    most = summed_counts(counted(distribution))
    if most == SMOOTH_FROM or not high.numel():
        return SMOOTH_FROM
    return max(SMOOTH_FROM, int(torch.where(high < most, high, 0.0).amax()) + 1)


def _sum_of_masses(distribution: Distribution, y: Tensor, terms: int, cells: int) -> Tensor:
    """Sum of (F(k) - 1[k >= y])^2 over the counts below `terms`, with F as a sum of probabilities."""
    total, below = torch.zeros_like(y), torch.zeros_like(y)
    block = max(1, BLOCK // max(1, cells))
    for start in range(0, terms, block):
        k = torch.arange(start, min(start + block, terms), dtype=y.dtype, device=y.device)
        k = k.reshape((-1,) + (1,) * y.ndim)
        cumulative = below + masses(distribution, k).expand(-1, *y.shape).cumsum(0)
        total = total + (cumulative - (k >= y).to(y.dtype)).square().sum(0)
        below = cumulative[-1]
    return total


def _sum(function: Callable[[Tensor], Tensor], y: Tensor, low: Tensor, high: Tensor, cells: int) -> Tensor:
    """Sum of (function(k) - 1[k >= y])^2 over the integers from `low` to `high`, a block of them at a time."""
    total = torch.zeros_like(y)
    terms = int((high - low).amax()) + 1 if y.numel() else 0
    block = max(1, BLOCK // max(1, cells))
    for start in range(0, terms, block):
        count = torch.arange(start, min(start + block, terms), dtype=y.dtype, device=y.device)
        k = low + count.reshape((-1,) + (1,) * y.ndim)
        squares: Tensor = (function(k) - (k >= y).to(y.dtype)).square()
        total = total + torch.where(k <= high, squares, 0.0).sum(0)
    return total


def overlap(k: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    """Length of the part of [k, k + 1) inside of the window."""
    return (torch.minimum(k + 1, upper) - torch.maximum(k, lower)).clamp(min=0)


def sum_window(distribution: Distribution, y: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    """Sum of (F(k) - 1[k >= y])^2 over the integers, times what the window leaves of [k, k + 1)."""
    low, high = counts_within(distribution)
    total = step_outside(y, lower, upper, low, high + 1)
    first, last = torch.maximum(low, lower.floor()), torch.minimum(high, upper.floor())
    terms = int((last - first).amax().clamp(min=-1)) + 1 if y.numel() else 0
    block = max(1, BLOCK // max(1, cells(distribution)))
    for start in range(0, terms, block):
        count = torch.arange(start, min(start + block, terms), dtype=y.dtype, device=y.device)
        k = first + count.reshape((-1,) + (1,) * y.ndim)
        squares = (cdf(distribution, k) - (k >= y).to(y.dtype)).square() * overlap(k, lower, upper)
        total = total + torch.where(k <= last, squares, 0.0).sum(0)
    return total
