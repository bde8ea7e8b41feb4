"""Recalibration of a density regressor on rows that it has not seen."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torch.distributions import Distribution

from .._predictions import DistributionPredictions
from ..distributions import has_atoms
from ..distributions.normal_scores import from_probability, normal_score
from ..distributions.parts import device_of, widen
from ..scores import pit
from .distribution import recalibrate
from .held_out import CalibratedEstimator, HeldOut
from .pit_map import fit_to_scores


class RecalibratedRegressor(DistributionPredictions, CalibratedEstimator):
    r"""A density regressor whose predicted cdf is sent through a map that makes its PIT uniform on held-out rows.

    With F(y | x) the cdf that the model predicts and G that of its PIT :math:`F(Y | X)` on rows that it was not fitted
    to, the prediction becomes :math:`G(F(y | x))`. One map serves all x: quantiles have the right coverage on average
    over rows, not at each x, and the ranking of rows by their spread is still the model's.

    Parameters
    ----------
    estimator : estimator with `fit` and `predict_dist`
        Such as a DensityRegressor; also a Pipeline that ends in one, or a search over one. It is cloned and left alone.
        A fitted one, wrapped in `sklearn.frozen.FrozenEstimator`, is taken as it is, and all rows of `fit` calibrate
        it: they must be rows that it has not seen.
    cv : int, float, splitter or iterable of (train, test)
        Which rows calibrate. With an integer, the number of folds of shuffled rows, or several splits, the PIT of each
        row comes from a model that has not seen it, and the model for new rows is then fitted to all: so many fits and
        one more. A float in (0, 1) is a random share of the rows that is held out from the one fit, which is cheaper
        and worse; so is a splitter with a single split. Rows that depend on each other belong on one side of each
        split: see the `groups` of `fit`.
    random_state : int, RandomState, Generator or None
        Of the split, and of the randomised PIT of counts. None takes a seed from the operating system.

    Attributes
    ----------
    estimator_ : estimator
        The fitted model.
    pit_map_ : PITMap
        G; for several targets one for each.
    n_features_in_ : int, where the model has it
    feature_names_in_ : ndarray of str, where the model has it

    Notes
    -----
    Several targets must be independent within a row, as one DensityRegressor predicts them; the mixture over an
    ensemble is not, its log-linear pool is. Weights of rows count in the fit of the model and in the map.

    References
    ----------
    Kuleshov, Fenner and Ermon (2018), Accurate uncertainties for deep learning using calibrated regression, ICML.

    Examples
    --------
    >>> import numpy as np
    >>> from probmix import DensityRegressor
    >>> from probmix.calibration import RecalibratedRegressor
    >>> rng = np.random.default_rng(0)
    >>> X = rng.uniform(-1, 1, (300, 1))
    >>> y = X[:, 0] + rng.exponential(size=300)
    >>> single = DensityRegressor("gaussian", n_members=1, max_epochs=10, random_state=0)
    >>> model = RecalibratedRegressor(single, random_state=0).fit(X, y)
    >>> model.predict_dist(X[:3]).base.loc.shape
    torch.Size([3])
    >>> model.predict_interval(X[:3], coverage=0.9).shape
    (3, 2)
    """

    def __init__(self, estimator: Any, *, cv: Any = 5, random_state: Any = None) -> None:
        self.estimator = estimator
        self.cv = cv
        self.random_state = random_state

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        exposure: ArrayLike | None = None,
        groups: ArrayLike | None = None,
    ) -> Self:
        """Fit the model, unless it is frozen, and the map of its PIT.

        Parameters
        ----------
        X : array-like, (n, ...)
            As the model takes it.
        y : array-like, (n,) or (n, d)
        sample_weight : array-like, (n,), optional
            Non-negative.
        exposure : array-like, (n,), optional
            Of counts, as the model takes it; then also needed for scores of the fitted regressor.
        groups : array-like, (n,), optional
            Labels of groups, such as subjects with several measurements: all rows of a group are either fitted or
            calibrate, and a model whose `fit` takes groups gets them for its own validation. Folds and shares are then
            of groups. Searches pass them on by metadata routing, ``set_fit_request(groups=True)``.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For too few rows or groups to split, groups that `cv` splits, several targets that depend on each other
            within a row, or what the model raises.
        TypeError
            If the model predicts no distribution, or its `fit` takes no weights or exposures and there are some.

        Notes
        -----
        A fit that fails leaves the estimator unfitted, also if it was fitted before.
        """
        return self._fit(X, y, sample_weight, exposure, groups)

    def _calibrate(self, parts: list[HeldOut], sample_weight: NDArray[np.float64] | None, seed: int) -> None:
        generator = torch.Generator(device_of(parts[0].distribution)).manual_seed(seed)
        values = np.concatenate([_normal_scores(part, generator).cpu().numpy() for part in parts])
        weights = None if sample_weight is None else np.concatenate([sample_weight[part.rows] for part in parts])
        self.pit_map_ = fit_to_scores(values, weights)
        # so that targets that depend on each other are an error here and not in the first prediction
        recalibrate(parts[0].distribution, self.pit_map_.to(device_of(parts[0].distribution)))

    def predict_dist(self, X: Any, exposure: ArrayLike | None = None) -> Distribution:
        """The recalibrated distribution of each row.

        Parameters
        ----------
        X : array-like, (n, ...)
        exposure : array-like, (n,), optional

        Returns
        -------
        Recalibrated, batch shape (n,)
            For several targets `Independent` of batch shape (n,) and event shape (d,).
        """
        distribution = self._model_distribution(X, exposure)
        return recalibrate(distribution, self.pit_map_.to(device_of(distribution)))


def _normal_scores(part: HeldOut, generator: torch.Generator) -> Tensor:
    """Of the PIT, which is randomised for counts and on point masses."""
    wide, y = widen(part.distribution), part.y.double()
    return from_probability(pit(wide, y, generator)) if has_atoms(wide) else normal_score(wide, y)
