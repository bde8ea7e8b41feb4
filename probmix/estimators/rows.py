"""Preparing the rows that an estimator was given."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import _check_feature_names, check_array, validate_data

from .._numbers import as_numbers, cells_named

Array = NDArray[np.float64]
# Sums of weights that differ by less are equal.
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Rows:
    """Rows of data.

    Attributes
    ----------
    x, y : ndarray, (n, ...) and (n,) or (n, d)
    sample_weight : ndarray, (n,), non-negative, or None
    log_exposure : ndarray, (n,), or None
    label : ndarray of int, (n,), or None
        Rows of different labels are not equal, whatever else they have in common.
    """

    x: Array
    y: Array
    sample_weight: Array | None = None
    log_exposure: Array | None = None
    label: NDArray[np.intp] | None = None

    def take(self, which: NDArray[Any]) -> "Rows":
        """Some of the rows, by a mask or by their numbers."""
        rest = (None if one is None else one[which] for one in (self.sample_weight, self.log_exposure, self.label))
        return Rows(self.x[which], self.y[which], *rest)


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
    place = np.full(len(rows.x), -1)
    kept = np.arange(len(rows.x))
    if rows.sample_weight is not None:
        kept = np.flatnonzero(rows.sample_weight)
        rows = rows.take(kept)
    weights = np.ones(len(kept)) if rows.sample_weight is None else scaled(rows.sample_weight)
    columns: list[NDArray[Any]] = [] if rows.label is None else [rows.label]
    columns += [*rows.x.reshape(len(kept), -1).T, *np.atleast_2d(rows.y.T)]
    columns += [] if rows.log_exposure is None else [rows.log_exposure]
    # those of equal rows are added up in one order, whatever that of the rows was
    order = np.lexsort(columns if rows.sample_weight is None else [weights, *columns])
    is_new = starts(columns, order)
    place[kept[order]] = np.cumsum(is_new) - 1
    totals = np.add.reduceat(weights[order], np.flatnonzero(is_new))
    rows = rows.take(order[is_new])
    equal = len(totals) == 0 or np.ptp(totals) <= _ROUNDING * totals.max()
    return replace(rows, sample_weight=None if equal else totals / totals.mean()), place


def stacked(rows: Rows, others: Rows) -> Rows:
    """Rows with others under them; without weights they weigh one each."""
    weights = None
    if rows.sample_weight is not None or others.sample_weight is not None:
        weights = np.concatenate(
            [np.ones(len(one.x)) if one.sample_weight is None else one.sample_weight for one in (rows, others)]
        )
    exposures = [one for one in (rows.log_exposure, others.log_exposure) if one is not None]
    return Rows(
        np.concatenate([rows.x, others.x]),
        np.concatenate([rows.y, others.y]),
        weights,
        np.concatenate(exposures) if exposures else None,
    )


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
        x: Array = check_array(X, dtype=np.float64, ensure_2d=False, allow_nd=True, input_name=name)
    if x.shape[1:] != shape:
        expected = ", ".join(map(str, ("n", *shape)))
        raise ValueError(f"{name} must have shape ({expected}), as X in the fit; got {x.shape}.")
    _check_feature_names(estimator, X, reset=False)
    return x
