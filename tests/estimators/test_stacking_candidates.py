"""What "auto" stands for, what candidates are called, and scikit-learn's checks of stacks."""

import warnings

import numpy as np
import pytest
import torch
from sklearn.utils.estimator_checks import check_estimator

from probmix import DensityClassifier, DensityRegressor
from probmix.estimators.candidates import family_label, mixup_label, suitable
from probmix.families import Gaussian, Mixture, Poisson, ZeroInflated, get
from probmix.mixup import BetaWeights, Mixup, preset, preset_names

COUNTS = ("poisson", "negative-binomial", "poisson-mixture")
POSITIVE = ("gamma", "lognormal", "gamma-mixture", "lognormal-mixture")
REAL = ("gaussian", "student-t", "gaussian-mixture", "histogram")
TOTALS = (
    "tweedie",
    "zero-adjusted-gamma",
    "zero-adjusted-lognormal",
    "zero-adjusted-gamma-mixture",
    "zero-adjusted-lognormal-mixture",
)
SHARES = ("beta", "beta-mixture", "gaussian-mixture", "histogram")


@pytest.mark.parametrize(
    ("y", "expected"),
    [
        ([-1.0, 2.0, 3.0], REAL),
        ([-0.5, 0.5, 0.25], REAL),
        ([1.0, 5.0, 2.0], COUNTS),
        ([5.0, 6.0, 7.0], REAL),
        ([4.0, 4.0, 4.0], REAL),
        ([0.0, 5.0, 2.0], (*COUNTS, "zero-inflated-poisson")),
        ([22.0, 4548.0, 8714.0], COUNTS),
        ([12789.0, 160000.0, 755000.0], POSITIVE),
        ([0.0, 1.0, 1.0], ("bernoulli",)),
        ([0.5, 1.5, 5.5], POSITIVE),
        ([103.4, 120.7, 141.0], REAL),
        ([1e6, 1.2e6], REAL),
        ([0.0, 1.5, 3.0], TOTALS),
        ([0.0, 0.2, 0.5], TOTALS),
        ([0.1, 0.2, 0.9], SHARES),
        ([0.0, 0.2, 1.0], REAL),
        ([0.09, 0.2, 1.0], POSITIVE),
        ([[1.0, 2.0], [0.5, -1.0], [3.0, 4.0]], REAL),
    ],
    ids=str,
)
def test_auto_goes_by_the_support_of_the_targets(y, expected):
    y = np.array(y)
    # as columns of a frame are
    y.setflags(write=False)
    assert suitable(y) == expected


def test_auto_with_exposures_are_families_that_have_one():
    assert suitable(np.array([0.0, 5.0, 2.0]), exposed=True) == (*COUNTS, "zero-inflated-poisson")
    # counts over exposures are counts, however many
    assert suitable(np.array([2000.0, 5000.0]), exposed=True) == COUNTS
    assert suitable(np.array([0.0, 1.0]), exposed=True) == (*COUNTS, "zero-inflated-poisson")
    assert suitable(np.array([0.0, 5.5, 2.0]), exposed=True) == ("tweedie",)
    assert suitable(np.array([1.0, 5.5, 2.0]), exposed=True) == ("tweedie",)
    with pytest.raises(ValueError, match=r"^`family` is not named, and none that suits the targets has an exposure"):
        suitable(np.array([-1.0, 5.5]), exposed=True)


def test_rows_of_weight_zero_say_nothing_of_the_support():
    assert suitable(np.array([-1.0, 0.1, 2.5]), torch.tensor([0.0, 1.0, 1.0]).double()) == POSITIVE


@pytest.mark.parametrize("unit", [1.0, 1e-300, 1e305])
def test_whether_whole_numbers_are_counts_is_asked_of_rows_as_often_as_they_weigh(unit):
    y, times = np.array([2.0, 6.0]), np.array([1, 19])
    assert suitable(y) == COUNTS
    expected = suitable(np.repeat(y, times))
    assert "gaussian" in expected
    assert suitable(y, unit * torch.tensor(times).double()) == expected
    # of several targets each has the weight of the row
    assert suitable(np.stack([y, y], 1), unit * torch.tensor(times).double()) == expected


def test_families_that_cannot_follow_the_targets_are_left_out():
    # of counts whose variance is 1e10 times what the negative binomial can have
    y = np.concatenate([np.zeros(10**5), [10.0**9]])
    found = suitable(y)
    names = (*COUNTS, "zero-inflated-poisson")
    assert found == tuple(name for name in names if not get(name).beyond_bounds(torch.tensor(y)))
    assert "negative-binomial" not in found


