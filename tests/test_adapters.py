"""Other libraries' models and predictions: each against that library's own numbers."""

import re
import subprocess
import sys

import fake_skpro
import numpy as np
import pandas as pd
import properscoring
import pyro.distributions as dist
import pytest
import scipy.stats as st
import torch
from matplotlib.figure import Figure
from score_oracles import integral_oracle, sum_oracle
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, WhiteKernel
from sklearn.linear_model import BayesianRidge, LinearRegression, LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from probmix import DensityRegressor
from probmix.adapters import AdaptedModel, adapt, as_distribution, is_prediction
from probmix.distributions import (
    Beta,
    Empirical,
    Exponential,
    Gamma,
    InverseGaussian,
    LogNormal,
    NegativeBinomial,
    Poisson,
    cdf,
    icdf,
    is_discrete,
)
from probmix.plots import PITHistogramDisplay, PredictiveBandDisplay
from probmix.scores import coverage, crps, neg_crps_scorer, neg_nll_scorer, nll, pit

POSITIVE = np.array([0.2, 1.0, 3.5])
SHARES = np.array([0.2, 0.5, 0.99])
COUNTS = np.array([0.0, 2.0, 9.0])
REAL = np.array([-3.0, 0.1, 40.0])

# a frozen distribution of three rows, the class it becomes (None for SciPy's own functions), targets
SCIPY = {
    "norm": (st.norm([0.0, 1.0, 2.0], 2.0), dist.Normal, REAL),
    "laplace": (st.laplace([0.0, 1.0, 2.0], scale=[0.5, 1, 2]), dist.Laplace, REAL),
    "lognorm": (st.lognorm([0.5, 1.0, 2.0], scale=np.exp([0.0, -1.0, 1.0])), LogNormal, POSITIVE),
    "lognorm-shifted": (st.lognorm([0.5, 1.0, 2.0], loc=-1), None, POSITIVE),
    "gamma": (st.gamma(a=[0.3, 2.0, 50.0], scale=[1.0, 2.0, 0.1]), Gamma, POSITIVE),
    "gamma-shifted": (st.gamma([0.9, 2.0, 50.0], -1.0, 0.1), None, POSITIVE),
    "expon": (st.expon(scale=[0.5, 1.0, 20.0]), Exponential, POSITIVE),
    "beta": (st.beta([1.5, 2.0, 80.0], 3.0), Beta, SHARES),
    "beta-wide": (st.beta([1.5, 2.0, 80.0], 3.0, 0.0, 4.0), None, POSITIVE),
    "invgauss": (st.invgauss([0.5, 1.0, 3.0], scale=2.0), InverseGaussian, POSITIVE),
    "poisson": (st.poisson([0.5, 3.0, 4.0]), Poisson, COUNTS),
    "poisson-shifted": (st.poisson([0.5, 3.0, 4.0], 2), None, COUNTS + 2),
    "t": (st.t(df=[2.5, 4.0, 30.0], loc=1.0, scale=[1, 2, 3]), None, REAL),
    "weibull": (st.weibull_min([0.8, 1.5, 3.0], scale=2.0), None, POSITIVE),
    "nbinom": (st.nbinom([0.5, 3.0, 20.0], 0.4), NegativeBinomial, COUNTS),
    "betabinom": (st.betabinom(12, [0.5, 3.0, 20.0], 2.0), None, COUNTS),
}


def raises(kind, message):
    return pytest.raises(kind, match=f"^{re.escape(message)}")


