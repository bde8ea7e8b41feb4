"""What is measured of a prediction."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch.distributions import Distribution

from ...distributions import QuantileFunction, cdf, cdf_below, icdf
from ...scores import coverage, crps, interval_score, nll

_COVERAGE = 0.9


def measures(law: Distribution, y: NDArray[np.float64], largest: float) -> dict[str, float]:
    """Scores of the predicted distributions of the test rows.

    Parameters
    ----------
    law : torch or Pyro distribution, batch shape (n,)
    y : ndarray, (n,)
    largest : float
        The largest of the training targets, in absolute value.

    Returns
    -------
    dict of str to float
        Means over rows: "nll" in nats, "crps", "coverage90", "interval90", the interval score of that central interval;
        "claimed90", the probability that it has as predicted, which is more than 0.9 where it must hold whole numbers;
        "rmse" of the predicted mean; "worst_nll", the largest NLL of a row, and "mean_ratio", the largest predicted
        mean in units of `largest`. Quantiles have no density, and so no NLL.

    Examples
    --------
    >>> import numpy as np
    >>> import torch
    >>> standard = torch.distributions.Normal(torch.zeros(2).double(), 1.0)
    >>> {name: round(score, 3) for name, score in measures(standard, np.array([0.0, 2.0]), 4.0).items()}
    {'nll': 1.919, 'worst_nll': 2.919, 'crps': 0.843, 'rmse': 1.414, 'coverage90': 0.5, 'claimed90': 0.9, ...}
    """
    targets = torch.tensor(y, dtype=torch.float64)
    mean = law.mean.double()
    scores = {}
    if not isinstance(law, QuantileFunction):
        losses = nll(law, targets).double()
        scores = {"nll": float(losses.mean()), "worst_nll": float(losses.max())}
    lower, upper = (icdf(law, torch.full_like(law.mean, level)).double() for level in _levels())
    return scores | {
        "crps": float(crps(law, targets).double().mean()),
        "rmse": float((mean - targets).square().mean().sqrt()),
        "coverage90": float(coverage(law, targets, _COVERAGE).double().mean()),
        "claimed90": float((cdf(law, upper) - cdf_below(law, lower)).double().mean()),
        "interval90": float(interval_score(lower, upper, targets, _COVERAGE).mean()),
        "mean_ratio": float(mean.abs().max()) / largest if largest else 0.0,
    }


def _levels() -> tuple[float, float]:
    return (1 - _COVERAGE) / 2, (1 + _COVERAGE) / 2
