"""Estimators with a network of the user's own: what it may be, and what is done to it."""

import copy
import warnings

import numpy as np
import pytest
import torch
from own_zoo import NoisyAlways, cases, conv1d, flat_mlp, frozen, lazy, rows
from torch import nn

from probmix import DensityClassifier, DensityRegressor, Mixup
from probmix.mixup import preset
from probmix.networks import StackedNetwork
from probmix.training import run, train

FAST = {"max_epochs": 2, "batch_size": 16, "random_state": 0}
METHODS = ["erm", "probmix", "manifold-mixup", "m-probmix"]


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def fitted(network, shape=(3,), **params):
    X, y = rows(shape)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "the members of the ensemble run one by one")
        return DensityRegressor(network=network, **FAST | params, preset="plain").fit(X, y)


@pytest.mark.parametrize("n_members", [1, 3])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", cases())
def test_every_network_fits_predicts_and_scores(name, method, n_members):
    case = cases()[name]
    X, y = rows(case.shape)
    model = fitted(case.network, case.shape, mixup=method, n_members=n_members)
    assert model.predict(X).shape == y.shape
    assert np.isfinite(model.score(X, y))
    assert model.network_.n_members == n_members
    assert model.validation_curve_.shape == (2, n_members)


@pytest.mark.parametrize("mixup", [
    "mixup", "local-probmix", "local-m-probmix", "m-probmix-star", preset("probmix", pool="linear"),
    preset("m-probmix", embedding="gaussian-constant", draws=3, criterion="log-expected"),
    preset("m-probmix", draws=0), Mixup(at=("input", "0", "2", "embedding", "output")),
], ids=str)  # fmt: skip
@pytest.mark.parametrize("n_members", [1, 3])
def test_every_way_to_mix(mixup, n_members):
    X, y = rows((2, 6))
    assert np.isfinite(fitted(conv1d(), (2, 6), mixup=mixup, n_members=n_members).score(X, y))


@pytest.mark.parametrize("name", ["builder", "conv2d", "lstm encoder", "transformer", "counting"])
def test_networks_learn(name):
    case = cases()[name]
    X, y = rows(case.shape, 600)
    settings = {"max_epochs": 20, "learning_rate": 0.01, "batch_size": 32, "random_state": 0}
    model = DensityRegressor(network=case.network, mixup="probmix", **settings, preset="plain").fit(X[:500], y[:500])
    # the noise alone has entropy 1.42; without features it is that of a standard deviation of 3.2
    marginal = -0.5 * np.log(2 * np.pi * y[:500].var()) - 0.5 * ((y[500:] - y[:500].mean()) ** 2).mean() / y[:500].var()
    assert model.score(X[500:], y[500:]) > marginal + 0.15


def test_networks_classify():
    X, y = rows((2, 6), 200)
    model = DensityClassifier(network=conv1d(), n_members=2, **FAST | {"max_epochs": 15}, preset="plain").fit(X, y > 0)
    assert (model.predict(X) == (y > 0)).mean() > 0.8
    assert np.isfinite(model.score(X, y > 0))


def test_several_targets():
    X, y = rows((2, 6))
    model = DensityRegressor(network=conv1d(), mixup="m-probmix", n_members=2, n_draws=4, **FAST, preset="plain")
    model.fit(X, np.stack([y, -y, y**2], 1))
    assert model.predict(X).shape == (len(X), 3)
    assert model.predict_natural_params(X).shape == (2, 4, len(X), 3, 2)


# -- what is done to the user's module ---------------------------------------------------------------------------------


def snapshot(module):
    tensors = {name: value.clone() for name, value in module.state_dict().items()}
    flags = [(one.training, len(one._forward_hooks), len(one._forward_pre_hooks)) for one in module.modules()]
    return tensors, flags, [parameter.requires_grad for parameter in module.parameters()]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("name", ["conv1d", "keeping", "frozen", "counting", "tied"])
def test_the_users_module_is_left_alone(name, shared, training):
    module, shape, *_ = cases()[name]
    module.double().train(training)
    calls = []
    module.register_forward_hook(lambda *_: calls.append(1))
    before = snapshot(module)
    model = fitted((lambda _: module) if shared else module, shape, mixup="m-probmix", n_members=2)
    model.predict(rows(shape)[0])
    after = snapshot(module)
    assert before[1:] == after[1:]
    for tensor_name, tensor in before[0].items():
        assert torch.equal(tensor, after[0][tensor_name])
        assert after[0][tensor_name].dtype == tensor.dtype
    assert getattr(module, "kept", None) is None


