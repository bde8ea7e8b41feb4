"""Fits with a time limit: what they measure, and how they end; clocks are pretended."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from probmix import DensityRegressor
from probmix.estimators.clock import Clock, measure_pace, some_rows
from probmix.estimators.given import Given
from probmix.estimators.stack_weighing import Candidate
from probmix.training import Rows, TrainingData
from probmix.training.deadline import Deadline
from probmix.training.run import Run

X = np.linspace(-1, 1, 60)[:, None]
REAL = np.sin(3 * X[:, 0])


def test_the_pace_of_many_rows_is_that_of_some_of_them():
    sizes = ((3_000, 750, 3_000), (2_999, 751, 2_999))
    x = torch.arange(3_750, dtype=torch.float64).unsqueeze(1)
    train = torch.stack([torch.arange(3_000), torch.arange(750, 3_750)])
    validation = torch.stack([torch.arange(3_000, 3_750).repeat(2)[:751], torch.arange(751)])
    data = TrainingData(Rows(x=x, y=x.squeeze(1)), train, validation, train, sizes, 2_999)
    assert some_rows(data, 256) == (data, 1.0)
    assert some_rows(data, None) == (data, 1.0)
    some, share = some_rows(data, 8)
    assert share == 16 * 8 / 2_999
    assert (some.train_rows.shape, some.validation_rows.shape) == ((2, 128), (2, 32))
    assert some.sizes is None
    assert some.epoch_rows is None
    # each of its own rows, from the first to the last
    own = some.rows.y[some.train_rows]
    assert own[:, 0].tolist() == [0.0, 750.0]
    assert own[:, -1].tolist() == [2_998.0, 3_748.0]
    assert set(some.rows.y[some.validation_rows[0]].tolist()) <= set(range(3_000, 3_750))


def test_training_ends_when_its_time_is_over(monkeypatch):
    now = [0.0]

    def clock():
        # each look at the clock takes a second
        now[0] += 1.0
        return now[0]

    monkeypatch.setattr("probmix.training.deadline.perf_counter", clock)
    deadline = Deadline(100.0)
    for _ in range(40):
        deadline.count_step()
    assert [deadline.progress, deadline.progress] == [0.01, 0.02]
    now[0] = 200.0
    assert deadline.is_over
    assert (Deadline(None).progress, Deadline(None).is_over) == (0.0, False)
    # some steps are made in any case
    late = Deadline(-1.0)
    assert (late.progress, late.is_over) == (0.0, False)
    for _ in range(30):
        late.count_step()
    assert late.is_over


def test_a_run_that_is_late_ends_within_an_epoch_with_its_schedule_at_zero(monkeypatch):
    looks = iter(range(10**6))
    monkeypatch.setattr("probmix.training.deadline.perf_counter", lambda: 0.1 * next(looks))
    monkeypatch.setattr("probmix.training.groups.perf_counter", lambda: 0.0)
    rates = []
    plain = Run._set_rates

    def told(run, step):
        plain(run, step)
        rates.append(run._optimizer.param_groups[0]["lr"])

    monkeypatch.setattr(Run, "_set_rates", told)
    model = DensityRegressor("gaussian", "erm", preset="fast", n_members=2, max_epochs=50, batch_size=4, random_state=0)
    task, _ = model._prepare(Given(X, REAL), Given())
    task = replace(task, options=replace(task.options, ends_at=30.0))
    _, _, result = model._train(task)
    assert result.n_epochs.max() < 50
    assert np.isfinite(result.validation_curve).any(0).all()
    assert len(rates) < 50 * 15
    assert rates[-1] < 0.05 * max(rates)
    # a table of what was tried tells the epochs that there were, and those planned where no time limit ended them
    assert Candidate(model, "late", task, None, result).epochs == result.n_epochs.max()
    unhurried = replace(task, options=replace(task.options, ends_at=None))
    assert Candidate(model, "unhurried", unhurried, None, result).epochs == 50


def test_the_pace_that_some_rows_tell_is_counted_up_to_all(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("probmix.estimators.clock.perf_counter", lambda: now[0])
    model = DensityRegressor("gaussian", "erm", preset="fast", n_members=2, max_epochs=50, batch_size=2, random_state=0)
    X_many = np.linspace(-1, 1, 400)[:, None]
    task, _ = model._prepare(Given(X_many, X_many[:, 0]), Given())
    _, share = some_rows(task.data, 2)
    assert share < 0.2

    def train(task):
        # an epoch takes a second, whatever its rows
        now[0] += task.options.max_epochs
        return None, None, SimpleNamespace(interrupted=False)

    monkeypatch.setattr(model, "_train", train)
    clock = Clock(1000.0)
    measure_pace(model, task, clock)
    left = 1000.0 - now[0]
    assert clock.epochs(0, 10**6) == int(left * share)


@pytest.mark.parametrize("family", ["gaussian", None])
@pytest.mark.parametrize("epoch", [1, 2, 3, 4])
def test_a_user_who_ends_the_measuring_of_the_pace_ends_the_fit(family, epoch, monkeypatch):
    epochs = iter(range(1, 10**6))
    train_epoch = Run.train_epoch

    def interrupted(self):
        if next(epochs) == epoch:
            raise KeyboardInterrupt
        return train_epoch(self)

    monkeypatch.setattr(Run, "train_epoch", interrupted)
    model = DensityRegressor(family, preset="fast", n_members=2, max_epochs=2, time_limit=1000.0, random_state=0)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, REAL)
    assert not hasattr(model, "n_features_in_")