RNG = np.random.default_rng(0)
X = RNG.uniform(-1, 1, (30, 2))
WITH_ZEROS = np.maximum(0, X[:, 0] + 0.1 * RNG.normal(size=30))
QUICK = {"max_epochs": 1, "n_members": 2, "random_state": 0}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(
    ("asked", "y", "left"),
    [
        ({"loss": "crps", "preset": "best"}, X, {"gaussian-mixture", "student-t"}),
        ({"family": "auto", "mixup": "erm", "loss": "crps"}, X, {"gaussian", "student-t", "gaussian-mixture"}),
        ({"mixup": "meta-mixup", "preset": "fast"}, WITH_ZEROS, set(TOTALS[-2:])),
        ({"family": "auto", "mixup": preset("probmix", label_pool="calibrated")}, X, {"gaussian", "histogram"}),
    ],
    ids=["a preset by the CRPS", "auto by the CRPS", "learned weights", "calibrated labels"],
)
def test_families_that_are_not_named_and_have_no_such_loss_are_left_out(asked, y, left):
    assert set(DensityRegressor(**asked, **QUICK).fit(X, y).search_["family"]) == left


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_mixup_is_left_out_for_some_families_only():
    model = DensityRegressor(mixup=["erm", "meta-mixup"], preset="fast", **QUICK).fit(X, WITH_ZEROS)
    tried = model.search_.groupby("family")["mixup"].agg(set)
    assert tried.pop("tweedie") == {"erm"}
    assert list(tried) == [{"erm", "meta-mixup"}] * 2


@pytest.mark.parametrize(
    ("asked", "y", "message"),
    [
        ({"family": ["gaussian", "histogram"], "mixup": "erm", "loss": "crps"}, X, "candidate 'histogram' "),
        ({"family": ["tweedie", "zero-adjusted-gamma"], "mixup": "meta-mixup"}, WITH_ZEROS, "candidate 'tweedie' "),
        ({"mixup": "meta-mixup", "loss": "crps"}, WITH_ZEROS, "loss='crps' has no second derivatives"),
        ({"mixup": ["erm", "meta-mixup"], "loss": "crps"}, WITH_ZEROS,
         "candidate '.*' with mixup 'meta-mixup'.*: loss='crps' has no second derivatives"),
        ({"mixup": preset("probmix", label_pool="calibrated")}, WITH_ZEROS,
         "candidate 'zero-adjusted-.*: the family 'zero-adjusted-.*' is no exponential family"),
    ],
    ids=["family", "families", "mixup", "one of two mixups", "no family is left"],
)  # fmt: skip
def test_what_is_named_and_has_no_such_loss_is_refused(asked, y, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        DensityRegressor(**asked, **QUICK).fit(X, y)


def test_mixups_are_called_by_the_nearest_preset():
    for name in preset_names():
        assert mixup_label(name) == name
        # presets that are equal have the shorter name
        assert preset(mixup_label(preset(name))) == preset(name)
    assert mixup_label(Mixup(at="output", label_pool="linear", clean=0.5)) in {
        "probmix(label_pool='linear', clean=0.5)", "regprobmix(weights=BetaWeights(alpha=0.2), label_pool='linear')",
    }  # fmt: skip
    assert mixup_label(preset("probmix", weights=BetaWeights(0.7))) == "probmix(weights=BetaWeights(alpha=0.7))"


def test_families_are_called_by_their_names_where_these_say_all():
    assert family_label("Normal") == "gaussian"
    assert family_label(Gaussian()) == "gaussian"
    assert family_label(Mixture(Gaussian())) == "gaussian-mixture"
    assert family_label(ZeroInflated(Poisson())) == "zero-inflated-poisson"
    assert family_label(Mixture(Gaussian(), n_components=2)) == repr(Mixture(Gaussian(), n_components=2))


FEW = {"max_epochs": 1, "hidden_layer_sizes": (4,), "batch_size": None}


@pytest.mark.parametrize(
    "estimator",
    [
        DensityRegressor("auto", "erm", **FEW, preset="plain"),
        DensityRegressor(["gaussian", "student-t"], ["erm"], **FEW, preset="plain"),
        # of which accuracy is asked, on rounded features, which are few rows with large weights
        DensityClassifier("auto", hidden_layer_sizes=(8,), max_epochs=30, learning_rate=0.05, preset="plain"),
    ],
    ids=["auto", "lists", "classes"],
)
def test_scikit_learns_check_suite(estimator):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the suite provokes warnings on purpose
        results = check_estimator(estimator, on_fail=None)
    failed = {one["check_name"]: repr(one["exception"]) for one in results if one["status"] == "failed"}
    assert failed == {}
    skipped = {one["check_name"] for one in results if one["status"] not in ("passed", "failed")}
    assert skipped <= {"check_array_api_input"}