def agrees_with_scipy(distribution, frozen, y, rtol=1e-7):
    """All scores of `distribution` follow from the functions of SciPy's."""
    discrete = hasattr(frozen, "pmf")
    target = torch.from_numpy(np.asarray(y, dtype=np.float64))
    assert distribution.batch_shape == target.shape
    assert is_discrete(distribution) == discrete
    log_density = (frozen.logpmf if discrete else frozen.logpdf)(y)
    np.testing.assert_allclose(nll(distribution, target).numpy(), -log_density, rtol=1e-9, atol=1e-12)
    assert nll(distribution, target).dtype == torch.float64
    np.testing.assert_allclose(cdf(distribution, target).numpy(), frozen.cdf(y), rtol=1e-8)
    levels = torch.tensor([0.0, 0.01, 0.5, 0.99], dtype=torch.float64).reshape(-1, 1)
    quantiles = icdf(distribution, levels).expand(4, len(y))
    np.testing.assert_allclose(quantiles[1:].numpy(), frozen.ppf(levels[1:].numpy()), rtol=1e-6)
    np.testing.assert_array_equal(quantiles[0].numpy(), np.broadcast_to(frozen.support()[0], quantiles[0].shape))
    np.testing.assert_allclose(distribution.mean.numpy(), np.broadcast_to(frozen.mean(), y.shape), rtol=1e-9)
    np.testing.assert_allclose(distribution.variance.numpy(), np.broadcast_to(frozen.var(), y.shape), rtol=1e-9)
    low, high = frozen.ppf(0.05), frozen.ppf(0.95)
    np.testing.assert_array_equal(coverage(distribution, target, 0.9).numpy(), (low <= y) & (y <= high))
    below = frozen.cdf(y - 1) if discrete else frozen.cdf(y)
    value = pit(distribution, target).numpy()
    assert (value >= below - 1e-9).all()
    assert (value <= frozen.cdf(y) + 1e-9).all()
    for row, value in enumerate(crps(distribution, target).tolist()):
        arguments = {name: np.broadcast_to(arg, y.shape)[row] for name, arg in frozen.kwds.items()}
        one = frozen.dist(*(np.broadcast_to(arg, y.shape)[row] for arg in frozen.args), **arguments)
        oracle = sum_oracle([1.0], [one], int(y[row])) if discrete else integral_oracle([1.0], [one], float(y[row]))
        assert value == pytest.approx(oracle, rel=rtol)


# -- SciPy -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SCIPY)
def test_frozen_distributions_of_scipy(name):
    frozen, kind, y = SCIPY[name]
    distribution = as_distribution(frozen)
    assert type(distribution).__name__ == ("SciPyDistribution" if kind is None else kind.__name__)
    agrees_with_scipy(distribution, frozen, y, 1e-5 if name == "gamma-shifted" else 1e-6)


def test_bernoulli_of_scipy():
    distribution = as_distribution(st.bernoulli([0.2, 0.9]))
    np.testing.assert_allclose(nll(distribution, torch.tensor([1.0, 1.0])).numpy(), -np.log([0.2, 0.9]))


def test_targets_outside_the_support_are_impossible_and_no_error():
    for frozen in (
        st.expon(scale=[1.0, 2.0]),
        st.lognorm([1.0, 1.0]),
        st.weibull_min([1.5, 2.0]),
        st.gamma([1.0, 2.0]),
    ):
        distribution = as_distribution(frozen)
        y = torch.tensor([-1.0, -2.0], dtype=torch.float64)
        assert nll(distribution, y).isposinf().all()
        assert crps(distribution, y).isfinite().all()


def test_host_distributions_are_torch_distributions():
    distribution = as_distribution(st.t([3.0, 5.0], [0.0, 10.0]))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        sample = distribution.sample((4000,))
        torch.manual_seed(0)
        assert torch.equal(distribution.sample((4000,)), sample)
    np.testing.assert_allclose(sample.mean(0).numpy(), [0, 10], atol=0.1)
    wide = distribution.expand((3, 2))
    y = torch.tensor([0.5, 9.0], dtype=torch.float64)
    torch.testing.assert_close(crps(wide, y), crps(distribution, y).expand(3, 2))
    assert distribution.to_event(1).event_shape == (2,)
    assert nll(distribution.to_event(1), y).item() == pytest.approx(nll(distribution, y).sum().item())
    assert wide.mean.shape == (3, 2)
    scalar = as_distribution(st.t(3.0))
    assert scalar.batch_shape == ()
    assert crps(scalar, torch.tensor(0.0)).shape == ()


def test_invalid_parameters_are_an_error():
    message = "a predicted distribution must have valid parameters; SciPyDistribution(t, batch_shape=(2,)) has none at "
    with raises(ValueError, message + "index (1,)"):
        as_distribution(st.t(3.0, 0.0, [1.0, -1.0]))
    with pytest.raises(ValueError, match="Expected parameter scale"):
        as_distribution(st.norm(0.0, [1.0, np.nan]))


