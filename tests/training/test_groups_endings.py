"""How groups of members beside each other end: by the user, by an error, or killed and resumed."""

import dataclasses
import itertools
import threading

import numpy as np
import pytest
import torch
from training_cases import OPTIONS, assert_same, in_main, make_data, run

from probmix import DensityRegressor
from probmix.training import checkpoint, groups, loop
from probmix.training.run import Run

LONG = dataclasses.replace(OPTIONS, max_epochs=25, patience=3, learning_rate=0.03)
ENDLESS = dataclasses.replace(OPTIONS, max_epochs=100_000, patience=None)


def raise_in(monkeypatch, error, where, after=5):
    """An error in the epochs of the main thread, or in those of the others, once all have had so many."""
    calls, train_epoch = {}, Run.train_epoch
    all_have = threading.Barrier(2)

    def fail(self):
        thread = threading.current_thread()
        calls[thread] = calls.get(thread, 0) + 1
        if calls[thread] == after:
            all_have.wait(timeout=1800)
            if where == ("main" if in_main() else "other"):
                raise error
        return train_epoch(self)

    monkeypatch.setattr(Run, "train_epoch", fail)


def test_an_interrupt_ends_all_of_them(monkeypatch, beside):
    beside(2)
    raise_in(monkeypatch, KeyboardInterrupt(), "main")
    network, _, result = run(make_data(), options=ENDLESS)
    assert result.interrupted
    epochs = result.n_epochs
    # the two that were trained, whichever the main thread had, keep their epochs, and the others have not begun
    assert epochs[:2].min() == 4
    assert epochs[:2].max() < ENDLESS.max_epochs
    assert epochs[2:].tolist() == [0, 0]
    assert np.isfinite(result.validation_curve[:4, :2]).all()
    assert all(bool(tensor.isfinite().all()) for tensor in network.parameters())


def test_an_interrupt_before_any_epoch_is_raised_and_ends_the_others(monkeypatch, beside):
    beside(2)
    raise_in(monkeypatch, KeyboardInterrupt(), "main", after=1)
    before = threading.active_count()
    monkeypatch.setattr(loop.Course, "has_begun", False)
    with pytest.raises(KeyboardInterrupt):
        run(make_data(), options=ENDLESS)
    assert threading.active_count() == before


def test_an_interrupt_while_others_are_waited_for(monkeypatch, beside):
    """The groups of the main thread have come to their end; another goes on, and is ended."""
    beside(2)
    pressed_once = threading.Event()
    dismiss, join = loop.Course.dismiss, groups._join

    def pressed(others):
        if not pressed_once.is_set():
            pressed_once.set()
            raise KeyboardInterrupt
        join(others)

    # two epochs are all that the main thread has of each
    monkeypatch.setattr(loop.Course, "dismiss", lambda self, run: dismiss(self, run) or (in_main() and run.epoch >= 2))
    monkeypatch.setattr(groups, "_join", pressed)
    _, _, result = run(make_data(), options=ENDLESS)
    assert pressed_once.is_set()
    assert result.interrupted
    assert (result.n_epochs > 0).all()
    assert result.n_epochs.min() < ENDLESS.max_epochs


@pytest.mark.parametrize("where", ["main", "other"])
def test_an_error_in_one_ends_all_and_comes_up(monkeypatch, beside, where):
    beside(2)
    raise_in(monkeypatch, ArithmeticError("of a network"), where)
    before = threading.active_count()
    with pytest.raises(ArithmeticError, match=r"^of a network$"):
        run(make_data(), options=ENDLESS)
    assert threading.active_count() == before


def test_a_failed_fit_leaves_the_estimator_unfitted(monkeypatch, beside):
    beside(2)
    raise_in(monkeypatch, ArithmeticError("of a network"), "other", after=1)
    model = DensityRegressor(preset="plain", n_members=2, max_epochs=100_000, patience=None)
    draw = np.random.default_rng(0)
    with pytest.raises(ArithmeticError):
        model.fit(draw.normal(size=(120, 2)), draw.normal(size=120))
    assert not hasattr(model, "network_")


def test_a_second_interrupt_is_raised(monkeypatch, beside):
    beside(2)
    raise_in(monkeypatch, KeyboardInterrupt(), "main")
    before, join, pressed = threading.active_count(), groups._join, []

    def press(others):
        pressed.append(1)
        if len(pressed) == 1:
            raise KeyboardInterrupt
        join(others)

    monkeypatch.setattr(groups, "_join", press)
    with pytest.raises(KeyboardInterrupt):
        run(make_data(), options=ENDLESS)
    assert threading.active_count() == before


