"""Small problems of several members, trained."""

import threading

import numpy as np
import torch

from probmix import families
from probmix.mixup import Mixup, preset
from probmix.mixup.objectives import objective
from probmix.networks import MLP, DensityNetwork
from probmix.random import KeyedRandom, member_keys
from probmix.training import Rows, Task, TrainingData, TrainingOptions, train

N, FEATURES, MEMBERS = 90, 3, 4
OPTIONS = TrainingOptions(max_epochs=12, batch_size=16, patience=4)


class Killed(BaseException):
    """What a user's Ctrl-C is to a run."""


def rows_of(x, y, **columns):
    """Rows from arrays."""
    return Rows(**{name: torch.as_tensor(values) for name, values in {"x": x, "y": y, **columns}.items()})


def make_data(family="gaussian", members=slice(None), n_validation=20, several=False, sample_weight=False):
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(N, FEATURES, generator=draw, dtype=torch.float64) * 100 + 2000
    rate = torch.exp((x[:, 0] - 2000) / 200 + 1)
    y = torch.poisson(rate, generator=draw)
    if family != "poisson":
        y = y + 0.5
    if several:
        y = torch.stack([y, 2 * y], 1)
    order = KeyedRandom(member_keys(1, MEMBERS)).permutations(N)[members]
    weight = torch.rand(N, generator=draw, dtype=torch.float64) if sample_weight else None
    return TrainingData(Rows(x=x, y=y, weight=weight), order[:, n_validation:], order[:, :n_validation], order)


def task_of(data, mixup="erm", family="gaussian", options=OPTIONS, members=slice(None), loss="nll"):
    """What members are trained for, of a family by name, on the device of the data."""
    keys = member_keys(0, MEMBERS)[members].to(data.device)
    mixup = mixup if isinstance(mixup, Mixup) else preset(mixup)
    return Task(objective(loss, families.get(family)), data, mixup, options, keys)


def run(data, *args, **kwargs):
    task = task_of(data, *args, **kwargs)
    family, mixup = task.objective.family, task.mixup
    targets = data.rows.y.shape[1] if data.rows.y.ndim == 2 else None
    place = mixup.layers[0] if mixup.layers else "embedding"
    network = DensityNetwork(family, FEATURES, MLP((16, 8)), targets, len(task.keys), mixup.embedding, place)
    scaler, result = train(network.to(data.device), task)
    return network, scaler, result


def in_main():
    return threading.current_thread() is threading.main_thread()


def assert_same(one, other):
    for a, b in zip(one[0].parameters(), other[0].parameters(), strict=True):
        assert torch.equal(a, b)
    for name in ("validation_curve", "training_curve", "best_epoch", "n_epochs"):
        assert np.array_equal(getattr(one[2], name), getattr(other[2], name), equal_nan=True), name
