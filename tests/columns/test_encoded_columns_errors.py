"""What cannot be a column is named, word for word."""

import datetime
import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from probmix.columns import Columns

X = pd.DataFrame({
    "age": [30.0, 40, 50],
    "make": ["a", "b", "a"],
    "sold": pd.to_datetime(["2020-01-01", "2020-02-01", "2020-03-01"]),
    "spent": pd.to_timedelta([1, 2, 3], unit="h"),
    "open": [datetime.time(6), datetime.time(7), datetime.time(8)],
    "seen": pd.to_datetime(["2020-01-01", "2020-02-01", "2020-03-01"]).tz_localize("Europe/Berlin"),
    "flag": pd.array([True, None, False], dtype="boolean"),
})  # fmt: skip
COLUMNS = Columns.fit(X)[0]
ASTYPE = "Text that spells numbers becomes such by astype(float)."
COMPLEX = "Complex data not supported: take the real parts, or pass both parts as numbers."
FINITE = "Replace it by a finite number, or drop such rows."


def objects(*cells):
    column = np.empty(len(cells), dtype=object)
    column[:] = cells
    return column


def said(error, wanted=ValueError):
    with pytest.raises(wanted) as caught:
        error()
    return str(caught.value)


OTHER_KINDS = {
    "text among numbers": (
        X.assign(age=objects(1, "high", 2)),
        "`X` must hold numbers, as in the fit; got the text 'high' at row 1 of column 'age' (0). " + ASTYPE,
    ),
    "dates for numbers": (
        X.assign(age=X["sold"]),
        "`X` must hold numbers, as in the fit; got the date 2020-01-01 00:00:00 at row 0 of column 'age' (0). "
        "Pass numbers, such as days since the first date.",
    ),
    "spans for numbers": (
        X.assign(age=X["spent"]),
        "`X` must hold numbers, as in the fit; got the span of time 0 days 01:00:00 at row 0 of column 'age' (0).",
    ),
    "infinity": (
        X.assign(age=[1, -np.inf, np.inf]),
        f"`X` must be finite; got -infinity at row 1 of column 'age' (0) (2 such values in all). {FINITE}",
    ),
    "more than any float": (
        X.assign(age=objects(1, None, 10**400)),
        f"`X` must be finite; got infinity at row 2 of column 'age' (0). {FINITE}",
    ),
    "numbers for text": (
        X.assign(make=[1, 2, 3]), "`X` must hold text, as in the fit; got the number 1 at row 0 of column 'make' (1).",
    ),
    "a number among text": (
        X.assign(make=objects("a", "b", 7)),
        "`X` must hold text, as in the fit; got the number 7 at row 2 of column 'make' (1).",
    ),
    "text for dates": (
        X.assign(sold=["2020-01-01", None, "2020-02-30"]),
        "`X` must hold dates, as in the fit; got the text '2020-02-30' at row 2 of column 'sold' (2). "
        "Text that spells dates becomes such by pandas.to_datetime.",
    ),
    "text among dates": (
        X.assign(sold=objects(pd.Timestamp("2020-01-01"), "2020-01-01", None)),
        "`X` must hold dates, as in the fit; got the text '2020-01-01' at row 1 of column 'sold' (2). "
        "Text that spells dates becomes such by pandas.to_datetime.",
    ),
    "bytes for dates": (
        X.assign(sold=[b"2020"] * 3),
        "`X` must hold dates, as in the fit; got the text b'2020' at row 0 of column 'sold' (2). "
        "Text that spells dates becomes such by pandas.to_datetime.",
    ),
    "several zones": (
        X.assign(seen=["2020-01-01T12:00+01:00", "2020-01-01T12:00+02:00", "2020-01-01T12:00"]),
        "column 'seen' (5) of `X` holds dates that cannot be taken together: ",
    ),
    "a zone": (
        X.assign(sold=X["seen"]),
        "column 'sold' (2) of `X` must hold times without a zone, as in the fit; got times in Europe/Berlin. "
        "Use Series.dt.tz_localize(None).",
    ),
    "no zone": (
        X.assign(seen=X["sold"]),
        "column 'seen' (5) of `X` must hold times with a zone, as in the fit; got times without. "
        "Use Series.dt.tz_localize('Europe/Berlin').",
    ),
    "numbers for spans": (
        X.assign(spent=[0, 1, 2]),
        "`X` must hold spans of time, as in the fit; got the number 0 at row 0 of column 'spent' (3).",
    ),
    "text for times of day": (
        X.assign(open="06:00"),
        "`X` must hold times of day, as in the fit; got the text '06:00' at row 0 of column 'open' (4).",
    ),
    "text for truth values": (
        X.assign(flag="yes"),
        "`X` must hold truth values, as in the fit; got the text 'yes' at row 0 of column 'flag' (6).",
    ),
    "a row with a label": (
        X.assign(age=objects(1, "high", 2)).set_axis([7, 8, 9]),
        "`X` must hold numbers, as in the fit; got the text 'high' at row 1, label 8, of column 'age' (0). " + ASTYPE,
    ),
    "a label of several words": (
        X.assign(sold=X["seen"]).set_axis(["king of spain", "b", "c"]),
        "column 'sold' (2) of `X` must hold times without a zone, as in the fit; got times in Europe/Berlin. "
        "Use Series.dt.tz_localize(None).",
    ),
    "another order": (
        X.assign(age=objects(1, "high", 2))[X.columns[::-1]],
        "`X` must hold numbers, as in the fit; got the text 'high' at row 1 of column 'age' (6). " + ASTYPE,
    ),
    "missing columns": (
        X[["age", "seen"]],
        "The feature names should match those that were passed during fit.\n"
        "Feature names seen at fit time, yet now missing:\n- flag\n- make\n- open\n- sold\n- spent\n",
    ),
    "other columns": (
        X.rename(columns=str.upper).assign(age=1),
        "The feature names should match those that were passed during fit.\n"
        "Feature names unseen at fit time:\n- AGE\n- FLAG\n- MAKE\n- OPEN\n- SEEN\n- ...\n"
        "Feature names seen at fit time, yet now missing:\n- flag\n- make\n- open\n- seen\n- sold\n- ...\n",
    ),
    "too few columns": (np.ones((3, 2)), "X has 2 features, but it is expecting 7 features as input."),
    "a name twice": (
        X.set_axis(["age", "make", "age", "make", "b", "c", "d"], axis=1),
        "`X` must have columns of different names; got 'age', 'make' more than once. Rename or drop such columns.",
    ),
    "no rows": (X.iloc[:0], "Found `X` with 0 sample(s) (shape=(0, 7)) while a minimum of 1 is required."),
}  # fmt: skip


