"""Values of a column at which its effect is looked at: a grid of numbers or times, or the most frequent levels."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..columns.dates import as_times
from ..columns.kinds import DATE, EMPTY, NUMBER, SPAN, TIME
from ..columns.numbers import floats
from ..columns.tables import Column
from ._words import shortened

# Grids of numbers and times end at these quantiles of the column: beyond them there are hardly any data.
_ENDS = (0.01, 0.99)
# Numbers of so few different values, such as an indicator, are levels.
_FEW = 2
_UNITS = {SPAN: "days", TIME: "hours"}
_LONGEST_NAME = 15


@dataclass(frozen=True)
class Grid:
    """Values of a column, and where they stand in a picture.

    Attributes
    ----------
    cells : Series, (G,)
        The values, of the dtype of the column.
    places : ndarray, (G,)
        Numbers or times in increasing order; of levels 0 .. G - 1.
    levels : tuple of str or None
        What the levels are called, the most frequent one first; None on a grid.
    data : ndarray
        The values of all rows in the units of `places`, without missing ones; of levels their shares of all rows, (G,).
    note : str
        What a reader should know, such as the unit, or how many levels are not shown.
    """

    cells: "pd.Series[Any]"
    places: NDArray[Any]
    levels: tuple[str, ...] | None
    data: NDArray[Any]
    note: str


def grid_of(column: Column, n_values: int, max_levels: int) -> Grid:
    """The values at which to look, of a column of any kind.

    Raises
    ------
    ValueError
        If all values are missing, or numbers are infinite.
    """
    kind = DATE if column.spelt_times is not None else column.holds
    if kind == EMPTY:
        raise ValueError(f"`feature` must be a column with values; those of {column.name!r} are all missing.")
    if not column.is_category and kind in (NUMBER, DATE, *_UNITS):
        places = _places(column, kind)
        if kind != NUMBER or len(np.unique(places)) > _FEW:
            return _of_numbers(column, kind, places, n_values)
    return _of_levels(column, max_levels)


def _places(column: Column, kind: str) -> NDArray[Any]:
    """Where the cells that are not missing stand on an axis."""
    if kind != DATE:
        return floats(column, kind)[~column.missing]
    times = as_times(column)
    if isinstance(times.dtype, pd.DatetimeTZDtype):
        times = times.dt.tz_localize(None)
    places: NDArray[Any] = times.to_numpy()[~column.missing]
    return places


def _of_numbers(column: Column, kind: str, data: NDArray[Any], n_values: int) -> Grid:
    different, first = np.unique(data, return_index=True)
    missing = column.missing.mean()
    notes = [_UNITS[kind]] if kind in _UNITS else []
    notes += [f"{100 * missing:.1f} % missing"] if missing else []
    whole = np.flatnonzero(~column.missing)
    if len(different) > n_values:
        low, high = np.sort(data)[[int(end * (len(data) - 1)) for end in _ENDS]]
        if kind == NUMBER and column.values.dtype != object:
            values = np.linspace(low, high, n_values)
            if (different == np.round(different)).all():
                values = np.unique(np.round(values))
            cells = pd.Series(values).astype(column.values.dtype)
            return Grid(cells, values, None, data, ", ".join(notes))
        # of times those that there are, nearest to an even grid, so that they are written as the others
        sought = low + (high - low) * np.linspace(0, 1, n_values)
        right = np.searchsorted(different, sought).clip(1, len(different) - 1)
        nearest = np.where(sought - different[right - 1] < different[right] - sought, right - 1, right)
        different, first = (values[np.unique(nearest)] for values in (different, first))
    cells = column.values.iloc[whole[first]].reset_index(drop=True)
    return Grid(cells, different, None, data, ", ".join(notes))


def _of_levels(column: Column, max_levels: int) -> Grid:
    # missing cells are a level of their own
    codes = column.levels[0]
    found, first, counts = np.unique(codes, return_index=True, return_counts=True)
    # of equally frequent ones the first in the table comes first
    order = np.lexsort((first, -counts))[:max_levels]
    cells = column.values.iloc[first[order]].reset_index(drop=True)
    names = tuple(
        "missing" if code < 0 else shortened(str(cell), _LONGEST_NAME)
        for code, cell in zip(found[order], cells, strict=True)
    )
    left = f"{max_levels} most frequent of {len(found):,}" if len(found) > max_levels else ""
    return Grid(cells, np.arange(len(order)), names, counts[order] / len(codes), left)
