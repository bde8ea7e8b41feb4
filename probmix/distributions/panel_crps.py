r"""CRPS of mixtures whose cdf is dear: panels of all rows in one list, of which the bad ones alone are halved.

A part with a density that is cheaper than its cdf is asked for the cdf at the ends of the panels only; between them the
density at the nodes is integrated. Narrow members cannot hide: what the density adds up to over a panel is known from
its ends, and a cdf that has risen stays so at all nodes behind, and at the end of the panel if there are none.
"""

from collections.abc import Sequence
from functools import reduce, singledispatch
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.distributions import Distribution, MixtureSameFamily

from .._blocks import is_plain
from .marginals import cdf, knows_cdf
from .panels import gauss_error, gauss_legendre
from .parts import device_of, innermost, is_discrete, tensors_of, unchecked, widen
from .point_masses import atoms, mass_at
from .quadrature import TAIL, cells, cuts, some_of, step_outside
from .scoring import (
    CDF_ERROR,
    ROUNDING,
    generic_crps,
    generic_crps_with_bound,
    generic_window_crps,
    marginal_nll,
)
from .selection import select
from .single_rows import single_rows

_NODES = 16
_TOLERANCE, _ROUNDS = 1e-10, 50
# What the rounding of places makes, in units of the largest that is no tail, and most panels of a row: where a density
# is that narrow, or a tail that heavy, halving them would never end.
_BULK, _PLACES, _MOST_PANELS = 1e-3, 64 * torch.finfo(torch.float64).eps, 4096
# Quantiles of the members at which panels begin, so many of them at most: where edges cost as much as nodes, and where
# they cost more; and of points where the density jumps.
_CUTS, _CUTS_WITH_DENSITY, _MOST_KINKS = 6, 12, 512
_LEVELS = (1e-10, 1e-6, 1e-3, 0.5, 1 - 1e-3, 1 - 1e-6, 1 - 1e-10)
# Rows x components that are integrated together.
_ROWS = 2**21
# Numbers behind the nodes of some panels: 4 MiB of float64.
_BLOCK = 2**19


@singledispatch
def sums_density(component: Distribution) -> bool:
    """Whether many values of the density cost less than as many of the cdf; no class with point masses says so."""
    return False


@singledispatch
def density(distribution: Distribution, y: Tensor) -> Tensor:
    """The density of a float64 distribution of numbers."""
    return (-marginal_nll(distribution, y)).exp()


@density.register
def _(distribution: MixtureSameFamily, y: Tensor) -> Tensor:
    members = density(distribution.component_distribution, y.unsqueeze(-1))
    return (distribution.mixture_distribution.probs * members).sum(-1)


@singledispatch
def kinks(distribution: Distribution) -> Tensor:
    """Places at which the density jumps, (K, *B), of a float64 distribution of numbers; none by default."""
    return torch.empty((0, *distribution.batch_shape), dtype=torch.float64, device=device_of(distribution))


@kinks.register
def _(distribution: MixtureSameFamily) -> Tensor:
    return kinks(distribution.component_distribution).movedim(-1, 0).flatten(0, 1)


@singledispatch
def terms(distribution: Distribution) -> list[tuple[Tensor, Distribution]]:
    """Weights, (R,), and parts of a mixture of rows, itself with the weight one by default."""
    ones = torch.ones(distribution.batch_shape, dtype=torch.float64, device=device_of(distribution))
    return [(ones, distribution)]


def crps_by_panels(distribution: Distribution, y: Tensor) -> Tensor:
    """`marginal_crps` by `panel_window` where that can be, else the general one."""
    ends = torch.full_like(y, torch.inf)
    found = panel_window(distribution, y, -ends, ends)
    return generic_crps(distribution, y) if found is None else found[0]


def crps_by_panels_with_bound(distribution: Distribution, y: Tensor) -> tuple[Tensor, Tensor]:
    """`marginal_crps_with_bound` in the same way."""
    ends = torch.full_like(y, torch.inf)
    found = panel_window(distribution, y, -ends, ends)
    return generic_crps_with_bound(distribution, y) if found is None else found


