"""Dates, also in text, as the columns that an estimator stores."""

import datetime

import numpy as np
import pandas as pd
import pytest
from column_cases import check_kept, fit_column

from probmix.columns import Columns

NOON = pd.to_datetime(["2024-02-28 12:00", "2023-07-01 06:30", None])
PERIODS = pd.period_range("2020-01", periods=3, freq="M")
N, GAP, DAYS = "a", "a is missing", "a: day of week"

DATES = {
    "times": NOON,
    "times in seconds": NOON.astype("M8[s]"),
    "datetimes": np.array([*NOON[:2].to_pydatetime(), None], dtype=object),
    "times with a zone": NOON.tz_localize("America/New_York"),
    "times with an offset": NOON.tz_localize(datetime.timezone(datetime.timedelta(hours=-5))),
}


@pytest.mark.parametrize("kind", DATES)
def test_dates_are_days_since_1970_and_where_they_lie_in_the_week_the_year_and_the_day(kind):
    columns, stored = fit_column(DATES[kind])
    parts = dict(zip(columns.layout.names, stored.T, strict=True))
    zone = {"times with a zone": (5, 4), "times with an offset": (5, 5)}.get(kind, (0, 0))
    one = (datetime.date(2024, 2, 28) - datetime.date(1970, 1, 1)).days + (12 + zone[0]) / 24
    two = (datetime.date(2023, 7, 1) - datetime.date(1970, 1, 1)).days + (6.5 + zone[1]) / 24
    np.testing.assert_allclose(parts[N], [one, two, (one + two) / 2], rtol=1e-15)
    assert parts[GAP].tolist() == [0, 0, 1]
    # a Wednesday and a Saturday
    assert parts[DAYS].tolist() == [0, 1, 2]
    angles = 2 * np.pi * np.array([58 / 366, 181 / 365])
    np.testing.assert_allclose(parts["a: time of year (cos)"], [*np.cos(angles), 0], atol=1e-12)
    np.testing.assert_allclose(parts["a: time of year (sin)"], [*np.sin(angles), 0], atol=1e-12)
    hours = 2 * np.pi * np.array([12, 6.5]) / 24
    np.testing.assert_allclose(parts["a: time of day (cos)"], [*np.cos(hours), 0], atol=1e-12)
    np.testing.assert_allclose(parts["a: time of day (sin)"], [*np.sin(hours), 0], atol=1e-12)
    check_kept(pd.DataFrame({"a": DATES[kind]}), columns, stored)


SPELT = {
    "days": ["2024-02-28", None, "2023-07-01"],
    "times": ["2024-02-28 12:00", None, "2023-07-01 06:30:15"],
    "times of ISO": ["2024-02-28T12:00:00.25", None, "2023-07-01T06:30"],
    "with an offset": ["2024-02-28T12:00+05:30", None, "2023-07-01T06:30+05:30"],
    "in UTC": ["2024-02-28T12:00Z", None, "2023-07-01T06:30:15Z"],
    "in UTC in two ways": ["2024-02-28T12:00Z", None, "2023-07-01T06:30:15+00:00"],
}


@pytest.mark.parametrize("kind", SPELT)
def test_text_that_spells_dates_as_iso_8601_has_them_is_dates(kind):
    texts = pd.DataFrame({"a": SPELT[kind]})
    dates = pd.DataFrame({"a": pd.to_datetime(texts["a"], format="ISO8601")})
    columns, stored = Columns.fit(texts)
    same, expected = Columns.fit(dates)
    assert columns == same
    np.testing.assert_array_equal(stored, expected)
    np.testing.assert_array_equal(columns.transform(dates), stored)
    np.testing.assert_array_equal(same.transform(texts), stored)
    check_kept(texts, columns, stored)
    assert Columns.fit(texts, categorical_features=None)[0] == columns


def test_local_times_with_several_offsets_are_read_in_utc():
    times = pd.date_range("2024-03-29", "2024-04-02", freq="h", tz="Europe/Berlin")
    texts = pd.DataFrame({"a": [time.isoformat() for time in times]})
    assert texts["a"].str[-6:].nunique() == 2
    columns, stored = Columns.fit(texts)
    same, expected = Columns.fit(pd.DataFrame({"a": times.tz_convert("UTC")}))
    assert columns == same
    np.testing.assert_array_equal(stored, expected)
    # a part that has one of the offsets alone
    np.testing.assert_array_equal(columns.transform(texts[:20]), stored[:20])
    check_kept(texts, columns, stored)


@pytest.mark.parametrize(
    "texts",
    [
        ["2020-01-31", "2020-02-30"],
        ["2020-01-31", "later"],
        ["2020-01-31T12:00+01:00", "2020-01-31T12:00"],
        ["2020-01-31T12:00+01:00", "2020-01-31T12:00+02:00", "2020-01-31"],
        ["20200131", "20200201"],
        ["2020-01", "2020-02"],
        ["31-01-2020", "01-02-2020"],
    ],
)
def test_other_text_is_levels(texts):
    assert fit_column(texts)[0].layout.kinds == ("level",)


def test_dates_in_text_are_levels_where_the_user_says_so():
    values = ["2020-01-01", "2020-01-02"]
    assert fit_column(pd.Categorical(values))[0].layout.kinds == ("level",)
    assert fit_column(values, categorical_features=["a"])[0].layout.kinds == ("level",)


@pytest.mark.parametrize("values", [PERIODS, np.array(PERIODS.astype(object)), PERIODS.to_timestamp().date])
def test_of_dates_without_a_time_only_what_varies_is_stored(values):
    columns, stored = fit_column(values)
    assert columns.layout.names == (N, DAYS, "a: time of year (cos)", "a: time of year (sin)")
    assert columns.layout.kinds == ("number", "level", "indicator", "indicator")
    assert stored[:, 0].tolist() == [18262, 18293, 18322]
    check_kept(pd.DataFrame({"a": values}), columns, stored)


def test_weeks_begin_on_monday():
    _, stored = fit_column(pd.date_range("1969-12-29", periods=7))
    assert stored[:, :2].tolist() == [[day - 3, day] for day in range(7)]


def test_noon_and_midnight_differ_in_one_part_only():
    """The sine of half a turn is rounding, which no unit may blow up."""
    columns, stored = fit_column(pd.to_datetime(["2020-01-01 00:00", "2020-01-01 12:00"]))
    assert columns.layout.names == (N, "a: time of day (cos)")
    assert stored[:, 1].tolist() == [1, -1]


@pytest.mark.parametrize("far", [datetime.date(1, 1, 1), datetime.datetime(9999, 12, 31, 23, 59)])
def test_dates_far_away_are_exact(far):
    _, stored = fit_column(np.array([far, datetime.datetime(1970, 1, 2)], dtype=object))
    ordinal = far.toordinal() - datetime.date(1970, 1, 1).toordinal()
    expected = ordinal + (1439 / 1440 if isinstance(far, datetime.datetime) else 0)
    np.testing.assert_allclose(stored[:, 0], [expected, 1], rtol=1e-15)
