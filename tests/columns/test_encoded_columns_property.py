"""Random frames are encoded, or refused with the name of a column."""

import contextlib
import datetime
import json
import warnings
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from probmix.columns import Columns

# in so few rows some levels are in one part alone
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*holds (levels|days of the week) that the fit has not seen:UserWarning"
)

GAPS = st.sampled_from([None, np.nan, pd.NA, pd.NaT])
NAMES = ["age", "make", "town", "sold", "rooms"]
ZONES = st.sampled_from([None, datetime.UTC, datetime.timezone(datetime.timedelta(hours=3))])
NUMBERS = st.one_of(
    st.integers(-3, 3),
    st.integers(),
    st.floats(allow_nan=False),
    st.floats(width=32, allow_nan=False, allow_infinity=False).map(np.float32),
    st.booleans(),
    st.integers(-100, 100).map(lambda one: Decimal(one) / 8),
    st.fractions(-5, 5, max_denominator=7).map(Fraction),
)
KINDS = {
    "numbers": NUMBERS,
    "truth": st.booleans(),
    "letters": st.sampled_from("abcdefghijklm"),
    "text": st.text(max_size=4),
    "spelt": st.dates(datetime.date(2020, 1, 1), datetime.date(2021, 12, 31)).map(str),
    "spelt times": st.datetimes(timezones=ZONES).map(str),
    "bytes": st.binary(max_size=2),
    "dates": st.dates(),
    "recent": st.dates(datetime.date(2020, 1, 1), datetime.date(2021, 12, 31)).map(pd.Timestamp),
    "times": st.datetimes(timezones=ZONES),
    "spans": st.timedeltas(datetime.timedelta(-9999), datetime.timedelta(9999)),
    "long spans": st.timedeltas(),
    "times of day": st.times(),
    "periods": st.integers(0, 500).map(lambda month: pd.Period("2000-01", "M") + month),
    "tuples": st.tuples(st.integers(0, 2), st.sampled_from("ab")),
    "dicts": st.dictionaries(st.sampled_from("ab"), st.integers(0, 1), max_size=1),
    "complex": st.complex_numbers(allow_nan=False, allow_infinity=False),
    "lists": st.lists(st.integers(0, 2), max_size=2),
    "nothing": st.none(),
}
# what a column may become where its cells allow it
DTYPES = st.sampled_from([None, None, "category", "string", "Int64", "Float64", "boolean", "M8[s]", "m8[s]"])


@st.composite
def frames(draw):
    """A frame to fit and one to predict for, of the same columns, and weights of the rows of the first."""
    sizes = draw(st.integers(1, 12)), draw(st.integers(1, 4))
    names = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=4, unique=draw(st.integers(0, 9)) > 0))
    tables = {}, {}
    for position in range(len(names)):
        kinds = draw(st.lists(st.sampled_from([*KINDS]), min_size=1, max_size=draw(st.sampled_from([1, 1, 1, 2]))))
        cells = st.one_of([KINDS[kind] for kind in kinds])
        cells = st.one_of(cells, cells, GAPS) if draw(st.booleans()) else cells
        dtype = draw(DTYPES)
        for table, size in zip(tables, sizes, strict=True):
            column = np.empty(size, dtype=object)
            column[:] = draw(st.lists(cells, min_size=size, max_size=size))
            table[position] = pd.Series(column, dtype=object)
            with contextlib.suppress(ValueError, TypeError, OverflowError, NotImplementedError, Warning):
                table[position] = table[position] if dtype is None else table[position].astype(dtype)
    weights = draw(st.none() | st.lists(st.integers(0, 3), min_size=sizes[0], max_size=sizes[0]).filter(any))
    return *(pd.DataFrame(table).set_axis(names, axis=1) for table in tables), weights


def names_a_column(message, X):
    return any(f"'{name}'" in message or f"- {name}\n" in message for name in X.columns)


def encoded(X, encode):
    """What came of a table, or None where it was refused with the name of a column."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            result, said = encode(), []
        except (ValueError, TypeError) as error:
            result, said = None, [error]
    for one in [*said, *(warning.message for warning in caught)]:
        assert names_a_column(str(one), X), one
    return result


def check_table(stored, layout, n_rows):
    assert stored.shape == (n_rows, len(layout.kinds))
    assert stored.dtype == np.float64
    assert np.isfinite(stored).all()
    for values, kind, n_levels, name in zip(stored.T, layout.kinds, layout.n_levels, layout.names, strict=True):
        if kind == "level":
            assert set(values) <= set(range(n_levels))
        if kind == "indicator" and " is missing" in name:
            assert set(values) <= {0, 1}
        elif kind == "indicator":
            # waves of the time of the year and of the day
            assert np.abs(values).max() <= 1


@settings(max_examples=60, deadline=None, derandomize=True)
@given(frames())
def test_a_random_frame_is_encoded_or_a_column_of_it_is_named(drawn):
    X, other, weights = drawn
    fitted = encoded(X, lambda: Columns.fit(X, sample_weight=weights))
    if fitted is None:
        return
    columns, stored = fitted
    check_table(stored, columns.layout, len(X))
    assert columns.feature_names_in_.tolist() == X.columns.tolist()
    assert set(columns.layout.sources) <= set(range(X.shape[1]))
    # every code is that of a row that counts
    counted = stored if weights is None else stored[np.array(weights) > 0]
    for position, n_levels in enumerate(columns.layout.n_levels):
        assert not n_levels or set(counted[:, position]) == set(range(n_levels))
    kept = Columns.from_state(json.loads(json.dumps(columns.state(), allow_nan=False)))
    assert kept == columns
    np.testing.assert_array_equal(kept.transform(X), stored)
    half = X.iloc[1::2] if len(X) > 1 else X
    np.testing.assert_array_equal(columns.transform(half[half.columns[::-1]]), stored[1::2] if len(X) > 1 else stored)
    table = encoded(other, lambda: columns.transform(other))
    if table is not None:
        check_table(table, columns.layout, len(other))
        np.testing.assert_array_equal(np.vstack([columns.transform(other.iloc[[k]]) for k in range(len(other))]), table)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(frames())
def test_an_array_holds_what_a_frame_holds(drawn):
    X = drawn[0].astype(object)
    X.columns = [f"column {position}" for position in range(X.shape[1])]
    by_frame = encoded(X, lambda: Columns.fit(X, categorical_features=["column 0"]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        if by_frame is None:
            with pytest.raises(ValueError, match="column "):
                Columns.fit(X.to_numpy(), categorical_features=[0])
        else:
            columns, stored = Columns.fit(X.to_numpy(), categorical_features=[0])
            assert columns.layout == by_frame[0].layout
            np.testing.assert_array_equal(stored, by_frame[1])
