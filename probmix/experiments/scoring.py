"""Scores and quantiles of predictions, as numbers that JSON can hold."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.distributions import Categorical, Distribution

from ..distributions import icdf
from ..scores import brier, coverage, coverage_curve, crps, nll


def forecast_scores(distribution: Distribution, y: NDArray[Any]) -> dict[str, float]:
    """Means over rows: NLL in nats, CRPS and RMSE in the unit of y, coverage of the central 90 % interval, calibration.

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
    {'nll': 1.919, 'crps': 0.843, 'rmse': 1.414, 'coverage90': 0.5, 'calibration': 0.237}
    """
    mean = distribution.mean.double()
    targets = torch.tensor(y, dtype=torch.float64, device=mean.device)
    return {
        "nll": float(nll(distribution, targets).mean()),
        "crps": float(crps(distribution, targets).mean()),
        "rmse": float((mean - targets).square().mean().sqrt()),
        "coverage90": float(coverage(distribution, targets, 0.9).double().mean()),
        "calibration": coverage_error(distribution, targets),
    }


def coverage_error(distribution: Distribution, y: Tensor) -> float:
    r"""Mean distance between nominal and observed coverage of central intervals, over the levels 5 %, 10 %, ..., 95 %.

    It is 0.5 at most, and about :math:`0.33/\sqrt n` for n targets of a calibrated prediction. Unlike
    `probmix.scores.calibration_error` it does not see a bias that is the same on both sides.

    Parameters
    ----------
    distribution : torch or Pyro distribution, batch shape (n,)
    y : Tensor, (n,)

    Examples
    --------
    >>> import torch
    >>> uniform = torch.distributions.Uniform(torch.zeros(10), 1.0)
    >>> round(coverage_error(uniform, torch.full((10,), 0.5)), 3)  # every interval holds everything
    0.5
    """
    curve = coverage_curve(distribution, y)
    return float((curve.coverage - curve.levels).abs().mean())


def class_scores(distribution: Categorical, classes: NDArray[np.int64]) -> dict[str, float]:
    """Means over rows: NLL in nats, share of classes that were the most probable ones, and the Brier score.

    Parameters
    ----------
    distribution : Categorical, batch shape (n,)
    classes : ndarray of class indices, (n,)

    Examples
    --------
    >>> import numpy as np
    >>> import torch
    >>> coin = torch.distributions.Categorical(torch.tensor([[0.5, 0.5], [0.2, 0.8]]))
    >>> {name: round(score, 3) for name, score in class_scores(coin, np.array([1, 1])).items()}
    {'nll': 0.458, 'accuracy': 0.5, 'brier': 0.29}
    """
    probs = distribution.probs
    targets = torch.tensor(classes, device=probs.device)
    return {
        "nll": float(nll(distribution, targets).mean()),
        "accuracy": float((probs.argmax(-1) == targets).double().mean()),
        "brier": float(brier(distribution, targets).mean()),
    }


def forecast_quantiles(distribution: Distribution, levels: Sequence[float]) -> dict[str, list[float]]:
    """Quantiles of every row by level, the level as text: (n,) each."""
    mean = distribution.mean
    return {str(level): icdf(distribution, torch.full_like(mean, level)).tolist() for level in levels}
