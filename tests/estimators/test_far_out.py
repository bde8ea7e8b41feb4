"""Rows far outside the training range: a word about them, and figures in proportion."""

import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_diabetes
from sklearn.model_selection import train_test_split

import probmix
from probmix import DensityClassifier, DensityRegressor
from probmix.mixup import preset_names

FAST = {"max_epochs": 5, "random_state": 0}
rng = np.random.default_rng(0)
X = np.stack([rng.normal(size=80), rng.integers(0, 2, 80), np.where(np.arange(80) == 40, 6.0, 5.0)], 1)
Y = np.exp(0.3 * X[:, 0])
MESSAGE = (
    r"^2 of 4 rows of X lie far outside the training range, which no network has learned anything about; the farthest "
    r"is row 3: column 0 has -1e\+06, in training it was from -2\.\d+ to 2\.\d+\. Their predictions are those of rows "
    r"at the edge of the training data\. Check the units of these rows, or drop them\.$"
)


def far_rows():
    rows = X[:4].copy()
    rows[1, 2], rows[3, 0] = 300.0, -1e6
    return rows


def test_rows_far_out_are_counted_and_the_farthest_is_named():
    model = DensityRegressor(mixup="erm", n_members=2, **FAST, preset="plain").fit(X, Y)
    for call in (model.predict, model.predict_dist, lambda rows: model.log_prob(rows, Y[:4])):
        with pytest.warns(UserWarning, match=MESSAGE) as caught:
            call(far_rows())
        assert len(caught) == 1
    named = pd.DataFrame(X, columns=["a", "b", "c"])
    model.fit(named, Y)
    with pytest.warns(UserWarning, match=r"row 3: column 0, 'a', has -1e\+06"):
        model.predict(pd.DataFrame(far_rows(), columns=named.columns))


def test_a_loaded_model_warns_as_well(tmp_path):
    DensityRegressor(mixup="erm", **FAST, preset="plain").fit(X, Y).save(tmp_path / "model")
    with pytest.warns(UserWarning, match=MESSAGE):
        probmix.load(tmp_path / "model").predict(far_rows())


def test_rows_a_little_outside_are_no_matter():
    model = DensityRegressor(mixup="erm", **FAST, preset="plain").fit(X, Y)
    rows = X[:3].copy()
    rows[0, 0], rows[1, 1], rows[2, 2] = X[:, 0].max() + 3, 2.0, 6.0
    model.predict(rows)  # warnings are errors


def test_ordinary_splits_raise_no_alarm():
    features, targets = load_diabetes(return_X_y=True)
    for seed in range(5):
        train, test, y, _ = train_test_split(features, targets, random_state=seed)
        DensityRegressor(mixup="erm", max_epochs=1, random_state=0, preset="plain").fit(train, y).predict(test)


def test_classifiers_warn_too():
    model = DensityClassifier(mixup="erm", **FAST, preset="plain").fit(X, X[:, 1])
    with pytest.warns(UserWarning, match="lie far outside the training range"):
        model.predict_proba(far_rows())


@pytest.mark.parametrize("family", ["gaussian", "lognormal"])
@pytest.mark.parametrize("mixup", preset_names())
def test_figures_stay_in_proportion(mixup, family):
    """A rare indicator, a column that is constant but for one row, and rows that are out of any proportion."""
    X = rng.normal(size=(150, 4))
    X[:, 2], X[:, 3] = 0.0, 7.0
    X[0, 2], X[1, 3] = 1.0, -112.0
    y = np.exp(0.4 * X[:, 0] + 0.2 * rng.normal(size=150))
    model = DensityRegressor(family, mixup=mixup, max_epochs=30, random_state=0, preset="plain").fit(X, y)
    rows = np.concatenate([X[:20], 30 * X[:20], [[1e300, -1e300, 1e300, -1e300]]])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"\d+ of 41 rows of X lie far outside")
        predicted = model.predict_dist(rows)
    assert predicted.mean.max() < 10 * y.max()
    assert bool(predicted.stddev.isfinite().all())


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("family", [None, "gaussian"], ids=["stack", "one family"])
def test_the_warning_names_the_line_that_predicts(family):
    X = np.random.default_rng(0).normal(size=(40, 2))
    model = DensityRegressor(family, n_members=2, max_epochs=1, random_state=0).fit(X, X[:, 0])
    for predict in (model.predict, model.predict_dist, model.predict_interval):
        with pytest.warns(UserWarning, match="far outside") as told:
            predict(1e3 * X)
        assert {one.filename for one in told} == {__file__}
