"""Exposures are not lost on the way: searches, scorers and wrappers pass them on, or refuse."""

import re

import numpy as np
import pytest
import sklearn
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeRegressor

import probmix
from probmix import ConformalRegressor, DensityRegressor, RecalibratedRegressor
from probmix.calibration import fit_pit_map
from probmix.scores import neg_crps_scorer, neg_nll_scorer

RNG = np.random.default_rng(0)
X = RNG.uniform(-1, 1, (240, 1))
EXPOSURE = RNG.uniform(0.1, 5.0, 240)
Y = RNG.poisson(EXPOSURE * np.exp(1 + X[:, 0]))
SETTINGS = {"hidden_layer_sizes": (4,), "max_epochs": 3, "random_state": 0, "device": "cpu"}
MESSAGE = (
    "the model was fitted with exposures, and without those of these rows each would count as 1. Pass "
    "`exposure`, or np.ones(n) where that is meant. In cross-validation and searches this takes scikit-learn's "
    "metadata routing, and `set_score_request(exposure=True)` of the scorer or the model."
)


def counter():
    return DensityRegressor("poisson", "erm", **SETTINGS, preset="plain")


@pytest.fixture(scope="module")
def fitted():
    return counter().fit(X, Y, exposure=EXPOSURE)


def refused():
    return pytest.raises(ValueError, match=f"^{re.escape(MESSAGE)}$")


@pytest.mark.parametrize(
    "wrap",
    [
        lambda model: model,
        lambda model: make_pipeline(StandardScaler().fit(X), model),
        FrozenEstimator,
        lambda model: RecalibratedRegressor(FrozenEstimator(model), random_state=0).fit(X, Y, exposure=EXPOSURE),
    ],
    ids=["itself", "pipeline", "frozen", "recalibrated"],
)
def test_scoring_without_the_exposures_of_the_fit_is_refused(fitted, wrap):
    model = wrap(fitted)
    for scorer in (neg_nll_scorer, neg_crps_scorer):
        with refused():
            scorer(model, X, Y)
        assert scorer(model, X, Y, exposure=EXPOSURE) > scorer(model, X, Y, exposure=np.ones(240))
    with refused():
        model.score(X, Y)


def test_predicting_without_exposures_is_a_rate(fitted):
    assert fitted.fitted_with_exposure_
    np.testing.assert_allclose(fitted.predict(X), fitted.predict(X, exposure=np.ones(240)))
    with refused():
        fitted.log_prob(X, Y)
    plain = counter().fit(X, Y)
    assert not plain.fitted_with_exposure_
    assert np.isfinite(plain.score(X, Y))


def test_the_answer_is_saved(fitted, tmp_path):
    for model, answer in ((fitted, True), (counter().fit(X, Y), False)):
        model.save(tmp_path / "model")
        assert probmix.load(tmp_path / "model").fitted_with_exposure_ is answer
    # of a mean exposure of one too, whose logarithm is zero
    ones = counter().fit(X, Y, exposure=np.ones(240))
    assert ones.fitted_with_exposure_
    ones.save(tmp_path / "ones")
    with refused():
        probmix.load(tmp_path / "ones").score(X, Y)


def test_cross_validation_without_routing_says_so():
    arguments = {"params": {"exposure": EXPOSURE}, "cv": 2}
    for scoring in (neg_nll_scorer, None):
        with pytest.raises(ValueError, match=re.escape(MESSAGE)):
            cross_val_score(counter(), X, Y, scoring=scoring, error_score="raise", **arguments)
        with pytest.warns(UserWarning, match=re.escape(MESSAGE)):
            values = cross_val_score(counter(), X, Y, scoring=scoring, **arguments)
        assert np.isnan(values).all()
    search = GridSearchCV(counter(), {"max_epochs": [2]}, scoring=neg_nll_scorer, cv=2, error_score="raise")
    with pytest.raises(ValueError, match=re.escape(MESSAGE)):
        search.fit(X, Y, exposure=EXPOSURE)


def test_cross_validation_with_routing_passes_them_on():
    with sklearn.config_context(enable_metadata_routing=True):
        model = counter().set_fit_request(exposure=True).set_score_request(exposure=True)
        asked = neg_nll_scorer.set_score_request(exposure=True)
        found = cross_val_score(model, X, Y, params={"exposure": EXPOSURE}, scoring=asked, cv=2)
        halves = np.arange(120), np.arange(120, 240)
        expected = [
            counter().fit(X[train], Y[train], exposure=EXPOSURE[train]).score(X[test], Y[test], exposure=EXPOSURE[test])
            for train, test in (halves[::-1], halves)
        ]
        np.testing.assert_allclose(found, expected, rtol=1e-9)
        unasked = neg_nll_scorer.set_score_request(exposure=False)
        with pytest.raises(ValueError, match=re.escape(MESSAGE)):
            cross_val_score(model, X, Y, params={"exposure": EXPOSURE}, scoring=unasked, cv=2, error_score="raise")


