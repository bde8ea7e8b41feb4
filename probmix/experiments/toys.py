"""Experiments on simulated data: a seed gives the data and the training."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..estimators import DensityClassifier, DensityRegressor, fit_together
from .base import Experiment, Outcome
from .fitting import Fit, best_fits, resolved_device, schedule, with_mixup
from .methods import Strength, candidates, check_methods, check_positive
from .store import Unit
from .tabular import versions

Rows = tuple[NDArray[Any], NDArray[Any]]


class ToyExperiment(Experiment):
    """What experiments on simulated data share: methods at some strengths, all seeds of each fitted as one.

    The keys "alpha", "beta", "method" and "seed" of a unit say what is fitted; a subclass may add others that say what
    the fits are tested on.

    Parameters
    ----------
    methods : sequence of str
        Presets of `probmix.mixup`, or with a pool as in "m-probmix:linear".
    n_seeds, epochs : int
    alphas, betas : sequence of float or "auto"
        As in `candidates`; each combination has rows of its own in the tables.
    batch_size : int or None
        None for full batches.
    device : {"auto", "cpu", "cuda"}

    Raises
    ------
    ValueError
        For unknown names, with the near misses, and numbers out of range; before any work.
    """

    repeat = "seed"
    model: type[DensityRegressor] | type[DensityClassifier]
    # what is tested with each fit, as keys of its units
    tests: Sequence[Mapping[str, str]] = ({},)

    def __init__(
        self,
        methods: Sequence[str],
        n_seeds: int,
        epochs: int,
        alphas: Sequence[Strength],
        betas: Sequence[Strength],
        batch_size: int | None,
        device: str,
    ) -> None:
        check_positive(n_seeds=n_seeds, epochs=epochs)
        if not alphas or not betas:
            raise ValueError("at least one alpha and one beta must be given, as a number or 'auto'.")
        self._strengths = [(alpha, beta) for alpha in dict.fromkeys(alphas) for beta in dict.fromkeys(betas)]
        for alpha, beta in self._strengths:
            self.methods = check_methods(methods, alpha, beta)
        self._n_seeds = n_seeds
        self.settings: dict[str, Any] = {
            "experiment": type(self).__name__,
            "epochs": epochs,
            "batch_size": batch_size,
            "device": resolved_device(device),
            **versions(),
        }

    @abstractmethod
    def training_rows(self, seed: int) -> Rows:
        """Simulated features and targets."""

    @abstractmethod
    def outcome(self, unit: Unit, fit: Fit) -> Outcome:
        """Scores of the unit's fit on simulated test rows, without what the fit itself says."""

    def estimator(self) -> DensityRegressor | DensityClassifier:
        """The unfitted estimator, with the network and the rate of the paper, but for its mixup and its seed."""
        return self.model(preset="plain", hidden_layer_sizes=(128, 64), **schedule(self.settings, learning_rate=0.01))

    def units(self) -> list[Unit]:
        """In the order of the tables; what is tested of a fit is one job."""
        return [
            {**test, "alpha": alpha, "beta": beta, "method": method, "seed": seed}
            for test in self.tests
            for alpha, beta in self._strengths
            for method in self.methods
            for seed in range(self._n_seeds)
        ]

    def job(self, unit: Unit) -> Unit:
        """All seeds and tests; where rows are not mixed, at all strengths, which make no difference then."""
        method = {"method": unit["method"]}
        if candidates(str(unit["method"]), 1.0, 0.0)[0].beta is None:
            return method
        return {"alpha": unit["alpha"], "beta": unit["beta"], **method}

    def work(self, units: Sequence[Unit]) -> list[Outcome]:
        """Fit one method to the data of some seeds, and score each fit."""
        seeds = sorted({int(unit["seed"]) for unit in units})
        sets = [self.training_rows(seed) for seed in seeds]
        X, y = (np.concatenate(parts) for parts in zip(*sets, strict=True))
        ends = np.cumsum([len(rows) for _, rows in sets])
        splits = np.split(np.arange(len(y)), ends[:-1])
        tried = candidates(str(units[0]["method"]), _strength(units[0]["alpha"]), _strength(units[0]["beta"]))
        estimator = self.estimator()
        fits = best_fits(tried, lambda mixup: fit_together(with_mixup(estimator, mixup), X, y, splits, seeds))
        by_seed = dict(zip(seeds, fits, strict=True))
        outcomes = []
        for unit in units:
            fit = by_seed[int(unit["seed"])]
            outcome = self.outcome(unit, fit)
            outcomes.append(Outcome({**outcome.scores, **fit.chosen()}, outcome.details))
        return outcomes


def _strength(value: str | float) -> Strength:
    return "auto" if value == "auto" else float(value)