def window_by_panels(distribution: Distribution, y: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    """`marginal_window_crps` in the same way."""
    found = panel_window(distribution, y, lower, upper)
    return generic_window_crps(distribution, y, lower, upper) if found is None else found[0]


def panel_window(distribution: Distribution, y: Tensor, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor] | None:
    r"""The integral of :math:`(F(x) - 1[x \ge y])^2` from `lower` to `upper`, and a bound of its error.

    None for counts, where single rows of the distribution cannot be taken, a part has no cdf, it is not on the CPU, or
    a gradient is asked for: then `quadrature_window` does.
    """
    if is_discrete(distribution) or not is_plain(*tensors_of(distribution), y, lower, upper):
        return None
    wide = unchecked(widen(distribution))
    size = max(1, _ROWS * y.numel() // max(1, cells(wide)))
    found = []
    for places in torch.arange(y.numel()).split(size):
        rows = single_rows(wide, places)
        if rows is None or not all(knows_cdf(part) for _, part in terms(rows)):
            return None
        with torch.no_grad():
            found.append(_Integral(rows, *(t.flatten()[places] for t in (y, lower, upper))).value())
    value, error = (torch.cat(parts).reshape(y.shape) for parts in zip(*found, strict=True))
    return value, error


class _Panels(NamedTuple):
    """Panels in no order: their rows and ends, what is known of the cdf there, see `_at`, integrals and errors."""

    row: Tensor
    left: Tensor
    right: Tensor
    # (1 + D, P), all others (P,)
    at_left: Tensor
    at_right: Tensor
    value: Tensor
    error: Tensor

    def take(self, which: Tensor) -> "_Panels":
        return _Panels(*(t[..., which] for t in self))

    def split(self, size: int) -> list["_Panels"]:
        return [_Panels(*parts) for parts in zip(*(t.split(size, -1) for t in self), strict=True)]


def _together(panels: Sequence[_Panels]) -> _Panels:
    return _Panels(*(torch.cat(parts, -1) for parts in zip(*panels, strict=True)))


class _Integral:
    """The integral for rows of one number each, (R,)."""

    def __init__(self, rows: Distribution, y: Tensor, lower: Tensor, upper: Tensor) -> None:
        self.terms = terms(rows)
        self.dense = [sums_density(innermost(part)) for _, part in self.terms]
        # a term without weight in a row may lie anywhere
        tails = [torch.where(w > 0, cuts(part, (TAIL, 1 - TAIL)), torch.nan) for w, part in self.terms]
        self.low, self.high = _least(torch.cat(tails)), -_least(-torch.cat(tails))
        # how far from zero the bulk of the parts lies
        bulk = [torch.where(w > 0, cuts(part, (_BULK, 1 - _BULK)), torch.nan).abs() for w, part in self.terms]
        self.size = -_least(-torch.cat(bulk))
        inside = (torch.minimum(torch.maximum(x, self.low), self.high) for x in (lower, upper, y))
        self.start, self.stop, self.y = inside
        self.outside = step_outside(y, lower, upper, self.low, self.high)
        self.cells = max(1, cells(rows) // max(1, len(y)))

    def value(self) -> tuple[Tensor, Tensor]:
        panels = self._first()
        # by how much the cdf is wrong at a place that is rounded, integrated over all of them
        rounding = _PLACES * self.size
        for _ in range(_ROUNDS):
            total, count = self._sum(panels, panels.value), self._sum(panels, torch.ones_like(panels.value))
            most = torch.maximum(_TOLERANCE * (total + self.outside), rounding) / count
            bad = (panels.error > most[panels.row]) & (count < _MOST_PANELS)[panels.row]
            if not bool(bad.any()):
                break
            panels = _together([panels.take(~bad), *self._halves(panels.take(bad))])
        total, error = self._sum(panels, panels.value), self._sum(panels, panels.error)
        # what errors of the cdf make, by Cauchy and Schwarz
        spread = self._sum(panels, (panels.value * (panels.right - panels.left)).sqrt())
        error = error + 2 * CDF_ERROR * spread + 2 * TAIL**2 * (self.high - self.low) + rounding
        return total + self.outside, error + ROUNDING * total

    def _sum(self, panels: _Panels, values: Tensor) -> Tensor:
        return torch.zeros_like(self.y).index_add(0, panels.row, values)

    def _first(self) -> _Panels:
        parts = [part for _, part in self.terms]
        places = torch.cat([cuts(part, _LEVELS) for part in parts]), torch.cat([atoms(part)[0] for part in parts])
        jumps = torch.cat([kinks(part) for part in parts])
        most = _CUTS_WITH_DENSITY if any(self.dense) else _CUTS
        some = [some_of(t, most) for t in places]
        edges = [torch.stack([self.start, self.stop, self.y]), *some, some_of(jumps, _MOST_KINKS)]
        grid = torch.minimum(torch.maximum(torch.cat(edges), self.start), self.stop).sort(0).values
        blocks = grid.split(max(1, _BLOCK // max(1, self.cells * len(self.y))))
        at_grid = torch.cat([self._at(self.terms, block) for block in blocks], 1)
        before = at_grid.clone()
        if len(places[1]):
            before[0] -= torch.cat([self._jumps(block) for block in blocks])
        panel, row = (grid[1:] > grid[:-1]).nonzero(as_tuple=True)
        nothing = torch.zeros_like(grid[panel, row])
        left, right = (grid[panel + side, row] for side in (0, 1))
        at_left, at_right = at_grid[:, panel, row], before[:, panel + 1, row]
        return self._integrated(_Panels(row, left, right, at_left, at_right, nothing, nothing))

    def _halves(self, panels: _Panels) -> tuple[_Panels, ...]:
        middle = 0.5 * (panels.left + panels.right)
        blocks = zip(*(t.split(max(1, _BLOCK // self.cells)) for t in (panels.row, middle)), strict=True)
        at_middle = torch.cat([self._at(self._terms_of(rows), some) for rows, some in blocks], 1)
        left = panels._replace(right=middle, at_right=at_middle)
        right = panels._replace(left=middle, at_left=at_middle)
        return self._integrated(left), self._integrated(right)

    def _terms_of(self, rows: Tensor) -> list[tuple[Tensor, Distribution]]:
        return [(weight[rows], _taken(part, rows)) for weight, part in self.terms]

    def _at(self, parts: list[tuple[Tensor, Distribution]], x: Tensor) -> Tensor:
        """The cdf of each of the D terms with a density, behind the weighted sum of all others: (1 + D, ...)."""
        found = [torch.zeros_like(x)]
        for (weight, part), dense in zip(parts, self.dense, strict=True):
            if dense:
                found.append(cdf(part, x))
            else:
                found[0] = found[0] + weight * cdf(part, x)
        return torch.stack(found)

    def _jumps(self, x: Tensor) -> Tensor:
        """Probabilities of places, (E, R)."""
        return reduce(torch.add, [weight * mass_at(part, x) for weight, part in self.terms])

    def _integrated(self, panels: _Panels) -> _Panels:
        if not len(panels.row):
            return panels
        return _together([self._gauss(some) for some in panels.split(max(1, _BLOCK // (_NODES * self.cells)))])

    def _gauss(self, panels: _Panels) -> _Panels:
        width = panels.right - panels.left
        x = panels.left + width * _GAUSS_NODES.unsqueeze(-1)
        below, doubt, number = torch.zeros_like(x), torch.zeros_like(width), 0
        start, stop = panels.at_left[0].clone(), panels.at_right[0].clone()
        for (w, part), dense in zip(self._terms_of(panels.row), self.dense, strict=True):
            if not dense:
                below += w * cdf(part, x)
                continue
            number += 1
            first, last, f = panels.at_left[number], panels.at_right[number], width * density(part, x)
            mass, *coefficients = (_GAUSS_RULE @ f).unbind(0)
            below += w * (first + _WITHIN @ f)
            doubt += w * ((last - first - mass).abs() + gauss_error(coefficients) / _NODES)
            start, stop = start + w * first, stop + w * last
        step = (panels.left >= self.y[panels.row]).to(x.dtype)
        value, *coefficients = (width * (_GAUSS_RULE @ (below - step).square())).unbind(0)
        error = gauss_error(coefficients) + 2 * (value * width).sqrt() * doubt + width * doubt.square()
        return panels._replace(value=value, error=error + width * _hidden(below - step, start - step, stop - step))


def _hidden(values: Tensor, start: Tensor, stop: Tensor) -> Tensor:
    """What a rise before the first or behind the last node does to the integral of the square, over the unit interval.

    It shows where the values at the ends are not those of the polynomial through the nodes, up to what its highest
    coefficients say of its error.
    """
    known = 2 * (_GAUSS_RULE[3:] @ values).abs().sum(0)
    found = torch.zeros_like(start)
    for end, polynomial in zip((start, stop), _TO_ENDS @ values, strict=True):
        rise = ((end - polynomial).abs() - known).clamp(min=0)
        found += _GAUSS_NODES[0] * (2 * end.abs() + rise) * rise
    return found


def _least(places: Tensor) -> Tensor:
    """The least along the first axis of those that are numbers."""
    return torch.where(places.isnan(), torch.inf, places).amin(0)


def _taken(part: Distribution, rows: Tensor) -> Distribution:
    some = select(part, rows, 1)
    assert some is not None  # rows have been taken before
    return some


def _integrals(nodes: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Matrices from values at nodes on [0, 1] to the integrals of their polynomial up to the nodes, and to its ends."""
    x, weights = np.polynomial.legendre.leggauss(nodes)
    degrees = np.arange(nodes)
    to_coefficients = np.polynomial.legendre.legvander(x, nodes - 1).T * weights * (degrees[:, None] + 0.5)
    # of the polynomial of degree k the integral from -1 is (P_{k+1} - P_{k-1}) / (2k + 1), with P_{-1} = -1
    values = np.polynomial.legendre.legvander(x, nodes)
    before = np.concatenate([-np.ones((nodes, 1)), values[:, : nodes - 1]], 1)
    within = 0.5 * (values[:, 1:] - before) / (2 * degrees + 1) @ to_coefficients
    return within, np.stack([(-1.0) ** degrees, np.ones(nodes)]) @ to_coefficients


_GAUSS_NODES, _GAUSS_RULE = (torch.from_numpy(t) for t in gauss_legendre(_NODES))
_WITHIN, _TO_ENDS = (torch.from_numpy(t) for t in _integrals(_NODES))
