"""The weights of candidates of a stack, from what each says of rows that judge it."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.distributions import Categorical, Distribution

from ..distributions.scoring import marginal_crps
from ..networks import NetworkSpec
from ..stacking import crps_gram, crps_weights, stack_weights
from ..training import Rows, Task, TrainingResult
from .candidates import family_label, mixup_label, network_label
from .parts import Parts

Array = NDArray[np.float64]
# Rows that are judged at once.
_BLOCK = 1 << 14
# Rows of which there is a CRPS: that of some mixtures takes up to a millisecond, and weights by it one of every pair.
_SCORED = 5_000


@dataclass
class Candidate:
    """One of a stack.

    Attributes
    ----------
    estimator : DensityRegressor or DensityClassifier
    label : str
        What it is called in messages.
    task : Task
    parts : Parts or None
    result : TrainingResult
        Once it is trained.
    seconds : float
        That its training took.
    """

    estimator: Any
    label: str
    task: Task
    parts: Parts | None
    result: TrainingResult | None = None
    seconds: float = 0.0

    @property
    def epochs(self) -> int:
        """Of its training, at most; where a time limit may have ended it, those that it had."""
        options = self.task.options
        if options.ends_at is None or self.result is None:
            return options.max_epochs
        return int(self.result.n_epochs.max())


def weighed(fitted: list[Candidate], loss: str) -> pd.DataFrame:
    """The table of the candidates."""
    rows, validation = _judging(fitted[0])
    log_probs, weights = [], []
    for distributions, y, weight in _judged(fitted, rows, validation):
        log_probs.append(np.stack([one.log_prob(y).numpy() for one in distributions]))
        weights.append(weight)
    log_prob, weight = np.hstack(log_probs), np.hstack(weights)
    scores, gram, weights = [], np.zeros((len(fitted), len(fitted))), []
    for distributions, y, own in _judged(fitted, rows, _some(validation)):
        scores.append(np.stack([_score(one, y) for one in distributions]))
        weights.append(own)
        if loss == "crps":
            gram += own.sum() * crps_gram(distributions, y, own)
    total = np.hstack(weights)
    nll, nll_error = _means(-log_prob, weight)
    mean, error = _means(np.hstack(scores), total)
    classes = isinstance(distributions[0], Categorical)
    names = ("brier", "brier_error") if classes else ("crps", "crps_error")
    columns = {
        "epochs": [one.epochs for one in fitted],
        "weight": crps_weights(gram / total.sum()) if loss == "crps" else stack_weights(log_prob, weight),
        "nll": nll,
        "nll_error": nll_error,
        names[0]: mean,
        names[1]: error,
        "seconds": [one.seconds for one in fitted],
    }
    return pd.DataFrame([described(one.estimator) for one in fitted]).join(pd.DataFrame(columns))


def described(estimator: Any) -> dict[str, str]:
    """What a candidate is called: its family and mixup, and its network where these differ."""
    settings = estimator._settings
    told = {
        "family": family_label(getattr(estimator, "family", None) or estimator.family_.name),
        "mixup": mixup_label(settings.mixup),
    }
    if isinstance(estimator.network, NetworkSpec):
        told["network"] = network_label(estimator.network)
    return told


def _judged(
    fitted: list[Candidate], rows: Rows, validation: list[Tensor]
) -> Iterator[tuple[list[Distribution], Tensor, Array]]:
    """What each candidate says of rows that judge it, their targets, and their weights, a block of rows at a time.

    By the members that a row judges, which are the same of all candidates: their pool.
    """
    for start in range(0, len(rows), _BLOCK):
        own = [part[(part >= start) & (part < start + _BLOCK)] for part in validation]
        for groups in zip(*(one.estimator._judged(rows, own) for one in fitted), strict=True):
            numbers = groups[0][0]
            weight = np.ones(len(numbers)) if rows.weight is None else rows.weight[numbers].numpy()
            densities = [one.estimator._pooled(eta) for one, (_, eta) in zip(fitted, groups, strict=True)]
            yield densities, rows.y[numbers], weight


def _some(validation: list[Tensor]) -> list[Tensor]:
    """Of rows that judge members, as many as are scored, evenly spaced among all that judge."""
    numbers = torch.cat(validation).unique()
    if len(numbers) <= _SCORED:
        return validation
    chosen = numbers[torch.linspace(0, len(numbers) - 1, _SCORED).round().long()]
    return [part[torch.isin(part, chosen)] for part in validation]


def _judging(one: Candidate) -> tuple[Rows, list[Tensor]]:
    """The rows in the user's units, and those that judge each member."""
    if one.parts is not None:
        return one.parts.rows, one.parts.validation
    rows, unit = one.task.data.rows, one.estimator.log_exposure_unit_
    if rows.log_exposure is not None:
        rows = replace(rows, log_exposure=rows.log_exposure + unit)
    return rows, list(one.task.data.validation_rows)


def _score(distribution: Distribution, y: Tensor) -> Array:
    """A second score of each row, (n,): the CRPS, of several targets the mean of theirs; of classes Brier's."""
    if isinstance(distribution, Categorical):
        observed = torch.nn.functional.one_hot(y.long(), distribution.probs.shape[-1])
        values = (distribution.probs - observed).square().sum(-1)
    else:
        try:
            values = marginal_crps(distribution, y).flatten(1).mean(1) if y.ndim > 1 else marginal_crps(distribution, y)
        except NotImplementedError:
            # of a family that has no cdf; its log score is what counts
            values = torch.full((len(y),), torch.nan)
    result: Array = values.double().numpy()
    return result


def _means(values: Array, weight: Array) -> tuple[Array, Array]:
    """Means of scores, (C, R), and the standard errors of their differences to the best."""
    share = weight / weight.sum()
    with np.errstate(invalid="ignore"):
        means = values @ share
        best = values[np.nanargmin(means)] if np.isfinite(means).any() else values[0]
        differences = values - best
        off = share * (differences - (differences @ share)[:, None])
        rows = max(2, len(share))
        errors: Array = np.sqrt(rows / (rows - 1) * np.square(off).sum(1))
    return means, errors
