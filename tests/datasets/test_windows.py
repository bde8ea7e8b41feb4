"""Windows of series: against loops, and changed values of the future that nothing in the past may notice."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from probmix.datasets import windows

PARTS = ("train", "validation", "test")


@st.composite
def problems(draw):
    """A series that is long enough, and how it is cut."""
    length, horizon, channels = draw(st.integers(1, 6)), draw(st.integers(1, 6)), draw(st.integers(1, 3))
    n = draw(st.integers(6, 30))
    rows = n + length + 3 * horizon - 3
    weights = [draw(st.integers(1, 4)) for _ in PARTS]
    fractions = [weight / sum(weights) for weight in weights]
    before = [round(sum(fractions[: k + 1]) * n) for k in range(2)]
    assume(min(before[0], before[1] - before[0], n - before[1]) >= 1)
    values = np.random.default_rng(draw(st.integers(0, 2**32))).normal(size=(rows, channels))
    cut = {"input_length": length, "horizon": horizon, "target": draw(st.integers(0, channels - 1))}
    return values, {**cut, "fractions": fractions}


@given(problems())
@settings(max_examples=60, deadline=None)
def test_windows_hold_the_rows_up_to_their_origin_and_the_target_ahead(problem):
    values, cut = problem
    parts = windows(values, **cut)
    for name in PARTS:
        part = getattr(parts, name)
        assert part.X.shape == (len(part.y), cut["input_length"], values.shape[1])
        for X, y, origin, target in zip(part.X, part.y, part.origin, part.target, strict=True):
            inputs = values[origin - cut["input_length"] + 1 : origin + 1]
            np.testing.assert_allclose(X * parts.scale + parts.loc, inputs, atol=1e-12)
            assert target == origin + cut["horizon"]
            assert y == values[target, cut["target"]]


@given(problems())
@settings(max_examples=60, deadline=None)
def test_every_window_that_leaks_nothing_is_in_its_part(problem):
    values, cut = problem
    parts = windows(values, **cut)
    train, validation, test = parts.train, parts.validation, parts.test
    for part in (train, validation, test):
        np.testing.assert_array_equal(np.diff(part.origin), 1)
    assert train.origin[0] == cut["input_length"] - 1
    # not one row apart: an origin knows what is observed at its own row
    assert train.target[-1] == validation.origin[0]
    assert validation.target[-1] == test.origin[0]
    assert test.target[-1] == len(values) - 1
    n = len(values) - cut["input_length"] - cut["horizon"] + 1 - 2 * (cut["horizon"] - 1)
    assert len(train.y) + len(validation.y) + len(test.y) == n
    for part, fraction in zip((train, validation, test), cut["fractions"], strict=True):
        assert abs(len(part.y) - fraction * n) <= 1


@given(problems(), st.data())
@settings(max_examples=80, deadline=None)
def test_a_value_after_a_boundary_changes_nothing_before_it(problem, data):
    values, cut = problem
    parts = windows(values, **cut)
    boundary = data.draw(st.sampled_from([parts.validation.origin[0], parts.test.origin[0]]))
    row = data.draw(st.integers(int(boundary) + 1, len(values) - 1))
    column = data.draw(st.integers(0, values.shape[1] - 1))
    changed = values.copy()
    changed[row, column] += 1e3
    after = windows(changed, **cut)
    known = ("train",) if boundary == parts.validation.origin[0] else ("train", "validation")
    for name in known:
        np.testing.assert_array_equal(getattr(after, name).X, getattr(parts, name).X)
        np.testing.assert_array_equal(getattr(after, name).y, getattr(parts, name).y)
    np.testing.assert_array_equal(after.loc, parts.loc)
    np.testing.assert_array_equal(after.scale, parts.scale)
    # what is known at an origin, in any part, does not depend on later rows either
    for name in PARTS:
        part, other = getattr(parts, name), getattr(after, name)
        np.testing.assert_array_equal(other.X[other.origin < row], part.X[part.origin < row])


@given(problems(), st.data())
@settings(max_examples=60, deadline=None)
def test_scaling_depends_on_the_rows_that_training_windows_see_and_on_no_others(problem, data):
    values, cut = problem
    parts = windows(values, **cut)
    last = int(parts.train.origin[-1])
    np.testing.assert_allclose(parts.loc, values[: last + 1].mean(0), atol=1e-12)
    # a single row has no spread
    np.testing.assert_allclose(parts.scale, values[: last + 1].std(0) if last else 1.0, rtol=1e-12)
    row = data.draw(st.integers(0, len(values) - 1))
    changed = values.copy()
    changed[row] += 1e3
    after = windows(changed, **cut)
    assert (row > last) == np.array_equal(after.loc, parts.loc)


def test_known_split_of_the_stock_table():
    parts = windows(np.arange(505.0), 42, 21)
    assert [len(getattr(parts, name).y) for name in PARTS] == [242, 80, 81]
    assert [int(getattr(parts, name).origin[0]) for name in PARTS] == [41, 303, 403]


def test_labels_come_from_the_index():
    days = pd.bdate_range("2020-01-01", periods=30)
    frame = pd.DataFrame({"Open": np.arange(30.0), "Close": np.arange(30.0) ** 2}, index=days)
    parts = windows(frame, 4, 3, target="Close")
    for name in PARTS:
        part = getattr(parts, name)
        assert part.origin_labels.equals(days[part.origin])
        assert part.target_labels.equals(days[part.target])
        np.testing.assert_array_equal(part.y, part.target.astype(float) ** 2)
    np.testing.assert_array_equal(windows(frame["Close"], 4, 3).test.y, parts.test.y)


def test_a_constant_channel_keeps_a_scale_of_one():
    values = np.column_stack([np.arange(30.0), np.full(30, 0.1)])
    parts = windows(values, 3, 2)
    assert parts.scale[1] == 1
    assert np.abs(parts.test.X[..., 1]).max() < 1e-12


def test_the_series_is_left_alone_and_not_shared():
    values = np.arange(40.0)
    parts = windows(values, 3, 2)
    parts.train.X[:] = 7
    parts.train.y[:] = 7
    np.testing.assert_array_equal(values, np.arange(40.0))
    assert not np.any(parts.validation.X == 7)


SERIES = pd.DataFrame({"Open": np.arange(40.0), "Close": np.arange(40.0)})
GAP = SERIES.assign(Close=[1.0] * 7 + [np.nan] + [1.0] * 31 + [np.inf])
TEXT = pd.Series(["GOOG"]).dtype  # pandas 3 has a type of its own
STACKED = pd.concat([SERIES.set_index(pd.bdate_range("2020-01-01", periods=40))] * 2)


@pytest.mark.parametrize(
    ("series", "changes", "message"),
    [
        (SERIES, {"input_length": 0}, "`input_length` must be an integer of at least 1; got 0."),
        (SERIES, {"horizon": 2.5}, "`horizon` must be an integer of at least 1; got 2.5."),
        (SERIES, {"target": "close"}, "unknown column 'close'; did you mean 'Close'?"),
        (SERIES, {"target": 2}, "`target` must be a number from 0 to 1, a column; got 2."),
        (SERIES, {"target": -1}, "`target` must be a number from 0 to 1, a column; got -1."),
        (
            SERIES,
            {"fractions": (0.7, 0.2, 0.2)},
            "`fractions` must be three positive numbers that sum to 1 (training, validation, test); "
            "got [0.7, 0.2, 0.2].",
        ),
        (
            SERIES,
            {"fractions": (1.2, -0.4, 0.2)},
            "`fractions` must be three positive numbers that sum to 1 (training, validation, test); "
            "got [1.2, -0.4, 0.2].",
        ),
        (
            SERIES,
            {"fractions": (0.8, 0.2)},
            "`fractions` must be three positive numbers that sum to 1 (training, validation, test); got [0.8, 0.2].",
        ),
        (
            SERIES,
            {"input_length": 30, "horizon": 5},
            "the series is too short: of 40 rows, 0 windows remain with input_length=30 and horizon=5, and none for "
            "training with fractions=[0.6, 0.2, 0.2]. Pass a longer series, or a shorter input or horizon.",
        ),
        (
            SERIES,
            {"fractions": (0.98, 0.01, 0.01)},
            "the series is too short: of 40 rows, 33 windows remain with input_length=4 and horizon=2, and none for "
            "test with fractions=[0.98, 0.01, 0.01]. Pass a longer series, or a shorter input or horizon.",
        ),
        (
            GAP,
            {},
            "`series` must be finite; 2 values are not, the first at row 7, 7, of column 'Close'. "
            "Fill the gaps, or begin after them.",
        ),
        (
            SERIES.assign(Ticker="GOOG"),
            {},
            f"`series` must hold real numbers; column 'Ticker' is of type {TEXT}. Pass the columns that are inputs.",
        ),
        (
            STACKED,
            {},
            "the index of `series` must increase from row to row; row 40, 2020-01-01, comes after 2020-02-25. "
            "Sort the rows in time; several series are a list or dict.",
        ),
        (np.zeros((2, 3, 4)), {}, "`series` must have shape (T,) or (T, C), and values; got shape (2, 3, 4)."),
        (np.zeros(0), {}, "`series` must have shape (T,) or (T, C), and values; got shape (0,)."),
    ],
)
def test_errors(series, changes, message):
    with pytest.raises(ValueError, match=r".") as caught:
        windows(series, **{"input_length": 4, "horizon": 2, **changes})
    assert str(caught.value) == message
