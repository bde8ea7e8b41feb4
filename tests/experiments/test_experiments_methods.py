"""Methods by name, their strengths, and the choice among them."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from probmix import DensityRegressor
from probmix.experiments.fitting import Fit, best_fits, with_mixup
from probmix.experiments.methods import (
    ALPHAS,
    AUTO,
    BETAS,
    METHODS,
    MORE_METHODS,
    Candidate,
    candidates,
    check_methods,
    check_names,
)
from probmix.experiments.scoring import coverage_error
from probmix.mixup import preset, preset_names


def test_methods_are_all_presets():
    assert len(METHODS) == 11
    assert sorted(METHODS + MORE_METHODS) == preset_names()


def test_strengths_are_numbers_or_the_grid_of_the_paper():
    assert ALPHAS == (0.01, 0.05, 0.1, 0.5, 1.0)
    assert BETAS == (0.0, 0.01)
    (one,) = candidates("local-probmix", 0.3, 0.02)
    assert one.mixup == preset("local-probmix", alpha=0.3, label_spread=0.02)
    assert (one.alpha, one.beta) == (0.3, 0.02)
    grid = candidates("mixup", "auto", "auto")
    assert [(one.alpha, one.beta) for one in grid] == [(alpha, beta) for alpha in ALPHAS for beta in BETAS]
    assert all(one.mixup == preset("mixup", alpha=one.alpha, label_spread=one.beta) for one in grid)
    assert [(one.alpha, one.beta) for one in candidates("mixup", 0.7, "auto")] == [(0.7, 0.0), (0.7, 0.01)]
    (linear,) = candidates("m-probmix:linear", 0.3, 0.0)
    assert linear.mixup == preset("m-probmix", alpha=0.3, pool="linear")
    for words in ("0.01, 0.05, 0.1, 0.5, 1", "0, 0.01"):
        assert words in " ".join(AUTO.split())


def test_methods_keep_the_strengths_of_their_works():
    for method, own in (("regmixup", [10.0, 20.0]), ("c-probmix", [2.0, 1.0, 0.5])):
        (one,) = candidates(method, 0.2, 0.01)
        assert one.mixup == preset(method, alpha=own[0], label_spread=0.01) == preset(method, label_spread=0.01)
        assert (one.alpha, one.beta) == (own[0], 0.01)
        grid = candidates(method, "auto", 0.0)
        assert [(one.alpha, one.mixup) for one in grid] == [(alpha, preset(method, alpha=alpha)) for alpha in own]
    for method in ("similarity-mixup", "meta-probmix"):
        (one,) = candidates(method, "auto", 0.0)
        assert (one.alpha, one.beta, one.mixup) == (None, 0.0, preset(method))
    assert len(candidates("early-stopped-mixup", "auto", 0.0)) == len(ALPHAS)
    with pytest.raises(ValueError, match="`alpha` must be a number or 'auto'; got 'much'"):
        candidates("regmixup", "much", 0.0)


def test_where_rows_are_not_mixed_there_is_nothing_to_choose():
    (one,) = candidates("erm", "auto", "auto")
    assert one.mixup == preset("erm")
    assert (one.alpha, one.beta) == (None, None)


@pytest.mark.parametrize(
    ("methods", "alpha", "beta", "message"),
    [
        ((), 0.2, 0.0, "at least one mixup preset must be named; known are 'c-mixup', "),
        (("erm", "probmx"), 0.2, 0.0, "unknown mixup preset 'probmx'; did you mean 'probmix'"),
        (("probmix:liner",), 0.2, 0.0, "unknown pool 'liner'; did you mean 'linear'"),
        (("probmix",), "much", 0.0, "`alpha` must be a number or 'auto'; got 'much'."),
        (("probmix",), 0.2, -1.0, "`label_spread` must be non-negative and finite; got -1.0."),
        (("probmix",), -0.2, 0.0, "`alpha`"),
    ],
)
def test_wrong_methods(methods, alpha, beta, message):
    with pytest.raises(ValueError, match=r".") as caught:
        check_methods(methods, alpha, beta)
    assert message in str(caught.value)


def test_names_are_known_and_named_once():
    assert check_names("colour", ["red", "blue", "red"], ["blue", "red"]) == ("red", "blue")
    with pytest.raises(ValueError, match=r"^unknown colour 'rde'; did you mean 'red'\?$"):
        check_names("colour", ["rde"], ["blue", "red"])
    with pytest.raises(ValueError, match=r"^at least one colour must be named; known are 'blue', 'red'\.$"):
        check_names("colour", [], ["blue", "red"])


def test_every_repeat_keeps_the_candidate_with_the_best_validation_nll():
    curves = {0.01: [[3.0, 1.0], [4.0, 5.0]], 0.05: [[0.5, np.nan], [9.0, 8.0]], 0.1: [[0.5, 0.4], [np.inf, np.nan]]}
    tried = candidates("probmix", "auto", 0.0)[:3]

    def fit(mixup):
        return [
            SimpleNamespace(validation_curve_=np.array(curve)[:, None], best_epoch_=np.array([epoch]))
            for epoch, curve in enumerate(curves[mixup.weights.alpha])
        ]

    fits = best_fits(tried, fit)
    assert [one.candidate.alpha for one in fits] == [0.1, 0.01]
    assert fits[0].chosen() == {"chosen_alpha": 0.1, "chosen_beta": 0.0, "best_epoch": 0}
    # of equals the first
    curves[0.05] = [[0.4], [4.0]]
    assert [one.candidate.alpha for one in best_fits(tried, fit)] == [0.05, 0.01]
    (erm,) = best_fits(candidates("erm", 0.1, 0.0), lambda _: fit(tried[0].mixup)[:1])
    assert erm.chosen() == {"best_epoch": 0}


def test_a_mixup_that_ends_by_validation_has_patience():
    estimator = DensityRegressor(max_epochs=30, patience=None, random_state=0, preset="plain")
    plain = {**estimator.get_params(), "mixup": preset("mixup")}
    assert with_mixup(estimator, preset("mixup")).get_params() == plain
    early = preset("early-stopped-mixup")
    copied = with_mixup(estimator, early)
    assert copied.get_params() == {**plain, "mixup": early, "patience": 6}
    random = np.random.default_rng(0)
    model = copied.fit(random.normal(size=(60, 2)), random.normal(size=60))
    chosen = Fit(model, Candidate(early, 0.2, 0.0)).chosen()
    assert chosen["mixup_until"] == model.mixup_until_[0]
    assert list(chosen) == ["chosen_alpha", "chosen_beta", "mixup_until", "best_epoch"]


def test_calibration_is_the_mean_distance_of_coverages():
    def error(values):
        """Of targets that are their own probability integral transforms."""
        wide = torch.zeros(len(values), dtype=torch.float64)
        return coverage_error(torch.distributions.Uniform(wide, wide + 1), torch.from_numpy(values))

    levels = np.arange(1, 20) / 20
    for values in (np.array([0.0, 1.0, 1.0]), np.random.default_rng(0).beta(2, 2, 500)):
        coverages = [np.mean((values >= (1 - c) / 2 - 1e-12) & (values <= (1 + c) / 2 + 1e-12)) for c in levels]
        assert error(values) == pytest.approx(np.mean(np.abs(coverages - levels)))
    uniform = np.random.default_rng(1).uniform(size=(400, 100))
    assert np.mean([error(one) for one in uniform]) == pytest.approx(0.33 / np.sqrt(100), rel=0.05)
