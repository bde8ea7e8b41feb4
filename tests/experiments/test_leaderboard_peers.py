"""The peers of the board: what they are given, and that their predictions are what they say."""

import importlib.machinery
import importlib.util
import sys
import types

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose
from scipy import optimize, special, stats

from probmix import distributions
from probmix.experiments.leaderboard import catboost_peer, lightgbm_peer, ngboost_peer, ours
from probmix.experiments.leaderboard.encoding import Categories, OneHot, with_exposure
from probmix.experiments.leaderboard.measures import measures
from probmix.experiments.leaderboard.methods import METHODS, Training
from probmix.experiments.leaderboard.process import measured
from probmix.experiments.leaderboard.sets import Rows


def training_of(kind, rows=120, exposed=False, seed=0):
    """A table with a number, a category and gaps, and targets of a kind that follow both."""
    random = np.random.default_rng(seed)
    x, group = random.normal(size=rows), random.choice(["a", "b"], rows)
    rate = np.exp(0.5 * x + (group == "a"))
    exposure = random.uniform(0.2, 3.0, rows) if exposed else None
    y = {
        "real": np.log(rate) + 0.3 * random.normal(size=rows),
        "positive": rate * random.gamma(4.0, 0.25, rows),
        "count": random.poisson(rate * (1.0 if exposure is None else exposure)).astype(float),
    }[kind]
    X = pd.DataFrame({"x": np.where(random.random(rows) < 0.1, np.nan, x), "the group": group})
    X.loc[:3, "the group"] = None
    return Training(Rows(X, y, exposure), kind, 0)


def fitted(name, training):
    return METHODS[name].load()(training)


# -- encoding ----------------------------------------------------------------------------------------------------------


def test_one_hot_levels_and_medians_are_of_the_training_rows():
    train = pd.DataFrame(
        {"x": [1.0, 5.0, np.nan, 2.0], "kind": ["b", "a", None, "b"], "flag": [True, False, True, True]}
    )
    encode = OneHot(train)
    rows = pd.DataFrame({"x": [np.nan, 9.0], "kind": ["c", None], "flag": [False, True]})
    assert encode(rows).tolist() == [[2.0, 0.0, 0.0, 0.0, 0.0], [9.0, 0.0, 0.0, 1.0, 1.0]]
    assert encode(train)[:, 1:4].tolist() == [[0, 1, 0], [1, 0, 0], [0, 0, 1], [0, 1, 0]]
    # of a linear model: without the first level, and without what does not vary
    assert OneHot(train.assign(constant=1.0), drop_first=True)(train.assign(constant=1.0)).shape == (4, 4)


def test_a_column_of_gaps_is_zero():
    assert OneHot(pd.DataFrame({"x": [np.nan, np.nan]}))(pd.DataFrame({"x": [np.nan]})).tolist() == [[0.0]]


def test_categories_keep_gaps_and_what_is_new_is_one():
    train = pd.DataFrame({"x [m]": [1.0, np.nan], "kind": ["b", "a"]})
    found = Categories(train)(pd.DataFrame({"x [m]": [np.nan, 3.0], "kind": ["a", "c"]}))
    assert found["x1"].cat.codes.tolist() == [0, -1]
    assert found["x0"].isna().tolist() == [True, False]


def test_an_exposure_is_one_more_feature_where_there_is_one():
    X = pd.DataFrame({"x": [1.0, 2.0]})
    assert with_exposure(X, None) is X
    assert with_exposure(X, np.array([1.0, np.e]))["log exposure"].tolist() == [0.0, 1.0]


# -- peers -------------------------------------------------------------------------------------------------------------

PEERS = ("ngboost", "catboost", "lightgbm-quantiles", "quantile-forest", "glm")


@pytest.fixture(autouse=True)
def _few_rounds(monkeypatch):
    monkeypatch.setattr(ngboost_peer, "_FEW", (25, 0.2))
    monkeypatch.setattr(catboost_peer, "_MOST_ROUNDS", 100)
    monkeypatch.setattr(lightgbm_peer, "_MOST_ROUNDS", 40)


@pytest.mark.parametrize("kind", ["real", "positive", "count"])
@pytest.mark.parametrize("name", PEERS)
def test_peers_beat_the_distribution_of_all_targets(name, kind):
    for package in METHODS[name].packages:
        pytest.importorskip(package.replace("-", "_"))
    exposed = kind == "count"
    training, test = training_of(kind, exposed=exposed), training_of(kind, exposed=exposed, seed=1).rows
    found = measured(METHODS[name], training, test)
    marginal = distributions.QuantileFunction(
        torch.tensor(np.quantile(training.rows.y, np.arange(0.05, 1, 0.05))).expand(len(test.y), -1),
        list(np.arange(0.05, 1, 0.05)),
    )
    assert found["scores"]["crps"] < 0.9 * measures(marginal, test.y, 1.0)["crps"]
    assert ("nll" in found["scores"]) == (name not in ("lightgbm-quantiles", "quantile-forest"))
    assert 0.6 < found["scores"]["coverage90"] <= 1
    assert found["chosen"]
    again = measured(METHODS[name], training, test)
    assert again["scores"]["crps"] == found["scores"]["crps"]


