"""Adapters of models of NGBoost and skpro."""

import fake_skpro
import numpy as np
import pandas as pd
import pytest
import scipy.stats as st
import torch
from adapter_cases import COUNTS, POSITIVE, REAL, SHARES, agrees_with_scipy, raises
from matplotlib.figure import Figure
from sklearn.linear_model import LinearRegression
from sklearn.metrics import log_loss

from probmix.adapters import adapt, as_distribution
from probmix.distributions import (
    Empirical,
    is_discrete,
)
from probmix.plots import PITHistogramDisplay, PredictiveBandDisplay
from probmix.scores import coverage, crps, neg_nll_scorer, nll, pit

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
        ("TFixedDf", "StudentT"),
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
    "TDistribution": (
        {"mu": column(0, 1, 2), "sigma": 2.0, "df": column(3, 5, 30)},
        st.t([3, 5, 30], [0, 1, 2], 2.0),
        "StudentT",
        REAL,
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
    "NegativeBinomial": (
        {"mu": column(1, 2, 9), "alpha": column(2, 2, 3)},
        st.nbinom([2, 2, 3], np.array([2, 2, 3]) / np.array([3, 4, 12])),
        "NegativeBinomial",
        COUNTS,
    ),
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
            "Binomial",
            {"n": column(10, 20, 50), "p": column(0.1, 0.5, 0.3)},
            st.binom([10, 20, 50], [0.1, 0.5, 0.3]),
            COUNTS,
        ),
    ],
    ids=["binomial"],
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
    assert is_discrete(distribution)


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
