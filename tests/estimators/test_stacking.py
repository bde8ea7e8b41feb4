"""Stacks of families and mixups: their candidates, their weights, and what they predict."""

import copy
import pickle
import re
import warnings
from itertools import product

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.integrate import quad
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import KFold, ShuffleSplit
from torch.distributions import Normal

import probmix
from probmix import DensityClassifier, DensityRegressor, fit_together
from probmix.calibration import RecalibratedRegressor, rescaled
from probmix.distributions import Mixture, blend
from probmix.estimators.stack_table import StackTable
from probmix.families import Gaussian, StudentT
from probmix.families import Mixture as MixtureFamily
from probmix.mixup import Mixup, preset
from probmix.scores import crps
from probmix.stacking import crps_gram, crps_weights, stack_weights
from probmix.theory import linearity
from probmix.training import DivergenceError

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

QUICK = {"max_epochs": 8, "hidden_layer_sizes": (8,), "patience": None, "batch_size": 32, "random_state": 0}
RNG = np.random.default_rng(0)
X = RNG.normal(size=(90, 2))
NOISE = RNG.standard_t(3, 90)
Y = X[:, 0] + 0.4 * NOISE
POSITIVE = np.exp(0.5 * Y)
COUNTS = RNG.poisson(np.exp(0.5 + 0.5 * X[:, 0])).astype(float)
CLASSES = np.array(["a", "b", "c"], dtype=object)[(Y > 0).astype(int) + (Y > 1)]
NEW = RNG.normal(size=(7, 2))
FAMILIES = ["gaussian", "student-t"]


def by_hand(model, X_new, y_new, **given):
    """Log density of a stack from its candidates."""
    log_probs = np.stack([one.log_prob(X_new, y_new, **given) for one in model.candidates_])
    return np.log(model.stack_["weight"].to_numpy() @ np.exp(log_probs))


