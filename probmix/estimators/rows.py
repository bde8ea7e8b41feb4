"""Preparing the rows that an estimator was given."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils.validation import _check_feature_names, check_array, validate_data
from torch import Tensor

from .._numbers import as_numbers, cells_named
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


def scaled(weights: Array) -> Array:
    """Weights in a unit, a power of two, in which no sum overflows."""
    exponent = np.frexp(weights.max(initial=0.0))[1]
    scaled: Array = np.ldexp(weights, -exponent)
    return scaled


def check_rows(estimator: object, X: object, shape: tuple[int, ...], name: str) -> Array:
    """Features of rows of the shape that the fit saw, under the same names.

    Raises
    ------
    ValueError
        For other shapes or names, text, NaN or infinite numbers.
    """
    X = as_numbers(X, name)
    if len(shape) == 1 and name == "X":
        # a table: in scikit-learn's own words
        with cells_named(X=X):
            table: Array = validate_data(estimator, X, dtype=np.float64, reset=False)
        return table
    with cells_named(**{name: X}):
        x: Array = check_array(
            X, dtype=np.float64, ensure_2d=False, allow_nd=True, input_name=name, ensure_min_samples=0
        )
    if x.shape[1:] != shape:
        expected = ", ".join(map(str, ("n", *shape)))
        raise ValueError(f"{name} must have shape ({expected}), as X in the fit; got {x.shape}.")
    if not len(x):
        raise ValueError(f"{name} must have at least one row; got none.")
    _check_feature_names(estimator, X, reset=False)
    return x
