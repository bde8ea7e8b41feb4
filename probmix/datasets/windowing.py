"""Windows of a series with targets ahead, split in time without leakage."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral, Real

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from .._names import unknown_name

_PARTS = ("training", "validation", "test")


@dataclass(frozen=True, eq=False)
class WindowPart:
    """Windows of one part of a series, in the order of time.

    Attributes
    ----------
    X : ndarray, (n, input_length, C)
        Scaled inputs; the last step of a window is its forecast origin.
    y : ndarray, (n,)
        Targets in the units of the series.
    origin, target : ndarray of int, (n,)
        Row numbers in the series of the forecast origins and of the targets.
    origin_labels, target_labels : Index, (n,)
        The same as labels of the index of the series, such as dates.
    """

    X: NDArray[np.float64]
    y: NDArray[np.float64]
    origin: NDArray[np.int64]
    target: NDArray[np.int64]
    origin_labels: pd.Index
    target_labels: pd.Index


@dataclass(frozen=True, eq=False)
class Windows:
    """Windows of a series, split in time.

    Attributes
    ----------
    train, validation, test : WindowPart
    loc, scale : ndarray, (C,)
        Mean and standard deviation of each channel over the rows that training windows see; the scale of a channel that
        is constant there is one. Inputs in the units of the series are ``X * scale + loc``.
    """

    train: WindowPart
    validation: WindowPart
    test: WindowPart
    loc: NDArray[np.float64]
    scale: NDArray[np.float64]


def windows(
    series: ArrayLike | pd.DataFrame | pd.Series,
    input_length: int,
    horizon: int = 1,
    *,
    target: int | str = 0,
    fractions: Sequence[float] = (0.6, 0.2, 0.2),
) -> Windows:
    r"""Cut a series into input windows with a target ahead, and split them in time.

    The window with the forecast origin t holds the rows t - input_length + 1, ..., t, and its target is observed at
    row t + horizon. Every target of training is observed at or before the first forecast origin of validation, and
    every target of validation at or before the first origin of the test. So a forecaster who stands at an origin of
    validation or test knows all that came before in training, and nothing of what it is tested on. The horizon - 1
    windows before either boundary, whose targets lie across it, are dropped:

    .. math:: n = T - L - H + 1 - 2 (H - 1)

    windows remain of T rows, with input length L and horizon H. `fractions` are shares of these.

    Parameters
    ----------
    series : array-like, (T,) or (T, C), or DataFrame
        Rows in the order of time, at equal steps.
    input_length : int
    horizon : int
        Steps from the last row of a window to its target.
    target : int or str
        Number of the target's column, or its name in a DataFrame.
    fractions : three positive floats
        Shares of training, validation and test; they sum to one.

    Returns
    -------
    Windows

    Raises
    ------
    ValueError
        For lengths, fractions or a column that do not exist, for values that are missing or no numbers, for labels of
        time that do not increase, and for a series too short for three parts.

    Notes
    -----
    Input windows of validation and test reach back over the boundary: what lies before an origin is known there.
    Inputs are scaled by what training windows see; targets are left alone, since estimators scale them themselves.

    Examples
    --------
    >>> import numpy as np
    >>> from probmix.datasets import windows
    >>> parts = windows(np.arange(20.0), input_length=3, horizon=2)
    >>> parts.train.X.shape, parts.validation.X.shape, parts.test.X.shape
    ((8, 3, 1), (3, 3, 1), (3, 3, 1))
    >>> int(parts.train.target[-1]), int(parts.validation.origin[0])
    (11, 11)
    >>> parts.train.y
    array([ 4.,  5.,  6.,  7.,  8.,  9., 10., 11.])
    """
    for name, value in (("input_length", input_length), ("horizon", horizon)):
        if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
            raise ValueError(f"`{name}` must be an integer of at least 1; got {value!r}.")
    frame = _as_frame(series)
    column = _position(frame, target)
    values = _finite_values(frame)
    counts = _counts(len(values), input_length, horizon, fractions)

    first = input_length - 1
    # a part begins where the last target of the part before it is observed
    starts = [first, first + counts[0] - 1 + horizon, first + counts[0] + counts[1] - 2 + 2 * horizon]
    seen = values[: first + counts[0]]
    loc, scale = seen.mean(0), seen.std(0)
    # of equal values the mean can be off by a rounding, so that the deviation is not exactly zero
    scale = np.where(np.ptp(seen, axis=0) > 0, scale, 1.0)
    scaled = np.lib.stride_tricks.sliding_window_view((values - loc) / scale, input_length, axis=0)

    def part(start: int, count: int) -> WindowPart:
        origin = np.arange(start, start + count)
        ahead = origin + horizon
        inputs = scaled[origin - first].swapaxes(1, 2)
        return WindowPart(
            np.ascontiguousarray(inputs), values[ahead, column], origin, ahead, frame.index[origin], frame.index[ahead]
        )

    train, validation, test = (part(start, count) for start, count in zip(starts, counts, strict=True))
    return Windows(train, validation, test, loc, scale)


def _as_frame(series: ArrayLike | pd.DataFrame | pd.Series) -> pd.DataFrame:
    """The series as a table, its labels of time checked."""
    if isinstance(series, pd.Series):
        series = series.to_frame()
    if not isinstance(series, pd.DataFrame):
        array = np.asarray(series)
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
            f"{_label(index[row - 1])}. Sort the rows in time, and pass a single series."
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
