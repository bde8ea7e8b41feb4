"""Quantiles from a cdf: superlinear steps inside a bracket, for all rows at once; rows leave as they are found."""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Self

import torch
from torch import Tensor

# Doublings from any bracket to the largest number, and rounds at most: a third of them halve it to its last bit.
_DOUBLINGS, _ROUNDS = 64, 400
# Rounding of a cdf relative to the level, and how exact a quantile is to be in units of the local spread.
_NOISE, _TOLERANCE = 1e-15, 1e-15
# A cdf is flat, and only halving says where it rises, where its normal score would rise by one in so many brackets.
_FLAT = 1e6
# A difference of two cdfs says nothing within this of a level.
_CLOSE = 1e-14

# Gives the cdf, and the density or the probabilities where they are known, of some of the rows at these places.
Evaluate = Callable[[Tensor, Tensor], tuple[Tensor, Tensor | None]]


def with_ends(y: Tensor, q: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """The quantiles `y`, with the ends of the support at the levels 0 and 1, and NaN where there is no level."""
    y = torch.where(q <= 0, low, torch.where(q >= 1, high, y))
    return torch.where((q >= 0) & (q <= 1), y, torch.full_like(y, torch.nan))


def invert_continuous(function: Callable[[Tensor], Tensor], q: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Solve an increasing function(y) = q between two places; the upper one grows as needed."""
    low, high = _grow(function, q, low, high)
    low, high = (t.expand_as(q).flatten().double() for t in (low, high))
    found = find_continuous(_of_all(function, q, low), q.flatten().double(), low, high, 0.5 * (low + high))
    return found.reshape(q.shape)


def invert_discrete(function: Callable[[Tensor], Tensor], q: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """The smallest integer y in (low, high] with function(y) >= q; the upper end grows as needed."""
    low, high = _grow(function, q, low.floor(), high.ceil())
    low, high = (t.expand_as(q).flatten().double() for t in (low, high))
    found = find_discrete(_of_all(function, q, low), q.flatten().double(), low, high, 0.5 * (low + high))
    return found.reshape(q.shape)


def _of_all(function: Callable[[Tensor], Tensor], q: Tensor, low: Tensor) -> Evaluate:
    """A function of all rows as one of some of them."""
    places = low.clone()

    def evaluate(y: Tensor, rows: Tensor) -> tuple[Tensor, None]:
        places[rows] = y
        return function(places.reshape(q.shape)).flatten()[rows].double(), None

    return evaluate


def _grow(function: Callable[[Tensor], Tensor], q: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """Double the bracket upwards until its end is not below any quantile."""
    for _ in range(_DOUBLINGS):
        below = function(high) < q
        if not bool(below.any()):
            break
        low, high = torch.where(below, high, low), torch.where(below, high + 2 * (high - low).clamp(min=1e-300), high)
    return low, high


@dataclass
class _Search:
    """What is known of the rows that are still sought; every entry is of shape (rows,)."""

    rows: Tensor
    q: Tensor
    target: Tensor
    low: Tensor
    high: Tensor
    width: Tensor
    y: Tensor
    # the place before, its normal score and the slope of that score
    last_y: Tensor
    last_z: Tensor
    last_slope: Tensor
    # what was missing of the level's normal score one and two rounds ago
    missed: Tensor
    missed_before: Tensor

    @classmethod
    def start(cls, q: Tensor, low: Tensor, high: Tensor, y: Tensor) -> Self:
        rows, nothing = torch.arange(len(q), device=q.device), torch.full_like(q, torch.nan)
        far = torch.full_like(q, torch.inf)
        target = torch.special.ndtri(q)
        return cls(rows, q, target, low, high, high - low, y, nothing, nothing, nothing, far, far)

    def keep(self, rows: Tensor) -> None:
        for field in fields(self):
            setattr(self, field.name, getattr(self, field.name)[rows])

    def narrow(self, below: Tensor) -> Tensor:
        """One end of the bracket moves here; whether it is the lower one."""
        short = below < self.q
        self.low, self.high = torch.where(short, self.y, self.low), torch.where(short, self.high, self.y)
        return short

    def step(self, below: Tensor, slope_of_cdf: Tensor | None, unit: float) -> tuple[Tensor, Tensor, Tensor]:
        """The next step, whether the one after would be below rounding, and where the step is not to be trusted.

        The normal score of a cdf is close to linear in y, for a Normal exactly. With the density, y as a function of
        the score is the cubic polynomial through the last two places with their slopes, else the line through them.
        """
        z = torch.special.ndtri(below.clamp(1e-300, 1 - 2.0**-53))
        density = torch.exp(-0.5 * z.square()) / math.sqrt(2 * math.pi)
        missing = self.target - z
        rise, back = z - self.last_z, self.last_y - self.y
        slope = rise / -back if slope_of_cdf is None else slope_of_cdf / density
        tolerance = _TOLERANCE * torch.minimum((1 / slope).clamp(max=unit), self.width)
        newton = step = missing / slope
        if slope_of_cdf is None:
            # a level may be met on a step, whose start is sought
            settled = (step.abs() <= tolerance) & (step != 0)
        else:
            share, rest = 1 + missing / rise, (missing / rise).square()
            cubic = back * (1 + 2 * share) * rest + rise * share * rest / self.last_slope + share.square() * newton
            step = torch.where(cubic.isfinite() & (missing.abs() < self.missed), cubic, newton)
            # the error of Newton's step, and what is left of it; curvature that shows over the last step makes it worse
            error = (cubic - newton).abs()
            left = torch.maximum(newton.abs() / back.abs(), error * back.abs() / newton.square())
            settled = (error * left <= tolerance) | ((below - self.q).abs() <= _NOISE * self.q)
        flat = ~((1 / slope <= _FLAT * self.width) & slope.isfinite())
        slow = ~(missing.abs() <= 0.5 * self.missed_before)
        self.last_y, self.last_z, self.last_slope = self.y, z, slope
        self.missed, self.missed_before = missing.abs(), self.missed
        return step, settled & ~flat, flat | slow


def find_continuous(
    evaluate: Evaluate, q: Tensor, low: Tensor, high: Tensor, start: Tensor, unit: float = math.inf
) -> Tensor:
    """Solve F(y) = q for levels in (0, 1); no root lies outside of the bracket, whose ends are not looked at.

    Parameters
    ----------
    evaluate : callable
        (y, rows) -> (F, f) of shape (rows,), where f may be None.
    q, low, high, start : Tensor, (n,), float64
    unit : float
        Of y: errors are to be below rounding of this as well as of the local spread.

    Returns
    -------
    Tensor, (n,)
    """
    found, search = high.clone(), _Search.start(q, low, high, torch.minimum(torch.maximum(start, low), high))
    search.keep((low < high).nonzero().squeeze(-1))
    for _ in range(_ROUNDS):
        if not len(search.rows):
            break
        below, density = evaluate(search.y, search.rows)
        search.narrow(below)
        step, settled, astray = search.step(below, density, unit)
        following = torch.minimum(torch.maximum(search.y + step, search.low), search.high)
        middle = 0.5 * (search.low + search.high)
        nothing_between = (middle <= search.low) | (middle >= search.high)
        halve = astray | ~((following > search.low) & (following < search.high))
        done = settled | nothing_between
        found[search.rows] = torch.where(settled, following, search.high)
        search.y = torch.where(halve, middle, following)
        if bool(done.any()):
            search.keep((~done).nonzero().squeeze(-1))
    return found


def find_discrete(evaluate: Evaluate, q: Tensor, low: Tensor, high: Tensor, start: Tensor) -> Tensor:
    """The smallest integers y in (low, high] with F(y) >= q; arguments as above, where f is P(Y = y)."""
    found, search = high.clone(), _Search.start(q, low, high, start)
    search.y = _inside(start, low, high)
    search.keep((search.y < high).nonzero().squeeze(-1))
    for _ in range(_ROUNDS):
        if not len(search.rows):
            break
        below, mass = evaluate(search.y, search.rows)
        short = search.narrow(below)
        if mass is not None:
            # the cdf one before, where rounding of the difference does not decide
            before = below - mass
            search.low = torch.where(~short & (before < search.q - _CLOSE), search.y - 1, search.low)
            search.high = torch.where(~short & (before > search.q + _CLOSE), search.y - 1, search.high)
        step, _, astray = search.step(below, mass, math.inf)
        following = search.y + step
        halve = astray | ~following.isfinite()
        search.y = _inside(torch.where(halve, 0.5 * (search.low + search.high), following), search.low, search.high)
        found[search.rows] = search.high
        # where floating-point numbers lie more than 1 apart, nothing is left between neighbours
        search.keep((search.y < search.high).nonzero().squeeze(-1))
    return found


def _inside(y: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """The integer from y on, above `low` and below `high` if there is one, else `high`."""
    y = torch.minimum(torch.maximum(y.ceil(), low + 1), high - 1)
    return torch.where((y > low) & (y < high), y, high)
