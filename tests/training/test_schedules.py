"""Rates that change from step to step: their values, and runs with them."""

import json
import re
import warnings

import numpy as np
import pytest
import torch
from sklearn.base import clone

from probmix import DensityRegressor, load
from probmix.networks import MLP
from probmix.training import Constant, Cosine, CosLog4, FlatThenCosine, checkpoint
from probmix.training import run as runs

X = np.linspace(-1, 1, 60)[:, None]
Y = np.sin(4 * X[:, 0]) + 0.1 * np.random.default_rng(0).normal(size=60)
FAST = {"max_epochs": 6, "random_state": 0, "batch_size": 16}


def test_cosine_is_torchs():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.3)
    torchs = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=50)
    for step in range(51):
        assert Cosine(0.3, warmup=0).at(step / 50) == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-12)
        optimizer.step()
        torchs.step()


def test_the_rise_is_linear():
    assert Cosine(0.3, warmup=0.1).at(0.05) == pytest.approx(0.5 * Cosine(0.3, warmup=0).at(0.05))
    assert Cosine(0.3, warmup=0.1).at(0.1) == Cosine(0.3, warmup=0).at(0.1)


def test_waves_grow_longer():
    t = np.linspace(0, 1, 100_001)
    rates = np.array([CosLog4(0.2).at(share) for share in t])
    minima = t[1:-1][(rates[1:-1] < rates[:-2]) & (rates[1:-1] < rates[2:])]
    assert np.allclose(minima, [1 / 15, 3 / 15, 7 / 15], atol=1e-4)
    assert rates.max() == pytest.approx(0.2)


def test_decay_is_flat_first():
    assert [FlatThenCosine(0.1, 0.6).at(t) for t in (0, 0.3, 0.6)] == [0.1] * 3
    assert FlatThenCosine(0.1, 0.6).at(0.8) == pytest.approx(0.05)
    assert FlatThenCosine(0.1).at(1.0) == 0


def rates_of(monkeypatch, **settings):
    """Learning rates and decays of the steps of a fit."""
    seen = []

    class Watched(runs._AdamW):
        def step(self, *args):
            seen.append((self.param_groups[0]["lr"], self.param_groups[1]["lr"], self.param_groups[0]["weight_decay"]))
            return super().step(*args)

    monkeypatch.setattr(runs, "_AdamW", Watched)
    DensityRegressor(**FAST | settings, preset="plain").fit(X, Y)
    monkeypatch.undo()
    return np.array(seen)


def test_every_step_has_its_rate(monkeypatch):
    rate, decay = Cosine(0.01), FlatThenCosine(0.3)
    seen = rates_of(monkeypatch, learning_rate=rate, weight_decay=decay)
    assert len(seen) == 6 * 3
    middles = (np.arange(18) + 0.5) / 18
    assert np.allclose(seen[:, 0], [rate.at(t) for t in middles], rtol=1e-12)
    assert np.array_equal(seen[:, 0], seen[:, 1])
    assert np.allclose(seen[:, 2], [decay.at(t) for t in middles], rtol=1e-12)
    whole = rates_of(monkeypatch, learning_rate=rate, batch_size=None)
    assert np.allclose(whole[:, 0], [rate.at((epoch + 0.5) / 6) for epoch in range(6)])


def test_a_constant_schedule_is_the_number():
    settings = {**FAST, "n_members": 2}
    number = DensityRegressor(learning_rate=0.01, weight_decay=0.1, **settings, preset="plain").fit(X, Y)
    value = DensityRegressor(learning_rate=Constant(0.01), weight_decay=Constant(0.1), **settings, preset="plain").fit(
        X, Y
    )
    assert np.array_equal(number.log_prob(X, Y), value.log_prob(X, Y))
    assert number.params_["patience"] == value.params_["patience"] == 30


def test_the_whole_budget_is_used_where_the_rate_ends_at_zero():
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        model = DensityRegressor(learning_rate=Cosine(0.02), **FAST, preset="plain").fit(X, Y)
        assert model.params_["patience"] is None
        assert model.n_epochs_.tolist() == [6]
        # who asks for patience has it
        patient = DensityRegressor(
            learning_rate=Cosine(0.02), patience=2, **FAST | {"max_epochs": 40}, preset="plain"
        ).fit(X, Y)
    assert patient.params_["patience"] == 2
    # a run whose last steps were tiny has nothing more to gain
    assert not [one for one in told if "last epoch" in str(one.message)]


class Killed(BaseException):
    """What a kill leaves no time to catch."""


@pytest.mark.parametrize("rate", [Cosine(0.02), CosLog4(0.01), Constant(0.01)], ids=repr)
def test_a_killed_run_goes_on_as_if_nothing_had_been(tmp_path, monkeypatch, rate):
    settings = {**FAST, "learning_rate": rate, "weight_decay": FlatThenCosine(0.1), "n_members": 2}
    whole = DensityRegressor(**settings, preset="plain").fit(X, Y)
    path, written, write = tmp_path / "run.ckpt", [], checkpoint.Checkpoint.write

    def write_then_kill(self, state):
        write(self, state)
        written.append(1)
        if len(written) == 3:
            raise Killed

    monkeypatch.setattr(checkpoint, "_SECONDS_BETWEEN", 0.0)
    monkeypatch.setattr(checkpoint.Checkpoint, "write", write_then_kill)
    with pytest.raises(Killed):
        DensityRegressor(checkpoint=path, **settings, preset="plain").fit(X, Y)
    assert path.exists()
    monkeypatch.setattr(checkpoint.Checkpoint, "write", write)
    resumed = DensityRegressor(checkpoint=path, **settings, preset="plain").fit(X, Y)
    assert np.array_equal(whole.log_prob(X, Y), resumed.log_prob(X, Y))


def test_saved_and_cloned(tmp_path):
    settings = {"learning_rate": Cosine(0.02, 0.1), "weight_decay": FlatThenCosine(0.1, 0.25)}
    model = DensityRegressor(network=MLP((8,)), **FAST | settings, preset="plain").fit(X, Y)
    model.save(tmp_path / "model.safetensors")
    loaded = load(tmp_path / "model.safetensors")
    assert {name: loaded.get_params()[name] for name in settings} == settings
    assert clone(model).learning_rate == Cosine(0.02, 0.1)
    assert json.dumps(str(model))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"learning_rate": Cosine(0.0)}, "`learning_rate.rate` must be a number in (0, inf); got 0.0"),
        ({"learning_rate": "cosine"}, "`learning_rate` must be a number in (0, inf); got 'cosine'"),
        ({"weight_decay": -1}, "`weight_decay` must be a number in [0, inf); got -1"),
    ],
)
def test_errors(settings, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        DensityRegressor(**settings, preset="plain").fit(X, Y)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Cosine(-1.0), "`rate` must be a number in [0, inf); got -1.0"),
        (lambda: Cosine(0.1, warmup=1.0), "`warmup` must be a number in [0, 1); got 1.0"),
        (lambda: FlatThenCosine(0.1, flat="half"), "`flat` must be a number in [0, 1); got 'half'"),
    ],
)
def test_values_are_checked(make, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        make()
