"""Estimators, modules and functions as what the theory looks at, and what it refuses."""

import numpy as np
import pytest
import torch
from sklearn.exceptions import NotFittedError
from theory_cases import rows, tanh_network
from torch import nn

from probmix import DensityClassifier, DensityRegressor, families
from probmix.mixup import BetaWeights
from probmix.networks.alone import LoneMember
from probmix.theory import adversarial_terms, linearity, mixup_risk, quadratic_expansion

X = np.random.default_rng(0).normal(size=(50, 3)) * [1.0, 10.0, 0.1]
Y = X[:, 0] + 0.1 * X[:, 1] + 0.3 * np.random.default_rng(1).normal(size=50)
SETTINGS = {"max_epochs": 4, "random_state": 0, "hidden_layer_sizes": (8, 6), "validation_fraction": 0.0}


def smooth(shape):
    return nn.Sequential(nn.Linear(*shape, 8), nn.Tanh(), nn.Linear(8, 5))


def normalised(shape):
    return nn.Sequential(nn.Linear(*shape, 8), nn.BatchNorm1d(8), nn.Dropout(0.2), nn.Tanh())


def fit(kind, **params):
    settings = SETTINGS | params
    if kind == "classifier":
        return DensityClassifier(**settings, preset="plain").fit(X, np.array(["a", "b", "c"])[np.arange(50) % 3])
    y = {"gamma": np.exp(Y), "poisson": np.exp(Y).round()}.get(kind, Y)
    if kind == "targets":
        return DensityRegressor(**settings, preset="plain").fit(X, np.stack([Y, X[:, 2]], 1))
    if kind == "multivariate-gaussian":
        return DensityRegressor(family=kind, **settings, preset="plain").fit(X, np.stack([Y, X[:, 2]], 1))
    return DensityRegressor(family=kind, **settings, preset="plain").fit(X, y)


def targets_of(kind):
    if kind == "classifier":
        return np.array(["a", "b", "c"])[np.arange(50) % 3]
    if kind in ("targets", "multivariate-gaussian"):
        return np.stack([Y, X[:, 2]], 1)
    return {"gamma": np.exp(Y), "poisson": np.exp(Y).round()}.get(kind, Y)


@pytest.mark.parametrize("network", [None, smooth, normalised], ids=["built-in", "smooth", "normalised"])
def test_a_lone_member_is_the_member(network):
    model = fit("targets", network=network, n_members=3)
    state = torch.get_rng_state()
    for member in range(3):
        lone = LoneMember(model.network_, member)
        x = torch.from_numpy(X)
        expected = model.network_(x)[member]
        torch.testing.assert_close(lone(lone.standardize(x)), expected)
        assert not any(parameter.requires_grad for parameter in lone.parameters())
        lone.get_submodule(lone.places["embedding"])
        # weights of its own
        next(lone.body.parameters()).data.zero_()
        torch.testing.assert_close(model.network_(x)[member], expected)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("kind", ["gaussian", "gamma", "poisson", "classifier", "targets", "multivariate-gaussian"])
def test_estimators_are_seen_in_the_units_of_their_training(kind):
    model = fit(kind, n_members=2, network=smooth)
    y = targets_of(kind)
    predicted = model.predict_dist(X)
    risk = mixup_risk(model, X, y, BetaWeights(1e-3), member=1)
    # hardly mixed: minus the log-likelihood of the member, in training units
    eta = model.network_(torch.from_numpy(X))[1].double()
    scaler, family = model.scaler_, model.family_
    numbers = torch.from_numpy(np.unique(y, return_inverse=True)[1] if kind == "classifier" else y).double()
    scaled = (numbers - scaler.loc[1]) / scaler.scale[1]
    expected = -family.log_prob(eta, scaled)
    expected = expected.sum(1) if expected.ndim == 2 else expected
    np.testing.assert_allclose(risk.clean, expected.detach(), rtol=1e-5, atol=1e-5)
    assert risk.risk == pytest.approx(risk.clean_risk, rel=2e-2, abs=1e-2)
    found, exact = quadratic_expansion(model, X, y, member=1), mixup_risk(model, X, y, member=1, n_nodes=8)
    assert found.risk == pytest.approx(exact.risk, rel=0.05, abs=0.01)
    assert model.predict_dist(X).batch_shape == predicted.batch_shape


