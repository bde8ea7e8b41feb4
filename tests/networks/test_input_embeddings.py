"""Periodic embeddings of numbers, against torch's own layers."""

import math
import re

import numpy as np
import pytest
import torch

from probmix import DensityRegressor, load
from probmix.networks import MLP, Periodic
from probmix.networks.input_embeddings import _embedded
from probmix.random import KeyedRandom, member_keys


def drawn(spec, members=3, numbers=2, seed=0):
    module = spec.build(members, numbers)
    module.initialize_(KeyedRandom(member_keys(seed, members)).stream(0))
    return module


@pytest.mark.parametrize("form", ["plr", "pbld"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_each_member_and_column_is_torchs(form, dtype):
    module = drawn(Periodic(5, 3, 0.5, form)).to(dtype)
    z = torch.randn(3, 7, 2, generator=torch.Generator().manual_seed(0)).to(dtype)
    found = module(z)
    assert found.shape == (3, 7, module.out_features) == (3, 7, 2 + 2 * 3)
    assert torch.equal(found[..., :2], z)
    for member in range(3):
        for column in range(2):
            angle = 2 * math.pi * z[member, :, column : column + 1] * module.frequencies[member, column]
            if form == "plr":
                waves = torch.cat([angle.cos(), angle.sin()], -1)
            else:
                waves = torch.cos(angle + module.phases[member, column])
            weight, bias = module.weight[member, column], module.bias[member, column, :, 0]
            want = torch.nn.functional.linear(waves, weight, bias)
            want = want.relu() if form == "plr" else want
            own = found[member, :, 2 + 3 * column : 5 + 3 * column]
            assert torch.allclose(own, want, atol=2e-6 if dtype == torch.float32 else 1e-12)
    # where nobody asks for a gradient it takes another way, in evaluation and in training
    given = z.clone()
    with torch.no_grad():
        for mode in (module.eval(), module.train()):
            torch.testing.assert_close(mode(z), found.detach(), rtol=0, atol=2e-6 if dtype == torch.float32 else 1e-12)
        # which torch's transforms of functions cannot follow
        torch.testing.assert_close(torch.vmap(module)(torch.stack([z, z]))[1], found.detach())
    assert torch.equal(z, given)


def test_the_start():
    module = drawn(Periodic(200, 4, 0.1, "pbld"), members=2, numbers=30)
    assert module.frequencies.std().item() == pytest.approx(0.1, rel=0.03)
    assert abs(module.frequencies.mean().item()) < 0.005
    assert module.phases.abs().max().item() <= math.pi
    assert module.phases.std().item() == pytest.approx(2 * math.pi / math.sqrt(12), rel=0.03)
    bound = 1 / math.sqrt(200)
    assert module.weight.abs().max().item() <= bound
    assert module.weight.std().item() == pytest.approx(2 * bound / math.sqrt(12), rel=0.03)


def test_a_member_is_what_it_would_be_alone():
    spec, keys = Periodic(), member_keys(0, 3)
    alone = spec.build(1, 2)
    alone.initialize_(KeyedRandom(keys[1:2]).stream(0))
    joint = drawn(spec)
    for name, parameter in alone.named_parameters():
        assert torch.equal(parameter[0], joint.get_parameter(name)[1])


@pytest.mark.parametrize("form", ["plr", "pbld"])
def test_gradients(form):
    module = drawn(Periodic(3, 2, 0.5, form), members=1, numbers=2).double()
    z = torch.randn(1, 4, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()
    assert torch.autograd.gradcheck(module, z)
    module(z).sum().backward()
    assert all(bool((parameter.grad != 0).any()) for parameter in module.parameters())


X = np.random.default_rng(0).uniform(-1, 1, (300, 2))
Y = np.sin(12 * X[:, 0]) + 0.1 * np.random.default_rng(1).normal(size=300)


def test_what_varies_quickly_is_learned(tmp_path):
    settings = {"max_epochs": 60, "batch_size": 32, "n_members": 2, "random_state": 0, "mixup": "erm"}
    plain, waves = (
        DensityRegressor(network=MLP((32,), embedding=embedding), **settings, preset="plain").fit(X, Y)
        for embedding in (None, Periodic(8, 4, 0.3))
    )
    assert waves.score(X, Y) > plain.score(X, Y) + 0.3
    waves.save(tmp_path / "model.safetensors")
    loaded = load(tmp_path / "model.safetensors")
    assert loaded.network == MLP((32,), embedding=Periodic(8, 4, 0.3))
    assert np.array_equal(loaded.log_prob(X, Y), waves.log_prob(X, Y))


@pytest.mark.parametrize("mixup", ["mixup", "manifold-mixup", "m-probmix", "local-probmix"])
def test_mixups(mixup):
    network = MLP((8, 8), embedding=Periodic(4, 2))
    model = DensityRegressor(network=network, mixup=mixup, max_epochs=2, random_state=0, n_draws=2, preset="plain").fit(
        X, Y
    )
    assert np.isfinite(model.score(X, Y))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Periodic(0), "`n_frequencies` must be an integer of at least 1; got 0"),
        (lambda: Periodic(width=0), "`width` must be an integer of at least 1; got 0"),
        (lambda: Periodic(scale=0), "`scale` must be a number in (0, inf); got 0"),
        (lambda: Periodic(form="pblr"), "unknown form 'pblr'; did you mean"),
    ],
)
def test_errors(make, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        make()


@pytest.mark.parametrize("twice", [False, True])
@pytest.mark.parametrize("of_rows", [False, True])
def test_gradients_in_training_are_those_of_autograd(twice, of_rows):
    """Of the parameters, and of rows if these need some, also differentiated once more."""
    module = drawn(Periodic(5, 3, 0.5)).double().train()
    draw = torch.Generator().manual_seed(2)
    z = torch.randn(3, 7, 2, dtype=torch.float64, generator=draw).requires_grad_(of_rows)
    weights = torch.randn(3, 7, module.out_features, dtype=torch.float64, generator=draw).requires_grad_()
    found, inputs = [], [*module.parameters(), *([z] if of_rows else [])]
    for own in (module(z), _embedded(z, module.frequencies, module.bias, module.weight)):
        loss = (weights * own.square()).sum()
        gradients = torch.autograd.grad(loss, inputs, create_graph=twice, retain_graph=True)
        if not twice:
            again = torch.autograd.grad(loss, inputs)
            assert all(map(torch.equal, gradients, again))
        if twice:
            total = torch.stack([one.square().sum() for one in gradients]).sum()
            gradients = torch.autograd.grad(total, [weights, *inputs])
        found.append(gradients)
    assert module.training
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)
        assert bool((one != 0).any())


def test_gradients_may_be_asked_for_again_and_half_precision_comes_near_them():
    module = drawn(Periodic(5, 3, 0.5)).train()
    z = torch.randn(3, 7, 2, generator=torch.Generator().manual_seed(2))
    parameters = list(module.parameters())
    loss = module(z).square().sum()
    first = torch.autograd.grad(loss, parameters, retain_graph=True)
    for one, other in zip(first, torch.autograd.grad(loss, parameters), strict=True):
        assert torch.equal(one, other)
    with torch.autocast("cpu", torch.bfloat16):
        loss = module(z).float().square().sum()
    for one, other in zip(first, torch.autograd.grad(loss, parameters), strict=True):
        assert (one - other).abs().max() < 0.02 * one.abs().max()
