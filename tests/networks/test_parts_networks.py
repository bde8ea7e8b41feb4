"""Built-in networks: what they compute, mixing at every layer, and their losses."""

import dataclasses
from functools import partial

import numpy as np
import pytest
import torch
from parts_cases import LAYERS, SPECS, Squares, with_layers
from torch import nn
from training_cases import FEATURES, MEMBERS, make_data, task_of

from probmix import families, fuse_at
from probmix.mixup import Mixup, preset
from probmix.mixup.losses import batch_loss
from probmix.networks import MLP, DensityNetwork, SharedMLP
from probmix.networks.alone import LoneMember
from probmix.random import KeyedRandom, member_keys
from probmix.training import TrainingOptions
from probmix.training.batches import BatchSource
from probmix.training.bins import quantile_bins

rng = np.random.default_rng(0)
X = rng.normal(size=(70, 3))
Y = np.sin(X[:, 0]) + 0.1 * rng.normal(size=70)
FAST = {"max_epochs": 3, "random_state": 0, "batch_size": 16, "learning_rate": 0.02, "n_draws": 3}
PRESETS = ["erm", "probmix", "m-probmix", "manifold-mixup"]
OPTIONS = TrainingOptions(max_epochs=4, batch_size=16, patience=2)


def made(name, members=2, **options):
    """A network with weights everywhere, also in its last layer."""
    torch_draw = torch.Generator().manual_seed(3)
    network = DensityNetwork(families.get("gaussian"), 3, SPECS[name], None, members, **options)
    network.trunk.initialize_(KeyedRandom(member_keys(0, members)), torch.zeros(members, 1, 2))
    nn.init.normal_(network.trunk.output.weight, generator=torch_draw)
    if network.embedding is not None:
        network.embedding.initialize_(KeyedRandom(member_keys(1, members)))
    for parameter in network.trunk.parameters():
        # no scale is one, and no shift zero
        parameter.data += 0.1 * torch.randn(parameter.shape, generator=torch_draw)
    return network.eval()


@pytest.mark.parametrize("name", SPECS)
def test_a_member_alone_is_a_plain_network(name):
    network = made(name)
    x = torch.randn(7, 3, generator=torch.Generator().manual_seed(0))
    eta = network(x)
    k = SPECS[name].n_predictions
    assert eta.shape == (2 * k, 7, 2)
    for number in range(2 * k):
        lone = LoneMember(network, number)
        torch.testing.assert_close(lone(lone.standardize(x)), eta[number], rtol=2e-5, atol=2e-5)
        kinds = {type(module).__name__ for module in lone.modules() if next(module.parameters(False), None) is not None}
        assert kinds <= {"Linear", "LayerNorm"}
    # row by row
    torch.testing.assert_close(network(x[2:3]), eta[:, 2:3], rtol=2e-5, atol=2e-5)
    assert network(x[:0]).shape == (2 * k, 0, 2)
    assert network.draws(x, None).shape == (2, k, 7, 2)


def test_a_residual_network_by_hand():
    network = made("resnet")
    trunk, x = network.trunk, torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    m = 1

    def linear(layer, z):
        return z @ layer.weight[m] + layer.bias[m]

    def norm(layer, z):
        centred = z - z.mean(-1, keepdim=True)
        return centred / (z.var(-1, correction=0, keepdim=True) + 1e-5).sqrt() * layer.scale[m] + layer.shift[m]

    z = linear(trunk.first, network.standardize(x)[m])
    for block in trunk.blocks:
        first, inside, _, _, outside = block.branch
        assert inside.weight.shape == (2, 6, 9)
        z = z + linear(outside, linear(inside, norm(first, z)).clamp(min=0))
    z = linear(trunk.output, norm(trunk.last[0], z).clamp(min=0))
    torch.testing.assert_close(trunk(network.standardize(x))[m], z, rtol=2e-5, atol=2e-5)


def test_a_shared_perceptron_by_hand():
    network = made("shared")
    trunk, x = network.trunk, torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    raw = trunk(network.standardize(x))
    for m in range(2):
        for j in range(3):
            z = network.standardize(x)[m]
            for part in trunk.hidden:
                layer = part[0]
                z = (z * layer.input_scale[m, j]) @ layer.weight[m] * layer.output_scale[m, j] + layer.bias[m, j]
                z = z.clamp(min=0)
            z = z @ trunk.output.weight[m, j] + trunk.output.bias[m, j]
            torch.testing.assert_close(raw[3 * m + j], z, rtol=2e-5, atol=2e-5)


