"""Columns of data frames of every kind as the columns that an estimator stores."""

import datetime
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
import torch
from column_cases import check_kept, fit_column
from scipy import sparse
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder

from probmix.columns import Columns
from probmix.networks import ColumnLayout

# in so few rows some levels are in one part alone
pytestmark = pytest.mark.filterwarnings("ignore:.*(that the fit has not seen|and had none in the fit):UserWarning")

RNG = np.random.default_rng(0)
NUMBERS = RNG.normal(size=(12, 3))


# what the cells are -> what is stored of them: columns by name
N, GAP = "a", "a is missing"
NUMERIC = {
    "floats": ([1.5, np.nan, 3.0], {N: [1.5, 2.25, 3.0], GAP: [0, 1, 0]}),
    "whole numbers": ([1, 2, 4], {N: [1, 2, 4]}),
    "whole numbers with NA": (pd.array([1, None, 4], dtype="Int64"), {N: [1, 2.5, 4], GAP: [0, 1, 0]}),
    "unsigned": (pd.array([1, None, 255], dtype="UInt8"), {N: [1, 128, 255], GAP: [0, 1, 0]}),
    "floats with NA": (pd.array([0.5, None, 1], dtype="Float32"), {N: [0.5, 0.75, 1], GAP: [0, 1, 0]}),
    "half precision": (np.array([0.5, 1, 2], dtype=np.float16), {N: [0.5, 1, 2]}),
    "truth values": ([True, False, True], {N: [1, 0, 1]}),
    "nullable truth values": (pd.array([True, False, True], dtype="boolean"), {N: [1, 0, 1]}),
    "sparse": (pd.arrays.SparseArray([0, 0, 2.5]), {N: [0, 0, 2.5]}),
    "numbers as objects": (np.array([1, None, 2.5], dtype=object), {N: [1, 1.75, 2.5], GAP: [0, 1, 0]}),
    "NA among objects": (np.array([1, pd.NA, np.float32(2.5)], dtype=object), {N: [1, 1.75, 2.5], GAP: [0, 1, 0]}),
    "decimals": ([Decimal("1.5"), None, Decimal("2")], {N: [1.5, 1.75, 2], GAP: [0, 1, 0]}),
    "fractions": ([Fraction(1, 2), Fraction(3, 2), 2], {N: [0.5, 1.5, 2]}),
    "numbers and truth values": (np.array([True, 3, 2.5], dtype=object), {N: [1, 3, 2.5]}),
    "constant with a gap": ([7, None, 7], {GAP: [0, 1, 0]}),
    "spans": (pd.to_timedelta([36, None, 12], unit="h"), {N: [1.5, 1, 0.5], GAP: [0, 1, 0]}),
    "spans as objects": (
        np.array([datetime.timedelta(days=2), None, datetime.timedelta(days=1)], dtype=object),
        {N: [2, 1.5, 1], GAP: [0, 1, 0]},
    ),
    "times of day": ([datetime.time(6, 30), None, datetime.time(18, 0, 36)], {N: [6.5, 12.255, 18.01], GAP: [0, 1, 0]}),
}  # fmt: skip
LEVELS = {
    "text": (["b", "a", "b"], [1, 0, 1], 2),
    "text with gaps": (["b", None, "a"], [1, 2, 0], 3),
    "pandas' text": (pd.array(["b", None, "a"], dtype="string"), [1, 2, 0], 3),
    "text as objects": (np.array(["b", np.nan, "a"], dtype=object), [1, 2, 0], 3),
    "the text 'nan'": (["nan", None, "a"], [1, 2, 0], 3),
    "empty text": (["", None, "a"], [0, 2, 1], 3),
    "bytes": ([b"b", None, b"a"], [1, 2, 0], 3),
    "categories": (pd.Categorical(["b", None, "a"], categories=["c", "b", "a"]), [1, 2, 0], 3),
    "categories of numbers": (pd.Categorical([10, 9, 10]), [1, 0, 1], 2),
    "categories of truth values": (pd.Categorical([True, False, True]), [1, 0, 1], 2),
    "categories of dates": (pd.Categorical(pd.to_datetime(["2021-01-01", "2020-01-01", None])), [1, 0, 2], 3),
    "ordered categories": (pd.Categorical(["low", "high", "low"], ["low", "high"], ordered=True), [1, 0, 1], 2),
    "truth values with NA": (pd.array([True, None, False], dtype="boolean"), [1, 2, 0], 3),
    "truth values and None": (np.array([True, None, False], dtype=object), [1, 2, 0], 3),
    "intervals": (pd.arrays.IntervalArray.from_tuples([(1, 2), (0, 1), (1, 2)]), [1, 0, 1], 2),
    "tuples": (pd.Series([(1, 2), (0, 1), None]), [1, 0, 2], 3),
    "what has no hash": (pd.Series([{"b": 1}, {"a": 1}, None]), [1, 0, 2], 3),
}


