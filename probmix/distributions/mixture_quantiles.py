"""Quantiles of mixtures: a bracket and a start from the moments, then superlinear steps with the density."""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.distributions import (
    Distribution,
    Independent,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
    constraints,
)

from .inversion import find_continuous, find_discrete, invert_continuous, invert_discrete, with_ends
from .marginals import cdf, icdf
from .parts import device_of, is_discrete, unchecked, widen
from .scoring import marginal_nll
from .selection import select

# Rows x components at a time: 2 MiB of float64 for each number that is held of them.
_BLOCK = 2**18
# Positive numbers are sought by their logarithm and those between 0 and 1 by their logit, within this.
_FARTHEST = 745.0
# The logistic function of this is 1 in float64.
_NEXT_TO_ONE = 37.5
# Bounds from moments are this much wider, in standard deviations, than they would be without rounding.
_SLACK = 1e-6


class Axis(NamedTuple):
    """A coordinate u(y) in which densities are closer to Normal ones: there, back, and dy/du."""

    there: Callable[[Tensor], Tensor]
    back: Callable[[Tensor], Tensor]
    slope: Callable[[Tensor], Tensor]
    unit: float


REAL = Axis(lambda y: y, lambda u: u, torch.ones_like, math.inf)
_POSITIVE = Axis(lambda y: y.clamp(min=0).log().clamp(-_FARTHEST, _FARTHEST), torch.exp, torch.exp, 1.0)
_UNIT = Axis(
    lambda y: y.clamp(0, 1).logit().clamp(-_FARTHEST, _NEXT_TO_ONE),
    torch.sigmoid,
    lambda u: u.sigmoid() * (-u).sigmoid(),
    1.0,
)


