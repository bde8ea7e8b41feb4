"""What calibrating estimators share: a model, and its predictions for rows that it has not seen."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, MetaEstimatorMixin, RegressorMixin, clone
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import (
    BaseCrossValidator,
    GroupKFold,
    GroupShuffleSplit,
    KFold,
    ShuffleSplit,
    check_cv,
)
from sklearn.utils import Tags, _safe_indexing, get_tags, indexable
from sklearn.utils.validation import (
    _num_samples,
    check_is_fitted,
)
from torch import Tensor
from torch.distributions import Distribution

from .._given import checked_weights
from .._models import check_exposure_is_given, fit_arguments, fitted_with_exposure, takes_groups
from .._numbers import as_numbers, as_numpy, cells_named, check_finite, finite_numbers
from .._targets import checked_targets
from ..distributions.parts import device_of
from ..estimators.checks import check_integer, check_real, check_seed
from ..estimators.validation import check_groups
from ..scores.prediction import predicted_distribution

Rows = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Predictions for rows by a model that was not fitted to them."""

    rows: Rows
    distribution: Distribution
    y: Tensor


class CalibratedEstimator(MetaEstimatorMixin, RegressorMixin, BaseEstimator, ABC):
    """Base of `RecalibratedRegressor` and `ConformalRegressor`; not for use by itself."""

    estimator: Any
    cv: Any
    random_state: Any

    @abstractmethod
    def _calibrate(self, parts: list[HeldOut], sample_weight: NDArray[np.float64] | None, seed: int) -> None:
        """Set the fitted attributes that follow from held-out rows."""

    def _fit(self, X: Any, y: Any, sample_weight: Any = None, exposure: Any = None, groups: Any = None) -> Self:
        """Fit the model and calibrate it; where either fails, be unfitted."""
        self._forget()
        try:
            seed = check_seed(self.random_state)
            X, y, exposure = indexable(as_numpy(X), as_numbers(y, "y"), as_numpy(exposure))
            if y is None:
                raise ValueError(f"{type(self).__name__} requires y to be passed, but the target y is None.")
            check_finite(y, "y")
            if sample_weight is not None:
                with cells_named(sample_weight=sample_weight):
                    sample_weight = checked_weights(sample_weight, (_num_samples(X),)).cpu().numpy()
            numbers = check_groups(groups, _num_samples(X))
            labels = None if numbers is None else numbers.numpy()
            model, parts = self._fit_apart(X, y, sample_weight, exposure, labels, seed)
            self._calibrate(parts, sample_weight, seed)
            self.estimator_ = model
            for name in ("n_features_in_", "feature_names_in_"):
                if hasattr(model, name):
                    setattr(self, name, getattr(model, name))
        except BaseException:
            self._forget()
            raise
        return self

    def _fit_apart(
        self, X: Any, y: Any, sample_weight: Any, exposure: Any, groups: Any, seed: int
    ) -> tuple[Any, list[HeldOut]]:
        """The model for new rows, and what models say of the rows that they were not fitted to."""
        if isinstance(self.estimator, FrozenEstimator):
            if groups is not None:
                raise ValueError(
                    "`groups` say which rows are not to be split between the fit and the calibration, and a frozen "
                    "estimator is not fitted again. Pass no groups, and rows of groups that the estimator has not seen."
                )
            check_is_fitted(self.estimator)
            return self.estimator, [_held_out(self.estimator, X, y, exposure, np.arange(_num_samples(X)))]
        given = {"sample_weight": sample_weight, "exposure": exposure}
        if takes_groups(self.estimator):
            given["groups"] = groups
        fit_arguments(self.estimator, **given)  # raises before any fit
        if groups is not None and groups.max() == 0:
            raise ValueError(
                "`groups` must name at least 2 groups, of which some are fitted and others calibrate; got 1."
            )
        splits = list(self._splits(X, y, groups, seed))
        if groups is not None:
            _check_whole(splits, groups)
        parts = []
        for train, test in splits:
            model = _fit_clone(self.estimator, X, y, given, train)
            parts.append(_held_out(model, X, y, exposure, test))
        if len(splits) > 1:
            model = _fit_clone(self.estimator, X, y, given, np.arange(_num_samples(X)))
        return model, parts

    def _splits(self, X: Any, y: Any, groups: Any, seed: int) -> Iterable[tuple[Rows, Rows]]:
        cv: BaseCrossValidator | ShuffleSplit | GroupShuffleSplit
        if isinstance(self.cv, Integral):
            check_integer("cv", self.cv, 2)
            folds = KFold if groups is None else GroupKFold
            cv = folds(int(self.cv), shuffle=True, random_state=seed % 2**32)
        elif isinstance(self.cv, Real):
            check_real("cv", self.cv, 0.0, 1.0, open_low=True)
            shares = ShuffleSplit if groups is None else GroupShuffleSplit
            cv = shares(1, test_size=float(self.cv), random_state=seed % 2**32)
        elif self.cv is None:
            raise ValueError("`cv` must be a share of the rows, a number of folds, a splitter or splits; got None.")
        else:
            cv = check_cv(self.cv, y)
        splits: Iterable[tuple[Rows, Rows]] = cv.split(X, y, groups)
        return splits

    @torch.no_grad()
    def _model_distribution(self, X: Any, exposure: Any = None) -> Distribution:
        """What the model itself predicts."""
        check_is_fitted(self)
        return _distribution(self.estimator_, X, exposure)

    @property
    def fitted_with_exposure_(self) -> bool | None:
        """Whether the model has learned a rate per exposure."""
        return fitted_with_exposure(self.estimator_)

    def _forget(self) -> None:
        for name in [name for name in vars(self) if name.endswith("_") and not name.startswith("_")]:
            delattr(self, name)

    def __sklearn_is_fitted__(self) -> bool:
        return "estimator_" in vars(self)

    def __sklearn_tags__(self) -> Tags:
        tags: Tags = super().__sklearn_tags__()
        inner = get_tags(self.estimator)
        tags.input_tags, tags.target_tags = inner.input_tags, inner.target_tags
        tags.regressor_tags = inner.regressor_tags or tags.regressor_tags
        return tags


