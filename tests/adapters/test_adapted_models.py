"""Pipelines, searches and models of other libraries have the methods of a density regressor."""

import re

import numpy as np
import pytest
import scipy.stats as st
from sklearn.linear_model import BayesianRidge, LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from probmix import DensityClassifier, DensityRegressor
from probmix.adapters import AdaptedModel, adapt
from probmix.scores import evaluate

RNG = np.random.default_rng(0)
X = RNG.uniform(-1, 1, (120, 2))
Y = X[:, 0] + 0.3 * RNG.normal(size=120)
EXPOSURE = RNG.uniform(0.1, 5.0, 120)
COUNTS = RNG.poisson(EXPOSURE * np.exp(1 + X[:, 0]))
LABELS = np.array(["no", "yes", "maybe"])[np.digitize(Y, [-0.5, 0.5])]
SETTINGS = {"hidden_layer_sizes": (4,), "max_epochs": 3, "random_state": 0, "device": "cpu"}
PUBLIC = ("predict", "predict_quantile", "predict_interval", "sample", "log_prob", "score", "predict_dist")


def answers(model, x, y, **given):
    return {
        "predict": model.predict(x, **given),
        "quantile": model.predict_quantile(x, [0.1, 0.5], **given),
        "interval": model.predict_interval(x, 0.8, **given),
        "sample": model.sample(x, 3, random_state=0, **given),
        "log_prob": model.log_prob(x, y, **given),
        "score": model.score(x, y, sample_weight=np.arange(len(y)), **given),
    }


@pytest.mark.parametrize("exposed", [False, True])
def test_a_pipeline_answers_as_its_last_step_does(exposed):
    family, y, given = ("poisson", COUNTS, {"exposure": EXPOSURE}) if exposed else ("gaussian", Y, {})
    scaler, model = StandardScaler().fit(X), DensityRegressor(family, "erm", **SETTINGS, preset="plain")
    model.fit(scaler.transform(X), y, **given)
    pipeline = adapt(make_pipeline(scaler, model))
    assert all(hasattr(pipeline, name) for name in PUBLIC)
    ours, theirs = answers(pipeline, X, y, **given), answers(model, scaler.transform(X), y, **given)
    for name, value in theirs.items():
        np.testing.assert_allclose(ours[name], value, rtol=1e-12, err_msg=name)
    if exposed:
        for scored in (pipeline.score, pipeline.log_prob):
            with pytest.raises(ValueError, match=re.escape("the model was fitted with exposures")):
                scored(X, y)


def test_a_search_answers_as_its_best_model_does():
    search = GridSearchCV(DensityRegressor("gaussian", **SETTINGS, preset="plain"), {"max_epochs": [1, 3]}, cv=2).fit(
        X, Y
    )
    ours, theirs = answers(adapt(search), X, Y), answers(search.best_estimator_, X, Y)
    for name, value in theirs.items():
        np.testing.assert_allclose(ours[name], value, rtol=1e-12, err_msg=name)
    assert adapt(search.best_estimator_) is search.best_estimator_


def test_models_of_scikit_learn_have_the_methods():
    ridge = BayesianRidge().fit(X, Y)
    model = adapt(ridge)
    mean, scale = ridge.predict(X, return_std=True)
    np.testing.assert_allclose(model.predict(X), mean)
    np.testing.assert_allclose(model.predict_interval(X, 0.9), np.stack(st.norm(mean, scale).interval(0.9), 1))
    np.testing.assert_allclose(model.log_prob(X, Y), st.norm(mean, scale).logpdf(Y))
    assert model.sample(X, 4, random_state=1).shape == (4, 120)
    assert np.array_equal(model.sample(X, 4, random_state=1), model.sample(X, 4, random_state=1))
    assert model.score(X, Y) == pytest.approx(-evaluate({"a": ridge}, X, Y).loc[("nll", "a"), "mean"])
    with pytest.raises(TypeError, match=r"predicts distributions from X alone; got exposure as well\.$"):
        model.predict(X, exposure=EXPOSURE)
    with pytest.raises(ValueError, match=r"^`y` must be finite; got NaN at row 0"):
        model.log_prob(X, np.full(120, np.nan))


@pytest.mark.parametrize(
    "classifier", [LogisticRegression(), make_pipeline(StandardScaler(), DensityClassifier(**SETTINGS, preset="plain"))]
)
def test_classifiers_answer_in_labels(classifier):
    model = adapt(classifier.fit(X, LABELS))
    assert isinstance(model, AdaptedModel)
    np.testing.assert_array_equal(model.predict(X), classifier.predict(X))
    log_prob = model.log_prob(X, LABELS)
    probs = classifier.predict_proba(X)[np.arange(120), np.searchsorted(classifier.classes_, LABELS)]
    np.testing.assert_allclose(log_prob, np.log(probs), rtol=1e-9)
    assert model.score(X, LABELS) == pytest.approx(log_prob.mean())
    draws = model.sample(X, 200, random_state=0)
    assert draws.shape == (200, 120)
    assert set(draws.ravel()) <= set(classifier.classes_)
    frequency = np.stack([(draws == label).mean(0) for label in classifier.classes_], 1)
    np.testing.assert_allclose(frequency, classifier.predict_proba(X), atol=0.2)
    for call, words in (
        (lambda: model.predict_interval(X), "intervals"),
        (lambda: model.predict_quantile(X, 0.5), "quan"),
    ):
        with pytest.raises(TypeError, match=rf"^{words}\w* are of numbers, and .* predicts classes\."):
            call()