@torch.no_grad()
def mixture_quantiles(mixture: MixtureSameFamily, q: Tensor) -> Tensor:
    """Quantiles of a mixture in float64, coordinate by coordinate.

    Parameters
    ----------
    mixture : MixtureSameFamily
    q : Tensor, (..., *batch_shape, *event_shape), float64

    Returns
    -------
    Tensor of that shape
        The least and the greatest end of the components' supports at the levels 0 and 1, NaN outside of [0, 1].
    """
    # values are sought all over the support and beyond its ends
    wide = unchecked(widen(mixture))
    assert isinstance(wide, MixtureSameFamily)  # as it was before
    shape = torch.Size(mixture.batch_shape) + torch.Size(mixture.event_shape)
    members = coordinates(wide.component_distribution)
    if members is None:
        return _by_all_components(wide, q)
    level, size = q.flatten(), max(1, _BLOCK // wide.component_distribution.batch_shape[-1])
    found = torch.full_like(level, torch.nan)
    for rows in ((level >= 0) & (level <= 1)).nonzero().squeeze(-1).split(size):
        weights, components = components_of(wide, members, rows % shape.numel())
        found[rows] = _quantiles(weights, components, level[rows])
    return found.reshape(q.shape)


def coordinates(component: Distribution) -> Distribution | None:
    """The components with every coordinate a row of its own, or None where they cannot be told apart."""
    while isinstance(component, Independent):
        component = component.base_dist
    if isinstance(component, MultivariateNormal):
        component = Normal(component.mean, component.stddev, validate_args=False)
    batch = component.batch_shape
    none = torch.zeros(0, dtype=torch.long, device=device_of(component))
    known = not component.event_shape and select(component, none, len(batch)) is not None
    return component if known else None


def components_of(mixture: MixtureSameFamily, members: Distribution, rows: Tensor) -> tuple[Tensor, Distribution]:
    """Weights, (rows, M), and components, of batch shape (rows, M), of rows of one coordinate each."""
    batch, event = torch.Size(mixture.batch_shape), torch.Size(mixture.event_shape)
    count = mixture.component_distribution.batch_shape[-1]
    row, coordinate = rows.div(event.numel(), rounding_mode="floor"), rows % event.numel()
    weights = mixture.mixture_distribution.probs.expand(*batch, count).reshape(-1, count)[row]
    member = row.unsqueeze(-1) * count + torch.arange(count, device=rows.device)
    components = select(members, member * event.numel() + coordinate.unsqueeze(-1), len(members.batch_shape))
    assert components is not None  # by coordinates
    return weights, components


def _by_all_components(mixture: MixtureSameFamily, q: Tensor) -> Tensor:
    """Quantiles between those of the components, all rows at once."""
    components = icdf(mixture.component_distribution, q.unsqueeze(-1 - len(mixture.event_shape))).double()
    low, high = components.amin(-1 - len(mixture.event_shape)), components.amax(-1 - len(mixture.event_shape))
    invert, before = (invert_discrete, low - 1) if is_discrete(mixture) else (invert_continuous, low)
    inside = (q > 0) & (q < 1)
    y = invert(lambda y: cdf(mixture, y), torch.where(inside, q, 0.5), before, high)
    return with_ends(y, q, low, high)


def _quantiles(weights: Tensor, components: Distribution, q: Tensor) -> Tensor:
    """Quantiles of mixtures of components of batch shape (rows, M) at levels in [0, 1], (rows,)."""
    inside = (q > 0) & (q < 1)
    if not bool(inside.all()):
        ends = icdf(components, q.unsqueeze(-1)).double()
        rows = inside.nonzero().squeeze(-1)
        some = select(components, rows, 1)
        assert some is not None  # rows have been taken before
        return torch.where(q <= 0, ends.amin(-1), ends.amax(-1)).index_put(
            (rows,), _quantiles(weights[rows], some, q[rows])
        )
    discrete = is_discrete(components)
    axis = REAL if discrete else axis_of(components.support)
    low, high, start = _bracket(weights, components, q, axis)

    def evaluate(u: Tensor, rows: Tensor) -> tuple[Tensor, Tensor | None]:
        some = components if len(rows) == len(q) else select(components, rows, 1)
        assert some is not None
        y, w = axis.back(u).unsqueeze(-1), weights[rows]
        below = (w * cdf(some, y)).sum(-1)
        try:
            density = torch.where(w > 0, w * (-marginal_nll(some, y)).exp(), 0.0).sum(-1)
        except NotImplementedError:
            return below, None
        return below, density * axis.slope(u)

    if discrete:
        return find_discrete(evaluate, q, low, high, start)
    return axis.back(find_continuous(evaluate, q, low, high, start, axis.unit))


def axis_of(support: constraints.Constraint | None) -> Axis:
    lower, upper = (getattr(support, name, None) for name in ("lower_bound", "upper_bound"))
    if not (isinstance(lower, int | float) and lower == 0):
        return REAL
    return _UNIT if isinstance(upper, int | float) and upper == 1 else _POSITIVE if upper is None else REAL


def _bracket(weights: Tensor, components: Distribution, q: Tensor, axis: Axis) -> tuple[Tensor, Tensor, Tensor]:
    r"""Places on the axis that have the quantile between them, and a guess of it.

    By Cantelli's inequality it lies from :math:`\mu - \sigma\sqrt{(1 - q)/q}` to :math:`\mu + \sigma\sqrt{q/(1 - q)}`;
    without these moments, between the quantiles of the components.
    """
    try:
        means, variances = components.mean, components.variance
    except NotImplementedError:
        means = variances = torch.full_like(weights, torch.nan)
    mean = (weights * means).sum(-1)
    variance = (weights * (variances + (means - mean.unsqueeze(-1)).square())).sum(-1)
    discrete = is_discrete(components)
    if not bool((mean.isfinite() & variance.isfinite()).all()):
        quantiles = icdf(components, q.unsqueeze(-1)).double()
        low, high = quantiles.amin(-1) - (1.0 if discrete else 0.0), quantiles.amax(-1)
        return axis.there(low), axis.there(high), (weights * axis.there(quantiles)).sum(-1)
    scale, score = variance.sqrt(), torch.special.ndtri(q)
    low = mean - scale * (((1 - q) / q).sqrt() + _SLACK)
    high = mean + scale * ((q / (1 - q)).sqrt() + _SLACK)
    if discrete:
        floor = -1.0 if _is_not_negative(components.support) else -torch.inf
        low, high = (low - 1).floor().clamp(min=floor), (high + 1).ceil()
        guess = _wilson_hilferty(mean, variance, score) - 0.5 if floor == -1.0 else mean + scale * score
    elif axis is _POSITIVE:
        guess = _wilson_hilferty(mean, variance, score)
    elif axis is _UNIT:
        guess = (mean.logit() + score * scale / (mean * (1 - mean))).sigmoid()
    else:
        guess = mean + scale * score
    return axis.there(low), axis.there(high), axis.there(guess)


def _is_not_negative(support: constraints.Constraint | None) -> bool:
    lower = 0 if support is constraints.boolean else getattr(support, "lower_bound", None)
    return isinstance(lower, int | float) and lower >= 0


def _wilson_hilferty(mean: Tensor, variance: Tensor, score: Tensor) -> Tensor:
    """Quantile of a Gamma, where it is far from a Normal that of a log-normal, with these moments."""
    inverse = variance / mean.square()
    root = 1 - inverse / 9 + score * inverse.sqrt() / 3
    spread = torch.log1p(inverse)
    return torch.where(root > 0.3, mean * root**3, mean * (score * spread.sqrt() - 0.5 * spread).exp())
