"""Adapters of distributions of SciPy, of arrays and of models of scikit-learn."""

import subprocess
import sys

import fake_skpro
import numpy as np
import pandas as pd
import properscoring
import pytest
import scipy.stats as st
import torch
from adapter_cases import SCIPY, agrees_with_scipy, raises
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
    Empirical,
)
from probmix.scores import crps, neg_crps_scorer, neg_nll_scorer, nll

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
    distribution = as_distribution(st.logistic([0.0, 10.0]))
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
    scalar = as_distribution(st.logistic(0.0))
    assert scalar.batch_shape == ()
    assert crps(scalar, torch.tensor(0.0)).shape == ()


def test_invalid_parameters_are_an_error():
    message = "a predicted distribution must have valid parameters; SciPyDistribution(logistic, batch_shape=(2,)) has "
    with raises(ValueError, message + "none at index (1,)"):
        as_distribution(st.logistic(0.0, [1.0, -1.0]))
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
    model = DensityRegressor(preset="plain")
    assert adapt(model) is model
    assert adapt(adapt(model)) is model
    pipeline = make_pipeline(StandardScaler(), model)
    assert isinstance(adapt(pipeline), AdaptedModel)
    assert adapt(adapt(pipeline)).predict_dist.__self__ == adapt(pipeline)
    assert not hasattr(adapt(pipeline), "classes_")


# -- imports -----------------------------------------------------------------------------------------------------------


def test_nothing_of_the_other_libraries_is_imported():
    code = "import sys, probmix.adapters; print([n for n in sys.modules if n.split('.')[0] in ('ngboost', 'skpro')])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
