"""What follows from predicted distributions of numbers, as arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch.distributions import Distribution

from ._checks import check_integer, check_real, check_seed
from .distributions import icdf
from .distributions.parts import device_of
from .random import seeded


@torch.no_grad()
def mean_of(distribution: Distribution) -> NDArray[np.float64]:
    """Means, (n,) or (n, d)."""
    mean: NDArray[np.float64] = distribution.mean.double().cpu().numpy()
    return mean


@torch.no_grad()
def quantiles_of(distribution: Distribution, q: float | ArrayLike) -> NDArray[np.float64]:
    """Quantiles target by target, (n[, d]), or (n, [d,] Q) for a vector of levels."""
    levels = np.asarray(q, dtype=np.float64)
    if levels.ndim > 1 or not np.all((levels > 0) & (levels < 1)):
        raise ValueError(f"`q` must be one level or a vector of levels in (0, 1); got {q!r}.")
    shape, device = distribution.batch_shape + distribution.event_shape, device_of(distribution)
    columns = [
        icdf(distribution, torch.full(shape, float(level), dtype=torch.float64, device=device)).double()
        for level in levels.reshape(-1)
    ]
    quantiles: NDArray[np.float64] = torch.stack(columns, -1).cpu().numpy()
    return quantiles if levels.ndim else quantiles[..., 0]


def interval_of(distribution: Distribution, coverage: float) -> NDArray[np.float64]:
    """Central prediction intervals target by target, (n, [d,] 2)."""
    return quantiles_of(distribution, interval_levels(coverage))


def interval_levels(coverage: float) -> list[float]:
    """The levels of the two ends of a central interval."""
    check_real("coverage", coverage, 0.0, 1.0, open_low=True)
    return [(1 - coverage) / 2, (1 + coverage) / 2]


def draws_of(distribution: Distribution, n_samples: int, random_state: Any) -> torch.Tensor:
    """Draws, (n_samples, n[, d]); torch's own generator is left as it was."""
    check_integer("n_samples", n_samples, 1)
    with seeded(check_seed(random_state), device_of(distribution)):
        draws: torch.Tensor = distribution.sample(torch.Size([n_samples]))
    return draws


def check_shape(y: NDArray[Any], distribution: Distribution) -> None:
    """Raise unless there is a target for every row, and for every target of a row."""
    expected = distribution.batch_shape + distribution.event_shape
    if y.shape != expected:
        raise ValueError(f"y must have shape {tuple(expected)}, as X and the fit say; got {tuple(y.shape)}.")
