"""Tables that are no frames of pandas: those of polars and of others, and lists."""

import numpy as np
import pandas as pd
from fake_polars import FakePolars, FakeSeries

from probmix.columns import Columns

TIMES = np.array(["2020-01-01T23:00", "2020-01-02T11:00", "2020-01-03T11:00"], dtype="M8[us]")


def test_frames_of_polars():
    X = FakePolars(
        age=FakeSeries(np.array([1.0, np.nan, 3.0]), "Int64"),
        make=FakeSeries(np.array(["b", None, "a"], dtype=object), "String"),
        rank=FakeSeries(np.array(["u", "v", "u"], dtype=object), "Enum(categories=['v', 'u'])"),
        old=FakeSeries(np.array([True, None, False], dtype=object), "Boolean"),
        sold=FakeSeries(TIMES, "Datetime(time_unit='us', time_zone='Europe/Berlin')", "Europe/Berlin"),
    )
    columns, stored = Columns.fit(X)
    frame = pd.DataFrame({
        "age": [1, None, 3],
        "make": ["b", None, "a"],
        "rank": pd.Categorical(["u", "v", "u"]),
        "old": pd.array([True, None, False], dtype="boolean"),
        "sold": pd.Series(TIMES).dt.tz_localize("UTC").dt.tz_convert("Europe/Berlin"),
    })  # fmt: skip
    same, expected = Columns.fit(frame)
    assert same == columns
    np.testing.assert_array_equal(stored, expected)
    np.testing.assert_array_equal(columns.transform(frame), stored)
    listed = Columns.fit(X, categorical_features=["rank", "make"])[0].layout
    assert listed.kinds[2:4] == ("level", "level")


def test_frames_that_turn_into_those_of_pandas():
    frame = pd.DataFrame({"a": [1.5, None, 3.0], "b": ["x", "y", "x"]})

    class Arrow:
        def to_pandas(self):
            return frame

    np.testing.assert_array_equal(Columns.fit(Arrow())[1], Columns.fit(frame)[1])


def test_a_list_of_text_and_numbers_keeps_its_numbers():
    columns, stored = Columns.fit([[1, "b"], [2.5, "a"], [None, "a"]])
    assert columns.layout.kinds == ("number", "indicator", "level")
    assert stored.tolist() == [[1, 0, 1], [2.5, 0, 0], [1.75, 1, 0]]
