"""The distribution of the targets without X, which every model should beat."""

import warnings
from typing import Any

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from torch.distributions import Distribution

from ..distributions import Categorical
from ..estimators import DensityRegressor
from ..networks import MLP
from .subject import Subject

# Rows that it is fitted to; it has few parameters.
_FITTED = 5_000


def marginal(subject: Subject) -> Distribution:
    """One distribution for all rows, or one rate per exposure, fitted to the very targets that it is scored on.

    Of classes it is their frequencies; of numbers the family that the model gives the most weight to, fitted by a
    network that sees nothing.
    """
    n = len(subject.y)
    if subject.classes is not None:
        counts = torch.bincount(subject.targets, minlength=len(subject.classes)).double()
        return Categorical(logits=(counts / n).log().expand(n, -1))
    rows = np.arange(n) if n <= _FITTED else np.random.default_rng(1).choice(n, _FITTED, replace=False)
    nothing = np.ones((n, 1))
    exposure: Any = subject.exposure
    model = DensityRegressor(_family(subject.inner), "erm", MLP(()), preset="fast", random_state=0, device="cpu")
    with warnings.catch_warnings():
        # that X tells nothing is the point of it
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(nothing[rows], subject.y[rows], exposure=None if exposure is None else exposure[rows])
    return model.predict_dist(nothing, exposure)


def _family(model: Any) -> Any:
    """The family of a fitted model, of a stack that of its first candidate by weight; None of other libraries."""
    if hasattr(model, "candidates_"):
        model = model.candidates_[int(model.stack_["weight"].to_numpy().argmax())]
    return getattr(model, "family_", None)
