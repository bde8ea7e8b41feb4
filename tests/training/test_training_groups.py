"""Members in groups, and those that have stopped: neither changes what a member is trained to."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn
from training_cases import MEMBERS, OPTIONS, make_data, run, task_of

from probmix import DensityRegressor
from probmix.networks import DensityNetwork
from probmix.random import KeyedRandom, member_keys
from probmix.training import checkpoint, loop, memory
from probmix.training.run import Run

LONG = dataclasses.replace(OPTIONS, max_epochs=60, patience=3, learning_rate=0.03)


@pytest.fixture
def steps(monkeypatch):
    """How many members each epoch trained."""
    trained, train_epoch = [], Run.train_epoch

    def count(self):
        trained.append(len(self.members))
        return train_epoch(self)

    monkeypatch.setattr(Run, "train_epoch", count)
    return trained


@pytest.mark.parametrize("batch_size", [16, None])
@pytest.mark.parametrize("mixup", ["erm", "local-probmix", "m-probmix", "local-m-probmix-star"])
def test_groups_change_nothing(monkeypatch, steps, mixup, batch_size):
    options = dataclasses.replace(LONG, batch_size=batch_size)
    together, _, together_result = run(make_data(), mixup, options=options)
    assert steps[0] == MEMBERS
    steps.clear()
    monkeypatch.setattr(memory, "_CPU_BYTES", 1)
    apart, _, apart_result = run(make_data(), mixup, options=options)
    assert set(steps) == {1}
    assert (together_result.best_epoch == apart_result.best_epoch).all()
    for a, b in zip(together.parameters(), apart.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(together_result.validation_curve, apart_result.validation_curve, rtol=1e-4)
    np.testing.assert_allclose(together_result.training_curve, apart_result.training_curve, rtol=1e-4)


def test_members_that_have_stopped_are_not_trained_any_more(steps):
    _, _, result = run(make_data(), options=LONG)
    last = np.minimum(result.best_epoch + LONG.patience, LONG.max_epochs)
    assert len(set(last)) > 1
    # with four members a single one is a quarter
    expected = [(last > epoch).sum() for epoch in range(last.max())]
    assert steps == expected
    assert result.validation_curve.shape == (last.max(), MEMBERS)
    told = np.arange(1, last.max() + 1)[:, None] <= last
    assert (np.isfinite(result.validation_curve) == told).all()


def test_few_of_many_that_have_stopped_stay_for_a_while(monkeypatch, steps):
    """To leave costs an epoch; what is computed for those that stay on is not told, and changes nothing."""
    _, _, before = run(make_data(), options=LONG)
    steps.clear()
    monkeypatch.setattr(Run, "is_time_to_look", lambda self: False)
    _, _, result = run(make_data(), options=LONG)
    assert steps == [MEMBERS] * LONG.max_epochs
    assert (result.best_epoch == before.best_epoch).all()
    np.testing.assert_array_equal(result.validation_curve.shape, before.validation_curve.shape)
    np.testing.assert_allclose(result.validation_curve, before.validation_curve, rtol=1e-4)


class KilledError(Exception):
    pass


@pytest.mark.parametrize("in_groups", [False, True])
@pytest.mark.parametrize("mixup", ["erm", "local-m-probmix"])
def test_a_run_killed_anywhere_goes_on(tmp_path, monkeypatch, steps, mixup, in_groups):
    """Before and after members have left, in one group and in another: nothing is done twice, nothing differs."""
    monkeypatch.setattr(loop, "groups_beside", lambda *_: 1)
    monkeypatch.setattr(checkpoint, "_SECONDS_BETWEEN", 0.0)
    if in_groups:
        monkeypatch.setattr(memory, "_CPU_BYTES", 1)
    options = dataclasses.replace(LONG, max_epochs=25, checkpoint=tmp_path / "run")
    straight, _, straight_result = run(make_data(), mixup, options=options)
    epochs = len(steps)
    steps.clear()
    write, written = checkpoint.Checkpoint.write, []

    def write_then_die(self, state):
        write(self, state)
        written.append(1)
        if len(written) % 4 == 0:
            raise KilledError

    monkeypatch.setattr(checkpoint.Checkpoint, "write", write_then_die)
    for _ in range(100):
        try:
            resumed, _, resumed_result = run(make_data(), mixup, options=options)
            break
        except KilledError:
            # whatever the machine would choose now, the run goes on in the groups it began with
            monkeypatch.setattr(memory, "_CPU_BYTES", 1 << 40)
    assert len(written) > 8
    assert len(steps) == epochs
    for a, b in zip(straight.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b)
    assert np.array_equal(straight_result.validation_curve, resumed_result.validation_curve, equal_nan=True)
    assert np.array_equal(straight_result.training_curve, resumed_result.training_curve, equal_nan=True)
    assert (straight_result.best_epoch == resumed_result.best_epoch).all()


def test_members_at_once_by_what_a_step_keeps(monkeypatch):
    data = make_data()
    network, _, _ = run(data)
    task = task_of(data)
    needed = memory._kept_bytes(network, task)
    # the ReLUs of two layers of 16 and 8, and their inputs, for batches of 14 rows: at least that, in float32
    assert 14 * (16 + 8) * 4 < needed < 20 * 14 * (16 + 8) * 4
    full = dataclasses.replace(task, options=dataclasses.replace(OPTIONS, batch_size=None))
    assert memory._kept_bytes(network, full) == pytest.approx(5 * needed, rel=0.1)
    for budget, expected in ((1, 1), (2 * needed, 2), (2.5 * needed, 2), (100 * needed, MEMBERS)):
        monkeypatch.setattr(memory, "_CPU_BYTES", int(budget))
        assert memory.members_at_once(network, task) == expected


def test_asking_leaves_network_and_random_numbers_alone():
    data = make_data()
    network, _, _ = run(data, "m-probmix")
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    state = torch.get_rng_state()
    memory.members_at_once(network, task_of(data, "m-probmix"))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())


@pytest.mark.parametrize("mixup", ["erm", "m-probmix"])
def test_some_members_of_a_network(mixup):
    network, _, _ = run(make_data(), mixup)
    part = network.members(torch.tensor([2, 0]))
    x = torch.randn(5, 3, dtype=torch.float64)
    assert isinstance(part, DensityNetwork)
    torch.testing.assert_close(part(x), network(x)[[2, 0]])
    with torch.no_grad():
        part.trunk.output.bias += 1
    assert not torch.equal(part(x)[1], network(x)[0])


def test_networks_of_one_s_own_in_groups_are_the_same_and_warn_once(monkeypatch):
    """Their running averages as well, and the one warning of a network that torch.vmap cannot follow stays one."""
    rows = KeyedRandom(member_keys(5, 1)).normal((80, 4))[0].numpy()
    module = nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 4))

    def fitted():
        return DensityRegressor(
            network=module,
            mixup="probmix",
            n_members=3,
            max_epochs=8,
            patience=2,
            batch_size=None,
            random_state=0,
            preset="plain",
        ).fit(rows, rows[:, 0])

    together = fitted()
    monkeypatch.setattr(memory, "_CPU_BYTES", 1)
    apart = fitted()
    for name, tensor in together.network_.state.items():
        torch.testing.assert_close(apart.network_.state[name], tensor, rtol=1e-4, atol=1e-4)
    monkeypatch.setattr(loop, "members_at_once", lambda network, task: 2)
    recurrent = nn.Sequential(nn.Unflatten(1, (2, 2)), nn.LSTM(2, 4, batch_first=True), Last())
    with pytest.warns(UserWarning, match="one by one") as caught:
        DensityRegressor(network=recurrent, n_members=4, max_epochs=2, random_state=0, preset="plain").fit(
            rows, rows[:, 0]
        )
    assert sum("one by one" in str(one.message) for one in caught) == 1


class Last(nn.Module):
    def forward(self, x):
        return x[0][:, -1]
