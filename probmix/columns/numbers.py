"""Columns of numbers, of truth values, of spans of time and of times of day."""

from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .encoders import Stored
from .kinds import DATE, EMPTY, NUMBER, SPAN, TEXT, TIME
from .tables import Array, Column

# Sums of weights that differ by a smaller part are equal.
_ROUNDING = 1e-12


@dataclass(frozen=True)
class NumberColumn:
    """Numbers as they are, gaps filled by the median, and an indicator of gaps where the fit saw some.

    Parameters
    ----------
    name : str
    unit : str
        What the user's column holds. Spans are counted in days, times of day in hours; where there were gaps alone,
        numbers may come later.
    fill : float
        What stands for a gap.
    has_number : bool
        Whether the numbers are kept: not if they were constant.
    has_indicator : bool
    """

    name: str
    unit: str
    fill: float
    has_number: bool = True
    has_indicator: bool = False

    @classmethod
    def learn(cls, column: Column, weights: Array | None, keep: bool = False, fill: float | None = None) -> Self | None:
        """Learn from a column, or nothing from one that is constant, unless it is to be kept.

        With a value that fills gaps there is no indicator of them.
        """
        unit = column.holds if column.holds in (SPAN, TIME) else NUMBER
        numbers = floats(column, unit)
        seen = slice(None) if weights is None else weights > 0
        missing = np.isnan(numbers[seen])
        present = numbers[seen][~missing]
        varies = bool(present.size and present.min() != present.max())
        gaps = fill is None and bool(missing.any()) and bool(present.size)
        if not (varies or gaps or keep):
            return None
        if fill is None:
            fill = median(present, None if weights is None else weights[seen][~missing])
        return cls(column.name, unit, fill, varies or keep, gaps)

    @property
    def is_plain(self) -> bool:
        """Whether finite numbers are stored as they come."""
        return self.unit == NUMBER and self.has_number and not self.has_indicator

    @property
    def stored(self) -> tuple[Stored, ...]:
        """A column of numbers and one of an indicator, or one of both."""
        number = [Stored("number", self.name)] * self.has_number
        return (*number, *[Stored("indicator", f"{self.name} is missing")] * self.has_indicator)

    @property
    def stand_in(self) -> str | None:
        """The median, where the fit saw no gaps."""
        return None if self.has_indicator or self.unit == EMPTY else f"the median ({self.fill:.6g})"

    def encode(self, column: Column) -> list[Array]:
        """The numbers, without gaps, and the indicator."""
        numbers = floats(column, self.unit)
        missing = np.isnan(numbers)
        parts = []
        if self.has_number:
            parts.append(np.where(missing, self.fill, numbers) if missing.any() else numbers)
        if self.has_indicator:
            parts.append(missing.astype(np.float64))
        return parts

    def state(self) -> dict[str, Any]:
        """The parameters, floats in hexadecimal digits."""
        return {**asdict(self), "fill": self.fill.hex()}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """The encoder with these parameters."""
        return cls(**{**state, "fill": float.fromhex(state["fill"])})


def median(values: Array, weights: Array | None = None) -> float:
    """The median of finite numbers, of which one of weight two counts as two of them; 0 of none.

    Examples
    --------
    >>> import numpy as np
    >>> median(np.array([3.0, 1.0, 2.0]), np.array([2.0, 1.0, 1.0])), median(np.array([1.0, 2.0, 3.0, 3.0]))
    (2.5, 2.5)
    """
    if not len(values):
        return 0.0
    if weights is None:
        middle = (len(values) - 1) // 2, len(values) // 2
        low, high = np.partition(values, middle)[list(middle)]
    else:
        order = np.argsort(values, kind="stable")
        shares = np.cumsum(weights[order] / weights.max())
        half = shares[-1] / 2
        first, second = np.searchsorted(shares, [half * (1 - _ROUNDING), half * (1 + _ROUNDING)], side="left")
        low, high = values[order[first]], values[order[second]]
    # halves of each, as their sum may overflow
    return float(low if low == high else 0.5 * low + 0.5 * high)


def floats(column: Column, unit: str) -> Array:
    """The numbers of a column, NaN where they are missing.

    Raises
    ------
    ValueError
        For infinite numbers, and for cells of another kind than the unit, with the place of the first.
    """
    if column.holds == EMPTY:
        return np.full(len(column.missing), np.nan)
    if unit == SPAN:
        column.expect(SPAN)
        try:
            spans = plain(column)
            # those of pyarrow as objects
            spans = spans if isinstance(spans.dtype, np.dtype) else pd.Series(column.cells)
            return days_of(pd.to_timedelta(spans).to_numpy())
        except (ValueError, OverflowError) as error:
            raise ValueError(f"{column.label} of `{column.called}` holds spans that are too long: {error}") from error
    if unit == TIME:
        column.expect(TIME)
        return _hours(column)
    mends = {
        TEXT: "Text that spells numbers becomes such by astype(float).",
        DATE: "Pass numbers, such as days since the first date.",
    }
    column.expect(NUMBER, mend=" ".join(mends[kind] for kind in mends if kind in column.kinds))
    try:
        if column.is_category or column.values.dtype == object:
            array = column.cells.astype(np.float64)
        else:
            array = np.asarray(column.values.to_numpy(dtype=np.float64, na_value=np.nan))
    except OverflowError:
        array = np.array([_as_float(one) for one in column.cells])
    infinite = np.isinf(array)
    if infinite.any():
        row = int(infinite.argmax())
        got = "infinity" if array[row] > 0 else "-infinity"
        more = f" ({infinite.sum()} such values in all)" if infinite.sum() > 1 else ""
        raise ValueError(
            f"`{column.called}` must be finite; got {got} at {column.at(row)}{more}. Replace it by a finite number, or "
            "drop such rows."
        )
    return array


def days_of(times: NDArray[Any]) -> Array:
    """Spans, or times since 1970, of any unit of NumPy in days; NaN for NaT."""
    day = np.timedelta64(1, "D").astype(times.dtype.str.replace("M8", "m8")).astype(np.int64)
    return np.where(np.isnat(times), np.nan, times.astype(np.int64) / float(day))


def plain(column: Column) -> "pd.Series[Any]":
    """The cells of a column, of categories the cells that they stand for."""
    return pd.Series(column.cells) if column.is_category else column.values


def _hours(column: Column) -> Array:
    codes, cells = pd.factorize(plain(column))
    hours = [one.hour + one.minute / 60 + (one.second + one.microsecond / 1e6) / 3600 for one in cells]
    return np.array([*hours, np.nan])[codes]


def _as_float(cell: Any) -> float:
    try:
        return np.nan if cell is None else float(cell)
    except OverflowError:
        return float("inf") if cell > 0 else float("-inf")