@pytest.mark.parametrize(
    ("settings", "fit"),
    [
        ({}, {}),
        ({"n_members": 3}, {}),
        ({"n_members": 3, "validation": "folds"}, {}),
        ({"n_members": 2, "validation": "last"}, {}),
        ({"n_members": 4, "validation": KFold(2)}, {}),
        ({"n_members": 2}, {"X_val": X[60:], "y_val": Y[60:]}),
        ({"n_members": 2, "validation": "folds", "pool": "linear"}, {"groups": np.arange(90) // 3}),
        ({"validation": "folds", "n_members": 2}, {"sample_weight": RNG.integers(0, 3, 90)}),
        ({"max_epochs": 2}, {"X_unlabelled": NEW}),
    ],
    ids=lambda value: "-".join(map(str, value)),
)
def test_candidates_are_ordinary_fits_and_the_stack_is_their_mixture(settings, fit):
    mixups = ["erm", "probmix"]
    model = DensityRegressor(FAMILIES, mixups, **QUICK | settings, preset="plain").fit(X, Y, **fit)
    assert list(zip(model.stack_["family"], model.stack_["mixup"], strict=True)) == list(product(FAMILIES, mixups))
    for one, (family, mixup) in zip(model.candidates_, model.stack_[["family", "mixup"]].to_numpy(), strict=True):
        alone = DensityRegressor(family, mixup, **QUICK | settings, preset="plain").fit(X, Y, **fit)
        np.testing.assert_array_equal(one.log_prob(X, Y), alone.log_prob(X, Y))
        np.testing.assert_array_equal(one.validation_curve_, alone.validation_curve_)
    weights = model.stack_["weight"].to_numpy()
    assert weights.sum() == pytest.approx(1)
    np.testing.assert_allclose(model.log_prob(X, Y), by_hand(model, X, Y), rtol=1e-10)
    assert model.score(X, Y) == pytest.approx(by_hand(model, X, Y).mean())
    means = np.stack([one.predict(NEW) for one in model.candidates_])
    np.testing.assert_allclose(model.predict(NEW), weights @ means, rtol=1e-9)


def test_weights_follow_from_what_candidates_say_out_of_fold():
    model = DensityRegressor(
        [*FAMILIES, "gaussian-mixture"], "erm", n_members=5, validation="folds", **QUICK, preset="plain"
    ).fit(X, Y)
    log_prob = np.stack([one.oof_log_prob_ for one in model.candidates_])
    weights = stack_weights(log_prob)
    np.testing.assert_allclose(model.stack_["weight"], weights, atol=1e-7)
    np.testing.assert_allclose(model.stack_["nll"], -log_prob.mean(1), rtol=1e-10)
    difference = log_prob - log_prob[log_prob.mean(1).argmax()]
    np.testing.assert_allclose(model.stack_["nll_error"], difference.std(1, ddof=1) / np.sqrt(90), rtol=1e-9, atol=0)
    scores = np.stack([crps(one.oof_dist(), torch.tensor(Y)).numpy() for one in model.candidates_])
    np.testing.assert_allclose(model.stack_["crps"], scores.mean(1), rtol=1e-9)
    difference = scores - scores[scores.mean(1).argmin()]
    np.testing.assert_allclose(model.stack_["crps_error"], difference.std(1, ddof=1) / np.sqrt(90), rtol=1e-9, atol=0)
    # and so does what the stack says of these rows itself
    np.testing.assert_allclose(model.oof_log_prob_, np.log(weights @ np.exp(log_prob)), rtol=1e-7)
    np.testing.assert_allclose(model.oof_dist().log_prob(torch.tensor(Y)), model.oof_log_prob_, rtol=1e-7)


def test_rows_that_judge_several_members_are_judged_by_their_pool():
    fit = {"X_val": X[60:], "y_val": Y[60:], "sample_weight_val": np.arange(1, 31)}
    model = DensityRegressor(FAMILIES, "erm", n_members=3, **QUICK, preset="plain").fit(X[:60], Y[:60], **fit)
    log_prob = np.stack([one.log_prob(X[60:], Y[60:]) for one in model.candidates_])
    share = np.arange(1, 31) / np.arange(1, 31).sum()
    np.testing.assert_allclose(model.stack_["nll"], -log_prob @ share, rtol=1e-9)
    np.testing.assert_allclose(model.stack_["weight"], stack_weights(log_prob, share), atol=1e-6)


def test_rows_are_judged_a_block_at_a_time(monkeypatch):
    weight = RNG.uniform(size=90)
    families = ["gaussian", "gaussian-mixture"]
    model = DensityRegressor(families, "erm", n_members=4, loss="crps", **QUICK, preset="plain").fit(X, Y, weight)
    monkeypatch.setattr("probmix.estimators.stack_weighing._BLOCK", 7)
    again = clone(model).fit(X, Y, weight)
    columns = ["weight", "nll", "nll_error", "crps", "crps_error"]
    np.testing.assert_allclose(again.stack_[columns], model.stack_[columns], rtol=1e-6, atol=1e-9)


def test_of_many_rows_some_are_scored(monkeypatch):
    monkeypatch.setattr("probmix.estimators.stack_weighing._SCORED", 20)
    settings = QUICK | {"n_members": 3, "validation": "folds"}
    model = DensityRegressor(["gaussian", "gaussian-mixture"], "erm", **settings, preset="plain").fit(X, Y)
    # evenly spaced in the order of y
    chosen = Y.argsort()[np.linspace(0, 89, 20).round().astype(int)]
    for one, mean, nll in zip(model.candidates_, model.stack_["crps"], model.stack_["nll"], strict=True):
        assert crps(one.oof_dist(), torch.tensor(Y))[chosen].mean().item() == pytest.approx(mean, rel=1e-9)
        assert -one.oof_log_prob_.mean() == pytest.approx(nll, rel=1e-9)


def test_a_stack_of_one_thing_twice_is_the_thing():
    stack = DensityRegressor(["gaussian", Gaussian()], "erm", **QUICK, preset="plain").fit(X, Y)
    alone = DensityRegressor("gaussian", "erm", **QUICK, preset="plain").fit(X, Y)
    np.testing.assert_allclose(stack.stack_["weight"], 0.5, atol=1e-7)
    np.testing.assert_allclose(stack.log_prob(NEW, NEW[:, 0]), alone.log_prob(NEW, NEW[:, 0]), rtol=1e-10)
    np.testing.assert_allclose(stack.predict_quantile(NEW, [0.1, 0.9]), alone.predict_quantile(NEW, [0.1, 0.9]))
    one = DensityRegressor(["gaussian"], "erm", **QUICK, preset="plain").fit(X, Y)
    np.testing.assert_array_equal(one.log_prob(NEW, NEW[:, 0]), alone.log_prob(NEW, NEW[:, 0]))


def test_a_useless_candidate_is_dropped_from_the_prediction_and_shown():
    sides = np.where(np.arange(90) % 2, 5.0, -5.0) + 0.1 * NOISE
    settings = QUICK | {"max_epochs": 30}
    model = DensityRegressor(["gaussian", "gaussian-mixture"], "erm", n_members=2, **settings, preset="plain").fit(
        X, sides
    )
    np.testing.assert_array_equal(model.stack_["weight"], [0, 1])
    assert len(model.candidates_) == 2
    assert model.stack_["nll_error"][1] == 0 < model.stack_["nll_error"][0]
    alone = model.candidates_[1]
    np.testing.assert_array_equal(model.log_prob(X, sides), alone.log_prob(X, sides))
    # one mixture of Normals, none of it of the other candidate
    assert isinstance(model.predict_dist(NEW), Mixture)
    assert model.predict_dist(NEW).mixture_distribution.probs.shape == (7, 10)


def test_weights_of_rows_are_how_often_they_count():
    times = RNG.integers(0, 3, 90)
    model = DensityRegressor(FAMILIES, ["erm", "probmix"], n_members=2, **QUICK, preset="plain").fit(X, Y, times)
    rows = np.repeat(np.arange(90), times)
    again = clone(model).fit(X[rows], Y[rows])
    pd.testing.assert_frame_equal(model.stack_.drop(columns="seconds"), again.stack_.drop(columns="seconds"))
    np.testing.assert_array_equal(model.predict(NEW), again.predict(NEW))


def test_exposures():
    exposure = RNG.uniform(0.5, 2, 90)
    model = DensityRegressor(["poisson", "negative-binomial"], "erm", n_members=2, **QUICK, preset="plain")
    model.fit(X, COUNTS, exposure=exposure)
    np.testing.assert_allclose(
        model.log_prob(X, COUNTS, exposure=exposure), by_hand(model, X, COUNTS, exposure=exposure), rtol=1e-10
    )
    with pytest.raises(ValueError, match=r"^the model was fitted with exposures"):
        model.score(X, COUNTS)
    held_out = {"X_val": X[60:], "y_val": COUNTS[60:], "exposure_val": exposure[60:]}
    model.fit(X[:60], COUNTS[:60], exposure=exposure[:60], **held_out)
    log_prob = [one.log_prob(X[60:], COUNTS[60:], exposure=exposure[60:]).mean() for one in model.candidates_]
    np.testing.assert_allclose(model.stack_["nll"], -np.array(log_prob), rtol=1e-9)


def test_several_targets():
    both = np.stack([Y, POSITIVE], 1)
    model = DensityRegressor(FAMILIES, "erm", **QUICK, preset="plain").fit(X, both)
    np.testing.assert_allclose(model.log_prob(X, both), by_hand(model, X, both), rtol=1e-10)
    assert model.predict(NEW).shape == (7, 2)


def test_classes():
    model = DensityClassifier(["erm", "probmix"], n_members=2, validation="folds", **QUICK, preset="plain").fit(
        X, CLASSES
    )
    weights = model.stack_["weight"].to_numpy()
    probabilities = np.stack([one.predict_proba(NEW) for one in model.candidates_])
    np.testing.assert_allclose(model.predict_proba(NEW), np.tensordot(weights, probabilities, 1), rtol=1e-9)
    assert set(model.predict(NEW)) <= {"a", "b", "c"}
    log_prob = np.stack([one.oof_log_prob_ for one in model.candidates_])
    np.testing.assert_allclose(weights, stack_weights(log_prob), atol=1e-7)
    observed = (CLASSES[:, None] == model.classes_).astype(float)
    brier = [np.square(one.oof_dist().probs.numpy() - observed).sum(1).mean() for one in model.candidates_]
    np.testing.assert_allclose(model.stack_["brier"], brier, rtol=1e-9)
    assert list(model.stack_["family"]) == ["categorical", "categorical"]


def test_with_the_crps_as_loss_the_pool_has_the_smallest_crps():
    settings = QUICK | {"n_members": 3, "validation": "folds", "loss": "crps"}
    model = DensityRegressor(["gaussian", "student-t"], "erm", **settings, preset="plain").fit(X, Y)
    parts = [one.oof_dist() for one in model.candidates_]
    weights = model.stack_["weight"].to_numpy()
    grid = np.linspace(0, 1, 21)
    means = [crps(blend(torch.tensor([w, 1 - w]), parts), torch.tensor(Y)).mean().item() for w in grid]
    assert abs(weights[0] - grid[np.argmin(means)]) <= 0.05
    np.testing.assert_allclose(weights, crps_weights(crps_gram(parts, torch.tensor(Y))), atol=1e-6)


def test_the_quadratic_form_of_the_crps_is_its_integral():
    places, scales, y = torch.tensor([0.0, 1.5]), torch.tensor([1.0, 2.0]), torch.tensor([0.3, -1.0]).double()
    models = [Normal(place.expand(2).double(), scale) for place, scale in zip(places, scales, strict=True)]
    weight = np.array([1.0, 3.0])
    gram = crps_gram(models, y, weight)
    for c, first in enumerate(models):
        for d, second in enumerate(models):
            expected = 0.0
            for row, share in zip(y.tolist(), weight / 4, strict=True):

                def integrand(x, first=first, second=second, row=row):
                    x = torch.tensor(x, dtype=torch.float64)
                    return ((first.cdf(x)[0] - float(x >= row)) * (second.cdf(x)[0] - float(x >= row))).item()

                expected += share * quad(integrand, -20, 20, points=[row], epsabs=1e-11)[0]
            assert gram[c, d] == pytest.approx(expected, abs=1e-8)


# -- what a stack can do as other estimators can -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def fitted():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return DensityRegressor(
            ["lognormal", MixtureFamily(Gaussian(), n_components=2), "gamma"],
            ["erm", preset("probmix", clean=0.5), "m-probmix"],
            n_members=2,
            validation="folds",
            n_draws=4,
            **QUICK,
            preset="plain",
        ).fit(pd.DataFrame(X, columns=["age", "size"]), POSITIVE)


def test_saved_and_pickled_stacks_predict_the_same(fitted, tmp_path):
    frame = pd.DataFrame(NEW, columns=["age", "size"])
    fitted.save(tmp_path / "stack")
    for again in (probmix.load(tmp_path / "stack"), pickle.loads(pickle.dumps(fitted))):
        np.testing.assert_array_equal(again.predict(frame), fitted.predict(frame))
        np.testing.assert_array_equal(again.predict_quantile(frame, 0.3), fitted.predict_quantile(frame, 0.3))
        np.testing.assert_array_equal(again.oof_log_prob_, fitted.oof_log_prob_)
        pd.testing.assert_frame_equal(again.stack_, fitted.stack_)
        assert repr(again.stack_) == repr(fitted.stack_)
        assert list(again.feature_names_in_) == ["age", "size"]
        assert [one.mixup_ for one in again.candidates_] == [one.mixup_ for one in fitted.candidates_]
        assert [one.family_ for one in again.candidates_] == [one.family_ for one in fitted.candidates_]
        assert list(again.get_params()["family"]) == fitted.get_params()["family"]
        assert again.seed_ == fitted.seed_
        assert (again.n_members_, again.input_shape_) == (2, (2,))


def test_stacks_of_tables_with_text_gaps_and_dates(tmp_path):
    frame = pd.DataFrame(
        {
            "size": np.where(np.arange(90) % 7, X[:, 0], np.nan),
            "make": np.where(X[:, 1] > 0.5, "saab", np.where(X[:, 1] > 0, "volvo", None)),
            "sold": pd.Timestamp("2026-01-01") + pd.to_timedelta(np.arange(90), "D"),
        }
    )
    model = DensityRegressor(["gamma", "lognormal"], "erm", n_members=2, validation="folds", **QUICK, preset="plain")
    model.fit(frame, POSITIVE)
    alone = DensityRegressor("gamma", "erm", n_members=2, validation="folds", **QUICK, preset="plain").fit(
        frame, POSITIVE
    )
    np.testing.assert_array_equal(model.candidates_[0].predict(frame), alone.predict(frame))
    unseen = frame.assign(make="fiat")[["sold", "size", "make"]]
    model.save(tmp_path / "stack")
    again = probmix.load(tmp_path / "stack")
    np.testing.assert_array_equal(again.predict(unseen), model.predict(unseen))
    assert again.columns_.state() == model.columns_.state()
    with pytest.raises(ValueError, match="size"):
        model.predict(frame.drop(columns="size"))


def test_names_of_columns_are_looked_at(fitted):
    with pytest.raises(ValueError, match="feature names"):
        fitted.predict(pd.DataFrame(NEW, columns=["age", "width"]))


def test_predicting_changes_nothing_and_follows_the_settings(fitted):
    frame = pd.DataFrame(NEW, columns=["age", "size"])
    before = pickle.dumps(fitted)
    first = fitted.predict_dist(frame)
    assert pickle.dumps(fitted) == before
    components = first.mixture_distribution.probs.shape[-1] if hasattr(first, "mixture_distribution") else None
    more = pickle.loads(before).set_params(n_draws=8)
    kinds = fitted.stack_[fitted.stack_["weight"] > 0]["mixup"]
    if components is not None and (kinds == "m-probmix").any():
        assert more.predict_dist(frame).mixture_distribution.probs.shape[-1] > components
    assert more.candidates_[0].n_draws == 4


def test_the_table_prints_whole_and_names_all(fitted):
    printed = repr(fitted.stack_)
    assert len(printed.splitlines()) == 10
    assert "Mixture(base=Gaussian(), n_components=2" in printed
    assert "probmix(clean=0.5)" in printed
    assert list(fitted.stack_.columns) == [
        "family", "mixup", "epochs", "weight", "nll", "nll_error", "crps", "crps_error", "seconds",
    ]  # fmt: skip
    # a part of it prints as well
    assert "weight" in repr(fitted.stack_[["family", "weight"]].head(2))


def test_the_same_seed_gives_the_same_stack():
    models = [DensityRegressor(FAMILIES, "auto", **QUICK, preset="plain").fit(X, Y) for _ in range(2)]
    np.testing.assert_array_equal(models[0].predict(NEW), models[1].predict(NEW))
    np.testing.assert_array_equal(models[0].stack_["weight"], models[1].stack_["weight"])
    # a generator is asked once for all candidates
    stack = DensityRegressor(FAMILIES, "erm", **QUICK | {"random_state": np.random.RandomState(3)}, preset="plain").fit(
        X, Y
    )
    assert len({one.seed_ for one in stack.candidates_}) == 1


def test_what_was_chosen_is_said_in_a_line(capsys):
    DensityRegressor(FAMILIES, "erm", **QUICK, verbose=True, preset="plain").fit(X, Y)
    assert re.fullmatch(r"stack of \d of 2 candidates: \d\.\d\d [\w-]+ \(erm, 8 epochs\).*\n", capsys.readouterr().out)


def test_recalibration_of_a_stack():
    model = RecalibratedRegressor(DensityRegressor(FAMILIES, "erm", **QUICK, preset="plain"), cv=2, random_state=0).fit(
        X, Y
    )
    assert model.predict(NEW).shape == (7,)


# -- what goes wrong ---------------------------------------------------------------------------------------------------


def test_a_stack_has_no_parameters_of_its_own(fitted):
    frame = pd.DataFrame(NEW, columns=["age", "size"])
    fitted = copy.copy(fitted)
    fitted.stack_ = fitted.stack_.assign(weight=1 / 9)
    with pytest.raises(ValueError, match=r"^a stack is a mixture of several densities and has no natural parameters"):
        fitted.predict_natural_params(frame)
    assert fitted.candidates_[0].predict_natural_params(frame).shape[-1] == 2
    with pytest.raises(ValueError, match=r"^rescaling takes one family and one mixup, and the model is a stack of 9"):
        rescaled(fitted, frame, NEW[:, 0] ** 2)
    with pytest.raises(ValueError, match=r"^the theory takes one family and one mixup"):
        linearity(fitted, frame)
    with pytest.raises(ValueError, match=r"^`fit_together` trains networks of one family and one mixup as one"):
        fit_together(DensityRegressor(FAMILIES, preset="plain"), X, Y, [np.arange(50)], [0])


def test_targets_that_a_part_of_the_stack_allows_have_a_density():
    model = DensityRegressor(["gamma", "gaussian"], "erm", **QUICK, preset="plain").fit(X, POSITIVE)
    weights = model.stack_["weight"].to_numpy()
    model.stack_["weight"] = [0.5, 0.5]
    expected = 0.5 * np.exp(model.candidates_[1].log_prob(NEW, -np.ones(7)))
    np.testing.assert_allclose(model.log_prob(NEW, -np.ones(7)), np.log(expected), rtol=1e-10)
    model.stack_["weight"] = [1.0, 0.0]
    with pytest.raises(ValueError, match=r"^Gamma targets must be positive; got -1 at row 0"):
        model.log_prob(NEW, -np.ones(7))
    assert weights.sum() == pytest.approx(1)


@pytest.mark.parametrize(
    ("params", "y", "message"),
    [
        ({"family": []}, Y, "`family` must name at least one candidate; got an empty list. Pass 'auto' or names."),
        ({"mixup": ()}, Y, "`mixup` must name at least one candidate; got an empty list. Pass 'auto' or names."),
        ({"family": ["gaussian", "gama"]}, Y, "'gama'"),
        ({"mixup": ["erm", "probmx"]}, Y, "'probmx'"),
        (
            {"family": ["gaussian", "gamma"], "mixup": ["erm", "probmix"]},
            Y,
            f"candidate 'gamma' with mixup 'erm': Gamma targets must be positive; got {Y[Y <= 0][0]:g}",
        ),
        ({"family": ["gamma"]}, Y, "Gamma targets must be positive"),
        (
            {"family": ["poisson", "gaussian"]},
            COUNTS,
            "the candidates of a stack are compared by log densities, which must be of one kind: densities, "
            "probabilities of whole numbers, or both with a mass at zero; got 'poisson' (whole numbers), 'gaussian' "
            "(a density). Leave out those of one kind.",
        ),
        (
            {"family": ["gamma", "tweedie"]},
            POSITIVE,
            "got 'gamma' (a density), 'tweedie' (a mass beside a density).",
        ),
        (
            {"family": "auto", "validation_fraction": 0.0},
            Y,
            "the candidates of a stack are weighed by rows that judge them and do not train them, and there are none "
            "with validation_fraction=0.0. Raise it, or pass `X_val` and `y_val`.",
        ),
        (
            {"family": ["gaussian", "student-t"], "pool": "log-linear"},
            Y,
            "candidate 'student-t' with mixup 'probmix': ",
        ),
        ({"family": FAMILIES, "random_state": None, "checkpoint": "run"}, Y, "`checkpoint` needs a fixed"),
        (
            {"family": FAMILIES, "validation": ShuffleSplit(1, random_state=np.random.RandomState(0))},
            Y,
            "the candidates of a stack must be trained and judged by the same rows, and `validation` gave others when "
            "it was asked again.",
        ),
        ({"family": "auto"}, np.where(np.arange(90) == 4, np.nan, Y), "`y` must be finite; got NaN at row 4."),
        ({"family": "auto"}, None, "requires y to be passed, but the target y is None"),
        ({"family": "auto"}, Y[:80], "inconsistent numbers of samples"),
    ],
)
def test_what_is_no_stack_is_an_error_before_any_work(monkeypatch, params, y, message):
    monkeypatch.setattr(DensityRegressor, "_train", lambda self, task: pytest.fail("there was work"))
    model = DensityRegressor(**QUICK | params, preset="plain")
    with pytest.raises(ValueError, match=re.escape(message)):
        model.fit(X, y)
    assert not hasattr(model, "candidates_")


def test_an_exposure_of_what_is_no_count_is_an_error():
    with pytest.raises(ValueError, match=r"^`family` is not named, and none that suits the targets has an exposure"):
        DensityRegressor("auto", **QUICK, preset="plain").fit(X, Y, exposure=np.ones(90))


def test_one_that_diverges_is_left_out(monkeypatch):
    train = DensityRegressor._train

    def train_some(self, task):
        if self.family in diverging:
            raise DivergenceError("training diverged.")
        return train(self, task)

    monkeypatch.setattr(DensityRegressor, "_train", train_some)
    diverging = {"student-t"}
    model = DensityRegressor(["gaussian", "student-t"], "erm", **QUICK, preset="plain")
    with pytest.warns(UserWarning, match=r"^candidate 'student-t' with mixup 'erm' is left out: training diverged\.$"):
        model.fit(X, Y)
    assert list(model.stack_["family"]) == ["gaussian"]
    diverging = {"student-t", "gaussian"}
    with (
        pytest.warns(UserWarning, match="is left out"),
        pytest.raises(DivergenceError, match=r"^training diverged\.$"),
    ):
        model.fit(X, Y)
    assert not hasattr(model, "candidates_")


@pytest.mark.filterwarnings("default::sklearn.exceptions.ConvergenceWarning")
def test_warnings_of_how_training_ended_name_the_candidate_and_only_of_those_that_are_used():
    settings = QUICK | {"patience": 30, "max_epochs": 5, "learning_rate": 1e-3}
    with pytest.warns(ConvergenceWarning) as caught:
        model = DensityRegressor([*FAMILIES, "gaussian-mixture"], "erm", **settings, preset="plain").fit(X, Y)
    used = model.stack_[model.stack_["weight"] > 0]["family"]
    messages = [str(one.message) for one in caught]
    assert len(messages) == len(used)
    for message, family in zip(messages, used, strict=True):
        assert message.startswith(f"candidate {family!r} with mixup 'erm': 1 of 1 members")
    assert {one.filename for one in caught} == {__file__}


def test_families_with_options_are_told_apart():
    model = DensityRegressor(
        [StudentT(), MixtureFamily(Gaussian(), n_components=3)], Mixup(at=None), **QUICK, preset="plain"
    ).fit(X, Y)
    assert list(model.stack_["mixup"]) == ["erm", "erm"]
    assert model.stack_["family"][0] == "student-t"
    assert "n_components=3" in model.stack_["family"][1]


def test_the_tables_of_two_stacks_stand_side_by_side():
    table = StackTable({"family": ["gamma"], "weight": [1.0]})
    assert "family weight family weight" in " ".join(repr(pd.concat([table, table], axis=1)).split())


def test_rows_of_weight_zero_have_no_density_out_of_fold():
    X, y = np.arange(60.0)[:, None], 1 + np.arange(60.0) % 7
    weight = np.ones(60)
    weight[4] = 0
    model = DensityRegressor(
        ["gamma", "lognormal"], n_members=3, validation="folds", max_epochs=2, random_state=0, preset="plain"
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(X, y, sample_weight=weight)
    assert np.flatnonzero(np.isnan(model.oof_log_prob_)).tolist() == [4]
