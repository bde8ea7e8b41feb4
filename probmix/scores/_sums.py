"""CRPS of discrete distributions from their cdf: sums, and what replaces a sum over a wide range."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.distributions import Distribution

from .._incomplete_gamma import incomplete_gamma
from ..distributions import cdf
from ._quadrature import BLOCK, TAIL, cells, cuts, integrate, quantiles

# A Poisson cdf changes around k over a distance of sqrt(k) or more: from here on the sum is an integral to 1e-8.
SMOOTH_FROM = 256


def sum_crps(distribution: Distribution, y: Tensor) -> Tensor:
    r""":math:`\sum_k (F(k) - 1[k \ge y])^2` of a discrete float64 distribution."""
    low, high = quantiles(distribution, (TAIL, 1 - TAIL))
    inside = torch.minimum(torch.maximum(y, low), high)
    # outside the two extreme quantiles F is 0 or 1
    return _sum(lambda k: cdf(distribution, k), inside, low, high, cells(distribution)) + (y - inside).abs()


def poisson_mixture_crps(distribution: Distribution, weights: Tensor, rate: Tensor, y: Tensor) -> Tensor:
    r"""CRPS of a mixture of Poissons: a sum over the low counts, an integral over the high ones.

    The incomplete gamma function continues F to real arguments. With :math:`g = (F - 1[x \ge y - 1/2])^2`, the
    Euler-Maclaurin formula for midpoints gives

    .. math:: \sum_{k \ge s} g(k) \approx \int_{s - 1/2}^\infty g(x)\,dx
        + C[g](s - \tfrac12) - 2\,C[F](y - \tfrac12),\qquad C[g] = \tfrac1{24} g' - \tfrac7{5760} g'''

    where the last term comes from the step of g at y, if s < y.

    Parameters
    ----------
    distribution : the mixture in float64
    weights, rate : Tensor, broadcastable to ``y.shape + (M,)``
    y : Tensor, float64
    """
    low, high = quantiles(distribution, (TAIL, 1 - TAIL))
    inside = torch.minimum(torch.maximum(y, low), high)
    outside = (y - inside).abs()
    size = cells(distribution)

    smooth_cdf = partial(_poisson_mixture_cdf, weights, rate)

    total = outside + _sum(smooth_cdf, inside, low, high.clamp(max=SMOOTH_FROM - 1), size)
    wide = high >= SMOOTH_FROM
    if not bool(wide.any()):
        return total
    first = low.clamp(min=SMOOTH_FROM)
    start, stop = first - 0.5, torch.maximum(high, first) + 0.5
    step = inside - 0.5

    def integrand(x: Tensor) -> Tensor:
        return (smooth_cdf(x) - (x > step).to(x.dtype)).square()

    edges = torch.cat([cuts(distribution), torch.stack([start, stop, step])])
    edges = torch.minimum(torch.maximum(edges, start), stop).sort(0).values
    # no panel is halved for the sake of rows that have no high counts
    tail = integrate(integrand, edges, torch.where(wide, total.detach(), torch.inf), size)
    offsets = torch.arange(-2, 2, dtype=y.dtype, device=y.device).reshape((-1,) + (1,) * y.ndim)
    at_start = _midpoint_correction((smooth_cdf(first + offsets) - (first >= inside).to(y.dtype)).square())
    at_y = _midpoint_correction(smooth_cdf(torch.maximum(inside, first) + offsets))
    return total + torch.where(wide, tail + at_start - 2 * torch.where(inside > first, at_y, 0.0), 0.0)


def _midpoint_correction(values: Tensor) -> Tensor:
    """C[g] at the middle of four values of g at unit distance, derivatives by central differences."""
    before, left, right, after = values.unbind(0)
    first, third = right - left, after - before - 3 * (right - left)
    # the first difference is the first derivative plus 1/24 of the third
    return first / 24 - 17 / 5760 * third


def _poisson_mixture_cdf(weights: Tensor, rate: Tensor, x: Tensor) -> Tensor:
    """F(x), smooth in x >= -1; equal to the cdf at the integers."""
    _, upper = incomplete_gamma(x.unsqueeze(-1) + 1, rate)
    return torch.sum(weights * upper, -1)


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
