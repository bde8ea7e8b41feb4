"""Predictions with a network of the user's own, and what becomes of them when the estimator is copied or stored."""

import numpy as np
import pytest
import torch
from own_zoo import cases, conv1d, fitted, flat_mlp, rows
from scipy.special import logsumexp
from scipy.stats import norm

from probmix.mixup import preset
from probmix.random import KeyedRandom, member_keys

pytestmark = pytest.mark.filterwarnings("ignore:the members of the ensemble run one by one")


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.mark.parametrize("mixup", ["erm", "m-probmix", "m-probmix-star"])
@pytest.mark.parametrize("name", [name for name in cases() if name not in ("builder", "residual", "gru", "branching")])
def test_a_prediction_depends_on_its_own_row_only(name, mixup):
    case = cases()[name]
    X, _ = rows(case.shape)
    model = fitted(case.network, case.shape, mixup=mixup, n_members=2)
    everything, some = model.predict(X), [30, 3, 3, 11]
    np.testing.assert_allclose(model.predict(X[some]), everything[some], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(model.predict(X[7:8]), everything[7:8], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("limit", ["_ROWS_AT_ONCE", "_NUMBERS_AT_ONCE"])
@pytest.mark.parametrize("mixup", ["erm", "m-probmix", preset("m-probmix", at="0")])
def test_many_rows_go_through_in_pieces(monkeypatch, mixup, limit):
    X, y = rows((2, 6))
    model = fitted(conv1d(), (2, 6), mixup=mixup, n_members=2)
    whole = model.predict_natural_params(X)
    monkeypatch.setattr(f"probmix.networks.members.{limit}", 100)
    largest, standardize = [], model.network_.standardize
    monkeypatch.setattr(model.network_, "standardize", lambda x: largest.append(len(x)) or standardize(x))
    torch.testing.assert_close(model.predict_natural_params(X), whole, rtol=1e-4, atol=1e-5)
    draws = 5 if model.mixup_.draws and mixup != "erm" else 1
    expected = 100 // (2 * draws) if limit == "_ROWS_AT_ONCE" else max(1, 100 // 12 // (2 * draws))
    assert max(largest) == min(len(y), expected)


# -- mixtures over draws -----------------------------------------------------------------------------------------------


def weights_of(model, m, prefix):
    return {
        name.removeprefix(prefix).replace("/", "."): tensor[m].detach().double().numpy()
        for name, tensor in model.network_.state.items()
        if name.startswith(prefix)
    }


@pytest.mark.parametrize("n_members", [1, 2])
@pytest.mark.parametrize("embedding", ["gaussian", "gaussian-separate", "gaussian-constant"])
@pytest.mark.parametrize("place", ["embedding", "last", "encoder.0"])
def test_the_mixture_is_over_draws_from_the_density_of_the_row_alone(place, embedding, n_members):
    """Everything written out in NumPy, with the fitted weights."""
    X, y = rows((3,))
    model = fitted(n_members=n_members, mixup=preset("m-probmix", at=place, embedding=embedding), max_epochs=10)
    width = 8 if place == "encoder.0" else 4
    noise = KeyedRandom(member_keys(0, n_members)).stream(-3).normal((5, width)).double().numpy()
    components = []
    for m in range(n_members):
        own, head, variance = (weights_of(model, m, prefix) for prefix in ("network/", "head/linear/", "embedding/"))
        x = (X - model.network_.loc[m].numpy()) / model.network_.scale[m].numpy()
        x = x / np.sqrt(1 + (x / 3) ** 2)
        hidden = x @ own["encoder.0.weight"].T + own["encoder.0.bias"]
        mean = hidden if width == 8 else np.maximum(hidden, 0) @ own["last.weight"].T + own["last.bias"]
        if embedding == "gaussian-constant":
            raw_precision = variance["bias"] + 0 * mean
        else:
            seen = mean
            if embedding == "gaussian-separate":
                seen = np.maximum(x @ variance["hidden.0.weight"].T + variance["hidden.0.bias"], 0)
            raw_precision = seen @ variance["output.weight"].T + variance["output.bias"]
        for draw in noise[m]:
            z = mean + draw / np.sqrt(np.logaddexp(0.0, raw_precision))
            features = z if width == 4 else np.maximum(z, 0) @ own["last.weight"].T + own["last.bias"]
            raw = torch.from_numpy(features @ head["weight"].T + head["bias"])
            eta = model.family_.constrain(raw).numpy()
            scale, shift = model.scaler_.scale[m].numpy(), model.scaler_.loc[m].numpy()
            centre, deviation = -0.5 * eta[:, 0] / eta[:, 1], np.sqrt(-0.5 / eta[:, 1])
            components.append(norm.logpdf(y, shift + scale * centre, scale * deviation))
    expected = logsumexp(components, axis=0) - np.log(len(components))
    np.testing.assert_allclose(model.log_prob(X, y), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("network", [flat_mlp, None])
def test_n_draws_may_be_changed_after_the_fit_and_more_draws_converge(network):
    X, _ = rows((3,))
    model = fitted(network, mixup="m-probmix", n_members=2, max_epochs=10, hidden_layer_sizes=(8, 4))
    few = model.predict_natural_params(X)
    many = model.set_params(n_draws=9).predict_natural_params(X)
    assert few.shape == (2, 5, len(X), 2)
    torch.testing.assert_close(many[:, :5], few, rtol=1e-5, atol=1e-6)
    assert model.set_params(n_draws=1).predict_natural_params(X).shape == (2, 1, len(X), 2)
    components = model.set_params(n_draws=20_000).family_.distribution(model.predict_natural_params(X[:8])).mean
    reference, spread = components.mean((0, 1)).numpy(), components.std(1).square().sum(0).sqrt().numpy() / 2
    assert (spread > 0).all()
    for n in (16, 256, 4096):
        prediction = model.set_params(n_draws=n).predict(X[:8])
        assert (np.abs(prediction - reference) < 4 * spread / np.sqrt(n)).all()


def test_members_draw_by_themselves_and_the_seed_decides():
    X, _ = rows((3,))
    model = fitted(mixup="m-probmix", n_members=2)
    noise = model.network_.draw_noise(member_keys(0, 2), 5)
    assert not torch.equal(noise[0], noise[1])
    assert np.array_equal(model.predict(X), model.predict(X))
    assert np.array_equal(fitted(mixup="m-probmix", n_members=2).predict(X), model.predict(X))
    assert not np.array_equal(fitted(mixup="m-probmix", n_members=2, random_state=1).predict(X), model.predict(X))


def test_without_draws_the_mean_goes_on():
    X, _ = rows((3,))
    model = fitted(mixup=preset("m-probmix", draws=0))
    assert model.predict_natural_params(X).shape == (len(X), 2)
    assert model.set_params(n_draws=50).predict_dist(X).batch_shape == (len(X),)
