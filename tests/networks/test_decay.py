"""Which parameters decay: by module and by name, whatever the number of their axes."""

import pytest
import torch
from own_zoo import Attention, Recurrent, Tied, conv2d
from torch import nn

from probmix import families
from probmix.estimators.building import build_network
from probmix.mixup import as_mixup
from probmix.networks import MLP, Periodic, PiecewiseLinear
from probmix.networks.decay import decaying
from probmix.random import member_keys
from probmix.training import TrainingOptions
from probmix.training.run import _adamw


class MemberNorm(nn.Module):
    """A normalising layer with a member axis, and a position for every step."""

    def __init__(self):
        super().__init__()
        self.factor, self.shift = nn.Parameter(torch.ones(3, 1, 4)), nn.Parameter(torch.zeros(3, 1, 4))


class Patches(nn.Module):
    def __init__(self):
        super().__init__()
        self.positions, self.class_token = nn.Parameter(torch.zeros(4, 2)), nn.Parameter(torch.zeros(1, 1, 2))
        self.project, self.log_scale = nn.Parameter(torch.zeros(2, 2)), nn.Parameter(torch.zeros(2, 2))


ATTENTION = {"project.weight", "attention.in_proj_weight", "attention.out_proj.weight"}


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        (nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.LayerNorm((2, 4))), {"0.weight"}),
        (conv2d(), {"0.weight"}),
        (Attention(), ATTENTION),
        (Recurrent(), {"rnn.weight_ih_l0", "rnn.weight_hh_l0"}),
        (Tied(), {"one.weight"}),
        (nn.Sequential(MemberNorm(), nn.Embedding(3, 2), nn.GroupNorm(1, 2)), set()),
        (Patches(), {"project"}),
        (nn.Bilinear(2, 2, 2), {"weight"}),
        (Periodic(form="pbld").build(2, 3), {"weight"}),
        (PiecewiseLinear().build(2, 3), {"weight"}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_weights_of_maps_decay(network, expected):
    assert decaying(network) == expected


@pytest.mark.parametrize("mixup", ["erm", "m-probmix", "m-probmix-star"])
@pytest.mark.parametrize("own", [None, nn.Sequential(nn.Linear(3, 5), nn.LayerNorm((5,)), nn.Unflatten(1, (1, 5)),
                                                     nn.LayerNorm((1, 5)), nn.Flatten())])  # fmt: skip
def test_the_optimiser_shrinks_those_and_no_others(mixup, own):
    keys = member_keys(0, 2)
    network = build_network(own or MLP((6, 4)), families.get("gaussian"), (3,), None, keys, as_mixup(mixup))
    with torch.no_grad():
        for tensor in network.state.values():
            tensor.fill_(1.0)
    optimizer = _adamw(network, TrainingOptions(weight_decay=0.5, learning_rate=0.1))
    for tensor in network.state.values():
        tensor.grad = torch.zeros_like(tensor)
    optimizer.step()
    shrunk = {name for name, tensor in network.state.items() if not torch.equal(tensor, torch.ones_like(tensor))}
    norms = {"network/1/weight", "network/3/weight"}
    assert shrunk == network.decaying == {name for name in network.state if name.endswith("weight")} - norms