# -- arrays and torch --------------------------------------------------------------------------------------------------


def test_arrays_are_draws_and_torch_distributions_stay():
    draws = np.arange(6.0).reshape(2, 3)
    for array in (
        draws,
        torch.from_numpy(draws),
        pd.DataFrame(draws),
        draws.astype(int),
        torch.arange(6).reshape(2, 3),
    ):
        distribution = as_distribution(array)
        assert isinstance(distribution, Empirical)
        np.testing.assert_array_equal(distribution.mean.numpy(), [1, 4])
    assert as_distribution(torch.zeros(2, 3)).mean.dtype == torch.float32
    normal = torch.distributions.Normal(torch.zeros(2), 1.0)
    assert as_distribution(normal) is normal
    assert all(is_prediction(thing) for thing in (draws, normal, st.norm(0, 1), fake_skpro.Normal(mu=[[0.0]], sigma=1)))
    assert not any(is_prediction(thing) for thing in (BayesianRidge(), "draws", None, [1.0]))


@pytest.mark.parametrize(
    ("thing", "kind", "message"),
    [
        (
            np.zeros(5),
            ValueError,
            "an array of predictions must hold draws, of shape (n, m), got shape (5,). A point prediction has no "
            "distribution; pass draws, or a distribution.",
        ),
        (
            "normal",
            TypeError,
            "a prediction must be a torch, Pyro or frozen SciPy distribution, one that NGBoost or skpro predicts, or "
            "an array of draws; got str.",
        ),
    ],
    ids=["points", "text"],
)
def test_what_is_no_prediction(thing, kind, message):
    with raises(kind, message):
        as_distribution(thing)


# -- scikit-learn ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def iris():
    X, y = load_iris(return_X_y=True)
    return X[::2], np.array(["setosa", "versicolor", "virginica"])[y[::2]], X[1::2], np.array(["s", "v", "w"])[y[1::2]]


def test_classifiers_of_scikit_learn(iris):
    X, y, X_new, _ = iris
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)
    distribution = adapt(model).predict_dist(X_new)
    np.testing.assert_allclose(distribution.probs.numpy(), model.predict_proba(X_new), rtol=1e-12)
    assert neg_nll_scorer(model, X, y) == pytest.approx(-log_loss(y, model.predict_proba(X)))
    index = np.searchsorted(model.classes_, y)
    expected = np.square(model.predict_proba(X).cumsum(1) - (np.arange(3) >= index[:, None])).sum(1).mean()
    assert neg_crps_scorer(model, X, y) == pytest.approx(-expected)
    search = GridSearchCV(LogisticRegression(max_iter=500), {"C": [1e-4, 1.0]}, scoring=neg_nll_scorer, cv=2).fit(X, y)
    assert search.best_params_ == {"C": 1.0}
    assert neg_nll_scorer(search, X, y) == pytest.approx(-log_loss(y, search.predict_proba(X)))
    assert list(adapt(search).classes_) == sorted(set(y))


def test_a_vote_without_voices_has_an_infinite_nll(iris):
    X, y, *_ = iris
    model = KNeighborsClassifier(1).fit(X, y)
    other = np.roll(y, 30)
    assert neg_nll_scorer(model, X, y) == 0
    assert neg_nll_scorer(model, X, other) == -np.inf
    assert np.isfinite(neg_crps_scorer(model, X, other))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_probabilities_are_normalised_in_float64(dtype):
    class Rounded:
        classes_ = np.array([0, 1, 2])

        def predict_proba(self, X):
            return np.full((len(X), 3), 1 / 3, dtype=dtype)

    distribution = adapt(Rounded()).predict_dist(np.zeros((2, 1)))
    assert distribution.probs.dtype == torch.float64
    np.testing.assert_allclose(distribution.probs.numpy(), 1 / 3, rtol=1e-15)