@pytest.mark.parametrize("kind", OTHER_KINDS)
def test_what_is_unlike_the_fit_is_named(kind):
    other, message = OTHER_KINDS[kind]
    found = said(lambda: COLUMNS.transform(other))
    # what pandas says follows
    assert found[: len(message)] == message if message.endswith(": ") else found == message


def test_tables_go_by_their_names():
    message = "`X_val` must hold numbers, as in the fit; got the text 'x' at row 0 of column 'age' (0). " + ASTYPE
    assert said(lambda: COLUMNS.transform(X.assign(age="x"), "X_val")) == message
    assert "`X_val`" in said(lambda: COLUMNS.transform(X.iloc[:0], "X_val"))


REFUSED = {
    "complex numbers": (
        pd.DataFrame({"a": [1, 2j]}),
        f"`X` must hold real numbers, text or times; got the complex number 1+0j at row 0 of column 'a' (0). {COMPLEX}",
    ),
    "a complex number": (
        objects(1, 2j)[:, None],
        f"`X` must hold real numbers, text or times; got the complex number 2j at row 1 of column 0. {COMPLEX}",
    ),
    "a complex sparse table": (
        sparse.csr_array(np.array([[0, 2j]])),
        f"`X` must hold real numbers, text or times; got the complex number 0j at row 0 of column 0. {COMPLEX}",
    ),
    "sequences": (
        pd.DataFrame({"a": objects(1.0, [1, 2])}),
        "`X` must hold one value in each cell; got the sequence [1, 2] at row 1 of column 'a' (0). Spread it over "
        "columns of its own.",
    ),
    "some with a zone": (
        pd.DataFrame({"a": objects(pd.Timestamp("2020-01-01"), pd.Timestamp("2020-01-01", tz="UTC"))}),
        "column 'a' (0) of `X` holds dates that cannot be taken together: ",
    ),
    "long spans": (
        pd.DataFrame({"a": objects(datetime.timedelta.max, datetime.timedelta.resolution)}),
        "column 'a' (0) of `X` holds spans that are too long: ",
    ),
    "infinity": ([[1.0], [np.inf]], f"`X` must be finite; got infinity at row 1 of column 0. {FINITE}"),
    "twice": (
        pd.DataFrame([[1, 2]], columns=["a", "a"]),
        "`X` must have columns of different names; got 'a' more than once. Rename or drop such columns.",
    ),
    "a column": (pd.Series([1.0, 2.0]), "Expected 2D array, got 1D array instead"),
    "a column of text": (pd.Series(["a", "b"]), "Expected 2D array, got 1D array instead"),
    "three dimensions": (np.ones((2, 2, 2)), "Found array with dim 3"),
    "no rows": (np.ones((0, 2)), "Found array with 0 sample(s) (shape=(0, 2)) while a minimum of 1 is required."),
    "no columns": (pd.DataFrame(index=[1, 2]), "Found `X` with 0 feature(s) (shape=(2, 0)) while a minimum of 1 is"),
    "a large sparse table": (
        sparse.csr_array((10**6, 10**6)), "`X` is sparse, of shape (1000000, 1000000), and is made dense up to 4 GiB;",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_what_no_fit_can_take_is_named(kind):
    table, message = REFUSED[kind]
    assert said(lambda: Columns.fit(table)).startswith(message)


def test_names_that_are_text_only_in_part():
    message = said(lambda: Columns.fit(pd.DataFrame([[1, 2]], columns=["a", 1])), TypeError)
    assert message == (
        "`X` must have columns whose names are all text, or none of them; got 1 among names that are. Make them "
        "text: X.columns = X.columns.astype(str)."
    )


POSSIBLE = "`categorical_features` must be 'from_dtype', None, or a list of names, positions or truth values; got "
LISTED = {
    "a name": ("make", POSSIBLE + "'make'. Put a single name into a list."),
    "a wrong name": (["mkae"], "unknown column in `categorical_features`: 'mkae'; did you mean 'make'?"),
    "a position beyond": ([0, 7], "`categorical_features` must be positions from 0 to 6; got 7. `X` has 7 columns."),
    "a position before": ([-1], "`categorical_features` must be positions from 0 to 6; got -1. `X` has 7 columns."),
    "a short mask": (
        [True, False],
        "`categorical_features` as a mask must have one entry for each of the 7 columns of `X`; got 2.",
    ),
    "fractions": ([0.5], POSSIBLE + "[0.5]."),
    "a number": (3, POSSIBLE + "3."),
    "text that is not listed": (
        None,
        "`X` must hold numbers or times in columns that `categorical_features` does not list; got the text 'a' at row "
        "0 of column 'make' (1). List the column, or leave `categorical_features` at 'from_dtype'.",
    ),
}


@pytest.mark.parametrize("kind", LISTED)
def test_what_lists_no_columns_is_named(kind):
    listed, message = LISTED[kind]
    assert said(lambda: Columns.fit(X, categorical_features=listed)) == message


def test_names_of_columns_that_have_none():
    assert said(lambda: Columns.fit(np.ones((3, 2)), categorical_features=["a"])) == (
        "`categorical_features` can be names only where the columns of `X` have names that are text. Pass positions or "
        "a mask."
    )


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1, 2], "`sample_weight` must have shape (3,), one for each row of `X`; got (2,)."),
        ([1, -1, 2], "`sample_weight` must be finite, not negative, and positive for one row at least."),
        ([0, 0, 0], "`sample_weight` must be finite, not negative, and positive for one row at least."),
        ([1, np.nan, 0], "`sample_weight` must be finite, not negative, and positive for one row at least."),
    ],
)
def test_weights_that_are_none(weights, message):
    assert said(lambda: Columns.fit(X, sample_weight=weights)) == message