def test_a_shared_perceptron_starts_with_signs_and_ones():
    trunk = SharedMLP((60, 50), k=4).build(40, 0, 2, 3)
    trunk.initialize_(KeyedRandom(member_keys(0, 3)), torch.zeros(3, 1, 2))
    first, second = trunk.hidden[0][0], trunk.hidden[1][0]
    assert torch.equal(first.input_scale.abs(), torch.ones(3, 4, 1, 40))
    assert first.input_scale.mean().abs() < 0.2
    assert not torch.equal(first.input_scale[0, 0], first.input_scale[0, 1])
    for scale in (first.output_scale, second.input_scale, second.output_scale):
        assert torch.equal(scale, torch.ones_like(scale))
    assert second.weight.abs().max() <= 60**-0.5
    assert torch.equal(trunk.output.weight, torch.zeros(3, 4, 50, 2))


@pytest.mark.parametrize(("name", "place"), [(name, place) for name, places in LAYERS.items() for place in places])
@pytest.mark.parametrize("shifted", [False, True])
def test_rows_are_mixed_at_every_layer(name, place, shifted):
    """As in each member, and each of its predictions, alone."""
    network = made(name)
    k, n = network.n_predictions, 8
    draw = torch.Generator().manual_seed(1)
    x = torch.randn(2, n, 3, generator=draw)
    share = torch.rand(2, n, generator=draw)
    partners = 3 if shifted else torch.stack([torch.randperm(n, generator=draw) for _ in range(2)])
    weights = torch.stack([1 - share, share], -1)
    each = weights.repeat_interleave(k, 0)
    given = partners if shifted else partners.repeat_interleave(k, 0)
    mixed = network.fused(x, place, given, each, None)
    assert not any(module._forward_hooks for module in network.modules())
    for number in range(2 * k):
        lone, m = LoneMember(network, number), number // k
        own = 3 if shifted else partners[m]
        with fuse_at(lone, lone.places[place], own, weights[m]):
            expected = lone(network.standardize(x)[m])
        torch.testing.assert_close(mixed[number], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("name", "place"), [(name, place) for name, places in LAYERS.items() for place in places])
@pytest.mark.parametrize("kind", ["gaussian", "gaussian-constant", "gaussian-separate"])
def test_draws_at_every_layer_are_those_of_single_passes(name, place, kind):
    network = made(name, embedding=kind, place=place)
    x, k = torch.randn(5, 3, generator=torch.Generator().manual_seed(0)), network.n_predictions
    noise = network.draw_noise(member_keys(0, 2), 3)
    together = network.draws(x, noise)
    assert together.shape == (2, 3 * k, 5, 2)
    # one draw at a time, through hooks
    by_prediction = 1 if place.startswith("input_embedding") else k
    for s in range(3):
        one = noise[:, s : s + 1].repeat_interleave(by_prediction, 0)
        raw = network._evaluate(network.standardize(x), place, noise=one)
        expected = network._natural_params(raw).unflatten(0, (2, k))
        torch.testing.assert_close(together.unflatten(1, (k, 3))[:, :, s], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("name", "mixup"), with_layers(SPECS, ["erm", "m-probmix", "manifold-mixup"]))
def test_gradients_reach_all_parameters(name, mixup):
    task = task_of(make_data(), mixup)
    place = task.mixup.layers[0] if task.mixup.layers else "embedding"
    network = DensityNetwork(task.objective.family, FEATURES, SPECS[name], None, 4, task.mixup.embedding, place)
    network.initialize_(task.keys, task.data.input_units(), torch.tensor([0.0, -0.5]).expand(4, 1, 2))
    if network.n_bins:
        network.set_bins_(quantile_bins(network, task.data))
    nn.init.normal_(network.trunk.output.weight, generator=torch.Generator().manual_seed(0))
    network.train()
    random = KeyedRandom(task.keys)
    with network.drawing(0, 1):
        for batch in BatchSource(task, network, random).epoch(1, random):
            task.loss(network, batch).backward()
    for key, parameter in network.state.items():
        assert bool((parameter.grad.flatten(1) != 0).any(1).all()), key


def test_the_mean_of_the_losses_of_predictions_is_trained():
    """Never the loss of their mean, whatever is mixed, with weights of rows."""
    data = make_data(sample_weight=True)
    network, k = made("shared, embedding", members=4), 2
    for mixup in (preset("erm"), preset("probmix"), preset("regmixup"), preset("probmix", pool="linear"),
                  Mixup(at="hidden.0"), Mixup(at="input"), preset("local-probmix")):  # fmt: skip
        task = task_of(data, mixup)
        random = KeyedRandom(task.keys)
        batch = next(BatchSource(task, network, random).epoch(1, random))
        expected = torch.zeros(())
        for number in range(4 * k):
            m = number // k
            own = task.members(torch.tensor([m]))
            one = OnePrediction(network, number)
            first = partial(lambda m, value: value[m : m + 1], m)
            terms = [of_member(term, first) for term in batch.terms]
            inputs = dataclasses.replace(batch.inputs, x=batch.inputs.x[m : m + 1])
            expected = expected + batch_loss(one, own.objective, own.mixup, inputs, terms) / k
        torch.testing.assert_close(task.loss(network, batch), expected, rtol=1e-4, atol=1e-4)


