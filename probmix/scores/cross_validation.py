"""Distributions of rows by models that have not seen them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.base import clone, is_classifier
from sklearn.model_selection import check_cv
from sklearn.utils import _safe_indexing, indexable
from sklearn.utils.validation import _num_samples
from torch.distributions import Distribution

from .._models import fit_arguments
from .._numbers import as_numpy
from ..distributions import concatenate
from ._entries import takes_exposure
from .prediction import predicted_distribution


def cross_val_predict_dist(
    estimator: Any,
    X: Any,
    y: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    cv: Any = None,
    params: Mapping[str, Any] | None = None,
) -> Distribution:
    """The distribution of every row by a model that was fitted to the other folds; scikit-learn's `cross_val_predict`.

    For out-of-fold intervals, PIT histograms and scores: the result is scored against y like any other prediction.

    Parameters
    ----------
    estimator : estimator
        That predicts distributions, see `probmix.adapters.adapt`. Cloned for every fold and left alone.
    X : array-like, (n, ...)
    y : array-like, (n,) or (n, d)
    groups : array-like, (n,), optional
        For splitters of groups.
    cv : int, splitter or iterable of (train, test), optional
        As in scikit-learn: 5 folds without shuffling, stratified for classifiers. Each row is in one test part.
    params : dict, optional
        Values of rows for `fit`, such as ``{"sample_weight": w}``. An ``exposure`` is given to the predictions as well.
        A pipeline passes them to its last step.

    Returns
    -------
    distribution, batch shape (n,)
        Rows in the order of X; see `probmix.distributions.concatenate` for the class. Of classes in the order of
        ``np.unique(y)``.

    Raises
    ------
    TypeError
        If the estimator predicts no distributions, or its `fit` does not take one of `params`.
    ValueError
        If a row is in no test part or in several, or a fold lacks a class.

    Notes
    -----
    A DensityRegressor with ``validation="folds"`` has `oof_dist` for nothing.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import BayesianRidge
    >>> from probmix.scores import coverage, cross_val_predict_dist
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(200, 1))
    >>> y = X[:, 0] + rng.normal(size=200)
    >>> predicted = cross_val_predict_dist(BayesianRidge(), X, y)
    >>> predicted
    Normal(loc: torch.Size([200]), scale: torch.Size([200]))
    >>> round(coverage(predicted, y, 0.9).mean().item(), 2)
    0.92
    """
    X, y, groups = indexable(as_numpy(X), as_numpy(y), groups)
    values = {name: as_numpy(value) for name, value in (params or {}).items() if value is not None}
    indexable(X, *values.values())
    classes = np.unique(np.asarray(y)) if is_classifier(estimator) else None
    splits = list(check_cv(cv, y, classifier=classes is not None).split(X, y, groups))
    _check_partition([test for _, test in splits], _num_samples(X))
    parts = []
    for train, test in splits:
        given = fit_arguments(estimator, **{name: _safe_indexing(value, train) for name, value in values.items()})
        fitted = clone(estimator).fit(_safe_indexing(X, train), _safe_indexing(y, train), **given)
        if classes is not None:
            _check_classes(fitted, classes)
        exposure = {}
        if "exposure" in values and takes_exposure(fitted):
            exposure["exposure"] = _safe_indexing(values["exposure"], test)
        parts.append(predicted_distribution(fitted, _safe_indexing(X, test), **exposure))
    return concatenate(parts, [torch.as_tensor(test) for _, test in splits])


def _check_partition(tests: list[Any], n: int) -> None:
    times = np.bincount(np.concatenate(tests), minlength=n)
    if (times != 1).any():
        row = int((times != 1).argmax())
        raise ValueError(
            f"`cv` must put each row into one test part, as KFold does; row {row} is in {times[row]} of {len(tests)}."
        )


def _check_classes(fitted: Any, classes: Any) -> None:
    missing = np.setdiff1d(classes, fitted.classes_)
    if len(missing):
        raise ValueError(
            f"every fold must be trained on all classes; one lacks {missing.tolist()[0]!r}. Use StratifiedKFold, or "
            "fewer folds."
        )