@pytest.mark.parametrize("kind", NUMERIC)
def test_numbers_keep_their_values_and_gaps_their_place(kind):
    values, expected = NUMERIC[kind]
    columns, stored = fit_column(values)
    assert columns.layout.names == tuple(expected)
    assert columns.layout.kinds == tuple("indicator" if name == GAP else "number" for name in expected)
    assert columns.layout.n_levels == (0,) * len(expected)
    np.testing.assert_allclose(stored, np.transpose([*expected.values()]), rtol=1e-15)
    check_kept(pd.DataFrame({"a": values}), columns, stored)


@pytest.mark.parametrize("kind", LEVELS)
def test_levels_are_codes_in_their_order_with_gaps_behind_them(kind):
    values, codes, n_levels = LEVELS[kind]
    columns, stored = fit_column(values)
    assert columns.layout == ColumnLayout(("level",), (n_levels,), (False,), ("a",), (0,))
    assert stored[:, 0].tolist() == codes
    check_kept(pd.DataFrame({"a": values}), columns, stored)


TABLES = {
    "array": NUMBERS,
    "single precision": NUMBERS.astype(np.float32),
    "list": NUMBERS.tolist(),
    "tensor": torch.from_numpy(NUMBERS).requires_grad_(),
    "sparse": sparse.csr_array(NUMBERS),
    "objects": NUMBERS.astype(object),
    "frame": pd.DataFrame(NUMBERS, columns=list("abc")),
    "nullable frame": pd.DataFrame(NUMBERS, columns=list("abc")).astype("Float64"),
    "sparse frame": pd.DataFrame(NUMBERS, columns=list("abc")).astype(pd.SparseDtype("float64", 0.0)),
    "numbered frame": pd.DataFrame(NUMBERS),
}


@pytest.mark.parametrize("kind", TABLES)
def test_numbers_without_gaps_come_out_as_they_are(kind):
    X = TABLES[kind]
    columns, stored = Columns.fit(X)
    expected = NUMBERS.astype(np.float32).astype(np.float64) if kind == "single precision" else NUMBERS
    assert np.array_equal(stored.view(np.int64), expected.view(np.int64))
    named = kind.endswith("frame") and kind != "numbered frame"
    assert columns.feature_names_in_ is None if not named else columns.feature_names_in_.tolist() == list("abc")
    assert columns.n_features_in_ == 3
    assert columns.layout.n_numbers == len(columns.layout.kinds) == 3
    if not named:
        assert columns.layout == ColumnLayout.plain(3)
    check_kept(X, columns, stored)


def test_an_array_of_doubles_is_not_copied():
    columns, stored = Columns.fit(NUMBERS)
    assert np.shares_memory(stored, NUMBERS)
    assert np.shares_memory(columns.transform(NUMBERS), NUMBERS)


def test_masked_cells_are_gaps():
    columns, stored = Columns.fit(np.ma.masked_equal([[1, 5], [2, 6], [9, 9]], 9))
    assert columns.layout.kinds == ("number", "indicator") * 2
    assert stored.tolist() == [[1, 0, 5, 0], [2, 0, 6, 0], [1.5, 1, 5.5, 1]]


def test_constant_and_empty_columns_are_dropped():
    X = pd.DataFrame(
        {"a": [1, 1], "b": [None, None], "c": [1.0, 2.0], "d": ["x", "x"], "e": pd.to_datetime(["2020"] * 2)}
    )
    columns, stored = Columns.fit(X)
    assert columns.layout == ColumnLayout(("number",), (0,), (False,), ("c",), (2,))
    assert stored.tolist() == [[1], [2]]
    # whatever they hold later
    assert columns.transform(X.assign(a="text", b=[[1], [2]], d=None, e=3)).tolist() == [[1], [2]]
    plain, stored = Columns.fit(np.array([[0.0, 5, 1], [0, 6, 1]]))
    assert plain.layout.sources == (1,)
    assert stored.tolist() == [[5], [6]]
    assert plain.transform([[9, 4, 7]]).tolist() == [[4]]


@pytest.mark.parametrize(
    ("values", "kind", "stored"),
    [
        ([3.5, 3.5], "number", 3.5),
        ([None, None], "number", 0),
        (["x", "x"], "level", 0),
        (pd.to_datetime(["1970-01-03"] * 2), "number", 2),
        (pd.Categorical([None, None], ["x"]), "number", 0),
    ],
)
def test_if_all_columns_are_constant_the_first_is_kept(values, kind, stored):
    X = pd.DataFrame({"a": values, "b": [None, None], "c": [1, 1]})
    columns, found = Columns.fit(X)
    assert columns.layout.kinds == (kind,)
    assert columns.layout.names == ("a",)
    assert found.tolist() == [[stored]] * 2
    check_kept(X, columns, found)