def of_member(term, first):
    groups = term.groups
    if groups is not None:
        partners = first(groups.partners) if isinstance(groups.partners, torch.Tensor) else groups.partners
        groups = dataclasses.replace(groups, partners=partners, weights=first(groups.weights))
    label = (
        None
        if term.label is None
        else dataclasses.replace(
            term.label, **{name: first(value) for name, value in vars(term.label).items() if value is not None}
        )
    )
    weight = None if term.row_weight is None else first(term.row_weight)
    return dataclasses.replace(term, targets=first(term.targets), label=label, groups=groups, row_weight=weight)


class OnePrediction:
    """One prediction of a member, with a member axis of one, as the loss sees a network."""

    n_predictions = 1

    def __init__(self, network, number):
        self._lone, self._network, self._member = LoneMember(network, number), network, number // network.n_predictions

    def standardize(self, x):
        return self._lone.standardize(x[0]).unsqueeze(0)

    def on_standardized(self, z):
        return self._lone(z[0]).unsqueeze(0)

    def __call__(self, x):
        return self.on_standardized(self.standardize(x))

    def fused(self, x, place, partners, weights, noise):
        z = self._lone.standardize(x[0])
        layer = "input" if place == "input" else self._lone.places[place]
        partners = partners[0] if isinstance(partners, torch.Tensor) else partners
        with fuse_at(self._lone, layer, partners, weights[0]):
            return self._lone(z).unsqueeze(0)


@pytest.mark.parametrize("name", SPECS)
def test_what_decays(name):
    network = DensityNetwork(families.get("gaussian"), 3, SPECS[name], None, 2)
    assert {key.rsplit(".", 1)[1] for key in network.decaying} == {"weight"}
    spared = {key.rsplit(".", 1)[1] for key in network.state.keys() - network.decaying}
    assert spared <= {"bias", "scale", "shift", "input_scale", "output_scale"}


def test_bins_are_quantiles_of_the_training_rows():
    data = make_data(sample_weight=True)
    network = DensityNetwork(families.get("gaussian"), FEATURES, SPECS["mlp, bins"], None, MEMBERS)
    for name, value in vars(data.input_units()).items():
        getattr(network, name).copy_(value)
    found = quantile_bins(network, data)
    assert found.shape == (MEMBERS, 5, FEATURES)
    for m in range(MEMBERS):
        rows = data.unit_rows[m]
        z = network.standardize(data.rows.x[rows])[m].double()
        for column in range(FEATURES):
            expected = np.quantile(
                z[:, column], np.linspace(0, 1, 5), weights=data.rows.weight[rows], method="inverted_cdf"
            )
            np.testing.assert_allclose(found[m, :, column], expected, rtol=1e-6)


def test_a_row_of_weight_two_is_two_rows_to_bins():
    x = torch.arange(12.0, dtype=torch.float64).unsqueeze(1)
    once = dataclasses.replace(make_data(), rows=dataclasses.replace(make_data().rows, x=x, y=x[:, 0], weight=None))
    rows = torch.arange(12).unsqueeze(0)
    once = dataclasses.replace(
        once, train_rows=rows, validation_rows=rows[:, :0], unit_rows=torch.cat([rows, rows[:, 3:6]], 1)
    )
    weight = torch.ones(12, dtype=torch.float64)
    weight[3:6] = 2
    heavy = dataclasses.replace(once, unit_rows=rows, rows=dataclasses.replace(once.rows, weight=weight))
    network = DensityNetwork(families.get("gaussian"), 1, MLP((4,), embedding=Squares(n_bins=5)), None, 1)
    assert torch.equal(quantile_bins(network, once), quantile_bins(network, heavy))


def test_rows_at_once_bound_the_widest_layer():
    wide = DensityNetwork(families.get("gaussian"), 3, MLP((1 << 12,)), None, 2)
    assert wide.rows_at_once() == (1 << 23) // (1 << 12) // 2
    narrow = DensityNetwork(families.get("gaussian"), 3, MLP(), None, 2)
    assert narrow.rows_at_once() == (1 << 16) // 2
    shared = DensityNetwork(families.get("gaussian"), 3, SharedMLP(k=8), None, 2)
    assert shared.rows_at_once() == (1 << 13) // 2
