"""How sure a head may be is judged by the rows held out."""

import numpy as np
import pytest
import torch
from training_cases import make_data, run, task_of

import probmix
from probmix import DensityRegressor
from probmix.training import floors, loop
from probmix.training.data import raw_bounds, target_scaler

SETTINGS = {"mixup": "erm", "max_epochs": 20, "learning_rate": 0.02, "random_state": 0}
rng = np.random.default_rng(0)
X = rng.normal(size=(200, 2))
Y = X[:, 0] + 0.3 * rng.standard_t(3, 200)


def by_hand(network, task):
    """The share for each member, and its bounds: every share tried on every member alone."""
    shares, bounds = [], []
    noise = network.draw_noise(task.keys, 8) if task.has_draws(network) else None
    for m in range(network.n_members):
        one = torch.tensor([m])
        part, own = network.members(one), task.members(one)
        ends = [raw_bounds(own.objective.family, own.data, own.scaler, share)[0] for share in floors.SHARES]
        losses = []
        for end in ends:
            part.raw_low.copy_(end)
            losses.append(own.validation_loss(part, None if noise is None else noise[one]).item())
        best = int(np.argmin(losses))
        shares.append(floors.SHARES[best])
        bounds.append(ends[best])
    return shares, torch.cat(bounds)


@pytest.mark.parametrize("family", ["gaussian", "student-t"])
@pytest.mark.parametrize("mixup", ["erm", "m-probmix"])
def test_the_floor_of_a_fit_is_where_the_validation_loss_is_lowest(monkeypatch, family, mixup):
    raise_floors_ = floors.raise_floors_
    compared = []

    def look(network, task, size):
        _, expected = by_hand(network, task)
        raise_floors_(network, task, 2)
        torch.testing.assert_close(network.raw_low, expected)
        compared.append(len(expected))

    monkeypatch.setattr(loop, "raise_floors_", look)
    DensityRegressor(family, n_members=3, **SETTINGS | {"mixup": mixup}, preset="plain").fit(X, Y)
    assert compared == [3]


@pytest.mark.parametrize(("sd", "share"), [(0.005, 0.3), (0.9, 0.001)])
def test_false_certainty_is_taken_back_and_honest_doubt_left_alone(sd, share):
    """All members predict the mean of all rows, with a standard deviation in units of the targets' own."""
    data = make_data()
    network, scaler, _ = run(data)
    task = task_of(data)
    with torch.no_grad():
        network.trunk.output.weight.zero_()
        network.trunk.output.bias.copy_(network.family.raw(torch.zeros(4, 1), torch.full((4, 1), sd)))
    network.raw_low.copy_(raw_bounds(network.family, data, scaler)[0])
    before = task.validation_loss(network, None)
    shares, expected = by_hand(network, task)
    assert shares == [share] * 4
    floors.raise_floors_(network, task, 3)
    torch.testing.assert_close(network.raw_low, expected)
    after = task.validation_loss(network, None)
    assert bool((after < before - 10).all() if sd < 0.1 else (after == before).all())


def test_nothing_is_raised_without_rows_that_judge():
    data = make_data(n_validation=0)
    network, _, _ = run(data)
    scaler = target_scaler(network.family, data)
    torch.testing.assert_close(network.raw_low, raw_bounds(network.family, data, scaler)[0])


def test_a_saved_model_keeps_its_floor(tmp_path):
    model = DensityRegressor(**SETTINGS, preset="plain").fit(X, Y)
    model.save(tmp_path / "model")
    assert torch.equal(probmix.load(tmp_path / "model").network_.raw_low, model.network_.raw_low)
