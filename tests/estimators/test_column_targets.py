"""A column (n, 1) of targets, such as a frame with one column, is not the same as n numbers."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from probmix import DensityRegressor
from probmix.calibration import RecalibratedRegressor
from probmix.plots import DensityDisplay, IntervalDisplay
from probmix.reports import model_report
from probmix.scores import corp_decomposition, evaluate

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 2))
NUMBERS = X[:, 0] + 0.1 * RNG.normal(size=60)
COLUMN = pd.DataFrame({"y": NUMBERS})
WARNING = r"`y` has shape \(60, 1\) and is taken for rows of one target each: .* pass np\.ravel\(y\)\."


def _model() -> DensityRegressor:
    return DensityRegressor("gaussian", preset="plain", max_epochs=3, n_members=2, random_state=0)


@pytest.fixture(scope="module")
def of_numbers() -> DensityRegressor:
    return _model().fit(X, NUMBERS)


@pytest.fixture(scope="module")
def of_column() -> DensityRegressor:
    with pytest.warns(UserWarning, match=WARNING):
        return _model().fit(X, COLUMN)


def test_the_fit_warns_and_predicts_columns(of_column: DensityRegressor, of_numbers: DensityRegressor) -> None:
    assert of_column.predict(X).shape == (60, 1)
    assert of_column.score(X, COLUMN) == of_numbers.score(X, NUMBERS)
    table = evaluate({"column": of_column}, X, COLUMN)
    assert np.allclose(table["mean"], evaluate({"numbers": of_numbers}, X, NUMBERS)["mean"])


@pytest.mark.filterwarnings("ignore:`y` has shape")
def test_what_takes_numbers_alone_says_how_to_fit_them(of_column: DensityRegressor) -> None:
    for one in (
        lambda: RecalibratedRegressor(_model()).fit(X, COLUMN),
        lambda: corp_decomposition(of_column.predict_dist(X), COLUMN, "crps"),
        lambda: IntervalDisplay.from_estimator(of_column, X, COLUMN, ax=Figure().subplots()),
    ):
        with pytest.raises(ValueError, match=r"Fit it to np\.ravel\(y\)\."):
            one()


def test_a_column_where_numbers_are_needed_is_refused_with_what_to_pass(of_numbers: DensityRegressor) -> None:
    for one in (
        lambda: evaluate({"numbers": of_numbers}, X, COLUMN),
        lambda: model_report(of_numbers, X, COLUMN, title="a column"),
        lambda: DensityDisplay.from_estimator(of_numbers, X, COLUMN, ax=Figure().subplots()),
    ):
        with pytest.raises(ValueError, match=r"Pass np\.ravel\(y\)\."):
            one()
