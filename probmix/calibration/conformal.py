"""Conformal prediction intervals from the PIT of a density regressor."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import r2_score

from .._given import checked_weights
from .._models import check_exposure_is_given
from .._numbers import finite_numbers
from ..distributions import cdf_below, has_atoms, icdf
from ..distributions.normal_scores import WIDEST, from_normal_score, from_probability, normal_score
from ..distributions.parts import device_of, widen
from ..estimators.checks import check_real
from .held_out import CalibratedEstimator, HeldOut

# Levels, as normal scores, are moved outwards by this much, so that rounding does not leave out a row that meets the
# end of its interval exactly, as the equal of a calibration row does.
_OUTWARDS = 1e-9


class ConformalRegressor(CalibratedEstimator):
    r"""Prediction intervals that hold a new target with at least the promised probability, whatever the model is worth.

    Split distributional conformal prediction. With F(y | x) the cdf that a model predicts, :math:`u_i = F(y_i | x_i)`
    on n calibration rows that the model was not fitted to, and c the coverage, the interval at x goes from
    :math:`F^{-1}(u_{(k)} | x)` to :math:`F^{-1}(u_{(n + 1 - k)} | x)`, between the k-th smallest and the k-th largest,

    .. math:: k = \lfloor (n + 1)(1 - c)/2 \rfloor

    If the calibration rows and a new one are exchangeable, for example drawn independently from one law, the target of
    the new row lies below the interval with a probability of at most (1 - c)/2, and above likewise; and so inside with
    at least c. Both are averages over rows, calibration rows included, not statements at each x. Without ties the
    probability inside is exactly :math:`1 - 2k/(n + 1)`, above c by less than 2/(n + 1).

    Parameters
    ----------
    estimator : estimator with `fit` and `predict_dist`
        Such as a DensityRegressor; also a Pipeline that ends in one, a search over one, or a RecalibratedRegressor. It
        is cloned and left alone. A fitted one, wrapped in `sklearn.frozen.FrozenEstimator`, is taken as it is, and all
        rows of `fit` calibrate it: they must be rows that it has not seen.
    cv : float, splitter or iterable of one (train, test)
        Which rows calibrate, the model being fitted to the others: a random share of them, or those that a single
        split names. With several folds there would be no such guarantee.
    random_state : int, RandomState, Generator or None
        Of the split. None takes a seed from the operating system.

    Attributes
    ----------
    estimator_ : estimator
        The fitted model.
    upper_scores_, lower_scores_ : ndarray, (n,) or (n, d)
        Sorted normal scores :math:`\Phi^{-1}(F(y_i | x_i))` of the calibration rows, and the same just below
        :math:`y_i`, which is another number for counts: :math:`\Phi^{-1}(F(y_i - 1 | x_i))`.
    n_below_, n_above_ : ndarray, () or (d,)
        How many calibration rows lie below the support of what the model predicts for them, and above it.
    n_features_in_ : int, where the model has it
    feature_names_in_ : ndarray of str, where the model has it

    Notes
    -----
    - With fewer than 2/(1 - c) - 1 calibration rows, 19 for 90 %, no finite end can be promised: the interval is then
      the support of the distribution, infinite for a Gaussian. Where targets lie outside of that support, as those of
      draws or quantiles may, an end is infinite as soon as they are as many as the promise lets miss it. So is an end
      where more than (1 - c)/2 of the calibration rows lie so far out that F is 0 or 1 to float64's precision, which is
      no limit for Gaussians, LogNormals and mixtures of these. A RecalibratedRegressor as the model keeps the order of
      rows, and so changes nothing but the split.
    - For counts the interval holds the integers k with :math:`F(k) \ge` the k-th smallest F(y) and
      :math:`F(k - 1) \le` the k-th largest F(y - 1); its ends are whole numbers, and it covers more than c where
      probabilities are lumpy. Where no integer is left, both ends change places.
    - For several targets the promise holds for each by itself.
    - With `groups` whole groups are exchangeable, not their rows: the coverage is then about what is promised, and the
      more so the more groups there are.
    - `fit` takes no weights: the promise is one about rows that are alike. Fit the model with weights first and freeze
      it.

    References
    ----------
    Vovk, Gammerman and Shafer (2005), Algorithmic Learning in a Random World, Springer.
    Chernozhukov, Wüthrich and Zhu (2021), Distributional conformal prediction, PNAS 118(48).
    Romano, Patterson and Candès (2019), Conformalized quantile regression, NeurIPS (both tails apart).

    Examples
    --------
    >>> import numpy as np
    >>> from probmix import DensityRegressor
    >>> from probmix.calibration import ConformalRegressor
    >>> rng = np.random.default_rng(0)
    >>> X = rng.uniform(-1, 1, (400, 1))
    >>> y = X[:, 0] + rng.exponential(size=400)
    >>> model = ConformalRegressor(DensityRegressor(max_epochs=10, random_state=0), random_state=0)
    >>> model = model.fit(X[:300], y[:300])
    >>> low, high = model.predict_interval(X[300:], coverage=0.8).T
    >>> bool(np.mean((low <= y[300:]) & (y[300:] <= high)) > 0.7)
    True
    """

    def __init__(self, estimator: Any, *, cv: Any = 0.25, random_state: Any = None) -> None:
        self.estimator = estimator
        self.cv = cv
        self.random_state = random_state

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        exposure: ArrayLike | None = None,
        groups: ArrayLike | None = None,
        **other: Any,
    ) -> Self:
        """Fit the model, unless it is frozen, and take the PIT of the calibration rows.

        Parameters
        ----------
        X : array-like, (n, ...)
            As the model takes it.
        y : array-like, (n,) or (n, d)
        exposure : array-like, (n,), optional
            Of counts, as the model takes it.
        groups : array-like, (n,), optional
            Labels of groups, such as subjects with several measurements: all rows of a group are either fitted or
            calibrate, and a model whose `fit` takes groups gets them for its own validation. Folds and shares are then
            of groups. Searches pass them on by metadata routing, ``set_fit_request(groups=True)``.
        **other
            Nothing more: `sample_weight` is refused in words.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For too few rows or groups to split, several splits, groups that `cv` splits, or what the model raises.
        TypeError
            If the model predicts no distribution, its `fit` takes no exposures and there are some, or for weights.

        Notes
        -----
        A fit that fails leaves the estimator unfitted, also if it was fitted before.
        """
        if "sample_weight" in other:
            raise TypeError(
                "`fit` of ConformalRegressor takes no `sample_weight`, for the coverage is promised to rows that are "
                "alike. Fit the model with weights first, and pass FrozenEstimator(model) and rows that it has not "
                "seen."
            )
        if other:
            raise TypeError(f"`fit` of ConformalRegressor has no argument `{next(iter(other))}`.")
        return self._fit(X, y, exposure=exposure, groups=groups)

    def _splits(self, X: Any, y: Any, groups: Any, seed: int) -> Any:
        splits = list(super()._splits(X, y, groups, seed))
        if len(splits) != 1:
            raise ValueError(
                f"`cv` must hold out one part of the rows, for which the coverage can be promised; got {self.cv!r} of "
                f"{len(splits)} splits. Pass a share such as 0.25."
            )
        return splits

    def _calibrate(self, parts: list[HeldOut], sample_weight: NDArray[np.float64] | None, seed: int) -> None:
        (part,) = parts
        distribution, y = widen(part.distribution), part.y.double()
        upper = normal_score(distribution, y)
        lower = from_probability(cdf_below(distribution, y)) if has_atoms(distribution) else upper
        self.upper_scores_, self.lower_scores_ = (np.sort(score.cpu().numpy(), axis=0) for score in (upper, lower))
        # rows whose targets the model holds for impossible: no end of its support is far enough for them
        first, last = (icdf(distribution, torch.full_like(y, level)) for level in (0.0, 1.0))
        self.n_below_, self.n_above_ = (beyond.sum(0).cpu().numpy() for beyond in (y < first, y > last))

    def predict(self, X: ArrayLike, exposure: ArrayLike | None = None) -> NDArray[np.float64]:
        """Mean of the distribution that the model predicts: (n, F) -> (n,) or (n, d)."""
        mean: NDArray[np.float64] = self._model_distribution(X, exposure).mean.double().cpu().numpy()
        return mean

    def score(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        exposure: ArrayLike | None = None,
    ) -> float:
        """Coefficient of determination of the mean, as of scikit-learn's regressors; larger is better.

        Parameters
        ----------
        X : array-like, (n, F)
        y : array-like, (n,) or (n, d)
        sample_weight, exposure : array-like, (n,), optional
        """
        check_exposure_is_given(self, exposure)
        y = finite_numbers(y, "y")
        weights = None if sample_weight is None else checked_weights(sample_weight, y.shape[:1]).cpu().numpy()
        return float(r2_score(y, self.predict(X, exposure), sample_weight=weights))

    @torch.no_grad()
    def predict_interval(
        self, X: ArrayLike, coverage: float = 0.9, exposure: ArrayLike | None = None
    ) -> NDArray[np.float64]:
        """Conformal prediction interval, target by target.

        Parameters
        ----------
        X : array-like, (n, F)
        coverage : float in (0, 1)
            At least with this probability the interval, ends included, holds the target of a new row.
        exposure : array-like, (n,), optional

        Returns
        -------
        ndarray, (n, [d,] 2)
            Lower and upper end; whole numbers for counts, infinite where there are too few calibration rows.
        """
        check_real("coverage", coverage, 0.0, 1.0, open_low=True)
        distribution = widen(self._model_distribution(X, exposure))
        atoms, device = has_atoms(distribution), device_of(distribution)
        # 0.9 is meant as the decimal, not as the double below it: (1 - 0.9) / 2 * 20 is 1 and not a little less
        k = int((len(self.upper_scores_) + 1) * (1 - Fraction(str(float(coverage)))) / 2)
        nothing = np.full_like(self.upper_scores_[0], -np.inf)
        lowest, highest = (self.upper_scores_[k - 1], self.lower_scores_[-k]) if k else (nothing, -nothing)
        # to float64 a cdf of nearly 1 is one; but the probability of less than a zero is truly zero
        lowest = np.where(lowest == np.inf, WIDEST, lowest)
        highest = highest if atoms else np.where(highest == -np.inf, -WIDEST, highest)
        shape = distribution.batch_shape + distribution.event_shape
        below, above = (
            torch.as_tensor(score + _OUTWARDS * sign, dtype=torch.float64, device=device).expand(shape)
            for score, sign in ((lowest, -1), (highest, 1))
        )
        # moved outwards, a level that the cdf of a count meets exactly leads to the next count, as it has to
        low, high = from_normal_score(distribution, below), from_normal_score(distribution, above)
        ends = torch.stack([torch.minimum(low, high), torch.maximum(low, high)], -1)
        interval: NDArray[np.float64] = ends.cpu().numpy()
        interval[..., 0] = np.where(self.n_below_ >= max(k, 1), -np.inf, interval[..., 0])
        interval[..., 1] = np.where(self.n_above_ >= max(k, 1), np.inf, interval[..., 1])
        return interval