def test_several_labels_at_once_are_refused(iris):
    X, *_ = iris
    labels = np.column_stack([X[:, 0] > 5, X[:, 1] > 3]).astype(int)
    model = RandomForestClassifier(5, random_state=0).fit(X, labels)
    with raises(
        ValueError, "`predict_proba` must give one array (n, classes); got a list of 2, one for each of several"
    ):
        adapt(model).predict_dist(X)

    class Multilabel:
        def predict_proba(self, X):
            return np.array([[0.5, 0.9], [0.1, 0.1]])

    message = (
        "class probabilities must not be negative and must sum to 1 in each row; the smallest was 0.1, the largest "
    )
    with raises(ValueError, message + "|sum - 1| 0.8."):
        adapt(Multilabel()).predict_dist(X)


def test_regressors_that_return_a_standard_deviation():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(30, 2))
    y = X[:, 0] + 0.3 * rng.normal(size=30)
    models = [BayesianRidge(), GaussianProcessRegressor(RBF() + WhiteKernel(0.1), optimizer=None)]
    for model in (*models, make_pipeline(StandardScaler(), BayesianRidge())):
        mean, scale = model.fit(X, y).predict(X, return_std=True)
        expected = properscoring.crps_gaussian(y, mean, scale).mean()
        assert neg_crps_scorer(model, X, y) == pytest.approx(-expected)
        assert neg_nll_scorer(model, X, y) == pytest.approx(st.norm(mean, scale).logpdf(y).mean())
    two = models[1].fit(X, np.column_stack([y, 2 * y]))
    assert adapt(two).predict_dist(X).event_shape == (2,)


@pytest.mark.parametrize("model", [LinearRegression(), StandardScaler(), "model", make_pipeline(LinearRegression())])
def test_what_predicts_numbers_is_refused(model):
    name = repr(getattr(model, "steps", [(None, model)])[-1][1])
    with pytest.raises(TypeError, match="must predict distributions") as caught:
        adapt(model)
    assert str(caught.value) == (
        f"the estimator must predict distributions by a method `predict_dist`; got {name}. Pass a DensityRegressor or "
        "DensityClassifier, a classifier with `predict_proba`, a model of NGBoost or skpro, or a Pipeline or search "
        "that holds one. What predicts a number only has no distribution."
    )


def test_our_own_models_stay():
    model = DensityRegressor()
    assert adapt(model) is model
    assert adapt(adapt(model)) is model
    pipeline = make_pipeline(StandardScaler(), model)
    assert isinstance(adapt(pipeline), AdaptedModel)
    assert adapt(adapt(pipeline)).predict_dist.__self__ == adapt(pipeline)
    assert not hasattr(adapt(pipeline), "classes_")


# -- NGBoost -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def positive():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 2))
    return X, np.exp(0.5 * X[:, 0] + 0.3 * rng.normal(size=60))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("Normal", "Normal"),
        ("NormalFixedVar", "Normal"),
        ("LogNormal", "LogNormal"),
        ("Exponential", "Exponential"),
        ("Gamma", "Gamma"),
        ("Laplace", "Laplace"),
        ("Poisson", "Poisson"),
        ("TFixedDf", "SciPyDistribution"),
        ("Weibull", "SciPyDistribution"),
        ("HalfNormal", "SciPyDistribution"),
    ],
)
def test_regressors_of_ngboost(name, kind, positive):
    ngboost, distns = pytest.importorskip("ngboost"), pytest.importorskip("ngboost.distns")
    X, y = positive
    y = np.floor(y) if name == "Poisson" else y
    model = ngboost.NGBRegressor(Dist=getattr(distns, name), n_estimators=5, verbose=False, random_state=0).fit(X, y)
    distribution = adapt(model).predict_dist(X)
    assert type(distribution).__name__ == kind
    theirs = model.pred_dist(X)
    # by hand: some of NGBoost's log-densities add a small constant to y
    log_density = theirs.dist.logpmf(y) if name == "Poisson" else theirs.dist.logpdf(y)
    np.testing.assert_allclose(nll(distribution, torch.tensor(y)).numpy(), -log_density, rtol=1e-9, atol=1e-12)
    assert neg_nll_scorer(model, X, y) == pytest.approx(log_density.mean())
    first = model.pred_dist(X[:3])
    agrees_with_scipy(as_distribution(first), first.dist, y[:3], 1e-5)
    display = PITHistogramDisplay.from_estimator(model, X, y, ax=Figure().subplots())
    assert len(display.values) == 60
    PredictiveBandDisplay.from_estimator(model, X, y, resolution=5, ax=Figure().subplots())


