"""Maps and models for the tests of recalibration."""

import numpy as np
import torch
from sklearn.base import BaseEstimator

from probmix import DensityRegressor
from probmix.calibration import PITMap, fit_pit_map
from probmix.distributions import Poisson

QUICK = DensityRegressor(hidden_layer_sizes=(8,), max_epochs=3, random_state=0, preset="plain")


def wide(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def line(slope: float, shift: float = 0.0) -> PITMap:
    """Straight in normal scores: the model's standard deviation is `slope` times the true one."""
    scores = wide(-1.0, 0.0, 1.0)
    return PITMap((scores - shift) / slope, scores, torch.full_like(scores, slope))


class Known(BaseEstimator):
    """Predicts Normal(x, scale), or Poisson(exp(x)), without learning anything."""

    def __init__(self, scale=1.0, law="normal", dtype=torch.float64):
        self.scale, self.law, self.dtype = scale, law, dtype

    def fit(self, X, y):
        self.fitted_ = True
        return self

    def predict_dist(self, X):
        x = torch.as_tensor(np.asarray(X)[:, 0]).to(self.dtype)
        return Poisson(x.exp()) if self.law == "poisson" else torch.distributions.Normal(x, self.scale)


def bent_map() -> PITMap:
    """A map that is far from the identity."""
    return fit_pit_map(np.random.default_rng(0).beta(0.5, 0.7, 1000))
