"""Windows of several series: each is cut and split as if it were alone, and all have one scale."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import GroupKFold

from probmix import DensityRegressor
from probmix.datasets import windows

PARTS = ("train", "validation", "test")


@st.composite
def panels(draw):
    """Several series that are long enough, and how they are cut."""
    length, horizon, channels = draw(st.integers(1, 4)), draw(st.integers(1, 4)), draw(st.integers(1, 3))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    rows = [draw(st.integers(6, 20)) + length + 3 * horizon - 3 for _ in range(draw(st.integers(1, 4)))]
    series = [random.normal(10 * number, size=(n, channels)) for number, n in enumerate(rows)]
    cut = {"input_length": length, "horizon": horizon, "target": draw(st.integers(0, channels - 1))}
    return series, {**cut, "fractions": (0.5, 0.25, 0.25)}


@given(panels())
@settings(max_examples=60)
def test_every_series_is_cut_and_split_as_if_it_were_alone(problem):
    series, cut = problem
    together = windows(series, **cut)
    for name in PARTS:
        part = getattr(together, name)
        assert part.X.flags.c_contiguous
        # one after the other
        assert (np.diff(part.series) >= 0).all()
        assert set(part.series) == set(range(len(series)))
        for number, values in enumerate(series):
            alone, here = windows(values, **cut), part.series == number
            expected = getattr(alone, name)
            for field in ("y", "origin", "target"):
                np.testing.assert_array_equal(getattr(part, field)[here], getattr(expected, field))
            in_units = [one.X * of.scale + of.loc for one, of in ((part, together), (expected, alone))]
            np.testing.assert_allclose(in_units[0][here], in_units[1], atol=1e-12)
            np.testing.assert_array_equal(part.origin_labels[here], expected.origin_labels)
            np.testing.assert_array_equal(part.target_labels[here], expected.target_labels)


@given(panels())
@settings(max_examples=60)
def test_no_window_reaches_into_another_series(problem):
    series, cut = problem
    together = windows(series, **cut)
    for name in PARTS:
        part = getattr(together, name)
        for X, y, number, origin, target in zip(part.X, part.y, part.series, part.origin, part.target, strict=True):
            values = series[number]
            inputs = values[origin - cut["input_length"] + 1 : origin + 1]
            assert inputs.shape == X.shape
            np.testing.assert_allclose(X * together.scale + together.loc, inputs, atol=1e-12)
            assert y == values[target, cut["target"]]


@given(panels(), st.data())
@settings(max_examples=60)
def test_the_scale_is_that_of_the_rows_that_training_windows_see_in_all_series(problem, data):
    series, cut = problem
    parts = windows(series, **cut)
    last = [int(parts.train.origin[parts.train.series == number][-1]) for number in range(len(series))]
    seen = np.concatenate([values[: end + 1] for values, end in zip(series, last, strict=True)])
    np.testing.assert_allclose(parts.loc, seen.mean(0), atol=1e-12)
    np.testing.assert_allclose(parts.scale, seen.std(0), rtol=1e-9)
    number = data.draw(st.integers(0, len(series) - 1))
    row = data.draw(st.integers(last[number] + 1, len(series[number]) - 1))
    changed = [values.copy() for values in series]
    changed[number][row] += 1e3
    after = windows(changed, **cut)
    np.testing.assert_array_equal(after.loc, parts.loc)
    np.testing.assert_array_equal(after.train.X, parts.train.X)


@given(panels())
@settings(max_examples=30)
def test_a_list_of_one_series_is_that_series(problem):
    (values, *_), cut = problem
    one, alone = windows([values], **cut), windows(values, **cut)
    for name in PARTS:
        np.testing.assert_array_equal(getattr(one, name).X, getattr(alone, name).X)
        assert not getattr(alone, name).series.any()


def shop(rows, first, **columns):
    days = pd.date_range(first, periods=rows)
    return pd.DataFrame({"sales": np.arange(float(rows)), "price": np.arange(rows) ** 2.0, **columns}, index=days)


SHOPS = {"north": shop(30, "2020-01-01"), "south": shop(20, "2021-03-05")}


def test_names_and_labels_say_where_a_window_is_from():
    parts = windows(SHOPS, 3, 2, target="price")
    for name in PARTS:
        part = getattr(parts, name)
        for shop_name, frame in SHOPS.items():
            here = part.series == shop_name
            assert part.origin_labels[here].equals(frame.index[part.origin[here]])
            assert part.target_labels[here].equals(frame.index[part.target[here]])
            np.testing.assert_array_equal(part.y[here], frame["price"].to_numpy()[part.target[here]])
    table = pd.concat(SHOPS, names=["shop"]).reset_index("shop")
    again = windows({name: rows.drop(columns="shop") for name, rows in table.groupby("shop")}, 3, 2, target="price")
    np.testing.assert_array_equal(again.test.X, parts.test.X)
    np.testing.assert_array_equal(again.test.series, parts.test.series)


def test_names_of_any_kind():
    both = list(SHOPS.values())
    for names in ([7, 9], ["a", 1], [("CH", "Bern"), ("CH", "Chur")]):
        parts = windows(dict(zip(names, both, strict=True)), 3)
        assert list(dict.fromkeys(parts.train.series.tolist())) == names


def test_series_of_pandas_with_names_of_their_own_are_a_panel():
    parts = windows([SHOPS["north"]["sales"], SHOPS["south"]["price"], np.arange(15.0), list(range(12))], 3)
    assert parts.train.X.shape[1:] == (3, 1)
    assert set(parts.train.series) == {0, 1, 2, 3}


def test_lists_of_numbers_and_of_rows_are_one_series():
    np.testing.assert_array_equal(windows(list(range(20)), 3).test.y, windows(np.arange(20.0), 3).test.y)
    rows = np.arange(40.0).reshape(20, 2)
    np.testing.assert_array_equal(windows(rows.tolist(), 3).test.X, windows(rows, 3).test.X)


def test_series_are_groups_of_splitters():
    train = windows([np.sin(np.arange(30.0) + shift) for shift in range(3)], 4).train
    flat = train.X.reshape(len(train.y), -1)
    for fit, rest in GroupKFold(3).split(flat, train.y, groups=train.series):
        assert not set(train.series[fit]) & set(train.series[rest])
    model = DensityRegressor(max_epochs=1, hidden_layer_sizes=(4,), random_state=0, preset="plain").fit(flat, train.y)
    assert model.predict(flat).shape == train.y.shape


SHORT = "the series is too short: of 5 rows, 2 windows remain with input_length=3 and horizon=1, and none for "


@pytest.mark.parametrize(
    ("series", "message"),
    [
        (
            [np.arange(20.0), np.arange(5.0)],
            f"in series 1: {SHORT}test with fractions=[0.6, 0.2, 0.2]. "
            "Pass a longer series, or a shorter input or horizon.",
        ),
        (
            {"a": np.arange(5.0), "b": np.arange(20.0), "c": np.arange(4.0), "d": np.arange(3.0)},
            f"in series 'a': {SHORT}test with fractions=[0.6, 0.2, 0.2]. "
            "Pass a longer series, or a shorter input or horizon. Further series that cannot be cut: 'c', 'd'.",
        ),
        (
            {"a": np.arange(20.0), "b": np.where(np.arange(20) == 7, np.nan, 1.0)},
            "in series 'b': `series` must be finite; 1 values are not, the first at row 7, 7, of column 0. "
            "Fill the gaps, or begin after them.",
        ),
        (
            [SHOPS["north"], SHOPS["south"].iloc[::-1]],
            "in series 1: the index of `series` must increase from row to row; row 1, 2021-03-23, comes after "
            "2021-03-24. Sort the rows in time; several series are a list or dict.",
        ),
        (
            [np.arange(20.0), np.zeros((20, 2))],
            "all series must have the same columns; 0 has [0], and 1 has [0, 1].",
        ),
        (
            {"a": SHOPS["north"], "b": SHOPS["south"][["price", "sales"]]},
            "all series must have the same columns; 'a' has ['sales', 'price'], and 'b' has ['price', 'sales'].",
        ),
        ({}, "`series` must hold at least one series; got none."),
    ],
)
def test_errors_say_which_series(series, message):
    with pytest.raises(ValueError, match=r".") as caught:
        windows(series, 3)
    assert str(caught.value) == message
