"""Preparing the rows that an estimator was given."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils.validation import (
    _check_feature_names,
    _check_n_features,
    _num_samples,
    check_array,
    validate_data,
)
from torch import Tensor

from .._given import scaled
from .._numbers import as_numbers, as_numpy, cells_named
from ..columns import Columns
from ..columns.tables import are_named
from ..training import Rows

Array = NDArray[np.float64]
# Sums of weights that differ by less are equal.
_ROUNDING = 1e-12


def as_tensor(array: Array) -> Tensor:
    """An array as a tensor, which shares its memory if torch can read and write it."""
    return torch.from_numpy(np.require(array, requirements=["C", "W"]))


def canonical_rows(rows: Rows) -> tuple[Rows, NDArray[np.intp]]:
    """Bring rows into a form that depends on what they say and not on how it is written.

    Rows of weight zero are dropped, equal rows become one whose weight is the sum of theirs, and all are sorted. A row
    of weight two and the same row twice are then one training problem, bit for bit; copies of a row cannot be its
    neighbours, or stand on both sides of a split; the order of the rows and the unit of the weights are irrelevant.
    Weights have mean one, and there are none where all are equal.

    Returns
    -------
    rows : Rows
    place : ndarray, (n,)
        The row that each of the given ones became, -1 for those of weight zero.
    """
    place = np.full(len(rows), -1)
    kept = np.arange(len(rows))
    if rows.weight is not None:
        kept = np.flatnonzero(rows.weight.numpy())
        rows = rows.take(kept)
    weights = np.ones(len(kept)) if rows.weight is None else scaled(rows.weight.numpy())
    keys = sort_keys(rows.telling_apart().values())
    # those of equal rows are added up in one order, whatever that of the rows was
    order = np.lexsort(keys if rows.weight is None else [weights, *keys])
    is_new = starts(keys, order)
    place[kept[order]] = np.cumsum(is_new) - 1
    totals = np.add.reduceat(weights[order], np.flatnonzero(is_new))
    rows = rows.take(order[is_new])
    equal = len(totals) == 0 or np.ptp(totals) <= _ROUNDING * totals.max()
    return replace(rows, weight=None if equal else torch.from_numpy(totals / totals.mean())), place


def sort_keys(columns: Iterable[Tensor]) -> list[NDArray[Any]]:
    """The numbers of columns, (n, ...), as vectors by which rows can be sorted."""
    return [key for column in columns for key in column.reshape(len(column), -1).T.numpy()]


def starts(columns: Sequence[NDArray[Any]], order: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Which rows, in an order by these columns, differ from the one before."""
    differ = np.zeros(len(order), dtype=bool)
    differ[:1] = True
    for column in columns:
        ordered = column[order]
        differ[1:] |= ordered[1:] != ordered[:-1]
    return differ


def shape_of(X: Any) -> tuple[int, ...]:
    """The shape of what has one, or becomes an array that has."""
    return tuple(X.shape if hasattr(X, "shape") else np.asarray(X).shape)


def check_row_count(estimator: object, X: Any) -> None:
    """Raise unless there are two rows: one trains and one judges, or tells how far others are."""
    if _num_samples(X) < 2:
        raise ValueError(
            f"Found array with {_num_samples(X)} sample(s) (shape={shape_of(X)}) while a minimum of 2 is required by "
            f"{type(estimator).__name__}."
        )


def learn_columns(estimator: Any, X: Any, weights: Tensor | None) -> Array:
    """Learn what the columns of X are, and set `columns_`, `n_features_in_` and `feature_names_in_`.

    Parameters
    ----------
    estimator : DensityEstimator
    X : array-like, DataFrame or sparse, (n, F) or (n, ...)
    weights : Tensor, (n,), or None

    Returns
    -------
    ndarray, float64, (n, f) or (n, ...)
        The rows as they are stored.

    Raises
    ------
    ValueError
        For columns of which nothing can be learned, by their names.
    """
    if len(shape_of(X)) > 2:
        X = as_numbers(X, "X")
        with cells_named(X=X):
            x: Array = validate_data(estimator, X, dtype=np.float64, allow_nd=True)
        estimator.columns_ = None
        return x
    of_rows = None if weights is None else weights.numpy()
    columns, x = Columns.fit(X, categorical_features=estimator.categorical_features, sample_weight=of_rows)
    estimator.columns_, estimator.n_features_in_ = columns, columns.n_features_in_
    if columns.feature_names_in_ is not None:
        estimator.feature_names_in_ = columns.feature_names_in_
    return x


def check_rows(estimator: Any, X: Any, shape: tuple[int, ...], name: str) -> Array:
    """Rows as they are stored, of a table with the columns that the fit saw, or of the shape of a row there.

    Raises
    ------
    ValueError
        For other shapes or columns, and for infinite numbers; of what is no table also for text and NaN.
    """
    X = as_numpy(X)
    if estimator.columns_ is not None:
        if name != "X":
            _check_shape(X, (estimator.n_features_in_,), name, has_names=are_named(X, name))
        elif not are_named(X, name) and len(shape_of(X)) == 2:
            # in scikit-learn's own words
            _check_n_features(estimator, X, reset=False)
        x: Array = estimator.columns_.transform(X, name)
        return x
    X = as_numbers(X, name)
    with cells_named(**{name: X}):
        x = check_array(X, dtype=np.float64, ensure_2d=False, allow_nd=True, input_name=name, ensure_min_samples=0)
    _check_shape(x, shape, name)
    _check_feature_names(estimator, X, reset=False)
    return x


def _check_shape(X: Any, shape: tuple[int, ...], name: str, has_names: bool = False) -> None:
    """Raise unless there are rows, of that shape; columns that have names are to be found by them."""
    found = shape_of(X)
    if found[1:] != shape and not (has_names and len(found) == 2):
        expected = ", ".join(map(str, ("n", *shape)))
        raise ValueError(f"{name} must have shape ({expected}), as X in the fit; got {found}.")
    if not found[0]:
        raise ValueError(f"{name} must have at least one row; got none.")
