"""Random frames, and real ones: a fit and its predictions, or an error that names the column."""

import os
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from probmix import DensityClassifier, DensityRegressor

# in so few rows some levels are in one part alone
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*holds (levels|days of the week) that the fit has not seen:UserWarning"
)

FAST = {"max_epochs": 1, "hidden_layer_sizes": (4,), "batch_size": 16, "random_state": 0}

CELLS = {
    "float": st.floats(-1e6, 1e6) | st.just(np.nan),
    "integer": st.integers(-50, 50),
    "nullable integer": st.integers(0, 5) | st.just(pd.NA),
    "truth": st.booleans(),
    "nullable truth": st.booleans() | st.just(pd.NA),
    "text": st.sampled_from(["a", "b", "", " ", "1", "ü"]) | st.none(),
    "many texts": st.integers(0, 400).map(lambda number: f"level {number}"),
    "category": st.sampled_from(["x", "y", "z"]) | st.none(),
    "date": st.datetimes(pd.Timestamp("1950-01-01"), pd.Timestamp("2050-01-01")) | st.just(pd.NaT),
    "span": st.timedeltas(pd.Timedelta(days=-900), pd.Timedelta(days=900)) | st.just(pd.NaT),
    "mixed": st.one_of(st.integers(0, 3), st.sampled_from(["a", "b"]), st.none(), st.floats(0, 1)),
    "empty": st.none(),
    "constant": st.just(3.0),
    "infinite": st.sampled_from([1.0, np.inf]),
    "complex": st.complex_numbers(max_magnitude=10, allow_nan=False, allow_infinity=False),
}
TYPES = {
    "nullable integer": "Int64",
    "nullable truth": "boolean",
    "category": "category",
    "date": "datetime64[us]",
    "span": "timedelta64[us]",
}


@st.composite
def frames(draw):
    """A frame of 1 to 30 rows, and another of the same kinds of columns."""
    kinds = draw(st.lists(st.sampled_from(sorted(CELLS)), min_size=1, max_size=5))
    names = draw(st.lists(st.sampled_from(["p", "q", "r", "s", "t", "u"]), min_size=len(kinds), max_size=len(kinds)))
    tables = []
    for rows in (draw(st.integers(1, 30)), draw(st.integers(1, 5))):
        columns = []
        for kind in kinds:
            values = draw(st.lists(CELLS[kind], min_size=rows, max_size=rows))
            columns.append(pd.Series(values, dtype=TYPES.get(kind, object if kind in ("mixed", "empty") else None)))
        frame = pd.concat(columns, axis=1)
        frame.columns = names
        tables.append(frame)
    return tables


@given(frames(), st.booleans(), st.integers(0, 3))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_a_random_frame_is_fitted_or_refused_by_the_name_of_a_column(drawn, classes, seed):
    X, other = drawn
    y = np.random.default_rng(seed).normal(size=len(X))
    model = DensityRegressor(**FAST, preset="plain")
    if classes:
        model, y = DensityClassifier(**FAST, preset="plain"), np.where(np.arange(len(X)) % 2, "odd", "even")
    with warnings.catch_warnings():
        # of rows far out, of members that learned nothing, and of what is to be asked about a column
        warnings.simplefilter("ignore")
        error = error_of(lambda: model.fit(X, y))
        if error is not None:
            assert names_a_column(error, X) or names_rows(error, len(X)), error
            return
        assert np.isfinite(model.log_prob(X, y)).all()
        targets = y[:1].repeat(len(other))
        error = error_of(lambda: model.log_prob(other, targets))
        if error is not None:
            assert names_a_column(error, other), error
            return
        assert np.isfinite(model.log_prob(other, targets)).all()


def error_of(call):
    """The error of a call that may have one."""
    try:
        call()
    except (ValueError, TypeError) as error:
        return error
    return None


def names_a_column(error, X):
    """Whether an error names a column of the frame."""
    return any(f"'{name}'" in str(error) for name in X.columns)


def names_rows(error, rows):
    """Whether an error is that there are too few rows."""
    return rows < 5 and any(word in str(error) for word in ("sample(s)", "rows", "classes"))


# -- real frames -------------------------------------------------------------------------------------------------------

FOLDER = Path(os.environ.get("PROBMIX_DATA", "/nowhere"))


def read(name, rows):
    """Some rows of a data set, by chance, as features and targets."""
    if not (FOLDER / name).exists():
        pytest.skip("needs the folder of data sets, PROBMIX_DATA")
    frame = pd.read_csv(FOLDER / name)
    frame = frame.iloc[np.random.default_rng(0).permutation(len(frame))[:rows]].reset_index(drop=True)
    return frame.iloc[:, :-1], frame.iloc[:, -1]


def test_house_prices_of_73_columns_are_fitted_as_they_are():
    X, y = read("positive/ames_housing.csv", 800)
    model = DensityRegressor("lognormal", max_epochs=15, random_state=0, preset="plain").fit(X.iloc[:600], y.iloc[:600])
    start = DensityRegressor("lognormal", max_epochs=1, random_state=0, preset="plain").fit(
        np.zeros((600, 1)), y.iloc[:600]
    )
    assert model.score(X.iloc[600:], y.iloc[600:]) > start.score(np.zeros((200, 1)), y.iloc[600:]) + 0.3


def test_incomes_by_text_and_gaps_are_classified_as_they_are():
    X, y = read("classification/adult.csv.gz", 3000)
    assert X.isna().any().any()
    model = DensityClassifier(max_epochs=5, random_state=0, preset="plain").fit(X.iloc[:2000], y.iloc[:2000])
    assert (model.predict(X.iloc[2000:]) == y.iloc[2000:]).mean() > 0.8
