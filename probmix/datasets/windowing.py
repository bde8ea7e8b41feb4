"""Windows of one series or several with targets ahead, split in time without leakage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ._cut_series import CutSeries, Series, cut_series


@dataclass(frozen=True, eq=False)
class WindowPart:
    """Windows of one part of each series: one series after the other, each in the order of time.

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
    series : ndarray, (n,)
        Which series each window is from: its key in the dict, or its number in the list; zeros for a single series.
        Groups of scikit-learn's splitters, say.
    """

    X: NDArray[np.float64]
    y: NDArray[np.float64]
    origin: NDArray[np.int64]
    target: NDArray[np.int64]
    origin_labels: pd.Index
    target_labels: pd.Index
    series: NDArray[Any]


@dataclass(frozen=True, eq=False)
class Windows:
    """Windows of series, each split in time.

    Attributes
    ----------
    train, validation, test : WindowPart
    loc, scale : ndarray, (C,)
        Mean and standard deviation of each channel over the rows that training windows see, of all series; the scale of
        a channel that is constant there is one. Inputs in the units of the series are ``X * scale + loc``.
    """

    train: WindowPart
    validation: WindowPart
    test: WindowPart
    loc: NDArray[np.float64]
    scale: NDArray[np.float64]


def windows(
    series: Series | Sequence[Series] | Mapping[Any, Series],
    input_length: int,
    horizon: int = 1,
    *,
    target: int | str = 0,
    fractions: Sequence[float] = (0.6, 0.2, 0.2),
) -> Windows:
    r"""Cut a series, or several, into input windows with a target ahead, and split them in time.

    The window with the forecast origin t holds the rows t - input_length + 1, ..., t, and its target is observed at
    row t + horizon. Every target of training is observed at or before the first forecast origin of validation, and
    every target of validation at or before the first origin of the test. So a forecaster who stands at an origin of
    validation or test knows all that came before in training, and nothing of what it is tested on. The horizon - 1
    windows before either boundary, whose targets lie across it, are dropped:

    .. math:: n = T - L - H + 1 - 2 (H - 1)

    windows remain of T rows, with input length L and horizon H. `fractions` are shares of these. Several series are cut
    and split each by itself: no window reaches from one into another.

    Parameters
    ----------
    series : array-like, (T,) or (T, C), or DataFrame; or a list or dict of such
        Rows in the order of time, at equal steps. A list of arrays, Series or DataFrames is several series, of any
        lengths; a list of numbers or of lists is one.
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
        time that do not increase, for series of different columns, and for a series too short for three parts.

    Notes
    -----
    Input windows of validation and test reach back over the boundary: what lies before an origin is known there.
    Inputs are scaled by what training windows see; targets are left alone, since estimators scale them themselves. All
    series have one scale: scaled each by its own, the inputs would not tell on which level the target is. Where levels
    differ by orders of magnitude, pass logarithms or returns.

    Of a table that has several series one below the other, make a dict:
    ``{name: rows.drop(columns="shop") for name, rows in table.groupby("shop")}``.

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

    >>> parts = windows({"north": np.arange(20.0), "south": np.arange(12.0)}, input_length=3, fractions=(0.6, 0.2, 0.2))
    >>> parts.test.series.tolist()
    ['north', 'north', 'north', 'south', 'south']
    >>> parts.test.target.tolist()
    [17, 18, 19, 10, 11]
    """
    for name, value in (("input_length", input_length), ("horizon", horizon)):
        if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
            raise ValueError(f"`{name}` must be an integer of at least 1; got {value!r}.")
    cuts = cut_series(series, input_length, horizon, target, fractions)
    # what training windows see
    seen = np.concatenate([cut.values[: input_length - 1 + cut.counts[0]] for cut in cuts])
    loc, scale = seen.mean(0), seen.std(0)
    # of equal values the mean can be off by a rounding, so that the deviation is not exactly zero
    scale = np.where(np.ptp(seen, axis=0) > 0, scale, 1.0)
    train, validation, test = (
        _joined([_part(cut, number, input_length, horizon, loc, scale) for cut in cuts]) for number in range(3)
    )
    return Windows(train, validation, test, loc, scale)


def _part(
    cut: CutSeries, number: int, input_length: int, horizon: int, loc: NDArray[np.float64], scale: NDArray[np.float64]
) -> WindowPart:
    """One part of one series."""
    counts, first = cut.counts, input_length - 1
    # a part begins where the last target of the part before it is observed
    starts = [first, first + counts[0] - 1 + horizon, first + counts[0] + counts[1] - 2 + 2 * horizon]
    origin = np.arange(starts[number], starts[number] + counts[number])
    ahead = origin + horizon
    scaled = np.lib.stride_tricks.sliding_window_view((cut.values - loc) / scale, input_length, axis=0)
    inputs, index = scaled[origin - first].swapaxes(1, 2), cut.frame.index
    # a name may be a tuple
    names = pd.Index([cut.name], tupleize_cols=False).repeat(len(origin)).to_numpy()
    return WindowPart(inputs, cut.values[ahead, cut.column], origin, ahead, index[origin], index[ahead], names)


def _joined(parts: list[WindowPart]) -> WindowPart:
    """The windows of one series after the other, in arrays of their own."""
    first, rest = parts[0], parts[1:]
    return WindowPart(
        np.ascontiguousarray(np.concatenate([part.X for part in parts])),
        np.concatenate([part.y for part in parts]),
        np.concatenate([part.origin for part in parts]),
        np.concatenate([part.target for part in parts]),
        first.origin_labels.append([part.origin_labels for part in rest]),
        first.target_labels.append([part.target_labels for part in rest]),
        np.concatenate([part.series for part in parts]),
    )