@pytest.mark.parametrize("name", ["dropout", "recurrent dropout", "builder", "lazy"])
@pytest.mark.parametrize("n_members", [1, 2])
def test_same_seed_same_result_and_no_trace_in_global_generators(name, n_members):
    case = cases()[name]
    X, _ = rows(case.shape)
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()
    predictions = []
    for seed in (0, 0, 1):
        settings = {"mixup": "m-probmix", "n_members": n_members, "random_state": seed, "validation_fraction": 0}
        model = fitted(case.network, case.shape, **settings)
        predictions.append(model.predict(X))
        torch.rand(3)  # whatever else the user does
    assert np.array_equal(*predictions[:2])
    assert not np.allclose(predictions[0], predictions[2])
    torch.set_rng_state(torch_state)
    fitted(case.network, case.shape, n_members=n_members)
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert np.array_equal(np.random.get_state()[1], numpy_state)


def test_a_network_that_draws_in_evaluation_mode_leaves_no_trace_either():
    X, _ = rows((3,))
    network, before = NoisyAlways(), torch.get_rng_state()
    one, other = (fitted(network, n_members=2, mixup=preset("m-probmix", at="linear")) for _ in range(2))
    assert np.array_equal(one.predict(X), other.predict(X))
    assert np.array_equal(one.predict(X), one.predict(X))
    assert torch.equal(torch.get_rng_state(), before)


def test_any_default_dtype():
    X, y = rows((3,))
    expected = DensityRegressor(network=cases()["residual"].network, **FAST, preset="plain").fit(X, y).predict(X)
    network = cases()["residual"].network
    torch.set_default_dtype(torch.float64)
    try:
        model = DensityRegressor(network=network, mixup="m-probmix", **FAST, preset="plain").fit(X, y)
        np.testing.assert_allclose(model.predict(X), expected, atol=3)
    finally:
        torch.set_default_dtype(torch.float32)
    assert model.network_.dtype == torch.float32


def stacked(network, n_members=3, seed=0, shape=(3,)):
    from probmix import families
    from probmix.random import member_keys

    return StackedNetwork(families.get("gaussian"), network, shape, None, member_keys(seed, n_members))


def test_a_callable_builds_every_member_and_a_module_is_the_start_of_all():
    own = stacked(flat_mlp).state
    assert all(not torch.equal(value[0], value[1]) for name, value in own.items())
    module = flat_mlp((3,))
    same = stacked(module).state
    for name, value in module.state_dict().items():
        stored = same["network/" + name.replace(".", "/")]
        assert torch.equal(stored, value.expand_as(stored))
    assert not torch.equal(same["head/linear/weight"][0], same["head/linear/weight"][1])


def test_a_member_does_not_depend_on_how_many_there_are():
    for network in (flat_mlp, lazy(), flat_mlp((3,))):
        many, few = stacked(network, 4).state, stacked(network, 2).state
        for name in many:
            assert torch.equal(many[name][:2], few[name])


def test_a_builder_that_sets_the_seed_itself_still_gets_heads_of_their_own():
    def build(shape):
        torch.manual_seed(5)
        return nn.Linear(3, 4)

    before = torch.get_rng_state()
    state = stacked(build).state
    assert torch.equal(state["network/weight"][0], state["network/weight"][1])
    assert not torch.equal(state["head/linear/weight"][0], state["head/linear/weight"][1])
    assert torch.equal(torch.get_rng_state(), before)


def test_lazy_layers_are_drawn_for_each_member():
    state = stacked(lazy()).state
    assert state["network/0/weight"].shape == (3, 6, 3)
    assert not torch.equal(state["network/0/weight"][0], state["network/0/weight"][1])

    def build(shape):  # buffers that are lazy cannot be copied
        return nn.Sequential(nn.LazyLinear(4), nn.LazyBatchNorm1d())

    assert fitted(build, n_members=2).network_.state["network/1/running_mean"].shape == (2, 4)


def test_frozen_parameters_stay_and_have_no_optimiser_state(monkeypatch):
    optimizers, make = [], run._adamw

    def remember(*arguments):
        optimizers.append(make(*arguments))
        return optimizers[-1]

    monkeypatch.setattr(run, "_adamw", remember)
    module = frozen()
    model = fitted(module, n_members=2, max_epochs=5)
    state = model.network_.state
    assert torch.equal(state["network/0/weight"], module[0].weight.expand(2, -1, -1))
    assert torch.equal(state["network/0/bias"], module[0].bias.expand(2, -1))
    assert not torch.equal(state["network/3/weight"], module[3].weight.expand(2, -1, -1))
    trained = [tensor for group in optimizers[0].param_groups for tensor in group["params"]]
    shapes = [tuple(tensor.shape) for tensor in state.values() if tensor.requires_grad]
    assert sorted(tuple(tensor.shape) for tensor in trained) == sorted(shapes)
    assert {id(tensor) for tensor in optimizers[0].state} == {id(tensor) for tensor in trained}
    assert not state["network/0/weight"].requires_grad