# -- calibration -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [RecalibratedRegressor, ConformalRegressor])
@pytest.mark.parametrize("steps", [False, True], ids=["model", "pipeline"])
def test_calibrated_models_are_fitted_with_exposures(kind, steps):
    inner = make_pipeline(StandardScaler(), counter()) if steps else counter()
    model = kind(inner, cv=0.5, random_state=0).fit(X, Y, exposure=EXPOSURE)
    assert model.fitted_with_exposure_
    np.testing.assert_allclose(
        model.predict(X[:3], exposure=[2.0] * 3), 2 * model.predict(X[:3]), rtol=0.3 if steps else 0.2
    )
    longer, shorter = (model.predict_interval(X[:3], exposure=[e] * 3) for e in (1e3, 1.0))
    assert (longer[:, 0] > shorter[:, 1]).all()


def test_recalibration_learns_from_predictions_under_exposure(fitted):
    frozen = FrozenEstimator(fitted)
    right = RecalibratedRegressor(frozen, random_state=0).fit(X, Y, exposure=EXPOSURE)
    wrong = RecalibratedRegressor(frozen, random_state=0).fit(X, Y, exposure=np.ones(240))
    assert right.score(X, Y, exposure=EXPOSURE) > wrong.score(X, Y, exposure=EXPOSURE) + 0.1
    assert right.sample(X[:2], 5, random_state=0, exposure=[1e3, 1e-9]).mean(0)[0] > 100
    assert right.predict_quantile(X[:2], 0.5, exposure=[1e3, 1e-9])[0] > 100
    conformal = ConformalRegressor(frozen, random_state=0).fit(X, Y, exposure=EXPOSURE)
    expected = r2_score(Y, fitted.predict(X, exposure=EXPOSURE))
    assert conformal.score(X, Y, exposure=EXPOSURE) == pytest.approx(expected)
    with refused():
        conformal.score(X, Y)
    for kind in (RecalibratedRegressor, ConformalRegressor):
        with refused():
            kind(frozen).fit(X, Y)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        RecalibratedRegressor(frozen).fit(X, Y, exposure=np.ones(3))


def test_models_that_take_no_exposure_are_named():
    message = "`fit` of DecisionTreeRegressor has no argument `exposure`. Fit the estimator first and pass Frozen"
    with pytest.raises(TypeError, match=f"^{re.escape(message)}"):
        RecalibratedRegressor(DecisionTreeRegressor()).fit(X, Y, exposure=EXPOSURE)


# -- weights -----------------------------------------------------------------------------------------------------------

WEIGHTS = {
    "zeros": (np.zeros(240), "`sample_weight` must be positive in at least one row; got zeros only."),
    "negative": (
        np.r_[1.0, -1.0, np.ones(238)],
        "`sample_weight` must be finite and not negative; got -1 at row 1. Give dropped rows the weight 0.",
    ),
    "short": (np.ones(3), "`sample_weight` must hold one weight for each of the 240 rows; got shape (3,)."),
    "text": (["1"] * 240, "`sample_weight` must hold numbers; got the text '1' at row 0. "),
}


@pytest.mark.parametrize("case", WEIGHTS)
def test_weights_are_checked_alike_in_fits_and_scores(case):
    weights, message = WEIGHTS[case]
    model = counter().fit(X, Y)
    calibrated = RecalibratedRegressor(FrozenEstimator(model), random_state=0).fit(X, Y)
    calls = (
        counter().fit,
        model.score,
        calibrated.score,
        ConformalRegressor(FrozenEstimator(model)).fit(X, Y).score,
        RecalibratedRegressor(FrozenEstimator(model)).fit,
        lambda *given, **weights: neg_nll_scorer(model, *given, **weights),
        lambda *given, **weights: neg_crps_scorer(model, *given, **weights),
    )
    for call in calls:
        with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
            call(X, Y, sample_weight=weights)


def test_weights_of_a_map_of_the_pit_are_checked():
    for weights, message in WEIGHTS.values():
        with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
            fit_pit_map(np.linspace(0.1, 0.9, 240), weights)
