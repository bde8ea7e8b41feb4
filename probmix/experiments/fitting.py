"""Fits of many repeats as one, and the choice among strengths of mixing."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from sklearn.base import clone

from ..estimators.base import DensityEstimator
from ..mixup import Mixup
from .methods import Candidate


@dataclass(frozen=True)
class Fit:
    """A fitted estimator and the candidate that it was fitted with."""

    model: Any
    candidate: Candidate

    def chosen(self) -> dict[str, float]:
        """Columns of the results: strengths, where rows are mixed, and epochs, all chosen by validation rows."""
        strengths = {"chosen_alpha": self.candidate.alpha, "chosen_beta": self.candidate.beta}
        columns = {name: value for name, value in strengths.items() if value is not None}
        if self.candidate.mixup.until is not None:
            columns["mixup_until"] = int(self.model.mixup_until_[0])
        return {**columns, "best_epoch": int(self.model.best_epoch_[0])}


def best_fits(candidates: Sequence[Candidate], fit: Callable[[Mixup], Sequence[Any]]) -> list[Fit]:
    """Fit every candidate to every repeat, and keep for each repeat the one with the best validation NLL.

    Parameters
    ----------
    candidates : sequence of Candidate
    fit : callable
        Gives the fitted estimators of all repeats, one network each, under a mixup.

    Returns
    -------
    list of Fit
        One for each repeat. Its validation NLL is the least of `validation_curve_`, which no test row has a part in; of
        equal ones the first candidate is kept.
    """
    best: list[Fit] = []
    for candidate in candidates:
        fits = [Fit(model, candidate) for model in fit(candidate.mixup)]
        best = [min(pair, key=_validation_nll) for pair in zip(best or fits, fits, strict=True)]
    return best


def _validation_nll(fit: Fit) -> float:
    curve = fit.model.validation_curve_
    # epochs without a finite loss are no candidates for the best weights either
    return float(np.min(curve, initial=np.inf, where=np.isfinite(curve)))


Estimator = TypeVar("Estimator", bound=DensityEstimator)


def with_mixup(estimator: Estimator, mixup: Mixup) -> Estimator:
    """A copy of an estimator with a mixup, and with the patience that one needs which ends by validation."""
    assert estimator.max_epochs is not None  # experiments name all their settings
    # a fifth of the epochs without a gain
    patience = {"patience": max(1, estimator.max_epochs // 5)} if mixup.until == "validation" else {}
    copied: Estimator = clone(estimator).set_params(mixup=mixup, **patience)
    return copied


def schedule(settings: Mapping[str, Any], learning_rate: float) -> dict[str, Any]:
    """Arguments of an estimator that all experiments share: AdamW without decay, and no run stops early."""
    return {
        "max_epochs": settings["epochs"],
        "batch_size": settings["batch_size"],
        "learning_rate": learning_rate,
        "weight_decay": 0.0,
        "patience": None,
        "device": settings["device"],
    }


def resolved_device(device: str) -> str:
    """Where to train: results of a GPU and of a CPU differ in their last digits, and are not mixed."""
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return device
