"""Embeddings of numbers side by side."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.func import vmap

import probmix
from probmix import DensityRegressor
from probmix.networks import MLP, Concatenated, Periodic, PiecewiseLinear, ResNet, SharedMLP
from probmix.random import KeyedRandom, member_keys

PARTS = (Periodic(4, 2), PiecewiseLinear(8, 3), Periodic(2, 1, scale=0.5))
RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 3))
Y = X[:, 0] ** 2 + 0.1 * RNG.normal(size=60)


def built(spec, members=2, numbers=3):
    module = spec.build(members, numbers)
    module.initialize_(KeyedRandom(member_keys(0, members)))
    return module


def test_each_part_says_what_it_says_alone():
    module = built(Concatenated(PARTS))
    quantiles = torch.linspace(-2, 2, 9).view(1, 9, 1).expand(2, 9, 3)
    module.set_bins_(quantiles)
    z = torch.randn(2, 7, 3, generator=torch.Generator().manual_seed(0))
    alone = []
    for own, part in zip(PARTS, module.parts, strict=True):
        single = own.build(2, 3)
        single.load_state_dict(part.state_dict())
        alone.append(single(z))
    torch.testing.assert_close(module(z), torch.cat(alone, -1), rtol=0, atol=0)
    assert module(z).shape == (2, 7, module.out_features)
    torch.testing.assert_close(module.parts[1].bounds, quantiles, rtol=0, atol=0)


def test_parts_and_members_start_apart():
    module = built(Concatenated((Periodic(4, 2), Periodic(4, 2))))
    first, second = (list(part.parameters()) for part in module.parts)
    assert not any(torch.equal(one, other) for one, other in zip(first, second, strict=True))
    assert not torch.equal(first[0][0], first[0][1])
    # a member is what it is alone
    alone = Concatenated((Periodic(4, 2), Periodic(4, 2))).build(1, 3)
    alone.initialize_(KeyedRandom(member_keys(0, 2)[1:]))
    for name, tensor in alone.state_dict().items():
        torch.testing.assert_close(tensor[0], module.state_dict()[name][1], rtol=0, atol=0)


def test_bins_are_those_of_its_parts():
    assert Concatenated((Periodic(),)).n_bins == 0
    assert Concatenated([Periodic(), PiecewiseLinear(16)]).n_bins == 16
    with pytest.raises(ValueError, match=r"as many bins, since quantiles are taken once; got \[8, 16\]"):
        Concatenated((PiecewiseLinear(8), PiecewiseLinear(16)))


@pytest.mark.parametrize("parts", [(), Periodic, (Periodic,), ("plr",), None])
def test_what_is_no_embedding_is_refused(parts):
    with pytest.raises(TypeError, match="`parts` must be embeddings of numbers"):
        Concatenated(parts)


@pytest.mark.parametrize("network", [MLP((8,)), ResNet(8, 1), SharedMLP((8,), k=2)], ids=["mlp", "resnet", "shared"])
def test_networks_with_both_are_fitted_saved_and_loaded(network, tmp_path):
    network = replace(network, embedding=Concatenated(PARTS))
    model = DensityRegressor(
        "gaussian", network=network, preset="plain", n_members=2, max_epochs=3, random_state=0
    ).fit(X, Y)
    model.save(tmp_path / "model")
    again = probmix.load(tmp_path / "model")
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    assert again.network == network
    # bins are between quantiles of the training rows
    bounds = model.network_.trunk.input_embedding.numbers.parts[1].bounds
    assert (bounds.diff(dim=1) >= 0).all()
    assert bounds.std() > 0.5


def test_it_has_derivatives_and_can_be_mapped():
    module = built(Concatenated((Periodic(4, 2), PiecewiseLinear(8, 3))), members=1).double()
    module.set_bins_(torch.linspace(-2, 2, 9, dtype=torch.float64).view(1, 9, 1).expand(1, 9, 3))
    z = torch.tensor(X[:4]).unsqueeze(0).requires_grad_()
    assert torch.autograd.gradcheck(module, z)
    rows = torch.tensor(X[:5]).view(5, 1, 1, 3)
    with torch.no_grad():
        torch.testing.assert_close(vmap(module)(rows), torch.stack([module(row) for row in rows]))
