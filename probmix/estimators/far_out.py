"""A word about rows for which nothing was there to learn from."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .._told import warn
from ..columns import Columns
from ..networks import MemberNetwork
from .rows import check_rows

Array = NDArray[np.float64]
# A row is far out if it leaves the training range of a column by more than its length, and is more than this many
# units from the median, each at least as long as the range between the quartiles: heavy tails have rows beyond the
# range in every split.
_BEYOND, _UNITS = 1.0, 10.0


@dataclass(frozen=True)
class _FarOut:
    """The rows that are far out: their places, for each its farthest stored column, and how many units it is off."""

    rows: NDArray[np.intp]
    places: NDArray[np.intp]
    units: Array
    low: Array
    high: Array


def warn_far_out(x: Array, network: MemberNetwork, columns: Columns | None) -> None:
    """Warn, once a call, if rows of a table have numbers far outside what the network was trained on.

    Parameters
    ----------
    x : ndarray, (n, F) or (n, ...)
        As it is stored.
    network : MemberNetwork
        Fitted.
    columns : Columns or None
        What the fit learned of the columns; None for rows that are no table.
    """
    if columns is None:
        return
    found = _far_out(x, network)
    if not len(found.rows):
        return
    first = int(found.units.argmax())
    row, column = int(found.rows[first]), int(found.places[first])
    label = f"column {columns.layout.sources[column]}"
    label += f", {columns.layout.names[column]!r}," if columns.names else ""
    value, least, largest = _in_words(x, found, columns, first)
    warn(
        f"{len(found.rows)} of {len(x)} rows of X lie far outside the training range, which no network has learned "
        f"anything about; the farthest is row {row}: {label} has {value}, in training it was from "
        f"{least} to {largest}. Their predictions are those of rows at the edge of the training data. "
        "Check the units of these rows, or drop them."
    )


def far_out_table(estimator: Any, X: Any) -> pd.DataFrame:
    """The rows of a table that are far out, which predictions warn of; the farthest first.

    Parameters
    ----------
    estimator : DensityRegressor or DensityClassifier
        Fitted to a table.
    X : array-like, DataFrame or sparse, (n, F)

    Returns
    -------
    DataFrame
        A line of each such row: "row", its number from 0; "column", the name of the column that is the farthest;
        its "value" there, and "least" and "largest" of the training rows, in words; and "units", its distance from the
        median.
    """
    one, columns = estimator, estimator.columns_
    if hasattr(estimator, "candidates_"):
        # the first that predicts, as in the warning
        one = estimator.candidates_[int((estimator.stack_["weight"].to_numpy() > 0).argmax())]
    x = check_rows(estimator, X, estimator.input_shape_, "X")
    found = _far_out(x, one.network_)
    lines = [
        {
            "row": int(found.rows[place]),
            "column": columns.layout.names[int(found.places[place])],
            **dict(zip(("value", "least", "largest"), _in_words(x, found, columns, place), strict=True)),
            "units": float(found.units[place]),
        }
        for place in np.argsort(-found.units, kind="stable")
    ]
    return pd.DataFrame(lines, columns=["row", "column", "value", "least", "largest", "units"])


def _far_out(x: Array, network: MemberNetwork) -> _FarOut:
    units = (network.low.amin(0), network.high.amax(0), network.loc[0], network.scale.amax(0))
    low, high, centre, scale = (unit.squeeze(0).cpu().numpy() for unit in units)
    reach = np.maximum(_BEYOND * (high - low), 0.0)
    candidates = ((x < low - reach) | (x > high + reach)).any(1).nonzero()[0]
    outside = (x[candidates] < low - reach) | (x[candidates] > high + reach)
    z = np.where(outside, np.abs(x[candidates] - centre) / scale, 0.0)
    far = z.max(1, initial=0.0) > _UNITS
    z = z[far]
    places = z.argmax(1) if len(z) else np.zeros(0, dtype=np.intp)
    return _FarOut(candidates[far], places, z.max(1, initial=0.0), low, high)


def _in_words(x: Array, found: _FarOut, columns: Columns, number: int) -> tuple[str, str, str]:
    """The value of one of the rows in its farthest column, and the ends of the training range."""
    row, column = int(found.rows[number]), int(found.places[number])
    value, least, largest = (
        columns.in_words(column, one) for one in (float(x[row, column]), found.low[column], found.high[column])
    )
    return value, least, largest
