"""Scores and quantiles of forecasts, as numbers that JSON can hold."""

from collections.abc import Sequence
from typing import Any

import torch
from numpy.typing import NDArray
from torch.distributions import Distribution

from ..distributions import icdf
from ..scores import coverage, crps, nll


def forecast_scores(distribution: Distribution, y: NDArray[Any]) -> dict[str, float]:
    """Means over rows: NLL in nats, CRPS and RMSE in the unit of y, coverage of the central 90 % interval.

    Parameters
    ----------
    distribution : torch or Pyro distribution, batch shape (n,)
    y : ndarray, (n,)

    Examples
    --------
    >>> import numpy as np
    >>> import torch
    >>> standard = torch.distributions.Normal(torch.zeros(2), 1.0)
    >>> {name: round(score, 3) for name, score in forecast_scores(standard, np.array([0.0, 2.0])).items()}
    {'nll': 1.919, 'crps': 0.843, 'rmse': 1.414, 'coverage90': 0.5}
    """
    mean = distribution.mean.double()
    targets = torch.tensor(y, dtype=torch.float64, device=mean.device)
    return {
        "nll": float(nll(distribution, targets).mean()),
        "crps": float(crps(distribution, targets).mean()),
        "rmse": float((mean - targets).square().mean().sqrt()),
        "coverage90": float(coverage(distribution, targets, 0.9).double().mean()),
    }


def forecast_quantiles(distribution: Distribution, levels: Sequence[float]) -> dict[str, list[float]]:
    """Quantiles of every row by level, the level as text: (n,) each."""
    mean = distribution.mean
    return {str(level): icdf(distribution, torch.full_like(mean, level)).tolist() for level in levels}
