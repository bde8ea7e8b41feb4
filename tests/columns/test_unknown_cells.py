"""Levels and gaps of which the fit saw none: what stands for them, and that it is told."""

import warnings

import numpy as np
import pandas as pd
import pytest
from column_cases import fit_column

from probmix.columns import Columns

pytestmark = pytest.mark.filterwarnings("ignore:.*(that the fit has not seen|and had none in the fit):UserWarning")


def test_levels_that_the_fit_did_not_see_go_with_the_rare_or_the_missing_or_the_most_frequent():
    frequent = fit_column(["a", "b", "b"])[0]
    assert frequent.transform(pd.DataFrame({"a": ["new", None, "a"]}))[:, 0].tolist() == [1, 1, 0]
    gaps = fit_column(["a", "b", "b", None])[0]
    assert gaps.transform(pd.DataFrame({"a": ["new", None, "a"]}))[:, 0].tolist() == [2, 2, 0]
    rare = fit_column(["a"] * 5_000 + ["b"] * 5_000 + ["c", "d"])[0]
    assert rare.layout.n_levels == (3,)
    assert rare.transform(pd.DataFrame({"a": ["new", None, "a", "c"]}))[:, 0].tolist() == [2, 2, 0, 2]
    both = fit_column(["a"] * 5_000 + ["b"] * 5_000 + ["c", None])[0]
    assert both.layout.n_levels == (4,)
    assert both.transform(pd.DataFrame({"a": ["new", None, "a", "c"]}))[:, 0].tolist() == [3, 2, 0, 3]


def test_gaps_that_the_fit_did_not_see_become_the_median():
    columns, _ = Columns.fit(np.array([[1.0, 0], [2, 1], [10, 0]]))
    assert columns.transform([[np.nan, 1]]).tolist() == [[2, 1]]
    dates = fit_column(pd.to_datetime(["1970-01-02", "1970-01-04"]))[0]
    assert dates.transform(pd.DataFrame({"a": [None]})).tolist() == [[2, 0, 0, 0]]


def test_levels_that_the_fit_has_not_seen_are_told_where_they_are_taken_for_another():
    columns, _ = Columns.fit(pd.DataFrame({"smoker": ["yes", "no", "no", "yes", "no"]}))
    told = (
        r"^column 'smoker' \(0\) of `X` holds levels that the fit has not seen, in 2 of 3 rows, such as 'Yes' at row "
        r"0: they are taken for the most frequent, 'no'\.$"
    )
    with pytest.warns(UserWarning, match=told):
        stored = columns.transform(pd.DataFrame({"smoker": ["Yes", "yes", "NO"]}))
    assert stored.tolist() == [[0.0], [1.0], [0.0]]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        columns.transform(pd.DataFrame({"smoker": ["yes", "no"]}))


def test_days_of_the_week_that_the_fit_has_not_seen_are_told():
    days = pd.bdate_range("2024-01-01", periods=61)  # of Mondays there is one more
    columns, _ = Columns.fit(pd.DataFrame({"sold": days}))
    told = (
        r"^column 'sold' \(0\) of `X` holds days of the week that the fit has not seen, in 1 of 2 rows, such as "
        r"Saturday at row 1: they are taken for the most frequent, Monday\.$"
    )
    with pytest.warns(UserWarning, match=told):
        found = columns.transform(pd.DataFrame({"sold": pd.to_datetime(["2024-02-02", "2024-02-03"])}))
    assert found[:, 1].tolist() == [4, 0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        columns.transform(pd.DataFrame({"sold": [days[3], days[4]]}))


@pytest.mark.parametrize(
    ("values", "later", "stand_in"),
    [
        ([1.0, 2, 10], [3, np.nan, 2, np.nan], r"the median \(2\)"),
        (["yes", "no", "no"], ["no", None, "yes", None], r"the most frequent level \('no'\)"),
        (pd.to_timedelta([1, 2, 6], "D"), pd.to_timedelta([1, None, 2, None], "D"), r"the median \(2\)"),
        (pd.to_datetime(["1970-01-02", "1970-01-04"]), pd.to_datetime(["1970-01-02", None] * 2), "the median date"),
    ],
    ids=["numbers", "levels", "spans", "dates"],
)
def test_gaps_of_which_the_fit_saw_none_are_told(values, later, stand_in):
    columns, _ = Columns.fit(pd.DataFrame({"a": values}))
    told = (
        rf"^column 'a' \(0\) of `X` has gaps in 2 of 4 rows, the first at row 1, and had none in the fit: {stand_in} "
        r"stands for them\.$"
    )
    with pytest.warns(UserWarning, match=told):
        columns.transform(pd.DataFrame({"a": later}))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        columns.transform(pd.DataFrame({"a": later}).dropna())
        # of these the fit knows
        known, _ = Columns.fit(pd.DataFrame({"a": [*values, None, None, values[0]]}))
        known.transform(pd.DataFrame({"a": later}))
