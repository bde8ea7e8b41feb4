"""A skeleton shares the tensors of a module and nothing else."""

from collections import OrderedDict
from functools import partial

import pytest
import torch
from own_zoo import cases
from torch import nn

from probmix.networks.skeleton import skeleton


@pytest.mark.parametrize("name", [name for name, case in cases().items() if isinstance(case.network, nn.Module)])
def test_it_computes_what_the_module_computes_with_the_same_tensors(name):
    case = cases()[name]
    network = case.network.eval()
    x = torch.randn(4, *case.shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = network(x)  # a lazy network has its tensors now
        copy = skeleton(network)
        assert torch.equal(copy(x), expected)
    for kind in ("named_parameters", "named_buffers"):
        one, other = (dict(getattr(module, kind)(remove_duplicate=False)) for module in (network, copy))
        assert list(one) == list(other)
        assert all(one[key] is other[key] for key in one)
    assert not set(map(id, network.modules())) & set(map(id, copy.modules()))
    assert [one.training for one in copy.modules()] == [one.training for one in network.modules()]


class Roundabout(nn.Module):
    """Refers to itself and to its layers in every way that there is."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(2, 2), nn.Linear(2, 2)
        self.same, self.hidden = self.first, [self.second, {"again": self.second}]
        self.method, self.partly = self.double, partial(self.scaled, by=3.0)
        self.plain, self.table = torch.ones(2), OrderedDict(number=[1, 2])
        self.first.register_forward_hook(self.seen)
        self.count = 0

    def seen(self, *_):
        self.count += 1

    def double(self, x):
        return 2 * self.first(x)

    def scaled(self, x, by):
        return by * self.second(x)

    def forward(self, x):
        return self.partly(self.method(x))


def test_whatever_a_module_refers_to_by_its_parts_refers_to_the_parts_of_the_copy():
    module = Roundabout()
    copy = skeleton(module)
    assert copy.same is copy.first
    assert copy.hidden[0] is copy.second is copy.hidden[1]["again"]
    x = torch.ones(1, 2)
    assert torch.equal(copy(x), module(x))
    with torch.no_grad():
        copy.first.weight = nn.Parameter(torch.zeros(2, 2))
        copy.plain += 1
    copy.table["number"].append(3)
    assert not torch.equal(copy(x), module(x))
    assert module.first.weight.abs().sum() > 0
    assert module.plain.tolist() == [1, 1]
    assert module.table == {"number": [1, 2]}
    assert (module.count, copy.count) == (2, 2)


def test_hooks_of_the_copy_are_its_own():
    module = nn.Sequential(nn.Linear(2, 2))
    skeleton(module)[0].register_forward_hook(lambda *_: torch.zeros(1))
    assert module(torch.ones(1, 2)).shape == (1, 2)


def test_what_copies_itself_is_asked_to():
    module = nn.utils.parametrizations.weight_norm(nn.Linear(2, 2))
    copy, x = skeleton(module), torch.ones(1, 2)
    assert torch.equal(copy(x), module(x))
    assert copy.parametrizations.weight.original0 is module.parametrizations.weight.original0