def warned(call):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    assert [one.category for one in caught] == [UserWarning]
    return str(caught[0].message)


def test_names_on_one_side_only_are_warned_of():
    assert warned(lambda: COLUMNS.transform(X.to_numpy())) == (
        "X does not have valid feature names, but that of the fit had; its columns are taken in their order"
    )
    plain = Columns.fit(np.array([[1.0, 2], [3, 4]]))[0]
    message = warned(lambda: plain.transform(pd.DataFrame([[1, 2]], columns=["a", "b"])))
    assert message == "X has feature names, but that of the fit had none"


ASKED = {
    "text among numbers": (
        objects(1, 2.5, "unknown"),
        "column 'a' (0) of `X` mixes numbers and text, such as the text 'unknown' at row 2; all are taken for "
        "levels. Write gaps as None or NaN, or make it a category.",
    ),
    "dates and numbers": (
        objects(1, datetime.date(2020, 1, 1)),
        "column 'a' (0) of `X` mixes dates and numbers, such as the date 2020-01-01 at row 1; all are taken for "
        "levels. Write gaps as None or NaN, or make it a category.",
    ),
    "numbers in text": (
        [f"{one}.5" for one in range(10)],
        "column 'a' (0) of `X` is text that spells numbers, such as '0.5'; it is taken for 10 levels. It becomes "
        "numbers by astype(float); make it a category to keep the levels.",
    ),
    "dates in text": (
        [f"{one}/01/2020" for one in range(10, 20)],
        "column 'a' (0) of `X` is text that spells dates, such as '10/01/2020'; it is taken for 10 levels. It becomes "
        "dates by pandas.to_datetime with their format; make it a category to keep the levels.",
    ),
}


