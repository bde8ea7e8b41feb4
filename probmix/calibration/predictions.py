"""What follows from a predicted distribution, for regressors that have nothing but that."""

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch.distributions import Distribution

from .._numbers import as_numpy, finite_numbers
from ..distributions.parts import device_of
from ..estimators.answers import check_shape, draws_of, interval_of, mean_of, quantiles_of
from ..scores import nll


class DistributionPredictions(ABC):
    """The methods of a density regressor that need only its `predict_dist`."""

    @abstractmethod
    def predict_dist(self, X: ArrayLike) -> Distribution:
        """The predicted distribution of each row."""

    def predict(self, X: ArrayLike) -> NDArray[np.float64]:
        """Mean of the predicted distribution: (n, F) -> (n,) or (n, d)."""
        return mean_of(self.predict_dist(X))

    def predict_quantile(self, X: ArrayLike, q: float | ArrayLike) -> NDArray[np.float64]:
        """Quantiles of the predicted distribution, target by target.

        Parameters
        ----------
        X : array-like, (n, F)
        q : float, or array-like of Q floats, in (0, 1)

        Returns
        -------
        ndarray, (n[, d]), or (n, [d,] Q) for an array of levels
            For counts the smallest y with P(Y <= y) >= q.
        """
        return quantiles_of(self.predict_dist(X), q)

    def predict_interval(self, X: ArrayLike, coverage: float = 0.9) -> NDArray[np.float64]:
        """Central prediction interval, target by target.

        Parameters
        ----------
        X : array-like, (n, F)
        coverage : float in (0, 1)

        Returns
        -------
        ndarray, (n, [d,] 2)
            Lower and upper end: the quantiles at (1 - coverage) / 2 and (1 + coverage) / 2.
        """
        return interval_of(self.predict_dist(X), coverage)

    def sample(self, X: ArrayLike, n_samples: int = 1, random_state: Any = None) -> NDArray[np.float64]:
        """Draws from the predicted distribution: (n, F) -> (n_samples, n[, d]); torch's generator is left alone."""
        draws: NDArray[np.float64] = draws_of(self.predict_dist(X), n_samples, random_state).double().cpu().numpy()
        return draws

    @torch.no_grad()
    def log_prob(self, X: ArrayLike, y: ArrayLike) -> NDArray[np.float64]:
        """Log-density or log-probability of each target, in the user's units: (n, F), (n,) or (n, d) -> (n,)."""
        distribution = self.predict_dist(X)
        targets = finite_numbers(y, "y")
        check_shape(targets, distribution)
        negative = nll(distribution, torch.tensor(targets, device=device_of(distribution)))
        log_prob: NDArray[np.float64] = -negative.double().cpu().numpy()
        return log_prob

    def score(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """Mean log-likelihood in the user's units; larger is better.

        Parameters
        ----------
        X : array-like, (n, F)
        y : array-like, (n,) or (n, d)
        sample_weight : array-like, (n,), optional
        """
        weights = None if sample_weight is None else np.asarray(as_numpy(sample_weight), dtype=np.float64)
        return float(np.average(self.log_prob(X, y), weights=weights))
