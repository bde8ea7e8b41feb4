"""Columns of dates and times, as days since 1970 and where in the year, the week and the day they lie."""

from dataclasses import dataclass, replace
from typing import Any, NoReturn, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .encoders import Encoder, Stored
from .kinds import DATE, EMPTY, TEXT
from .levels import LevelColumn
from .numbers import NumberColumn, days_of, plain
from .spelling import iso_times
from .tables import Array, Column

_DAY = np.timedelta64(1, "D")
# 1970-01-01 was a Thursday, and weeks begin on Monday
_FIRST_WEEKDAY = 3
_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
# Digits of sines and cosines, so that those of half turns are zero.
_DIGITS = 12


@dataclass(frozen=True)
class DateColumn:
    """Dates as numbers that vary: days since 1970, and sines, cosines and levels of the calendar.

    Parameters
    ----------
    zone : str or None
        In whose time the calendar is read; None for times without a zone.
    parts : tuple of (str, Encoder)
        Which parts there are, and what was learned of each.
    """

    zone: str | None
    parts: tuple[tuple[str, Encoder], ...]

    @classmethod
    def learn(cls, column: Column, weights: Array | None, keep: bool = False) -> Self | None:
        """Learn from a column, or nothing from one that is constant, unless it is to be kept."""
        zone = zone_of(column)
        parts = _parts(column, zone)
        learned: dict[str, Encoder | None] = {"days": NumberColumn.learn(parts["days"], weights, keep)}
        for part in ("weekday", "year cos", "year sin", "day cos", "day sin"):
            if part == "weekday":
                learned[part] = LevelColumn.learn(parts[part], weights, listed=True)
            else:
                learned[part] = NumberColumn.learn(parts[part], weights, fill=0.0)
        found = tuple((part, encoder) for part, encoder in learned.items() if encoder is not None)
        return cls(zone, found) if found else None

    @property
    def stored(self) -> tuple[Stored, ...]:
        """Those of the parts; waves lie between -1 and 1 and are taken as they are."""
        found = []
        for part, encoder in self.parts:
            for one in encoder.stored:
                is_wave = one.kind == "number" and part != "days"
                found.append(replace(one, kind="indicator") if is_wave else one)
        return tuple(found)

    @property
    def stand_in(self) -> str | None:
        """The date in the middle, where no part has seen gaps."""
        return "the median date" if all(encoder.stand_in for _, encoder in self.parts) else None

    def encode(self, column: Column) -> list[Array]:
        """The parts of the dates.

        Raises
        ------
        ValueError
            For what is no date, and for dates with a time zone if those of the fit had none, or the other way round.
        """
        parts = _parts(column, self.zone)
        return [one for part, encoder in self.parts for one in encoder.encode(parts[part])]

    def warn_of_strangers(self, column: Column) -> None:
        """Warn of days of the week that the fit has not seen, such as weekends."""
        weekday = dict(self.parts).get("weekday")
        if isinstance(weekday, LevelColumn) and weekday.unknown < len(weekday.levels):
            days = replace(_parts(column, self.zone)["weekday"], name=column.name)
            weekday.warn_of_strangers(days, "days of the week", lambda day: _WEEKDAYS[int(float(day))])

    def state(self) -> dict[str, Any]:
        """The states of the parts."""
        parts = [[part, isinstance(encoder, LevelColumn), encoder.state()] for part, encoder in self.parts]
        return {"zone": self.zone, "parts": parts}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """The encoder with these parts."""
        parts = [
            (part, (LevelColumn if is_level else NumberColumn).from_state(one))
            for part, is_level, one in state["parts"]
        ]
        return cls(state["zone"], tuple(parts))