@pytest.mark.parametrize("kind", ASKED)
def test_levels_that_may_not_be_meant_are_warned_of(kind):
    values, message = ASKED[kind]
    table = pd.DataFrame({"a": values})
    assert warned(lambda: Columns.fit(table)) == message
    # not where the user says so
    Columns.fit(table, categorical_features=["a"])
    if kind.endswith("in text"):
        Columns.fit(table.astype("category"))


def test_codes_and_few_levels_are_text_as_they_are():
    """Leading zeros make a code, and a few digits may be levels of a scale."""
    Columns.fit(pd.DataFrame({"zip": [f"0{one}111" for one in range(10)], "scale": [*"1234512345"]}))


def test_times_of_which_one_does_not_exist_are_asked_about():
    texts = [f"2024-02-{day}T00:00:00" for day in range(10, 31)]
    told = r"is text that spells dates, such as '2024-02-10T00:00:00'; it is taken for 21 levels\. It becomes dates by "
    with pytest.warns(UserWarning, match=told):
        Columns.fit(pd.DataFrame({"sold": texts}))


def test_times_of_which_one_has_an_offset_are_named_in_our_own_words():
    columns, _ = Columns.fit(pd.DataFrame({"sold": ["2024-02-01", "2024-03-01"]}))
    told = r"^column 'sold' \(0\) of `X` holds dates that cannot be taken together: "
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ValueError, match=told):
            columns.transform(pd.DataFrame({"sold": ["0999-01-01 00:00:00+00:00", "2000-01-01 00:00:00"]}))