@pytest.mark.parametrize("name", ["catboost", "glm"])
def test_an_exposure_is_an_offset(name):
    for package in METHODS[name].packages:
        pytest.importorskip(package)
    training = training_of("count", exposed=True)
    law = fitted(name, training)
    rates = [law.predict(training.rows.X, np.full(120, one)).mean for one in (1.0, 2.5)]
    assert_allclose(rates[1], 2.5 * rates[0], rtol=1e-6)


def test_catboost_follows_large_counts():
    pytest.importorskip("catboost")
    training = training_of("count")
    large = Rows(training.rows.X, 2000 + 100 * training.rows.y)
    law = fitted("catboost", Training(large, "count", 0)).predict(large.X, None)
    assert np.abs(law.mean.numpy() / large.y - 1).max() < 0.5


def test_the_gaussian_glm_is_least_squares():
    pytest.importorskip("statsmodels")
    training = training_of("real")
    law = fitted("glm", training).predict(training.rows.X, None)
    inputs = np.column_stack([np.ones(120), OneHot(training.rows.X, drop_first=True)(training.rows.X)])
    weights, residuals, _, _ = np.linalg.lstsq(inputs, training.rows.y)
    assert_allclose(law.mean, inputs @ weights, rtol=1e-8)
    assert_allclose(law.stddev, np.sqrt(residuals[0] / (120 - inputs.shape[1])), rtol=1e-8)


def test_columns_that_say_the_same_change_no_glm():
    pytest.importorskip("statsmodels")
    training = training_of("count", exposed=True)
    rows = training.rows
    twice = rows.X.assign(again=rows.X["the group"].fillna("none"), double=2 * rows.X["x"] + 1)
    one = fitted("glm", training).predict(rows.X, rows.exposure)
    other = fitted("glm", Training(Rows(twice, rows.y, rows.exposure), "count", 0)).predict(twice, rows.exposure)
    assert_allclose(one.mean, other.mean, rtol=1e-6)


def test_the_negative_binomial_glm_has_the_largest_likelihood():
    pytest.importorskip("statsmodels")
    training = training_of("count", rows=400)
    random = np.random.default_rng(3)
    y = random.poisson(np.exp(0.5 + 0.5 * training.rows.X["x"].fillna(0)) * random.gamma(1.5, 1 / 1.5, 400)).astype(
        float
    )
    training = Training(Rows(training.rows.X, y), "count", 0)
    found = fitted("glm", training)
    assert found.chosen["law"] == "negative-binomial"
    inputs = np.column_stack([np.ones(400), OneHot(training.rows.X, drop_first=True)(training.rows.X)])

    def loss(parameters):
        mean, size = np.exp(inputs @ parameters[:-1]), np.exp(-parameters[-1])
        return -stats.nbinom.logpmf(y, size, size / (size + mean)).sum()

    best = optimize.minimize(loss, np.zeros(inputs.shape[1] + 1), method="BFGS").fun
    law = found.predict(training.rows.X, None)
    assert -law.log_prob(torch.tensor(y)).sum() == pytest.approx(best, abs=2e-3)
    assert found.chosen["aic"] == pytest.approx(2 * best + 2 * (inputs.shape[1] + 1), abs=0.01)


def test_the_gamma_glm_has_the_scores_of_its_coefficients_at_zero():
    pytest.importorskip("statsmodels")
    training = training_of("positive")
    found = fitted("glm", training)
    assert found.chosen["law"] == "gamma"
    mean = found.predict(training.rows.X, None).mean.numpy()
    inputs = np.column_stack([np.ones(120), OneHot(training.rows.X, drop_first=True)(training.rows.X)])
    assert_allclose(inputs.T @ (training.rows.y / mean - 1), 0, atol=1e-4)


def test_ngboost_takes_the_law_that_the_judging_rows_prefer():
    pytest.importorskip("ngboost")
    random = np.random.default_rng(4)
    X = pd.DataFrame({"x": random.normal(size=150)})
    skewed = Rows(X, np.exp(X["x"].to_numpy() + random.normal(size=150)))
    assert fitted("ngboost", Training(skewed, "positive", 0)).chosen["head"] == "LogNormal"
    even = Rows(X, 10 + X["x"].to_numpy() + special.ndtri(random.uniform(0.01, 0.99, 150)))
    laws = {fitted("ngboost", Training(even, kind, 0)).chosen["head"] for kind in ("positive", "real")}
    assert laws <= {"Normal", "LogNormal"}


# -- pretrained --------------------------------------------------------------------------------------------------------