def test_looking_changes_nothing():
    for model in (fit("gaussian", network=normalised, n_members=2), fit("gaussian", mixup="m-probmix")):
        before = {name: value.clone() for name, value in model.network_.state_dict().items()}
        params = model.predict_natural_params(X)
        state, attributes = torch.get_rng_state(), set(vars(model))
        quadratic_expansion(model, X, Y)
        mixup_risk(model, X, Y, n_nodes=4)
        linearity(model, X)
        assert torch.equal(torch.get_rng_state(), state)
        assert set(vars(model)) == attributes
        for name, value in model.network_.state_dict().items():
            assert torch.equal(value, before[name])
        assert torch.equal(model.predict_natural_params(X), params)


def test_a_module_in_training_is_seen_in_evaluation_and_left_alone():
    network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Dropout(0.5), nn.Linear(4, 1)).train()
    state = {name: value.clone() for name, value in network.state_dict().items()}
    x, y = rows(10, 3).float(), torch.zeros(10)
    first, second = (quadratic_expansion(network, x, y, family="squared").rows for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert network.training
    assert all(parameter.grad is None and parameter.requires_grad for parameter in network.parameters())
    for name, value in network.state_dict().items():
        assert torch.equal(value, state[name])


def test_layers_without_derivatives_forwards():
    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn, self.head = nn.LSTM(2, 4, batch_first=True), nn.Linear(4, 1)

        def forward(self, x):
            return self.head(self.rnn(x)[0][:, -1])

    x = rows(6, 10).view(6, 5, 2)
    found = quadratic_expansion(Recurrent().double(), x, rows(6, 1)[:, 0], family="squared")
    assert np.all(np.isfinite(found.rows))
    assert np.all(found.jacobian > 0)


def test_refusals():
    x, y = rows(5, 2), torch.zeros(5)
    network = tanh_network(2, 1)
    with pytest.raises(ValueError, match=r"^`family` must name the family of the module's outputs, or 'squared' for "):
        quadratic_expansion(network, x, y)
    with pytest.raises(ValueError, match=r"^the expansions of mixup need an exponential family; 'student-t' is none, "):
        quadratic_expansion(network, x, y, family="student-t")
    with pytest.raises(
        ValueError, match=r"^the natural parameters of the family 'gaussian' must have the shape \(2,\) "
    ):
        mixup_risk(network, x, y, family="gaussian")
    with pytest.raises(ValueError, match=r"^squared loss compares outputs with targets of their size; got outputs of "):
        mixup_risk(network, x, torch.zeros(5, 2), family="squared")
    with pytest.raises(ValueError, match=r"^`y` must have as many rows as `X`, 5; got 4\.$"):
        adversarial_terms(network, x, y[:4], family="bernoulli")
    with pytest.raises(ValueError, match=r"^Poisson targets must be "):
        quadratic_expansion(network, x, y - 1, family="poisson")
    with pytest.raises(
        TypeError, match=r"^`model` must be a fitted DensityRegressor or DensityClassifier, or a module "
    ):
        quadratic_expansion("network", x, y, family="squared")
    with pytest.raises(ValueError, match=r"^`n_nodes` must be an integer of at least 1; got 0\.$"):
        mixup_risk(network, x, y, family="squared", n_nodes=0)
    model = fit("gaussian", n_members=2)
    with pytest.raises(ValueError, match=r"^`member` must be one of the 2 fitted members, from 0; got 2\.$"):
        mixup_risk(model, X, Y, member=2)
    with pytest.raises(
        ValueError, match=r"^`family` is that of the estimator, 'gaussian'; leave it out\. Got 'gamma'\.$"
    ):
        mixup_risk(model, X, Y, family="gamma")
    with pytest.raises(NotFittedError):
        mixup_risk(DensityRegressor(preset="plain"), X, Y)
    exposed = DensityRegressor(family="poisson", **SETTINGS, preset="plain").fit(
        X, np.exp(Y).round(), exposure=np.full(50, 2.0)
    )
    with pytest.raises(
        ValueError, match=r"^the estimator was fitted with exposures, of which the theory knows nothing"
    ):
        mixup_risk(exposed, X, np.exp(Y).round())
    counts = DensityRegressor(family="negative-binomial", **SETTINGS, preset="plain").fit(X, np.exp(Y).round())
    with pytest.raises(
        ValueError, match=r"^the expansions of mixup need an exponential family; 'negative-binomial' is "
    ):
        quadratic_expansion(counts, X, np.exp(Y).round())
    assert quadratic_expansion(lambda x: x[:, :1], x, y, family=families.Poisson()).risk > 0
