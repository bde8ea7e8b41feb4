"""Built-in networks by their specifications: what they compute, and what goes wrong."""

import json
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from sklearn.base import clone
from torch import nn

import probmix
from probmix import DensityClassifier, DensityRegressor, families
from probmix.networks import MLP, DensityNetwork, MemberMLP
from probmix.networks.dropout import MemberDropout
from probmix.networks.mlp import MemberLinear
from probmix.random import KeyedRandom, member_keys

rng = np.random.default_rng(0)
X = rng.normal(size=(60, 3))
Y = np.sin(X[:, 0]) + 0.1 * rng.normal(size=60)
FAST = {"max_epochs": 3, "random_state": 0, "batch_size": 16, "learning_rate": 0.02}
TORCHS = {"relu": nn.ReLU, "silu": nn.SiLU, "mish": nn.Mish, "gelu": nn.GELU, "tanh": nn.Tanh}


def as_torchs(layer, member):
    linear = nn.Linear(layer.weight.shape[1], layer.weight.shape[2])
    linear.weight.data, linear.bias.data = layer.weight[member].T, layer.bias[member, 0]
    return linear


@pytest.mark.parametrize("activation", TORCHS)
def test_a_perceptron_is_that_of_torchs_layers(activation):
    trunk = MLP((5, 4), activation, dropout=0.3).build(3, 0, 2, 2)
    trunk.initialize_(KeyedRandom(member_keys(0, 2)), torch.zeros(2, 1, 2))
    nn.init.normal_(trunk.output.weight, generator=torch.Generator().manual_seed(0))
    x = torch.randn(2, 7, 3, generator=torch.Generator().manual_seed(1))
    out = trunk.eval()(x)
    for m in range(2):
        first, second = (as_torchs(part[0], m) for part in trunk.hidden)
        own = nn.Sequential(first, TORCHS[activation](), second, TORCHS[activation](), as_torchs(trunk.output, m))
        torch.testing.assert_close(out[m], own(x[m]))


def test_no_network_is_the_perceptron_of_these_sizes():
    spoken = DensityRegressor(network=MLP((8, 4)), n_members=2, **FAST, preset="plain").fit(X, Y)
    silent = DensityRegressor(hidden_layer_sizes=(8, 4), n_members=2, **FAST, preset="plain").fit(X, Y)
    assert torch.equal(spoken.predict_natural_params(X), silent.predict_natural_params(X))
    assert np.array_equal(spoken.validation_curve_, silent.validation_curve_)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_dropout_keeps_what_it_should_and_its_mean(share, dtype):
    dropout = MemberDropout(share, 3)
    dropout.keys.copy_(member_keys(0, 3))
    x = torch.ones(3, 200, 100, dtype=dtype)
    before = torch.get_rng_state()
    dropout.begin(-1, 1)
    first, second = dropout(x), dropout(x)
    dropout.begin(-1, 1)
    again = dropout(x)
    assert torch.equal(torch.get_rng_state(), before)
    assert first.dtype == dtype
    # a standard error of the share is 0.5 / sqrt(20,000) at most
    dropped = (first == 0).double().mean((1, 2))
    torch.testing.assert_close(dropped, torch.full_like(dropped, share), rtol=0, atol=0.015)
    torch.testing.assert_close(first.double().mean(), torch.ones((), dtype=torch.float64), rtol=0, atol=0.03)
    kept = first[first != 0].double()
    torch.testing.assert_close(kept, torch.full_like(kept, 1 / (1 - share)), rtol=2e-4, atol=0)
    assert torch.equal(first, again)
    for one, other in ((first, second), (first[0], first[1])):
        both = ((one == 0) & (other == 0)).double().mean().item()
        assert both == pytest.approx(share**2, abs=0.015)


def test_dropout_of_a_member_is_that_of_the_member_alone():
    keys = member_keys(0, 3)
    together, alone = MemberDropout(0.4, 3), MemberDropout(0.4, 1)
    together.keys.copy_(keys)
    alone.keys.copy_(keys[1:2])
    together.begin(-1, 5)
    alone.begin(-1, 5)
    for _ in range(2):
        x = torch.ones(3, 7, 5)
        assert torch.equal(together(x)[1:2], alone(x[1:2]))


def test_dropout_is_off_in_evaluation_and_asks_for_a_source_in_training():
    dropout = MemberDropout(0.5, 1)
    x = torch.ones(1, 4, 4)
    assert dropout.eval()(x) is x
    with pytest.raises(RuntimeError, match=r"^dropout draws while `network\.drawing\(seed, epoch\)` lasts; train"):
        dropout.train()(x)


def test_a_network_drops_alike_in_the_same_epoch_only():
    network = DensityNetwork(families.get("gaussian"), 3, MLP((16,), dropout=0.5), None, 2)
    network.trunk.initialize_(KeyedRandom(member_keys(0, 2)), torch.zeros(2, 1, 2))
    nn.init.ones_(network.trunk.output.weight)
    network.trunk.hidden[0][2].keys.copy_(member_keys(0, 2))
    x = torch.ones(4, 3)
    network.train()

    def of_epoch(epoch):
        with network.drawing(7, epoch):
            return network(x).detach()

    assert torch.equal(of_epoch(1), of_epoch(1))
    assert not torch.equal(of_epoch(1), of_epoch(2))
    network.eval()
    assert torch.equal(network(x), network(x))