def test_classifiers_of_ngboost(positive):
    ngboost, distns = pytest.importorskip("ngboost"), pytest.importorskip("ngboost.distns")
    X, y = positive
    classes = np.digitize(y, [0.7, 1.3])
    model = ngboost.NGBClassifier(Dist=distns.k_categorical(3), n_estimators=5, verbose=False).fit(X, classes)
    distribution = adapt(model).predict_dist(X)
    np.testing.assert_allclose(distribution.probs.numpy(), model.predict_proba(X), rtol=1e-12)
    assert neg_nll_scorer(model, X, classes) == pytest.approx(-log_loss(classes, model.predict_proba(X)))
    np.testing.assert_allclose(as_distribution(model.pred_dist(X)).probs.numpy(), model.predict_proba(X), rtol=1e-12)


def test_several_targets_of_ngboost(positive):
    ngboost, distns = pytest.importorskip("ngboost"), pytest.importorskip("ngboost.distns")
    X, y = positive
    both = np.column_stack([y, X[:, 1]])
    model = ngboost.NGBRegressor(Dist=distns.MultivariateNormal(2), n_estimators=3, verbose=False).fit(X, both)
    theirs = model.pred_dist(X)
    expected = [-st.multivariate_normal(m, c).logpdf(t) for m, c, t in zip(theirs.loc, theirs.cov, both, strict=True)]
    np.testing.assert_allclose(nll(as_distribution(theirs), torch.tensor(both)).numpy(), expected, rtol=1e-8)


def test_ngboost_without_a_cdf_is_refused():
    class LogitNormal:
        dist = None

        def __getattr__(self, name):
            return None  # as NGBoost's own do

    base = type("Distn", (), {"__module__": "ngboost.distns.distn"})
    with raises(
        TypeError, "NGBoost's LogitNormal gives no cdf and no quantiles, so it cannot be scored here. Fit with"
    ):
        as_distribution(type("LogitNormal", (LogitNormal, base), {})())


# -- skpro -------------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["fake", "real"])
def skpro(request):
    return fake_skpro if request.param == "fake" else pytest.importorskip("skpro.distributions")


def column(*values):
    return np.array(values, dtype=float)[:, None]


# the class of skpro and its parameters, the same in SciPy, the class it becomes, targets
SKPRO = {
    "Normal": ({"mu": column(0, 1, 2), "sigma": 2.0}, st.norm([0, 1, 2], 2.0), "Normal", REAL),
    "Laplace": ({"mu": column(0, 1, 2), "scale": 2.0}, st.laplace([0, 1, 2], 2.0), "Laplace", REAL),
    "LogNormal": (
        {"mu": column(0, -1, 2), "sigma": 0.5},
        st.lognorm([0.5] * 3, scale=np.exp([0, -1, 2])),
        "LogNormal",
        POSITIVE,
    ),
    "Gamma": (
        {"alpha": column(0.5, 2, 30), "beta": column(1, 2, 9)},
        st.gamma([0.5, 2, 30], scale=1 / np.array([1, 2, 9])),
        "Gamma",
        POSITIVE,
    ),
    "Exponential": ({"rate": column(2, 1, 0.1)}, st.expon(scale=[0.5, 1, 10]), "Exponential", POSITIVE),
    "Beta": ({"alpha": column(1.5, 2, 30), "beta": 3}, st.beta([1.5, 2, 30], 3), "Beta", SHARES),
    "InverseGaussian": (
        {"mu": column(0.5, 1, 3), "scale": 2.0},
        st.invgauss([0.5, 1, 3], scale=2.0),
        "InverseGaussian",
        POSITIVE,
    ),
    "Poisson": ({"mu": column(0.5, 3, 4)}, st.poisson([0.5, 3, 4]), "Poisson", COUNTS),
}


@pytest.mark.parametrize("name", SKPRO)
def test_distributions_of_skpro_by_their_parameters(name, skpro):
    parameters, frozen, kind, y = SKPRO[name]
    distribution = as_distribution(getattr(skpro, name)(**parameters))
    assert type(distribution).__name__ == kind
    agrees_with_scipy(distribution, frozen, y, 1e-6)