def test_an_interrupt_between_two_groups_keeps_what_there_is(monkeypatch, beside):
    beside(1)
    take_turn, turns = groups._Turns._next, []

    def press(self):
        turns.append(1)
        if len(turns) == 3:
            raise KeyboardInterrupt
        return take_turn(self)

    straight = run(make_data(), options=LONG)
    monkeypatch.setattr(groups._Turns, "_next", press)
    network, _, result = run(make_data(), options=LONG)
    assert result.interrupted
    assert result.n_epochs.tolist() == [*straight[2].n_epochs[:2], 0, 0]
    for one, whole in zip(network.parameters(), straight[0].parameters(), strict=True):
        assert torch.equal(one[:2], whole[:2])


# -- checkpoints -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mixup", ["erm", "local-m-probmix"])
def test_a_run_killed_anywhere_goes_on(tmp_path, monkeypatch, beside, mixup):
    """A killed group goes on from its last epoch, and the others from theirs, or from the last one but one."""
    beside(1)
    straight = run(make_data(), mixup, options=LONG)
    beside(2)
    monkeypatch.setattr(checkpoint, "_SECONDS_BETWEEN", 0.0)
    options = dataclasses.replace(LONG, checkpoint=tmp_path / "run")
    write, written = checkpoint.Checkpoint.write, []

    def write_then_die(self, state):
        write(self, state)
        written.append(int(state["done"].sum()))
        if len(written) % 7 == 0:
            raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint.Checkpoint, "write", write_then_die)
        for _ in range(100):
            try:
                resumed = run(make_data(), mixup, options=options)
                break
            except SystemExit:
                pass
    assert len(written) > 14
    assert min(written) == 0
    assert max(written) >= 2
    assert_same(straight, resumed)
    assert not options.checkpoint.exists()


def test_what_is_stored_of_one_group_stays_while_another_is_written(tmp_path, monkeypatch, beside):
    """A resumed group goes on changing its tensors: in the file it has those of its last entry."""
    beside(2)
    monkeypatch.setattr(checkpoint, "_SECONDS_BETWEEN", 0.0)
    options = dataclasses.replace(LONG, patience=None, checkpoint=tmp_path / "run")
    straight = run(make_data(), "erm", options=dataclasses.replace(options, checkpoint=None))
    write, states = checkpoint.Checkpoint.write, []

    def look(self, state):
        states.append({name: tensor.clone() for name, tensor in state.items()})
        write(self, state)
        if len(states) == 6:
            raise SystemExit

    monkeypatch.setattr(checkpoint.Checkpoint, "write", look)
    with pytest.raises(SystemExit):
        run(make_data(), "erm", options=options)
    assert_same(straight, run(make_data(), "erm", options=options))
    for before, after in itertools.pairwise(states):
        runs = [name for name in before.keys() & after.keys() if name.startswith("run.")]
        changed = {name.split(".")[1] for name in runs if not torch.equal(before[name], after[name])}
        assert len(changed) <= 1


def test_what_the_course_has_taken_over_is_stored_with_the_run_that_goes_on(tmp_path, monkeypatch):
    """Else a file could have the final weights of members that, by what it has of their run, have not begun."""
    monkeypatch.setattr(checkpoint.Checkpoint, "is_due", lambda self, group: False)
    goes_on, left = groups._Turns._goes_on, []

    def look(self, number, run):
        before = len(run.members)
        goes = goes_on(self, number, run)
        if len(run.members) < before:
            left.append(torch.equal(self._stored[number]["members"], run.members))
        return goes

    monkeypatch.setattr(groups._Turns, "_goes_on", look)
    run(make_data(), options=dataclasses.replace(LONG, max_epochs=60, checkpoint=tmp_path / "run"))
    assert left
    assert all(left)


@pytest.mark.parametrize("number", [1, 2])
def test_an_interrupt_before_a_resumed_group_has_begun_loses_nothing(tmp_path, monkeypatch, beside, number):
    """What the file has of groups that have not begun is not what the estimator would have."""
    beside(1)
    straight = run(make_data(), "erm", options=LONG)
    beside(2)
    monkeypatch.setattr(checkpoint, "_SECONDS_BETWEEN", 0.0)
    options = dataclasses.replace(LONG, checkpoint=tmp_path / "run")
    write, written = checkpoint.Checkpoint.write, []

    def die(self, state):
        write(self, state)
        written.append(1)
        if len(written) == 5:
            raise SystemExit

    def press(self, *arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint.Checkpoint, "write", die)
        with pytest.raises(SystemExit):
            run(make_data(), "erm", options=options)
    beside(number)
    with monkeypatch.context() as patch:
        patch.setattr(groups._Turns, "_begun", press)
        with pytest.raises(KeyboardInterrupt):
            run(make_data(), "erm", options=options)
    assert_same(straight, run(make_data(), "erm", options=options))