def _parts(column: Column, zone: str | None) -> dict[str, Column]:
    """Columns of numbers, NaN where a date is missing, for each part of dates."""
    times, local = _times(column, zone)
    missing = np.isnat(local)
    days, years = local.astype("M8[D]"), local.astype("M8[Y]")
    new_year, next_year = years.astype("M8[D]"), (years + 1).astype("M8[D]")
    with np.errstate(invalid="ignore"):
        of_year = np.where(missing, np.nan, (days - new_year) / (next_year - new_year))
    of_day = np.where(missing, np.nan, (local - days) / _DAY)
    weekday = np.where(missing, np.nan, (days.astype(np.int64) + _FIRST_WEEKDAY) % 7)
    numbers = {"days": (column.name, days_of(times)), "weekday": (f"{column.name}: day of week", weekday)}
    for part, what, turns in (("year", "time of year", of_year), ("day", "time of day", of_day)):
        angles = 2 * np.pi * turns
        numbers[f"{part} cos"] = f"{column.name}: {what} (cos)", np.round(np.cos(angles), _DIGITS)
        numbers[f"{part} sin"] = f"{column.name}: {what} (sin)", np.round(np.sin(angles), _DIGITS)
    return {part: replace(column, values=pd.Series(values), name=name) for part, (name, values) in numbers.items()}


def _times(column: Column, zone: str | None) -> tuple[NDArray[Any], NDArray[Any]]:
    """Times in UTC and in a zone, or both as they are without a zone."""
    if column.holds == EMPTY:
        nothing = np.full(len(column.missing), np.datetime64("NaT", "s"))
        return nothing, nothing
    times = as_times(column)
    if isinstance(times.dtype, pd.DatetimeTZDtype):
        if zone is None:
            rule = f"times without a zone, as in the fit; got times in {times.dt.tz}"
            _refuse_zone(column, rule, "tz_localize(None)")
        local = times.dt.tz_convert(zone)
        return _bare(times.dt.tz_convert("UTC")), _bare(local)
    if zone is not None:
        _refuse_zone(column, "times with a zone, as in the fit; got times without", f"tz_localize({zone!r})")
    return (bare := times.to_numpy()), bare


def _bare(times: "pd.Series[Any]") -> NDArray[Any]:
    bare: NDArray[Any] = times.dt.tz_localize(None).to_numpy()
    return bare


def _refuse_zone(column: Column, rule: str, mend: str) -> NoReturn:
    raise ValueError(f"{column.label} of `{column.called}` must hold {rule}. Use Series.dt.{mend}.")


def zone_of(column: Column) -> str | None:
    """The name of the time zone of a column, None without: UTC for one that has no name."""
    times = as_times(column)
    if not isinstance(times.dtype, pd.DatetimeTZDtype):
        return None
    name = str(times.dt.tz)
    try:
        times.iloc[:1].dt.tz_convert(name)
    except (ValueError, KeyError, OSError):
        return "UTC"
    return name


def as_times(column: Column) -> "pd.Series[Any]":
    """The dates of a column as times of pandas.

    Raises
    ------
    ValueError
        For what is no date, and for dates that pandas cannot hold, or of which only some have a zone.
    """
    if column.spelt_times is not None:
        return column.spelt_times
    mend = "Text that spells dates becomes such by pandas.to_datetime." if TEXT in column.kinds else ""
    if column.holds != TEXT:
        column.expect(DATE, mend=mend)
    elif any(iso_times([str(text)]) is None for text in column.cells if text is not None):
        column.refuse("dates, as in the fit", lambda text: iso_times([str(text)]) is None, mend)
    values = plain(column)
    if isinstance(values.dtype, pd.PeriodDtype):
        starts: pd.Series[Any] = values.dt.to_timestamp()
        return starts
    if isinstance(values.dtype, pd.DatetimeTZDtype) or (
        isinstance(values.dtype, np.dtype) and values.dtype.kind == "M"
    ):
        return values
    cells = column.cells
    is_period = np.fromiter((isinstance(cell, pd.Period) for cell in cells), dtype=bool, count=len(cells))
    cells[is_period] = [cell.to_timestamp() for cell in cells[is_period]]
    try:
        # of text the form is known, and pandas need not guess it with a warning of its own
        return pd.Series(pd.to_datetime(pd.Series(cells), format="ISO8601" if column.holds == TEXT else None))
    except (ValueError, TypeError, OverflowError) as error:
        raise ValueError(
            f"{column.label} of `{column.called}` holds dates that cannot be taken together: {error}"
        ) from error