def _check_whole(splits: list[tuple[Rows, Rows]], groups: NDArray[np.int64]) -> None:
    for train, test in splits:
        split = np.intersect1d(groups[train], groups[test])
        if len(split):
            a, b = ((groups[rows] == split[0]).argmax() for rows in (train, test))
            raise ValueError(
                "`cv` must leave each of the `groups` on one side of a split; got rows "
                f"{np.arange(len(groups))[train][a]} and {np.arange(len(groups))[test][b]} of one group on either "
                "side. Pass a number of folds, a share, or a splitter such as GroupKFold(5)."
            )


def _fit_clone(estimator: Any, X: Any, y: Any, given: dict[str, Any], rows: Rows) -> Any:
    arguments = {name: None if values is None else _safe_indexing(values, rows) for name, values in given.items()}
    return clone(estimator).fit(
        _safe_indexing(X, rows), _safe_indexing(y, rows), **fit_arguments(estimator, **arguments)
    )


def _held_out(model: Any, X: Any, y: Any, exposure: Any, rows: Rows) -> HeldOut:
    check_exposure_is_given(model, exposure)
    part = None if exposure is None else _safe_indexing(exposure, rows)
    distribution = _distribution(model, _safe_indexing(X, rows), part)
    values = finite_numbers(_safe_indexing(y, rows), "y")
    targets = checked_targets(distribution, torch.tensor(values, device=device_of(distribution)))
    return HeldOut(rows, distribution, targets)


def _distribution(model: Any, X: Any, exposure: Any) -> Distribution:
    params = {} if exposure is None else {"exposure": exposure}
    return predicted_distribution(model.estimator if isinstance(model, FrozenEstimator) else model, X, **params)
