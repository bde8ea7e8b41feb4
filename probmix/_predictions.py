"""What follows from a predicted distribution."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch.distributions import Distribution

from ._answers import check_shape, draws_of, interval_of, mean_of, quantiles_of
from ._given import mean_over_rows
from ._models import check_exposure_is_given
from ._numbers import finite_numbers
from ._targets import checked_targets
from .distributions.parts import device_of
from .distributions.scoring import marginal_nll


class NumberPredictions(ABC):
    """What is told of the numbers that a predicted distribution stands for."""

    @abstractmethod
    def predict_dist(self, X: ArrayLike, exposure: ArrayLike | None = None) -> Distribution:
        """The predicted distribution of each row."""

    def predict(self, X: ArrayLike, exposure: ArrayLike | None = None) -> NDArray[np.float64]:
        """Mean of the predicted distribution: (n, F) -> (n,) or (n, d)."""
        return mean_of(self.predict_dist(X, exposure))

    def predict_quantile(
        self, X: ArrayLike, q: float | ArrayLike, exposure: ArrayLike | None = None
    ) -> NDArray[np.float64]:
        """Quantiles of the predicted distribution, target by target.

        Parameters
        ----------
        X : array-like, (n, F)
        q : float, or array-like of Q floats, in (0, 1)
        exposure : array-like, (n,), optional

        Returns
        -------
        ndarray, (n[, d]), or (n, [d,] Q) for an array of levels
            For counts the smallest y with P(Y <= y) >= q.
        """
        return quantiles_of(self.predict_dist(X, exposure), q)

    def predict_interval(
        self, X: ArrayLike, coverage: float = 0.9, exposure: ArrayLike | None = None
    ) -> NDArray[np.float64]:
        """Central prediction interval, target by target.

        Parameters
        ----------
        X : array-like, (n, F)
        coverage : float in (0, 1)
        exposure : array-like, (n,), optional

        Returns
        -------
        ndarray, (n, [d,] 2)
            Lower and upper end: the quantiles at (1 - coverage) / 2 and (1 + coverage) / 2.
        """
        return interval_of(self.predict_dist(X, exposure), coverage)

    def sample(
        self, X: ArrayLike, n_samples: int = 1, random_state: Any = None, exposure: ArrayLike | None = None
    ) -> NDArray[np.float64]:
        """Draws from the predicted distribution: (n, F) -> (n_samples, n[, d]); torch's generator is left alone.

        `probmix.scores.evaluate` and what else takes draws of others wants a line for each row, their transpose.
        """
        draws = draws_of(self.predict_dist(X, exposure), n_samples, random_state)
        array: NDArray[np.float64] = draws.double().cpu().numpy()
        return array


class DistributionPredictions(NumberPredictions):
    """The methods of a density regressor that need only its `predict_dist`."""

    def _numerical(self, y: Any) -> NDArray[Any]:
        """Targets to score, as numbers."""
        return finite_numbers(y, "y")

    @torch.no_grad()
    def log_prob(self, X: ArrayLike, y: ArrayLike, exposure: ArrayLike | None = None) -> NDArray[np.float64]:
        """Log-density or log-probability of each target, in the user's units: (n, F), (n,) or (n, d) -> (n,)."""
        check_exposure_is_given(self, exposure)
        distribution = self.predict_dist(X, exposure)
        targets = self._numerical(y)
        check_shape(targets, distribution)
        target = checked_targets(distribution, torch.tensor(targets, device=device_of(distribution)))
        log_prob: NDArray[np.float64] = -marginal_nll(distribution, target).double().cpu().numpy()
        return log_prob

    def score(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        exposure: ArrayLike | None = None,
    ) -> float:
        """Mean log-likelihood in the user's units; larger is better.

        Parameters
        ----------
        X : array-like, (n, F)
        y : array-like, (n,) or (n, d)
        sample_weight, exposure : array-like, (n,), optional
        """
        return mean_over_rows(self.log_prob(X, y, exposure), sample_weight)