class Pretrained:
    """Quantiles of the training targets, asked for as TabPFN and TabICL are."""

    def __init__(self, **settings):
        assert settings["model_path"].endswith("weights")
        assert settings["random_state"] == 0
        self.list = "ignore_pretraining_limits" in settings
        assert self.list or settings["allow_auto_download"] is False

    def fit(self, X, y):
        assert np.isfinite(X).all()
        self.y = y

    def predict(self, X, output_type, quantiles=None, alphas=None):
        assert output_type == "quantiles"
        found = np.tile(np.quantile(self.y, quantiles if self.list else alphas), (len(X), 1)).astype(np.float32)
        return list(found.T) if self.list else found


@pytest.mark.parametrize(("name", "package", "model"), [("tabpfn", "tabpfn", "TabPFNRegressor"),
                                                        ("tabicl", "tabicl", "TabICLRegressor")])  # fmt: skip
def test_pretrained_peers_need_weights_on_the_machine(monkeypatch, tmp_path, name, package, model):
    method = METHODS[name]
    if importlib.util.find_spec(package) is None:
        assert method.lacking() == f"{name} needs {package}: pip install '{package}'."
    fake = types.ModuleType(package)
    fake.__spec__ = importlib.machinery.ModuleSpec(package, None)
    setattr(fake, model, Pretrained)
    monkeypatch.setitem(sys.modules, package, fake)
    monkeypatch.delenv(method.weights, raising=False)
    line = f"{name} needs its weights, which are not downloaded: {method.weights} names their file."
    assert method.lacking() == line
    monkeypatch.setenv(method.weights, str(tmp_path / "weights"))
    assert method.lacking() == line
    (tmp_path / "weights").touch()
    assert method.lacking() == ""
    training = training_of("count", exposed=True)
    law = fitted(name, training).predict(training.rows.X, training.rows.exposure)
    assert_allclose(law.icdf(torch.tensor(0.3)), np.quantile(training.rows.y, 0.3), rtol=1e-6)


# -- ours --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def short(monkeypatch):
    """Our estimators with few epochs."""
    whole = ours.ours

    def few_epochs(*arguments):
        return whole(*arguments).set_params(max_epochs=15, batch_size=None)

    monkeypatch.setattr(ours, "ours", few_epochs)
    return few_epochs


def test_what_a_preset_has_chosen_is_told_with_its_networks(monkeypatch):
    table = pd.DataFrame({
        "family": ["gamma", "gamma", "lognormal"], "mixup": "erm", "network": ["wide", "deep", "wide"],
        "weight": [0.25, 0.75, 0.0],
    })  # fmt: skip
    monkeypatch.setattr(ours, "_fitted", lambda name, training: types.SimpleNamespace(stack_=table))
    chosen = ours.fit_default(training_of("positive", rows=10)).chosen
    assert chosen == {"candidates": ["gamma erm wide", "gamma erm deep"], "weights": [0.25, 0.75]}


def test_the_plain_ensemble_is_the_family_with_the_best_rows_out_of_fold(short):
    training = training_of("positive", rows=80)
    found = fitted("plain-ensemble", training)
    stack = short("plain-ensemble", "positive", 0).fit(training.rows.X, training.rows.y)
    best = stack.stack_.sort_values("nll").iloc[0]
    assert found.chosen == {"family": best["family"]}
    test = training_of("positive", rows=10, seed=1).rows
    one = stack.candidates_[list(stack.stack_["family"]).index(best["family"])]
    law = found.predict(test.X, None)
    assert_allclose(law.log_prob(torch.tensor(test.y)), one.log_prob(test.X, test.y), rtol=1e-12)
    assert len(one.best_epoch_) == 5


def test_a_plain_ensemble_of_one_family(short):
    training = training_of("real", rows=60)
    found = fitted("plain-ensemble", training)
    model = short("plain-ensemble", "real", 0).fit(training.rows.X, training.rows.y)
    assert found.chosen == {"family": "gaussian"}
    law = found.predict(training.rows.X, None)
    assert_allclose(law.log_prob(torch.tensor(training.rows.y)), model.log_prob(training.rows.X, training.rows.y))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("name", [name for name, method in METHODS.items() if method.is_ours])
def test_ours_know_exposures_and_say_what_they_chose(short, name):
    training, test = training_of("count", exposed=True), training_of("count", exposed=True, seed=1).rows
    found = fitted(name, training)
    assert found.chosen
    rates = [found.predict(test.X, one * test.exposure).mean for one in (1.0, 2.5)]
    assert_allclose(rates[1], 2.5 * rates[0], rtol=1e-6)
    assert measures(found.predict(test.X, test.exposure), test.y, 1.0)["nll"] < 4


def test_settings_of_ours_tell_what_they_are():
    settings = ours.settings_of("plain-ensemble")
    assert settings["real"] != settings["positive"] != settings["count"]
    assert "'preset': 'plain'" in settings["real"]
    assert "'gaussian', 'lognormal', 'gamma'" in settings["positive"]
    assert settings == ours.settings_of("plain-ensemble")