def test_one_row_is_all_constant():
    columns, stored = Columns.fit(pd.DataFrame({"a": ["x"], "b": [1]}))
    assert columns.layout.kinds == ("level",)
    assert stored.tolist() == [[0]]


def mixed_frame(n=200):
    rng = np.random.default_rng(1)
    X = pd.DataFrame({
        "age": rng.normal(size=n).round(1),
        "make": rng.choice(["volvo", "audi", "fiat"], n),
        "rooms": pd.array(rng.integers(1, 6, n), dtype="Int64"),
        "region": pd.Categorical(rng.choice(["north", "south"], n)),
    })  # fmt: skip
    for position, name in enumerate(X.columns):
        X.loc[rng.random(n) < 0.1 * (position + 1) / 4, name] = None
    return X


def test_equal_to_encoding_by_hand_with_scikit_learn():
    X = mixed_frame()
    columns, stored = Columns.fit(X)
    assert columns.layout.names == ("age", "age is missing", "make", "rooms", "rooms is missing", "region")
    numbers = X[["age", "rooms"]].astype(float)
    by_hand = SimpleImputer(strategy="median", add_indicator=True).fit_transform(numbers)
    np.testing.assert_array_equal(stored[:, [0, 3, 1, 4]], by_hand)
    texts = X[["make", "region"]].astype(object).where(X.notna(), np.nan)
    one_hot = OneHotEncoder(sparse_output=False).fit_transform(texts)
    found = np.hstack([np.eye(columns.layout.n_levels[place])[stored[:, place].astype(int)] for place in (2, 5)])
    np.testing.assert_array_equal(found, one_hot)


def test_rare_levels_share_a_code_as_in_scikit_learn():
    rng = np.random.default_rng(2)
    shares = 1 / np.arange(1, 61) ** 2
    X = pd.DataFrame({"a": rng.choice([f"level {one}" for one in range(60)], 9_000, p=shares / shares.sum())})
    columns, stored = Columns.fit(X)
    # one in two thousand
    expected = OrdinalEncoder(min_frequency=5).fit_transform(X)
    np.testing.assert_array_equal(stored, expected)
    assert columns.layout.n_levels == (expected.max() + 1,)
    assert 30 < expected.max() < 60
    assert columns.layout.embedded == (True,)
    check_kept(X, columns, stored)


def test_of_many_levels_the_most_frequent_have_codes():
    X = pd.DataFrame({"a": [one for one in range(1_000, 1_400) for _ in range(one % 400 + 10)]}).astype("category")
    columns, stored = Columns.fit(X)
    expected = OrdinalEncoder(max_categories=255).fit_transform(X)
    np.testing.assert_array_equal(stored, expected)
    assert columns.layout.n_levels == (255,)


@pytest.mark.parametrize(("frequent", "rare", "codes"), [(255, 0, 255), (254, 1, 255), (255, 1, 255), (256, 0, 255)])
def test_there_are_255_codes_at_most(frequent, rare, codes):
    cells = [f"{one}a" for one in range(frequent) for _ in range(12)] + [f"{one}b" for one in range(rare)]
    layout = fit_column(cells)[0].layout
    assert layout.n_levels == (codes,)
    assert fit_column([*cells, None])[0].layout.n_levels == (255,)


def test_equal_numbers_are_one_level_whatever_their_type():
    columns, stored = fit_column(pd.Categorical([3, 1, 2]))
    for same in ([3.0, 1.0, 2.0], np.array([3, 1.0, Decimal(2)], dtype=object), pd.array([3, 1, 2], dtype="Int8")):
        np.testing.assert_array_equal(columns.transform(pd.DataFrame({"a": same})), stored)
    flags = fit_column(pd.array([True, None, False], dtype="boolean"))[0]
    assert flags.transform(pd.DataFrame({"a": [0, 1.0]})).tolist() == [[0], [1]]


def test_identifiers_have_255_codes():
    X = pd.DataFrame({"id": [f"customer {one}" for one in range(5_000)]})
    columns, stored = Columns.fit(X)
    assert columns.layout.n_levels == (255,)
    assert np.bincount(stored[:, 0].astype(int)).tolist() == [1] * 254 + [5_000 - 254]


def test_up_to_nine_codes_are_one_hot():
    assert fit_column([*"abcdefghi"])[0].layout.embedded == (False,)
    assert fit_column([*"abcdefgh", None])[0].layout.embedded == (False,)
    assert fit_column([*"abcdefghi", None])[0].layout.embedded == (True,)


