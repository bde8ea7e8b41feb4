"""Groups of members beside each other, each in a thread of its own: the same numbers."""

import dataclasses
import threading
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from training_cases import MEMBERS, OPTIONS, assert_same, in_main, make_data, run, task_of

from probmix import DensityRegressor
from probmix.networks import MLP
from probmix.training import groups, loop, memory
from probmix.training.run import Run

LONG = dataclasses.replace(OPTIONS, max_epochs=25, patience=3, learning_rate=0.03)
X = np.random.default_rng(0).normal(size=(120, 2))
Y = X[:, 0] + 0.3 * np.random.default_rng(1).normal(size=120)


@pytest.fixture
def threads_of_epochs(monkeypatch):
    """The threads that trained epochs, none of which goes on before as many as are asked for have begun."""
    seen, asked, train_epoch = set(), [threading.Barrier(1)], Run.train_epoch

    def look(self):
        if threading.current_thread() not in seen:
            seen.add(threading.current_thread())
            asked[0].wait(timeout=1800)
        return train_epoch(self)

    def ask(number):
        seen.clear()
        asked[0] = threading.Barrier(number)
        return seen

    monkeypatch.setattr(Run, "train_epoch", look)
    return ask


@pytest.mark.parametrize(
    "mixup", ["erm", "mixup", "probmix", "local-probmix", "manifold-mixup", "m-probmix", "local-m-probmix-star"]
)
def test_no_bit_depends_on_what_runs_beside(beside, threads_of_epochs, mixup):
    beside(1)
    threads = threads_of_epochs(1)
    alone = run(make_data(), mixup, options=LONG)
    assert threads == {threading.main_thread()}
    beside(MEMBERS)
    threads = threads_of_epochs(MEMBERS)
    together = run(make_data(), mixup, options=LONG)
    assert len(threads) == MEMBERS
    assert_same(alone, together)
    assert (alone[2].n_threads, together[2].n_threads) == (1, MEMBERS)


def drawing(shape):
    return nn.Sequential(nn.Linear(shape[0], 8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 4))


def normed(shape):
    return nn.Sequential(nn.Linear(shape[0], 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 4))


@pytest.mark.parametrize("network", [drawing, normed, MLP((8,), dropout=0.2)], ids=["drawing", "normed", "dropout"])
@pytest.mark.parametrize("mixup", ["probmix", "m-probmix"])
def test_networks_that_draw_or_keep_something(beside, network, mixup):
    fits = []
    for number in (1, 3):
        beside(number)
        model = DensityRegressor(
            "gaussian", mixup, preset="plain", network=network, n_members=3, max_epochs=6, random_state=0
        )
        before = torch.get_rng_state()
        fits.append(model.fit(X, Y).predict(X))
        assert torch.equal(torch.get_rng_state(), before)
    assert np.array_equal(*fits)


def test_the_default_and_its_threads(beside):
    """Folds, a stack and a histogram; torch has its threads again."""
    found = torch.get_num_threads()
    fits = []
    for number in (1, 2):
        beside(number)
        fits.append(DensityRegressor("gaussian", max_epochs=4, random_state=0).fit(X, Y))
        assert torch.get_num_threads() == found
    assert np.array_equal(fits[0].predict(X), fits[1].predict(X))
    assert [fit.params_["n_threads"] for fit in fits] == [1, 2]


def test_how_many(monkeypatch, several):
    network, _, _ = run(make_data())
    task = task_of(make_data())
    assert [memory.groups_beside(network, task, 1, groups) for groups in (1, 2, several + 3)] == [1, 2, several]
    # what they keep together is limited
    needed = memory._kept_bytes(network, task)
    monkeypatch.setattr(memory, "_BESIDE_BYTES", 2 * needed + 1)
    assert memory.groups_beside(network, task, 1, several) == 2
    assert memory.groups_beside(network, task, 2, several) == 1
    monkeypatch.setattr(memory, "_BESIDE_BYTES", 1)
    assert memory.groups_beside(network, task, 1, several) == 1
    torch.set_num_threads(1)
    monkeypatch.undo()
    assert memory.groups_beside(network, task, 1, several) == 1