@pytest.mark.parametrize(
    ("name", "parameters", "frozen", "y"),
    [
        (
            "TDistribution",
            {"mu": column(0, 1, 2), "sigma": 2.0, "df": column(3, 5, 30)},
            st.t([3, 5, 30], [0, 1, 2], 2.0),
            REAL,
        ),
        (
            "NegativeBinomial",
            {"mu": column(1, 2, 9), "alpha": column(2, 2, 3)},
            st.nbinom([2, 2, 3], np.array([2, 2, 3]) / np.array([3, 4, 12])),
            COUNTS,
        ),
    ],
    ids=["t", "negative-binomial"],
)
def test_distributions_of_skpro_by_its_functions(name, parameters, frozen, y, skpro):
    theirs = getattr(skpro, name)(**parameters)
    distribution = as_distribution(theirs)
    assert type(distribution).__name__ == "SkproDistribution"
    target = torch.from_numpy(y)
    ours = as_distribution(frozen)
    for score in (nll, crps, pit, lambda d, y: coverage(d, y, 0.9)):
        torch.testing.assert_close(score(distribution, target), score(ours, target), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(distribution.mean.numpy(), frozen.mean(), rtol=1e-9)
    np.testing.assert_allclose(distribution.variance.numpy(), frozen.var(), rtol=1e-7)  # skpro rounds it
    assert is_discrete(distribution) == (name == "NegativeBinomial")


def test_several_targets_of_skpro(skpro):
    mu = np.array([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]])
    y = torch.tensor([[0.5, 0.0], [2.0, 9.0], [1.0, 5.0]], dtype=torch.float64)
    for theirs, frozen in (
        (skpro.Normal(mu=mu, sigma=2.0), st.norm(mu, 2.0)),
        (skpro.TDistribution(mu=mu, sigma=2.0, df=5), st.t(5, mu, 2.0)),
    ):
        distribution = as_distribution(theirs)
        assert distribution.batch_shape == (3,)
        assert distribution.event_shape == (2,)
        np.testing.assert_allclose(nll(distribution, y).numpy(), -frozen.logpdf(y.numpy()).sum(1), rtol=1e-12)
        torch.testing.assert_close(crps(distribution, y), crps(as_distribution(frozen), y).mean(1))


def test_draws_of_skpro(skpro):
    rng = np.random.default_rng(0)
    index = pd.MultiIndex.from_product([range(20), ["b", "a", "c"]])
    draws = pd.DataFrame(rng.normal(size=(60, 1)), index=index, columns=["y"])
    theirs = skpro.Empirical(draws)
    distribution = as_distribution(theirs)
    assert isinstance(distribution, Empirical)
    for row, label in enumerate(theirs.index):
        expected = draws["y"].xs(label, level=1).to_numpy()
        np.testing.assert_array_equal(distribution.samples[row].numpy(), np.sort(expected))
    two = as_distribution(skpro.Empirical(pd.DataFrame(rng.normal(size=(60, 2)), index=index, columns=["y", "z"])))
    assert (two.batch_shape, two.event_shape) == ((3,), (2,))


def test_regressors_of_skpro(positive):
    X, y = positive
    model = fake_skpro.ResidualDouble().fit(X, y)
    expected = st.norm(model.slope * X[:, 0], model.sigma).logpdf(y).mean()
    assert neg_nll_scorer(model, X, y) == pytest.approx(expected)
    display = PITHistogramDisplay.from_estimator(model, X, y, ax=Figure().subplots())
    np.testing.assert_allclose(display.values, st.norm(model.slope * X[:, 0], model.sigma).cdf(y))


def test_real_regressors_of_skpro(positive):
    residual = pytest.importorskip("skpro.regression.residual")
    X, y = (pd.DataFrame(part) for part in positive)
    model = residual.ResidualDouble(LinearRegression()).fit(X, y)
    theirs = model.predict_proba(X)
    expected = np.asarray(theirs.log_pdf(y)).mean()
    assert neg_nll_scorer(model, X, positive[1]) == pytest.approx(expected)


# -- imports -----------------------------------------------------------------------------------------------------------


def test_nothing_of_the_other_libraries_is_imported():
    code = "import sys, probmix.adapters; print([n for n in sys.modules if n.split('.')[0] in ('ngboost', 'skpro')])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
