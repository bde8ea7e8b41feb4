"""Presets: what unset parameters become, and what is kept of them."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.estimator_checks import parametrize_with_checks

import probmix
from probmix import DensityClassifier, DensityRegressor
from probmix.estimators.presets import PRESETS, settings_of
from probmix.mixup import Mixup
from probmix.networks import MLP, Concatenated, Periodic, PiecewiseLinear
from probmix.training import Cosine, Epochs

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

RNG = np.random.default_rng(0)
X = RNG.uniform(-1, 1, (48, 2))
REAL = X[:, 0] + 0.1 * RNG.normal(size=48)
POSITIVE = np.exp(3 * REAL)
COUNTS = RNG.poisson(np.exp(1 + X[:, 0])).astype(float)
SMALL = {"hidden_layer_sizes": (8,), "random_state": 0}


def equal(first, second):
    np.testing.assert_array_equal(first.predict(X), second.predict(X))
    np.testing.assert_array_equal(first.log_prob(X, REAL), second.log_prob(X, REAL))


# -- what unset parameters become --------------------------------------------------------------------------------------


def test_parameters_that_are_set_stay_and_others_follow_the_preset():
    model = DensityRegressor("gaussian", n_members=3, max_epochs=2, **SMALL).fit(X, REAL)
    assert model.params_["validation"] == "folds"
    assert model.params_["learning_rate"] == Cosine(5e-3)
    assert model.params_["network"] == MLP((8,), embedding=Concatenated((Periodic(), PiecewiseLinear())))
    assert model.params_["mixup"] == Mixup(at="output", label_pool="linear", clean=0.5)
    assert not {"family", "n_members", "max_epochs"} & model.params_.keys()
    assert (model.n_members_, len(model.validation_curve_)) == (3, 2)
    assert model.get_params()["validation"] is None
    with_names = DensityRegressor(
        "gaussian", model.params_["mixup"], model.params_["network"], n_members=3, max_epochs=2, random_state=0,
        learning_rate=model.params_["learning_rate"], weight_decay=model.params_["weight_decay"], validation="folds",
    ).fit(X, REAL)  # fmt: skip
    equal(model, with_names)


def test_the_plain_preset_is_one_network():
    model = DensityRegressor(preset="plain", max_epochs=2, **SMALL).fit(X, REAL)
    assert (model.family_.name, model.n_members_) == ("gaussian", 1)
    assert (model.params_["mixup"], model.params_["learning_rate"], model.params_["patience"]) == ("probmix", 5e-3, 30)
    assert model.params_["network"] == MLP((8,))


@pytest.mark.parametrize("preset", ["fastest", None, 3])
def test_unknown_presets_are_refused(preset):
    with pytest.raises(ValueError, match="preset"):
        DensityRegressor(preset=preset).fit(X, REAL)


@pytest.mark.parametrize(
    ("y", "family"),
    [
        (REAL, "gaussian-mixture"),
        (COUNTS, "negative-binomial"),
        ((REAL > 0).astype(float), "bernoulli"),
        (1 / (1 + np.exp(-REAL)), "beta-mixture"),
        (np.maximum(0, REAL) * 5, "zero-adjusted-lognormal-mixture"),
    ],
    ids=["real", "counts", "binary", "shares", "totals"],
)
def test_the_default_chooses_among_families_that_suit_the_targets(y, family):
    model = DensityRegressor(max_epochs=2, **SMALL).fit(X, y)
    assert family in set(model.search_["family"])
    assert np.isfinite(model.log_prob(X, y)).all()
    assert model.params_["n_members"] == 8
    assert model.oof_log_prob_.shape == (48,)


def test_mixups_of_a_preset_are_for_families_with_a_pool_in_closed_form():
    assert settings_of(DensityRegressor("negative-binomial")).mixup == "erm"
    assert settings_of(DensityRegressor("negative-binomial", "probmix")).mixup == "probmix"
    assert settings_of(DensityRegressor("gamma")).mixup == PRESETS["default"].mixup


def test_mixing_that_ends_by_validation_needs_a_patience_which_most_presets_have_not(monkeypatch):
    early = {"preset": "fast", "max_epochs": 4, "n_members": 2, **SMALL}
    model = DensityRegressor("gaussian", "early-stopped-probmix", patience=1, **early).fit(X, REAL)
    assert (model.params_["patience"], model.mixup_until_.shape) == (1, (2,))
    monkeypatch.setattr(DensityRegressor, "_train", lambda *_: pytest.fail("training started"))
    for mixup in ("early-stopped-probmix", ["erm", "early-stopped-mixup"]):
        with pytest.raises(ValueError, match=r"got patience=None, which 'auto' stands for .* Set `patience`"):
            DensityRegressor(mixup=mixup, **early).fit(X, REAL)


def test_there_are_no_more_folds_than_different_rows_or_groups():
    few = DensityRegressor("gaussian", max_epochs=1, **SMALL).fit(X[:5], REAL[:5])
    assert (few.n_members_, few.params_["n_members"]) == (5, 5)
    doubled = DensityRegressor("gaussian", max_epochs=1, **SMALL).fit(np.repeat(X[:5], 4, 0), np.repeat(REAL[:5], 4))
    assert doubled.n_members_ == 5
    of_two_targets = DensityRegressor("gaussian", max_epochs=1, **SMALL).fit(X[:5], np.stack([REAL, COUNTS], 1)[:5])
    assert of_two_targets.n_members_ == 5
    weighted = DensityRegressor("gaussian", max_epochs=1, **SMALL).fit(X, REAL, sample_weight=np.arange(48) < 3)
    assert weighted.n_members_ == 3
    grouped = DensityRegressor("gaussian", max_epochs=1, **SMALL).fit(X, REAL, groups=np.arange(48) % 4)
    assert grouped.n_members_ == 4
    with pytest.raises(ValueError, match="'folds', one for each of 6 members; got 5 different"):
        DensityRegressor("gaussian", n_members=6, max_epochs=1, **SMALL).fit(X[:5], REAL[:5])


@pytest.mark.parametrize("preset", ["plain", "fast", "default"])
def test_rows_that_are_all_equal_are_named_and_not_a_fraction_that_nobody_set(preset):
    x, y = np.ones((10, 2)), np.full(10, 3.0)
    quick = {"preset": preset, "max_epochs": 1, **SMALL}
    with pytest.raises(ValueError, match=r"^rows must differ in X, y or exposure .* several that are all equal\. Pass"):
        DensityRegressor(**quick).fit(x, y)
    # what the message says
    assert np.isfinite(DensityRegressor(**quick).fit(x, y, X_val=X[:4], y_val=REAL[:4] + 3).predict(x)).all()


def test_one_member_is_judged_by_rows_drawn_at_random():
    model = DensityRegressor("gaussian", n_members=1, max_epochs=2, **SMALL).fit(X, REAL)
    assert model.params_["validation"] == "random"
    assert model.n_members_ == 1


def test_rows_held_out_judge_whatever_the_preset_says():
    model = DensityRegressor("gaussian", max_epochs=2, **SMALL).fit(X[:40], REAL[:40], X_val=X[40:], y_val=REAL[40:])
    assert model.n_members_ == 8
    assert "validation" not in model.params_
    assert not hasattr(model, "oof_log_prob_")
    with pytest.raises(ValueError, match="validation='folds'"):
        DensityRegressor("gaussian", validation="folds").fit(X[:40], REAL[:40], X_val=X[40:], y_val=REAL[40:])


def test_epochs_follow_the_size():
    rule = Epochs(steps=3000, fewest=60, fewest_of_many=20, most=400)
    sizes = ((270, 64), (900, 64), (8_750, 256), (16_384, 256), (32_768, 512), (60_000, 512), (875_000, 1024))
    assert [rule.of(*size) for size in sizes] == [400, 200, 86, 60, 47, 26, 20]
    assert rule.of(900, None) == 400


# -- what is kept ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("family", "n_runs"), [(None, 3), ("gaussian", 2)])
def test_a_search_that_was_killed_goes_on(family, n_runs, tmp_path, monkeypatch):
    def model():
        return DensityRegressor(family, max_epochs=None, checkpoint=tmp_path / "run", **SMALL)

    with monkeypatch.context() as patch:
        patch.setitem(PRESETS, "default", small_default())
        whole = DensityRegressor(family, **SMALL).fit(X, POSITIVE)
        trained = DensityRegressor._train
        calls = []

        def train(self, task):
            calls.append(task.options.max_epochs)
            if len(calls) == n_runs:
                raise RuntimeError("killed")
            return trained(self, task)

        with patch.context() as killed:
            killed.setattr(DensityRegressor, "_train", train)
            with pytest.raises(RuntimeError, match="killed"):
                model().fit(X, POSITIVE)
        assert len(list(tmp_path.iterdir())) == n_runs - 1
        again = model().fit(X, POSITIVE)
        assert not list(tmp_path.iterdir())
    np.testing.assert_array_equal(again.predict(X), whole.predict(X))


def small_default():
    default = PRESETS["default"]
    return replace(default, max_epochs=Epochs(steps=64, fewest=1, fewest_of_many=1, most=64), n_members=2)


@pytest.mark.parametrize("family", [None, "gaussian"])
def test_saved_models_predict_the_same(family, tmp_path):
    model = DensityRegressor(family, max_epochs=4, **SMALL).fit(X, POSITIVE)
    model.save(tmp_path / "model")
    again = probmix.load(tmp_path / "model")
    np.testing.assert_array_equal(again.log_prob(X, POSITIVE), model.log_prob(X, POSITIVE))
    assert again.get_params() == model.get_params()
    assert again.params_ == model.params_
    if family is None:
        assert again.search_.equals(model.search_)


def test_a_stack_of_which_one_is_used_has_its_natural_parameters():
    model = DensityRegressor(["gaussian"], preset="fast", max_epochs=1, **SMALL).fit(X, REAL)
    assert list(model.stack_["weight"]) == [1.0]
    np.testing.assert_array_equal(model.predict_natural_params(X), model.candidates_[0].predict_natural_params(X))


def test_classifiers_have_presets():
    classes = (REAL > 0).astype(int)
    model = DensityClassifier(max_epochs=3, **SMALL).fit(X, classes)
    assert model.params_["network"] == MLP((8,), embedding=Concatenated((Periodic(), PiecewiseLinear())))
    assert (model.n_members_, model.params_["validation"]) == (8, "folds")
    best = DensityClassifier(preset="best", max_epochs=2, n_members=2, random_state=0).fit(X, classes)
    assert set(best.search_["mixup"]) == set(best.search_["mixup"][:6])
    assert best.predict_proba(X).shape == (48, 2)


def test_no_rows_judge_without_a_validation_fraction():
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        model = DensityRegressor(
            "gaussian", validation="random", validation_fraction=0, max_epochs=2, n_members=2, **SMALL
        ).fit(X, REAL)
    assert model.validation_curve_.shape[1] == 0


@pytest.mark.filterwarnings("ignore::UserWarning")
@parametrize_with_checks(
    [
        DensityRegressor(preset="fast", max_epochs=3, hidden_layer_sizes=(8,), random_state=0),
        DensityClassifier(max_epochs=30, hidden_layer_sizes=(8,), n_members=2, learning_rate=0.05, random_state=0),
    ]
)
def test_scikit_learns_contract(estimator, check):
    check(estimator)