def test_groups_are_few_and_equal():
    task = task_of(make_data())
    sizes = {}
    for members, size in ((8, 8), (8, 7), (8, 5), (8, 3), (8, 1), (5, 2), (3, 9)):
        every = type("Data", (), {"alike": lambda self, members=members: [torch.arange(members), torch.tensor([9])]})
        found = groups.groups_of(dataclasses.replace(task, data=every()), size)
        assert torch.cat(found).tolist() == [*range(members), 9]
        sizes[members, size] = list(map(len, found[:-1]))
    assert sizes == {
        (8, 8): [8], (8, 7): [4, 4], (8, 5): [4, 4], (8, 3): [3, 3, 2], (8, 1): [1] * 8, (5, 2): [2, 2, 1], (3, 9): [3]
    }  # fmt: skip


# -- what users see ----------------------------------------------------------------------------------------------------


class Asking(nn.Module):
    """A network that no vectorised call can follow."""

    def __init__(self, features):
        super().__init__()
        self.linear = nn.Linear(features, 4)

    def forward(self, x):
        return self.linear(x) if float(x.sum()) > -1e9 else x


def test_a_warning_of_any_thread_names_the_line_of_the_user(monkeypatch):
    monkeypatch.setattr(loop, "members_at_once", lambda network, task: 2)
    monkeypatch.setattr(loop, "groups_beside", lambda *_: 2)
    model = DensityRegressor(preset="plain", network=lambda shape: Asking(shape[0]), n_members=4, max_epochs=2)
    take_turn, told_there, turns = groups._Turns._next, threading.Event(), []

    def others_first(self):
        # no line of this file is below that of the warning in the other thread
        if in_main():
            told_there.wait(timeout=1800)
        else:
            turns.append(1)
            if len(turns) == 2:
                told_there.set()
        return take_turn(self)

    monkeypatch.setattr(groups._Turns, "_next", others_first)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(X, Y)
    told = [one for one in caught if "one by one" in str(one.message)]
    assert [one.filename for one in told] == [__file__]


@pytest.mark.parametrize("number", [1, 2])
def test_autocast_changes_nothing(beside, number):
    beside(number)
    fits = []
    for enabled in (False, True):
        with torch.autocast("cpu", enabled=enabled):
            fits.append(DensityRegressor(preset="plain", n_members=2, max_epochs=5, random_state=0).fit(X, Y))
    assert np.array_equal(fits[0].validation_curve_, fits[1].validation_curve_)
    assert np.array_equal(fits[0].predict(X), fits[1].predict(X))


def test_the_bar_counts_all_epochs(monkeypatch, beside, capsys):
    beside(3)
    run(make_data(), options=dataclasses.replace(OPTIONS, verbose=True))
    assert f"{MEMBERS * OPTIONS.max_epochs}/{MEMBERS * OPTIONS.max_epochs}" in capsys.readouterr().err


def test_time_is_shared_by_the_rounds_that_are_left(monkeypatch):
    """Five members in twos, two groups at a time: two rounds, the second of a single member."""
    monkeypatch.setattr(groups, "perf_counter", lambda: 100.0)
    seconds = {}
    for beside in (1, 2, 3):
        options = dataclasses.replace(OPTIONS, ends_at=200.0)
        course = SimpleNamespace(task=task_of(make_data(), options=options), network=SimpleNamespace(n_members=5))
        turns = groups._Turns(course, 2, list(torch.arange(5).split(2)), beside, None, {}, None)
        seconds[beside] = []
        for number in range(3):
            run_ = SimpleNamespace(members=turns._groups[number], judging_seconds=0.0)
            seconds[beside].append(turns._seconds(number, run_))
    # the clock stands still, so all of the time is left to the last
    assert seconds[1] == pytest.approx([200 / 5, 200 / 3, 100])
    assert seconds[2] == pytest.approx([200 / 3, 200 / 3, 100])
    assert seconds[3] == pytest.approx([100, 100, 100])
