"""Experiments on tables of real data, with random splits into training and test rows."""

import hashlib
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .. import __version__
from ..estimators import DensityRegressor, fit_together
from .base import Experiment, Outcome
from .fitting import best_fits, resolved_device, schedule, with_mixup
from .methods import Candidate, Strength, candidates, check_methods, check_names, check_positive
from .scoring import forecast_scores
from .store import Unit

Split = tuple[NDArray[np.int64], NDArray[np.int64]]

_LEARNING_RATE = 5e-3
# What an epoch costs besides its rows, in rows.
_OVERHEAD = 500


@dataclass(frozen=True)
class Table:
    """A data set with its splits.

    Attributes
    ----------
    X : ndarray, (n, F)
    y : ndarray, (n,)
    splits : sequence of (train, test) rows
    """

    X: NDArray[np.float64]
    y: NDArray[np.float64]
    splits: Sequence[Split]

    @property
    def digest(self) -> str:
        """Hash of the data: of equal ones the results are equal."""
        both = np.column_stack([self.X, self.y])
        return hashlib.sha256(repr(both.shape).encode() + both.tobytes()).hexdigest()[:16]


class TabularExperiment(Experiment):
    """What experiments on tables share: all splits of a data set and a method are one job, and are fitted as one.

    The keys "dataset", "method" and "split" of a unit are names of a table and of a method, and the number of a split,
    which is the seed of its fit. Its key "family", if it has one, is that of the estimator.

    Parameters
    ----------
    datasets : sequence of str
        Names that `known_datasets` has.
    methods : sequence of str
        Presets of `probmix.mixup`, or with a pool as in "m-probmix:linear".
    n_splits, epochs : int
    alpha, beta : float or "auto"
        As in `candidates`.
    batch_size : int or None
        None for full batches.
    device : {"auto", "cpu", "cuda"}
    data : path, optional
        The folder of data sets, as in `probmix.datasets.load`.

    Attributes
    ----------
    tables : dict of str to Table

    Raises
    ------
    ValueError
        For unknown names, with the near misses, and numbers out of range; before any work.
    FileNotFoundError
        If there is no folder to look in.
    """

    repeat = "split"
    ranked_over = "dataset"
    # 90 % of the rows are for training
    test_to_train = 1 / 9
    hidden_layer_sizes: tuple[int, ...]

    def __init__(
        self,
        datasets: Sequence[str],
        methods: Sequence[str],
        n_splits: int,
        epochs: int,
        alpha: Strength,
        beta: Strength,
        batch_size: int | None,
        device: str,
        data: str | Path | None,
    ) -> None:
        check_positive(n_splits=n_splits, epochs=epochs)
        self.methods = check_methods(methods, alpha, beta)
        # without a folder of data sets none is known, and the first to be loaded says so
        chosen = check_names("data set", datasets, self.known_datasets(data) or datasets)
        self.tables = {name: self.load_table(name, n_splits, data) for name in chosen}
        self._digests = {name: table.digest for name, table in self.tables.items()}
        self._alpha, self._beta = alpha, beta
        self.settings: dict[str, Any] = {
            "experiment": type(self).__name__,
            "epochs": epochs,
            "batch_size": batch_size,
            "alpha": alpha,
            "beta": beta,
            "device": resolved_device(device),
            **versions(),
        }

    @abstractmethod
    def known_datasets(self, data: str | Path | None) -> list[str]:
        """Names of the data sets that there are in the folder."""

    @abstractmethod
    def load_table(self, name: str, n_splits: int, data: str | Path | None) -> Table:
        """A data set by its name, with its splits."""

    def dataset_of(self, unit: Unit) -> str:
        """The name of the table of a unit."""
        return str(unit["dataset"])

    def estimator(self, unit: Unit) -> DensityRegressor:
        """The unfitted estimator of a unit, but for its mixup and its seed."""
        return DensityRegressor(
            str(unit.get("family", "gaussian")),
            hidden_layer_sizes=self.hidden_layer_sizes,
            **schedule(self.settings, _LEARNING_RATE),
            preset="plain",
        )

    def candidates(self, unit: Unit) -> list[Candidate]:
        """The mixups among which one is chosen for each split."""
        return candidates(str(unit["method"]), self._alpha, self._beta)

    def job(self, unit: Unit) -> Unit:
        """All splits."""
        return {key: value for key, value in unit.items() if key != "split"}

    def inputs(self, unit: Unit) -> dict[str, Any]:
        """The data."""
        return {"data": self._digests[self.dataset_of(unit)]}

    def cost(self, unit: Unit) -> float:
        """Rows that an epoch passes over, by the number of mixups that are tried."""
        rows = len(self.tables[self.dataset_of(unit)].y)
        return float(len(self.candidates(unit)) * (_OVERHEAD + rows))

    def work(self, units: Sequence[Unit]) -> list[Outcome]:
        """Fit one method to some splits of one data set, and score each on its test rows."""
        table = self.tables[self.dataset_of(units[0])]
        numbers = [int(unit["split"]) for unit in units]
        trains = [table.splits[number][0] for number in numbers]
        estimator = self.estimator(units[0])
        fits = best_fits(
            self.candidates(units[0]),
            lambda mixup: fit_together(with_mixup(estimator, mixup), table.X, table.y, trains, numbers),
        )
        outcomes = []
        for number, fit in zip(numbers, fits, strict=True):
            _, test = table.splits[number]
            scores = forecast_scores(fit.model.predict_dist(table.X[test]), table.y[test])
            outcomes.append(Outcome({**scores, **fit.chosen()}))
        return outcomes


def versions() -> dict[str, str]:
    """What made the results; other versions may give other ones."""
    return {"probmix": __version__, "torch": torch.__version__}