def test_columns_go_by_their_names():
    X = mixed_frame()
    columns, stored = Columns.fit(X)
    np.testing.assert_array_equal(columns.transform(X[X.columns[::-1]]), stored)
    numbers = pd.DataFrame(NUMBERS, columns=list("abc"))
    np.testing.assert_array_equal(Columns.fit(numbers)[0].transform(numbers[["c", "a", "b"]]), NUMBERS)


def test_rows_do_not_depend_on_those_they_come_with():
    X = mixed_frame()
    columns, stored = Columns.fit(X)
    np.testing.assert_array_equal(np.vstack([columns.transform(X.iloc[[row]]) for row in range(30)]), stored[:30])


def repeated(X, weights):
    return X.iloc[np.repeat(np.arange(len(X)), weights)]


def test_a_row_of_weight_two_is_two_rows_and_one_of_weight_zero_none():
    X = mixed_frame(2_100)
    X["id"] = [f"id {one % 1400}" for one in range(len(X))]
    X["sold"] = pd.Timestamp("2020-01-01") + pd.to_timedelta(np.arange(len(X)) // 7, unit="D")
    weights = np.random.default_rng(3).integers(0, 4, len(X))
    columns, stored = Columns.fit(X, sample_weight=weights)
    again, other = Columns.fit(repeated(X, weights))
    assert again == columns
    np.testing.assert_array_equal(stored[np.repeat(np.arange(len(X)), weights)], other)
    # whatever their unit
    assert Columns.fit(X, sample_weight=0.1 * weights)[0] == columns
    assert Columns.fit(X, sample_weight=np.full(len(X), 0.1))[0] == Columns.fit(X)[0]
    gap = pd.DataFrame({"a": [1.0, None, 2.0], "b": ["x", "y", None], "c": [0, 1, 0]})
    assert Columns.fit(gap, sample_weight=[1, 0, 1])[0].layout.names == ("a", "b")
    flags = pd.DataFrame({"a": pd.array([True, None, False], dtype="boolean")})
    assert Columns.fit(flags, sample_weight=[1, 0, 1])[0].layout.kinds == ("number",)


def test_medians_are_those_of_rows_by_their_weights():
    rng = np.random.default_rng(4)
    for n in range(1, 40):
        values, weights = rng.integers(0, 9, n) / 7, rng.integers(0, 4, n)
        weights[0] += 1
        X = pd.DataFrame({"a": [*values, None], "b": range(n + 1)})
        _, stored = Columns.fit(X, sample_weight=0.3 * np.append(weights, 1))
        rows = np.repeat(values, weights)
        assert stored[-1, 0] == np.median(rows) or np.ptp(rows) == 0


LISTED = pd.DataFrame(
    {"zip": [9, 8, 9], "rooms": [3, 4, 5], "kind": ["x", "y", "x"], "rank": pd.Categorical([1, 2, 2])}
)


@pytest.mark.parametrize(
    ("listed", "kinds"),
    [
        ("from_dtype", ("number", "number", "level", "level")),
        (["zip", "kind"], ("level", "number", "level", "number")),
        ([0, 2], ("level", "number", "level", "number")),
        (np.array([True, False, True, False]), ("level", "number", "level", "number")),
        (pd.Index(["zip", "kind", "rank"]), ("level", "number", "level", "level")),
    ],
)
def test_columns_are_levels_by_their_dtype_name_position_or_a_mask(listed, kinds):
    columns, stored = Columns.fit(LISTED, categorical_features=listed)
    assert columns.layout.kinds == kinds
    check_kept(LISTED, columns, stored)
    assert stored[:, 3].tolist() == ([0, 1, 1] if kinds[3] == "level" else [1, 2, 2])


@pytest.mark.parametrize("nothing", [None, []])
def test_numbers_may_be_all_there_is(nothing):
    columns, _ = Columns.fit(LISTED.drop(columns="kind"), categorical_features=nothing)
    assert columns.layout.kinds == ("number",) * 3


def test_listed_columns_of_an_array():
    columns, stored = Columns.fit(np.array([[7.0, 1], [9, 2], [7, 3]]), categorical_features=[0])
    assert columns.layout.kinds == ("level", "number")
    assert stored.tolist() == [[0, 1], [1, 2], [0, 3]]
    assert columns.transform([[9, 4]]).tolist() == [[1, 4]]


def test_a_pipeline_of_scikit_learn_gives_what_listing_by_hand_gives():
    """Sums over both encodings are the same: equal up to the order of columns."""
    X = mixed_frame().dropna()
    by_hand = ColumnTransformer([("levels", OrdinalEncoder(), ["make", "region"])], remainder="passthrough")
    np.testing.assert_array_equal(by_hand.fit_transform(X.astype({"rooms": float})), Columns.fit(X)[1][:, [1, 3, 0, 2]])
