"""Series that are checked, and how many windows each has in the parts of a split."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from .._names import unknown_name

Series = ArrayLike | pd.DataFrame | pd.Series

_PARTS = ("training", "validation", "test")


@dataclass(frozen=True, eq=False)
class CutSeries:
    """A checked series.

    Attributes
    ----------
    name : object
        Its key or number among several.
    frame : DataFrame
    values : ndarray, (T, C)
        The numbers of the frame.
    column : int
        Of the target.
    counts : tuple of three int
        Numbers of windows in training, validation and test.
    """

    name: Any
    frame: pd.DataFrame
    values: NDArray[np.float64]
    column: int
    counts: tuple[int, int, int]


def cut_series(
    series: Series | Sequence[Series] | Mapping[Any, Series],
    input_length: int,
    horizon: int,
    target: int | str,
    fractions: Sequence[float],
) -> list[CutSeries]:
    """One series, or several of a list or dict, checked; errors say which of several."""
    several = _by_name(series)
    if several is None:
        return [_cut(0, series, input_length, horizon, target, fractions)]
    cuts, errors = [], {}
    for name, one in several.items():
        try:
            cuts.append(_cut(name, one, input_length, horizon, target, fractions))
        except ValueError as error:
            errors[name] = error
    if errors:
        name, *others = errors
        more = f" Further series that cannot be cut: {', '.join(map(repr, others))}." if others else ""
        raise ValueError(f"in series {name!r}: {errors[name]}{more}") from None
    _check_columns(cuts, several)
    return cuts


def _by_name(series: Any) -> dict[Any, Any] | None:
    """Several series by their names; None for a single one."""
    if isinstance(series, Mapping):
        several = dict(series)
    elif isinstance(series, list | tuple) and any(getattr(one, "ndim", 0) > 0 for one in series):
        several = dict(enumerate(series))
    else:
        return None
    if not several:
        raise ValueError("`series` must hold at least one series; got none.")
    return several


def _cut(
    name: Any, series: Any, input_length: int, horizon: int, target: int | str, fractions: Sequence[float]
) -> CutSeries:
    frame = _as_frame(series)
    column = _position(frame, target)
    values = _finite_values(frame)
    return CutSeries(name, frame, values, column, _counts(len(values), input_length, horizon, fractions))


def _check_columns(cuts: list[CutSeries], several: dict[Any, Any]) -> None:
    """Raise unless all series have the same columns: as many, and of the same names where they have names."""
    first = cuts[0]
    for cut in cuts[1:]:
        named = all(isinstance(several[one.name], pd.DataFrame) for one in (first, cut))
        ours, theirs = list(first.frame.columns), list(cut.frame.columns)
        if len(ours) != len(theirs) or (named and ours != theirs):
            raise ValueError(
                f"all series must have the same columns; {first.name!r} has {ours}, and {cut.name!r} has {theirs}."
            )


def _as_frame(series: Series) -> pd.DataFrame:
    """The series as a table, its labels of time checked."""
    if isinstance(series, pd.Series):
        series = series.to_frame()
    if not isinstance(series, pd.DataFrame):
        try:
            array = np.asarray(series)
        except ValueError as error:
            raise ValueError(
                f"`series` must have shape (T,) or (T, C); {error} Pass several series as a list of arrays, or a dict."
            ) from error
        if array.ndim not in (1, 2) or array.size == 0:
            raise ValueError(f"`series` must have shape (T,) or (T, C), and values; got shape {array.shape}.")
        return pd.DataFrame(array)
    index = series.index
    timed = isinstance(index, pd.DatetimeIndex | pd.PeriodIndex | pd.TimedeltaIndex)
    if (timed or pd.api.types.is_numeric_dtype(index)) and not (index.is_monotonic_increasing and index.is_unique):
        later = np.asarray(index[1:] > index[:-1])
        row = int(np.argmin(later)) + 1
        raise ValueError(
            f"the index of `series` must increase from row to row; row {row}, {_label(index[row])}, comes after "
            f"{_label(index[row - 1])}. Sort the rows in time; several series are a list or dict."
        )
    return series


def _position(frame: pd.DataFrame, target: int | str) -> int:
    """Number of the column of that number or name."""
    if isinstance(target, str):
        names = [str(column) for column in frame.columns]
        if target not in names:
            raise unknown_name("column", target, names)
        return names.index(target)
    if not isinstance(target, Integral) or isinstance(target, bool) or not 0 <= target < frame.shape[1]:
        raise ValueError(f"`target` must be a number from 0 to {frame.shape[1] - 1}, a column; got {target!r}.")
    return target


def _finite_values(frame: pd.DataFrame) -> NDArray[np.float64]:
    """The numbers of the table, (T, C)."""
    for column, kind in frame.dtypes.items():
        if not pd.api.types.is_numeric_dtype(kind) or pd.api.types.is_complex_dtype(kind):
            raise ValueError(
                f"`series` must hold real numbers; column {column!r} is of type {kind}. "
                "Pass the columns that are inputs."
            )
    values = frame.to_numpy(dtype=np.float64, na_value=np.nan)
    bad = ~np.isfinite(values)
    if bad.any():
        row, column = np.argwhere(bad)[0]
        raise ValueError(
            f"`series` must be finite; {bad.sum()} values are not, the first at row {row}, {_label(frame.index[row])}, "
            f"of column {frame.columns[column]!r}. Fill the gaps, or begin after them."
        )
    return values


def _counts(length: int, input_length: int, horizon: int, fractions: Sequence[float]) -> tuple[int, int, int]:
    """Numbers of windows in the three parts."""
    shares = list(fractions)
    if not (
        len(shares) == len(_PARTS)
        and all(isinstance(share, Real) and share > 0 for share in shares)
        and math.isclose(sum(shares), 1.0, abs_tol=1e-9)
    ):
        raise ValueError(
            f"`fractions` must be three positive numbers that sum to 1 (training, validation, test); got {shares}."
        )
    n = length - input_length - horizon + 1 - 2 * (horizon - 1)
    before = [round(sum(shares[: k + 1]) * n) for k in range(2)]
    counts = (before[0], before[1] - before[0], n - before[1])
    if min(counts) < 1:
        missing = _PARTS[counts.index(min(counts))] if n > 0 else "training"
        raise ValueError(
            f"the series is too short: of {length} rows, {max(n, 0)} windows remain with input_length={input_length} "
            f"and horizon={horizon}, and none for {missing} with fractions={shares}. "
            "Pass a longer series, or a shorter input or horizon."
        )
    return counts


def _label(label: object) -> str:
    return str(label.date()) if isinstance(label, pd.Timestamp) and label == label.normalize() else str(label)