ERRORS = {
    "sizes": (lambda: MLP(8), ValueError, r"^`sizes` must be a sequence of integers such as \(128, 64\); got 8\.$"),
    "size": (lambda: MLP((8, 0)), ValueError, r"^`sizes` must be an integer of at least 1; got 0\.$"),
    "activation": (lambda: MLP(activation="rely"), ValueError, r"^unknown activation 'rely'; did you mean 'relu'\?$"),
    "dropout": (lambda: MLP(dropout=1.0), ValueError, r"^`dropout` must be a number in \[0, 1\); got 1\.0\.$"),
    "embedding": (
        lambda: MLP(embedding="periodic"), TypeError,
        r"^`embedding` must be a specification of what numbers become, such as Periodic\(\), or None; got 'periodic'",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", ERRORS)
def test_a_wrong_specification_is_refused_when_it_is_made(case):
    make, kind, message = ERRORS[case]
    with pytest.raises(kind, match=message):
        make()


def test_sizes_beside_a_specification_are_refused():
    with pytest.raises(
        ValueError,
        match=r"^`hidden_layer_sizes` are those of the network that is built without `network`; got \(8,\) beside "
        r"network=MLP\(sizes=\(4,\), activation='relu', dropout=0\.0, embedding=None\)\. Say the sizes there",
    ):
        DensityRegressor(network=MLP((4,)), hidden_layer_sizes=(8,), **FAST, preset="plain").fit(X, Y)


def test_a_class_in_place_of_a_specification_is_refused():
    with pytest.raises(TypeError, match=r"^`network` is the class MLP; pass a specification, MLP\(\)\.$"):
        DensityRegressor(network=MLP, **FAST, preset="plain").fit(X, Y)


def test_a_specification_is_a_parameter_like_others(tmp_path):
    model = DensityClassifier(network=MLP([8], "tanh", 0.2), n_members=2, **FAST, preset="plain")
    assert model.network == MLP((8,), "tanh", 0.2)
    copied = clone(model)
    assert copied.get_params()["network"] == model.network
    copied.set_params(network=None)
    model.fit(X, Y > 0).save(tmp_path / "model")
    loaded = probmix.load(tmp_path / "model")
    assert loaded.network == model.network
    assert np.array_equal(loaded.predict_proba(X), model.predict_proba(X))
    assert np.array_equal(loaded.fit(X, Y > 0).predict_proba(X), model.predict_proba(X))


def test_an_unknown_specification_in_a_file_is_named(tmp_path, monkeypatch):
    DensityRegressor(network=MLP((4,)), **FAST, preset="plain").fit(X, Y).save(tmp_path / "model")
    monkeypatch.delitem(probmix.networks.specs._SPECS, "MLP")
    with pytest.raises(ValueError, match=r"^unknown specification of a network 'MLP'"):
        probmix.load(tmp_path / "model")


@pytest.mark.parametrize("mixup", ["probmix", "m-probmix"])
def test_files_from_before_specifications_load(tmp_path, mixup):
    model = DensityRegressor(mixup=mixup, hidden_layer_sizes=(6, 4), **FAST, preset="plain").fit(X, Y)
    model.save(tmp_path / "new")
    with safe_open(tmp_path / "new", framework="pt") as file:
        metadata, names = dict(file.metadata()), list(file.keys())
        tensors = {name.replace("network.trunk.", "network.mlp."): file.get_tensor(name) for name in names}
    header = json.loads(metadata["estimator"])
    assert header.pop("network")["spec"] == "MLP"
    assert "network" not in header["params"]
    header["hidden_layer_sizes"] = [6, 4]
    save_file(tensors, tmp_path / "old", metadata | {"estimator": json.dumps(header)})
    loaded = probmix.load(tmp_path / "old")
    assert loaded.network is None
    assert np.array_equal(loaded.predict(X), model.predict(X))


@dataclass(frozen=True)
class Squares:
    """A tiny input embedding: every number and its square, times a weight."""

    n_bins: int = 0

    def build(self, n_members, n_numbers):
        return MemberSquares(n_members, n_numbers)


class MemberSquares(nn.Module):
    def __init__(self, n_members, n_numbers):
        super().__init__()
        self.out_features = 2 * n_numbers
        self.map = MemberLinear(n_members, n_numbers, n_numbers)

    def forward(self, z):
        return torch.cat([z, self.map(z.square())], -1)

    def initialize_(self, random):
        self.map.initialize_(random)


def test_numbers_are_embedded_and_the_others_pass_by():
    trunk = MLP((5,), embedding=Squares()).build(2, 3, 1, 2)
    assert isinstance(trunk, MemberMLP)
    trunk.initialize_(KeyedRandom(member_keys(0, 2)), torch.zeros(2, 1, 1))
    z = torch.randn(2, 6, 5, generator=torch.Generator().manual_seed(0))
    seen = trunk.input_embedding(z)
    numbers = trunk.input_embedding.numbers
    torch.testing.assert_close(seen[..., :4], numbers(z[..., :2]))
    assert torch.equal(seen[..., 4:], z[..., 2:])
    assert bool((numbers.map.weight != 0).all())
    assert trunk.hidden[0][0].weight.shape == (2, 7, 5)


def test_without_numbers_there_is_nothing_to_embed():
    trunk = MLP((5,), embedding=Squares()).build(0, 3, 1, 2)
    assert "input_embedding" not in dict(trunk.named_modules())
