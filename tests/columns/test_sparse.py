"""Sparse tables are taken everywhere, and fit and predict as dense ones do."""

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from probmix import (
    ConformalRegressor,
    DensityClassifier,
    DensityRegressor,
    RecalibratedRegressor,
    _numbers,
    fit_together,
)
from probmix.plots import CoverageDisplay, PredictiveBandDisplay
from probmix.scores import evaluate, neg_crps_scorer, neg_nll_scorer

RNG = np.random.default_rng(0)
DENSE = np.where(RNG.random((60, 4)) < 0.6, 0.0, np.round(RNG.normal(size=(60, 4)), 2)).astype(np.float32)
Y = DENSE[:, 0] + RNG.normal(size=60)
FAST = {"max_epochs": 3, "hidden_layer_sizes": (8,), "random_state": 0}
FORMATS = ["csr", "csc", "coo", "lil", "dok", "bsr", "dia"]
KINDS = [f"{form}_{kind}" for form in FORMATS for kind in ("array", "matrix")]
SPARSE = {kind: getattr(sparse, kind)(DENSE) for kind in KINDS}
SPARSE["frame"] = pd.DataFrame(DENSE, columns=list("abcd")).astype(pd.SparseDtype("float32", 0.0))
SPARSE["partly sparse frame"] = SPARSE["frame"].assign(b=DENSE[:, 1])


def dense_like(X):
    return pd.DataFrame(DENSE, columns=X.columns) if isinstance(X, pd.DataFrame) else DENSE


@pytest.mark.parametrize("kind", SPARSE)
def test_sparse_and_dense_give_the_same_fit_and_predictions(kind):
    X, dense = SPARSE[kind], dense_like(SPARSE[kind])
    model = DensityRegressor(**FAST, preset="plain").fit(X, Y, X_val=X, y_val=Y)
    other = DensityRegressor(**FAST, preset="plain").fit(dense, Y, X_val=dense, y_val=Y)
    for name in ("predict", "predict_natural_params", "predict_interval"):
        np.testing.assert_array_equal(getattr(model, name)(X), getattr(other, name)(dense))
    np.testing.assert_array_equal(model.predict_quantile(X, [0.1, 0.9]), other.predict_quantile(dense, [0.1, 0.9]))
    np.testing.assert_array_equal(model.sample(X, 2, random_state=0), other.sample(dense, 2, random_state=0))
    np.testing.assert_array_equal(model.log_prob(X, Y), other.log_prob(dense, Y))
    assert model.score(X, Y) == other.score(dense, Y)


def test_sparse_classes():
    X, labels = SPARSE["csr_array"], np.where(DENSE[:, 0] > 0, "yes", "no")
    model, other = (DensityClassifier(**FAST, preset="plain").fit(x, labels) for x in (X, DENSE))
    np.testing.assert_array_equal(model.predict_proba(X), other.predict_proba(DENSE))


def test_a_sparse_table_goes_everywhere():
    X = SPARSE["csr_matrix"]
    model = DensityRegressor(**FAST, preset="plain")
    for scorer in (neg_nll_scorer, neg_crps_scorer):
        found, expected = (cross_val_score(model, x, Y, scoring=scorer, cv=2) for x in (X, DENSE))
        np.testing.assert_array_equal(found, expected)
    fitted = model.fit(X, Y)
    pd.testing.assert_frame_equal(evaluate({"a": fitted}, X, Y), evaluate({"a": fitted}, DENSE, Y))
    for wrapper in (RecalibratedRegressor(model, cv=2, random_state=0), ConformalRegressor(model, random_state=0)):
        found = wrapper.fit(X, Y).predict_interval(X)
        np.testing.assert_array_equal(found, wrapper.fit(DENSE, Y).predict_interval(DENSE))
    found, expected = (PredictiveBandDisplay.from_estimator(fitted, x, y=Y, feature=1) for x in (X, DENSE))
    np.testing.assert_array_equal(found.mean, expected.mean)
    CoverageDisplay.from_estimator(fitted, X, Y)
    splits = [np.arange(40), np.arange(20, 60)]
    found, expected = (fit_together(model, x, Y, splits, [0, 1]) for x in (SPARSE["coo_array"], DENSE))
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one.predict(X), other.predict(DENSE))


def test_the_plain_output_of_an_encoder():
    cities = np.array(["Bern", "Oslo", "Rome"])[RNG.integers(0, 3, (60, 1))]
    model = make_pipeline(OneHotEncoder(), DensityRegressor(**FAST, preset="plain")).fit(cities, Y)
    other = make_pipeline(OneHotEncoder(sparse_output=False), DensityRegressor(**FAST, preset="plain")).fit(cities, Y)
    np.testing.assert_array_equal(model.predict(cities), other.predict(cities))


def test_several_sparse_targets():
    several = np.column_stack([Y, Y * 2])
    found, expected = (
        DensityRegressor(**FAST, preset="plain").fit(DENSE, y) for y in (sparse.csr_array(several), several)
    )
    np.testing.assert_array_equal(found.predict(DENSE), expected.predict(DENSE))


def test_a_sparse_table_is_copied_once(monkeypatch):
    made = []
    toarray = sparse.csr_array.toarray
    monkeypatch.setattr(sparse.csr_array, "toarray", lambda self: made.append(toarray(self)) or made[-1])
    X = sparse.csr_array(DENSE.astype(np.float64))
    before = X.copy()
    assert _numbers.as_numbers(X, "X") is made[0]
    assert (before != X).nnz == 0


def test_a_table_too_large_to_be_dense_says_how_large(monkeypatch):
    X = sparse.csr_array((1_000_000, 20_000))
    message = (
        "`X` is sparse, of shape (1000000, 20000), and is made dense up to 4 GiB; it would take 149.0 GiB. Pass fewer "
        "rows, select or project columns, say with TruncatedSVD as the first step of a pipeline, or pass X.toarray() "
        "where there is the memory."
    )
    with pytest.raises(ValueError, match=r"^`X` is sparse") as caught:
        DensityRegressor(preset="plain").fit(X, np.zeros(1_000_000))
    assert str(caught.value) == message
    monkeypatch.setattr(_numbers, "_LARGEST_DENSE", 8 * 60 * 4 - 1)
    for X in (SPARSE["csr_array"], SPARSE["frame"]):
        with pytest.raises(ValueError, match=r"^`X_val` is sparse, of shape \(60, 4\)"):
            DensityRegressor(preset="plain").fit(DENSE, Y, X_val=X, y_val=Y)
    monkeypatch.setattr(_numbers, "_LARGEST_DENSE", 8 * 60 * 4)
    assert _numbers.as_numbers(SPARSE["csr_array"], "X").shape == (60, 4)
