"""Densities of single rows as curves, probabilities of counts, and point masses."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.distributions import Distribution

from ..distributions import atoms, icdf, is_discrete
from ..distributions.parts import device_of, unchecked, widen
from ..distributions.scoring import marginal_nll
from ..distributions.single_rows import single_rows

# Levels between which a density is drawn, and points of it: as many evenly spaced as at quantiles.
_ENDS = (0.002, 0.998)
_POINTS = 200


@dataclass(frozen=True)
class Density:
    """What is predicted for a row.

    Attributes
    ----------
    values, density : ndarray, (P,)
        Places in increasing order and the density there; of counts whole numbers and their probabilities.
    masses : ndarray, (A, 2)
        Places and probabilities of point masses beside a density.
    """

    values: NDArray[np.float64]
    density: NDArray[np.float64]
    masses: NDArray[np.float64]


@torch.no_grad()
def densities_of(distribution: Distribution, rows: NDArray[np.intp]) -> list[Density]:
    """What is predicted for some rows of a distribution of batch shape (n,)."""
    places = torch.as_tensor(rows, device=device_of(distribution))
    some = single_rows(distribution, places)
    if some is None:
        # of a class of which no rows can be taken all are asked
        some = distribution
    else:
        rows = np.arange(len(rows))
    wide = unchecked(widen(some))
    at, masses = atoms(wide)
    values = _whole_numbers(wide) if is_discrete(wide) else _numbers(wide, masses.sum(0))
    density = (-marginal_nll(wide, values)).exp()
    # there it is no density, but the mass
    on_mass = ((values == at.unsqueeze(1)) & (masses.unsqueeze(1) > 0)).any(0)
    found = []
    for row in rows:
        keep = ~on_mass[:, row]
        x, height = (t[keep, row].double().cpu().numpy() for t in (values, density))
        x, first = np.unique(x, return_index=True)
        has_mass = masses[:, row] > 0
        # a place may be named more than once
        places_of, which = np.unique(at[has_mass, row].cpu().numpy(), return_inverse=True)
        mass = np.bincount(which, masses[has_mass, row].cpu().numpy(), len(places_of))
        found.append(Density(x, height[first], np.column_stack([places_of, mass])))
    return found


def _numbers(distribution: Distribution, mass: Tensor) -> Tensor:
    """Places, (P, n), evenly spaced and at quantiles, of rows with so much probability at points."""
    steps = torch.linspace(0, 1, _POINTS, dtype=torch.float64, device=mass.device).unsqueeze(1)
    low, high = _ENDS[0] * (1 - mass), (1 - (1 - _ENDS[1]) * (1 - mass)).clamp(max=1 - 1e-12)
    quantiles = icdf(distribution, torch.lerp(low, high, steps)).double()
    return torch.cat([quantiles, torch.lerp(quantiles[0], quantiles[-1], steps)])


def _whole_numbers(distribution: Distribution) -> Tensor:
    """Whole numbers, (P, n), all between two quantiles, or some of many."""
    low, high = (icdf(distribution, torch.tensor(q, dtype=torch.float64)).double() for q in _ENDS)
    steps = torch.linspace(0, 1, min(2 * _POINTS, int((high - low).max()) + 1), dtype=torch.float64, device=low.device)
    return torch.lerp(low, high, steps.unsqueeze(1)).round()
