"""Predicted distributions of NGBoost."""

from typing import Any

import numpy as np
import pyro.distributions as dist
import torch

from ._classes import from_probabilities
from ._origin import comes_from
from ._scipy import from_scipy


def from_ngboost(prediction: Any) -> dist.TorchDistribution:
    """What `pred_dist` of NGBoost returns: nearly all of its distributions hold a frozen one of SciPy."""
    # by class: for attributes that they lack, some of its distributions answer None
    if comes_from(prediction, "ngboost", "ClassificationDistn"):
        return from_probabilities(prediction.class_probs())
    frozen = getattr(prediction, "dist", None)
    if comes_from(frozen, "scipy", "rv_frozen"):
        return from_scipy(frozen)
    if getattr(prediction, "multi_output", False):
        loc, covariance = (
            torch.tensor(np.asarray(value, dtype=np.float64)) for value in (prediction.loc, prediction.cov)
        )
        return dist.MultivariateNormal(loc, covariance_matrix=covariance)
    raise TypeError(
        f"NGBoost's {type(prediction).__name__} gives no cdf and no quantiles, so it cannot be scored here. "
        "Fit with another `Dist`, or pass draws of it, an array (n, m)."
    )
