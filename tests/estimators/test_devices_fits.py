"""Fits and predictions on a GPU that any machine has: equal to those on the CPU, and no step of a fit waits."""

import sys
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from pretend_device import GPU, PretendDevice
from torch import nn

from probmix import DensityClassifier, DensityRegressor, random
from probmix.mixup import BatchNeighbours, LabelKernel, preset
from probmix.training import run

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 3))
Y = RNG.poisson(np.exp(0.5 * X[:, 0] + 1)) + 1.0
FAST = {"max_epochs": 3, "hidden_layer_sizes": (8, 4), "batch_size": 16, "random_state": 0}

# Where the host may wait in a fit, once or after an epoch, and why.
FIT = {
    "training/batches.__init__": "sizes of batches, and neighbours",
    "training/loop": "whether the data are finite",
    "training/course": "who has stopped, and the end",
    "training/floors": "which floor of the scale suits the rows that judge, once at the end",
    "training/run.__init__": "the first key",
    "mixup/partners.": "neighbours are found on the host",
    "mixup/classes.": "which classes there are",
    "families/": "the start, at the marginal distribution",
    "random.": "states of generators are on the host in truth",
}
PREDICTION = {
    "estimators/far_out": "rows far out are looked for on the host, which asks for the range of the fit",
    "random.": "states of generators are on the host in truth",
}


@pytest.fixture
def pretended(monkeypatch):
    """The pretended device, to be entered, and what torch.cuda says of it."""
    seeded = random.seeded

    class HostGenerator(torch.Generator):
        def __new__(cls, device=None):
            return super().__new__(cls)

    @contextmanager
    def seeded_on_host(seed, device=None):
        with seeded(seed) as has_drawn:
            yield has_drawn

    for module in [one for name, one in sys.modules.items() if name.startswith("probmix.")]:
        if getattr(module, "seeded", None) is seeded:
            monkeypatch.setattr(module, "seeded", seeded_on_host)
    monkeypatch.setattr(torch, "Generator", HostGenerator)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda device: torch.get_rng_state())
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda state, device: torch.set_rng_state(state))
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(total_memory=1 << 34))
    return PretendDevice()


def places(device, allowed=()):
    """Places that waited, without those that may."""
    found = {wait.split(": ")[0] for wait in device.waits if not wait.endswith(": validation")}
    device.waits.clear()
    return sorted(place for place in found if not place.startswith(tuple(allowed)))


def own_network(shape):
    return nn.Sequential(nn.Linear(shape[0], 8), nn.Tanh(), nn.Linear(8, 4))


CASES = {
    "erm": (DensityRegressor(mixup="erm", preset="plain"), Y),
    "probmix, gamma": (DensityRegressor("gamma", "probmix", n_members=2, preset="plain"), Y),
    "manifold mixup, poisson": (DensityRegressor("poisson", "manifold-mixup", preset="plain"), Y),
    "m-probmix": (DensityRegressor(mixup="m-probmix", n_draws=4, n_members=2, preset="plain"), Y),
    "local probmix, several": (
        DensityRegressor("lognormal", "local-probmix", preset="plain"),
        np.column_stack([Y, 2 * Y]),
    ),
    "negative binomial": (DensityRegressor("negative-binomial", "probmix", preset="plain"), Y),
    "zero-inflated": (DensityRegressor("zero-inflated-poisson", "probmix", preset="plain"), Y - 1),
    "crps": (DensityRegressor(loss="crps", preset="plain"), Y),
    "label kernel": (DensityRegressor(mixup=preset("probmix", partners=LabelKernel()), n_members=2, preset="plain"), Y),
    "label kernel of classes": (
        DensityClassifier(mixup=preset("mixup", partners=LabelKernel()), preset="plain"),
        (Y > 3).astype(int),
    ),
    "neighbours of a batch": (
        DensityRegressor(mixup=preset("probmix", partners=BatchNeighbours(k=3)), n_members=2, preset="plain"),
        Y,
    ),
    "classes": (DensityClassifier(mixup="mixup", n_members=2, preset="plain"), (Y > 3).astype(int)),
    "own network": (DensityRegressor(network=own_network, n_members=2, preset="plain"), Y),
}


@pytest.mark.parametrize("case", CASES)
def test_a_fit_is_that_of_the_cpu_and_no_step_waits(monkeypatch, pretended, case):
    model, y = CASES[case]
    model.set_params(**FAST, device="cpu")
    expected = model.fit(X, y).predict_natural_params(X)
    train_epoch, during = run.Run.train_epoch, []

    def watched(self):
        before = len(pretended.waits)
        loss = train_epoch(self)
        # states of generators are on the host in truth
        during.extend(wait for wait in pretended.waits[before:] if not wait.startswith("random."))
        return loss

    monkeypatch.setattr(run.Run, "train_epoch", watched)
    with pretended as gpu:
        model.set_params(device="cuda").fit(X, y)
        assert model.network_.loc.device == GPU
        # torch looks at the arguments of the distributions whose CRPS is taken
        assert [wait for wait in during if not (case == "crps" and wait.endswith(": validation"))] == []
        assert places(gpu, FIT) == []
        found = model.predict_natural_params(X)
        assert found.device == GPU
        assert places(gpu, PREDICTION) == []
        distribution = model.predict_dist(X)
        assert distribution.mean.device == GPU
        model.score(X, y)
        model.sample(X, 2, random_state=0)
        found = found.cpu()
    torch.testing.assert_close(found, expected)
