"""A checkpoint knows its own run, and no other: what a run is, is described by all that decides what it computes."""

import dataclasses
import itertools
import os
import subprocess
import sys
import threading
from functools import partial, wraps
from pathlib import Path

import numpy as np
import pytest
import torch
from own_zoo import Recurrent, cases, flat_mlp, rows
from torch import nn
from torch.nn.functional import elu, relu

from probmix import DensityRegressor
from probmix.mixup import Mixup, preset
from probmix.training import checkpoint
from probmix.training.description import UndescribableError, description

X, Y = rows((3,))
SETTINGS = {"max_epochs": 2, "batch_size": 16, "random_state": 0}


def same(one, other):
    return description(it=one) == description(it=other)


class Law:
    """A weight law that is a plain class."""

    def __init__(self, first):
        self.first = first

    def sample(self, shape, uniform, order=2):
        return torch.tensor([self.first, 1 - self.first]).expand(*shape, 2)


class Scaling(nn.Module):
    def __init__(self, factor=2.0, function=torch.tanh):
        super().__init__()
        self.linear, self.factor, self.function = nn.Linear(3, 4), factor, function

    def forward(self, x):
        return self.function(self.linear(x)) * self.factor


def scaling(factor):
    """A class with a constant in its forward method, under one name."""
    name = {}
    source = f"""
class Constant(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 4)

    def forward(self, x):
        return self.linear(x) * {factor}
"""
    exec(source, {"nn": nn, "__name__": "mine"}, name)
    return name["Constant"]


def with_hook(function):
    network = nn.Sequential(nn.Linear(3, 4))
    network.register_forward_hook(function)
    return network


def module(build, *arguments):
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return build(*arguments)


def times(factor):
    return lambda x: factor * x


def decorated(factor):
    def decorate(function):
        @wraps(function)
        def wrapper(x):
            return function(x) * factor

        return wrapper

    return decorate(lambda x: x)


def using_global(value):
    """A function whose constant is a global one."""
    names = {"FACTOR": value, "__name__": "mine"}
    exec("def scale(x):\n    return [FACTOR * one for one in x]", names)
    return names["scale"]


@dataclasses.dataclass(frozen=True)
class Frozen:
    first: float
    second: tuple = (1, 2)


class Slotted:
    __slots__ = ("first",)

    def __init__(self, first):
        self.first = first


PAIRS = {
    "law": (Law, 0.5, 0.25),
    "dataclass": (Frozen, 0.5, 0.25),
    "slots": (Slotted, 0.5, 0.25),
    "closure": (times, 2, 3),
    "tensor in a closure": (lambda value: times(torch.tensor(value)), 2.0, 3.0),
    "decorated": (decorated, 2, 3),
    "partial": (lambda value: partial(max, value), 2, 3),
    "keyword of a partial": (lambda value: partial(max, key=times(value)), 2, 3),
    "method": (lambda value: Law(value).sample, 0.5, 0.25),
    "method of a list": (lambda value: [value].count, 1, 2),
    "default": (lambda value: lambda x, y=value: x + y, 1, 2),
    "keyword default": (lambda value: lambda x, *, y=value: x + y, 1, 2),
    "global": (using_global, 2, 3),
    "attribute": (lambda value: module(Scaling, value), 2.0, 3.0),
    "function": (lambda value: module(Scaling, 2.0, value), torch.tanh, torch.sigmoid),
    "function of torch": (lambda value: module(Scaling, 2.0, value), relu, elu),
    "lambda": (lambda value: module(Scaling, 2.0, times(value)), 2, 3),
    "constant in forward": (lambda value: module(scaling(value)), 2, 3),
    "hook": (lambda value: module(with_hook, lambda *arguments: arguments[2] * value), 2, 3),
    "dropout": (lambda value: module(lambda: nn.Sequential(nn.Linear(3, 4), nn.Dropout(value))), 0.1, 0.2),
    "type": (lambda value: value, 1, 1.0),
    "array": (np.array, [1.0, 2.0], [1.0, 3.0]),
    "dtype": (lambda value: torch.zeros(2, dtype=value), torch.float32, torch.int32),
    "half": (lambda value: torch.tensor(value, dtype=torch.bfloat16), 1.0, 2.0),
    "nesting": (lambda value: value, [[1], 2], [1, [2]]),
    "words": (lambda value: value, ["ab", "c"], ["a", "bc"]),
    "set": (lambda value: value, {1, 2}, {1, 3}),
    "preset": (preset, "mixup", "probmix"),
    "class": (lambda value: scaling(value), 2, 3),
}


