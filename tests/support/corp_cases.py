"""What the tests of corp share."""

import re

import numpy as np
import pyro.distributions as dist
import pytest
import torch

from probmix.scores import corp_decomposition

DTYPES = [torch.float32, torch.float64]
SCORES = ["brier", "log", "squared_error", "quantile", "crps"]


def raises(kind, message):
    return pytest.raises(kind, match=f"^{re.escape(message)}$")


def pinball(q, y, level):
    return np.where(y > q, level * (y - q), (1 - level) * (q - y))


def fit(forecast, y, weights=None):
    """Isotonic means by their formula: at i the largest over a <= i of the smallest over b >= i of the mean of a..b."""
    distinct, ties = np.unique(forecast, return_inverse=True)
    weights = np.ones(len(y)) if weights is None else weights
    total = np.append(0, np.cumsum(np.bincount(ties, weights)))
    target = np.append(0, np.cumsum(np.bincount(ties, weights * y)))
    a, b = np.triu_indices(len(distinct))
    means = np.full((len(distinct),) * 2, np.inf)
    means[a, b] = (target[b + 1] - target[a]) / (total[b + 1] - total[a])
    smallest = np.minimum.accumulate(means[:, ::-1], 1)[:, ::-1]
    return np.where(np.tri(len(distinct)).T > 0, smallest, -np.inf).max(0)[ties]


def case(score, n=60, seed=0, dtype=torch.float64):
    """Forecasts that are neither calibrated nor useless, with ties, and targets."""
    random = np.random.default_rng(seed)
    x = np.round(random.normal(size=n), 1)
    if score in ("brier", "log"):
        p = 1 / (1 + np.exp(-2.5 * x))
        y = (random.uniform(size=n) < 1 / (1 + np.exp(-x - 0.4))).astype(float)
        return torch.distributions.Bernoulli(torch.tensor(p, dtype=dtype)), torch.tensor(y)
    scale = np.round(random.uniform(0.3, 2, n), 1)
    y = 0.7 * x + 0.5 + 1.3 * scale * random.normal(size=n)
    return dist.Normal(torch.tensor(x, dtype=dtype), torch.tensor(scale, dtype=dtype)), torch.tensor(y)


def decompose(score, distribution, y, **options):
    return corp_decomposition(distribution, y, score, level=0.8 if score == "quantile" else None, **options)
