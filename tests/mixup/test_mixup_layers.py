"""Rows that are mixed at a layer of a network of one's own."""

import pytest
import torch
from mixup_cases import GAUSSIAN, FixedWeights, generator
from torch import nn

from probmix import GaussianEmbedding, NaturalHead
from probmix.mixup import Mixup, consistency_loss, mixup_loss, preset


class TwoHidden(nn.Module):
    """A user's own network with a residual block."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(2, 8), nn.Tanh())
        self.block = nn.Linear(8, 8)
        self.head = NaturalHead("gaussian", 8)
        self.passes = 0

    def forward(self, x):
        self.passes += 1
        hidden = self.encoder(x)
        return self.head(hidden + self.block(hidden).tanh())


def own_network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return TwoHidden()


def test_manifold_mixup_of_a_network_of_ones_own():
    model, x, y = own_network(), torch.randn(10, 2, generator=generator()), torch.randn(10, generator=generator(1))
    mixup = preset("manifold-mixup", at="encoder", weights=FixedWeights(0.3))
    partners = torch.arange(9, -1, -1)
    loss = mixup_loss(model, "gaussian", x, y, mixup, partners=partners)
    assert model.passes == 1
    hidden = model.encoder(x)
    hidden = 0.3 * hidden + 0.7 * hidden[partners]
    eta = model.head(hidden + model.block(hidden).tanh())
    expected = GAUSSIAN.expected_nll(eta, GAUSSIAN.point_label(0.3 * y + 0.7 * y[partners])).mean()
    torch.testing.assert_close(loss, expected)


@pytest.mark.parametrize(("layer", "place"), [("encoder.0", "input"), ("head", "output")])
def test_mixing_at_a_linear_layer_or_at_the_last_one_is_mixing_before_it(layer, place):
    """Means commute with a linear layer, and the last layer's output is the module's."""
    model, x, y = own_network(), torch.randn(10, 2, generator=generator()), torch.randn(10, generator=generator(1))
    losses = [
        mixup_loss(model, "gaussian", x, y, Mixup(at=at, label_pool="average"), generator=generator())
        for at in (layer, place)
    ]
    torch.testing.assert_close(*losses)
    gradients = [torch.autograd.grad(loss, list(model.parameters())) for loss in losses]
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_one_of_several_places_is_drawn_for_every_batch():
    model, x, y = own_network(), torch.randn(10, 2, generator=generator()), torch.randn(10, generator=generator(1))
    partners = torch.arange(9, -1, -1)
    fixed = {
        place: mixup_loss(model, "gaussian", x, y, Mixup(at=place, weights=FixedWeights(0.3)), partners=partners).item()
        for place in ("input", "encoder", "block", "output")
    }
    assert len(set(fixed.values())) == 4
    several, draw = Mixup(at=tuple(fixed), weights=FixedWeights(0.3)), generator()
    drawn = {mixup_loss(model, "gaussian", x, y, several, partners=partners, generator=draw).item() for _ in range(40)}
    assert drawn == set(fixed.values())


def test_layers_belong_to_modules_that_have_them():
    x, y = torch.randn(4, 2), torch.randn(4)
    with pytest.raises(ValueError, match=r"^unknown layer 'encodr'; did you mean 'encoder' or 'encoder\."):
        mixup_loss(own_network(), "gaussian", x, y, preset("manifold-mixup", at="encodr"))
    with pytest.raises(
        TypeError, match=r"^`module` must be an nn\.Module for rows to be mixed at its layer 'encoder'; "
    ):
        mixup_loss(lambda inputs: inputs, "gaussian", x, y, preset("manifold-mixup", at="encoder"))


KINDS = ["gaussian", "gaussian-separate", "gaussian-constant"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("asked", KINDS)
def test_a_variance_network_must_be_of_the_kind_of_the_mixup(kind, asked):
    """The star form of M-ProbMix has one of its own, and under its name the other form must not be trained."""
    x, y = torch.randn(6, 2, generator=generator()), torch.randn(6, generator=generator(1))
    embedding, mixing = GaussianEmbedding(8, kind, 2), preset("m-probmix", at="encoder", embedding=asked)
    losses = [
        lambda: mixup_loss(own_network(), "gaussian", x, y, mixing, embedding=embedding),
        lambda: consistency_loss(own_network(), own_network(), "gaussian", x, mixing, embedding=embedding),
        # of a callable nobody knows
        lambda: mixup_loss(own_network(), "gaussian", x, y, mixing, embedding=lambda *given: embedding(*given)),
    ]
    message = rf"^the variance network must be of the kind of the mixup, '{asked}'; got one of the kind '{kind}'\. Pass"
    for loss in losses[: 2 if kind != asked else 0]:
        with pytest.raises(ValueError, match=message):
            loss()
    for loss in losses[2 if kind != asked else 0 :]:
        assert loss().isfinite()