@pytest.mark.parametrize("name", PAIRS)
def test_what_is_meant_alike_is_described_alike_and_nothing_else(name):
    build, one, other = PAIRS[name]
    assert same(build(one), build(one))
    assert not same(build(one), build(other))


@pytest.mark.parametrize("name", cases())
def test_every_network_has_a_description(name):
    first, second = (cases()[name].network for _ in range(2))
    assert same(first, second)


def test_a_cycle_has_an_end():
    law = Law(1.0)
    law.itself, law.others = law, [law]
    other = Law(1.0)
    other.itself, other.others = other, [other]
    assert same(law, other)


def everything():
    """One description of all of them, and of a network of torch's."""
    values = {name: build(value) for name, (build, value, _) in PAIRS.items()}
    return description(**values, recurrent=module(Recurrent))


def test_another_process_says_the_same():
    # by the name that classes of this module have here, for it is part of what a description says
    program = f"from {__name__} import everything; print(everything())"
    root = Path(__file__).parents[2]
    paths = os.pathsep.join(map(str, [root, root / "tests" / "support"]))
    environment = os.environ | {"PYTHONPATH": paths, "PYTHONHASHSEED": "1"}
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True, env=environment)
    assert run.stdout.strip() == everything()


@pytest.mark.parametrize(
    ("value", "kind"),
    [(threading.Lock(), "_thread.lock"), (np.random.default_rng(0), "numpy.random._generator.Generator"),
     (itertools.count(), "itertools.count"), (torch.Generator(), "torch._C.Generator")],
)  # fmt: skip
def test_what_says_nothing_of_itself_is_refused(value, kind):
    with pytest.raises(UndescribableError, match=rf"^`it\.first` is a {kind}, which says nothing of what it is$"):
        description(it=Law(value))


# -- checkpoints -------------------------------------------------------------------------------------------------------


@pytest.fixture
def killed(monkeypatch, tmp_path):
    """Fits with a checkpoint that stays, as that of a killed run does."""
    monkeypatch.setattr(checkpoint, "_SECONDS_BETWEEN", 0.0)
    monkeypatch.setattr(checkpoint.Checkpoint, "remove", lambda self: None)

    def fit(**params):
        return DensityRegressor(checkpoint=tmp_path / "run", **SETTINGS | params, preset="plain").fit(X, Y)

    return fit


OTHER = r"^the checkpoint '.*run' belongs to other data or settings\. Remove it, or choose another `checkpoint`\.$"


def test_a_plain_class_as_law_of_the_weights_finds_its_run_again(killed):
    first = killed(mixup=Mixup(weights=Law(0.5)))
    again = killed(mixup=Mixup(weights=Law(0.5)))
    assert np.array_equal(again.validation_curve_, first.validation_curve_)
    with pytest.raises(ValueError, match=OTHER):
        killed(mixup=Mixup(weights=Law(0.25)))


@pytest.mark.parametrize("name", ["constant in forward", "attribute", "lambda", "hook"])
@pytest.mark.parametrize("builds", [False, True])
def test_a_network_with_another_constant_is_another_run(killed, name, builds):
    build, one, other = PAIRS[name]
    first, same_again, another = ((lambda _, network=network: network) if builds else network
                                  for network in map(build, (one, one, other)))  # fmt: skip
    expected = killed(network=first).validation_curve_
    assert np.array_equal(killed(network=same_again).validation_curve_, expected)
    with pytest.raises(ValueError, match=OTHER):
        killed(network=another)


def test_a_law_without_a_description_is_refused_before_any_epoch(killed, tmp_path):
    message = (
        r"^`checkpoint` must tell a run from any other: `mixup\.weights\.lock` is a _thread\.lock, which says nothing "
        r"of what it is\. Make it of plain values, tensors, functions and objects with attributes, or set "
        r"checkpoint=None\.$"
    )
    law = Law(0.5)
    law.lock = threading.Lock()
    with pytest.raises(ValueError, match=message):
        killed(mixup=Mixup(weights=law))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "params",
    [{"network": flat_mlp, "n_members": 2}, {"mixup": "m-probmix-star"}],
    ids=["own network", "m-probmix-star"],
)
def test_the_same_run_goes_on_and_another_does_not(killed, params):
    expected = killed(**params).validation_curve_
    assert np.array_equal(killed(**params).validation_curve_, expected)
    with pytest.raises(ValueError, match=OTHER):
        killed(**params, learning_rate=0.1)
