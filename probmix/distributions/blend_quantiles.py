"""Quantiles of mixtures of different kinds: between those of the parts, by superlinear steps with the density."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.distributions import Distribution

from .inversion import find_continuous, find_discrete, invert_continuous, invert_discrete, with_ends
from .marginals import cdf, icdf
from .mixture_quantiles import REAL, Axis, axis_of
from .parts import is_discrete, unchecked, widen
from .quadrature import cells
from .scoring import marginal_nll
from .selection import select
from .single_rows import single_rows

# Numbers behind one value of the cdf of some rows: 2 MiB of float64.
_BLOCK = 2**18
_LARGEST = 1e300


@torch.no_grad()
def blend_quantiles(distribution: Distribution, shares: Tensor, parts: Sequence[Distribution], q: Tensor) -> Tensor:
    """Quantiles of a mixture of `parts`, coordinate by coordinate, in float64.

    Parameters
    ----------
    distribution : Distribution
        The mixture.
    shares : Tensor, (C, *batch_shape, 1, ...)
        The weights, with so many axes as the event has.
    parts : sequence of C distributions
    q : Tensor, (..., *batch_shape, *event_shape), float64

    Returns
    -------
    Tensor of that shape
        The least and the greatest end of the parts' supports at the levels 0 and 1, NaN outside of [0, 1].
    """
    wide = unchecked(widen(distribution))
    inside = (q > 0) & (q < 1)
    level = torch.where(inside, q, 0.5)
    ends = torch.where(q <= 0, 0.0, torch.where(q >= 1, 1.0, level))
    found = torch.stack([icdf(widen(part), ends).double().expand(q.shape) for part in parts])
    there = (shares > 0).reshape(len(shares), *(1,) * (found.ndim - shares.ndim), *shares.shape[1:])
    low = torch.where(there, found, torch.inf).amin(0).clamp(min=-_LARGEST)
    high = torch.where(there, found, -torch.inf).amax(0).clamp(max=_LARGEST)
    # counts are sought above the lower end of the bracket
    discrete = is_discrete(wide)
    below = low - 1 if discrete else low
    rows = (inside & (low < high)).flatten().nonzero().squeeze(-1)
    numel = (distribution.batch_shape + distribution.event_shape).numel()
    y = high.flatten()
    if not len(rows):
        return with_ends(y.reshape(q.shape), q, found.amin(0), found.amax(0))
    if single_rows(wide, rows[:1] % numel) is None:
        invert = invert_discrete if discrete else invert_continuous
        y = torch.where(inside & (low < high), invert(lambda y: cdf(wide, y), level, below, high), high)
        return with_ends(y.reshape(q.shape), q, found.amin(0), found.amax(0))
    axis = REAL if discrete else axis_of(wide.support)
    middle = torch.where(there, shares.reshape(there.shape) * axis.there(found.clamp(-_LARGEST, _LARGEST)), 0.0).sum(0)
    bracket = [t.flatten() for t in (level, axis.there(below), axis.there(high), middle)]
    for some in rows.split(max(1, _BLOCK * numel // max(1, cells(wide)))):
        one = single_rows(wide, some % numel)
        assert one is not None  # as of the first row
        y[some] = _between(one, axis, discrete, *(t[some] for t in bracket))
    return with_ends(y.reshape(q.shape), q, found.amin(0), found.amax(0))


def _between(
    one: Distribution, axis: Axis, discrete: bool, q: Tensor, low: Tensor, high: Tensor, start: Tensor
) -> Tensor:
    """Of a distribution of batch shape (n,), between places on the axis."""

    def evaluate(u: Tensor, rows: Tensor) -> tuple[Tensor, Tensor | None]:
        some = one if len(rows) == len(q) else select(one, rows, 1)
        assert some is not None  # rows have been taken before
        y = axis.back(u)
        below = cdf(some, y)
        try:
            return below, (-marginal_nll(some, y)).exp() * axis.slope(u)
        except NotImplementedError:
            return below, None

    if discrete:
        return find_discrete(evaluate, q, low, high, start)
    return axis.back(find_continuous(evaluate, q, low, high, start, axis.unit))