# -- buffers -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_members", [1, 3])
def test_batch_norm_follows_the_training_rows_of_each_member(n_members):
    """With full batches a running average of one number is that number, up to the share of where it started."""
    X, y = rows((3,))
    network = nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 4))
    captured = {}

    def remember(network, task):
        captured["data"] = task.data
        return train(network, task)

    from probmix.estimators import base

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(base, "train", remember)
        model = DensityRegressor(
            network=network,
            mixup="erm",
            n_members=n_members,
            max_epochs=7,
            batch_size=None,
            random_state=0,
            preset="plain",
        ).fit(X, y)
    data, state = captured["data"], model.network_.state
    for m in range(n_members):
        seen = model.network_.standardize(data.rows.x[data.train_rows[m]])[m].numpy()
        start = 0.9 ** model.best_epoch_[m]
        np.testing.assert_allclose(state["network/0/running_mean"][m], (1 - start) * seen.mean(0), atol=1e-5)
        expected = start + (1 - start) * seen.var(0, ddof=1)
        np.testing.assert_allclose(state["network/0/running_var"][m], expected, rtol=1e-4)


@pytest.mark.parametrize("name", ["conv1d", "counting"])
@pytest.mark.parametrize("n_members", [1, 3])
def test_buffers_are_part_of_the_best_weights(name, n_members):
    case = cases()[name]
    X, y = rows(case.shape, 200)
    settings = {"max_epochs": 25, "patience": 3, "learning_rate": 0.05, "batch_size": 20, "random_state": 0}
    model = DensityRegressor(network=case.network, mixup="erm", n_members=n_members, **settings, preset="plain").fit(
        X, y
    )
    assert (model.best_epoch_ < len(model.validation_curve_)).all()
    assert (model.best_epoch_ > 0).any()
    steps = model.network_.state["network/1/num_batches_tracked" if name == "conv1d" else "network/steps"]
    assert steps.tolist() == (8 * model.best_epoch_).tolist()
    assert steps.dtype == torch.int64


def test_a_buffer_that_is_assigned_anew_is_trained():
    """A running mean of one half, of the network's inputs in full batches: the mean of the training rows, nearly."""
    options = {
        "batch_size": None,
        "mixup": "erm",
        "max_epochs": 60,
        "patience": None,
        "random_state": 3,
        "learning_rate": 0.02,
    }
    model = fitted(cases()["counting"].network, n_members=3, **options)
    means, best = model.network_.state["network/mean"], torch.from_numpy(model.best_epoch_)
    assert (best > 0).all()
    assert (means.abs() > 1e-4).all()
    assert not torch.allclose(means[0], means[1])
    constant = model.network_.state["network/offset"]
    assert torch.equal(constant, torch.full((3, 3), 0.5))


# -- units -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("shape", "averaged"), [((6, 3), (0, 1)), ((3, 5, 4), (0, 2, 3)),
                                                 ((3, 2, 3, 2), (0, 2, 3, 4))])  # fmt: skip
def test_inputs_are_standardised_by_channel(shape, averaged):
    X, y = rows(shape)
    channel = [1] * len(shape)
    channel[-1 if len(shape) == 2 else 0] = 3
    X = X * np.array([1e-3, 1.0, 1e6]).reshape(channel) + np.array([0.0, 1e4, -1e7]).reshape(channel)
    X[(slice(None), *([slice(None), 1] if len(shape) == 2 else [1]))] = 0.1  # a constant channel
    model = DensityRegressor(network=flat_mlp, n_members=2, **FAST, preset="plain").fit(X, y)
    loc, scale = model.network_.loc, model.network_.scale
    assert loc.shape == scale.shape == (2, 1, *channel)
    mean, deviation = (one(X, axis=averaged).ravel() for one in (np.mean, np.std))
    deviation[1] = 1
    for m in range(2):
        np.testing.assert_allclose(loc[m].ravel(), mean, rtol=1e-12)
        np.testing.assert_allclose(scale[m].ravel(), deviation, rtol=1e-9)
    standardised = model.network_.standardize(torch.from_numpy(X)).double().numpy()[0]
    np.testing.assert_allclose(standardised.mean(averaged), 0, atol=1e-5)
    np.testing.assert_allclose(standardised.std(averaged), [1, 0, 1], atol=1e-5)


def test_any_units_of_the_channels_give_the_same_predictions():
    X, y = rows((6, 3))
    one = fitted(cases()["transformer"].network, (6, 3))
    other = copy.deepcopy(one).fit(X * [1e5, 1.0, 1e-5] + [1e3, 0.0, -7.0], y)
    np.testing.assert_allclose(other.predict(X * [1e5, 1.0, 1e-5] + [1e3, 0.0, -7.0]), one.predict(X), rtol=1e-3)
