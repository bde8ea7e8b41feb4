"""How the fit of a stack ends: by the user, killed and resumed, or with candidates that diverge."""

import re
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
from sklearn.base import clone

from probmix import DensityRegressor
from probmix.estimators.presets import PRESETS
from probmix.training import DivergenceError
from probmix.training.course import Course
from probmix.training.run import Run

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

QUICK = {"max_epochs": 8, "hidden_layer_sizes": (8,), "patience": None, "batch_size": 32, "random_state": 0}
RNG = np.random.default_rng(0)
X = RNG.normal(size=(90, 2))
Y = X[:, 0] + 0.4 * RNG.standard_t(3, 90)
NEW = RNG.normal(size=(7, 2))
FAMILIES = ["gaussian", "student-t"]


def test_a_run_that_was_killed_goes_on_and_trains_no_candidate_twice(monkeypatch, tmp_path):
    epochs = []
    train_epoch = Run.train_epoch

    def counted(self):
        if len(epochs) == last:
            raise OSError("killed")
        epochs.append(self.task.objective.family.name)
        return train_epoch(self)

    monkeypatch.setattr(Run, "train_epoch", counted)
    # every epoch is worth a checkpoint
    monkeypatch.setattr("probmix.training.checkpoint._SECONDS_BETWEEN", 0.0)
    model = DensityRegressor(FAMILIES, "erm", n_members=2, validation="folds", **QUICK, preset="plain")
    last = -1
    expected = clone(model).fit(X, Y)
    assert epochs == ["gaussian"] * 8 + ["student-t"] * 8
    model.set_params(checkpoint=tmp_path / "run")
    for last, found in ((3, {"run.0"}), (11, {"run.0", "run.1"})):
        epochs.clear()
        if last == 11:
            epochs += ["gaussian"] * 3
        with pytest.raises(OSError, match="killed"):
            model.fit(X, Y)
        assert {path.name for path in tmp_path.iterdir()} == found
    last = -1
    epochs.clear()
    model.fit(X, Y)
    assert epochs == ["student-t"] * 5
    assert not list(tmp_path.iterdir())
    np.testing.assert_array_equal(model.log_prob(X, Y), expected.log_prob(X, Y))
    np.testing.assert_array_equal(model.stack_["weight"], expected.stack_["weight"])
    for one, other in zip(model.candidates_, expected.candidates_, strict=True):
        np.testing.assert_array_equal(one.validation_curve_, other.validation_curve_)
        np.testing.assert_array_equal(one.best_epoch_, other.best_epoch_)


@pytest.mark.parametrize("epochs", [10, 8], ids=["in the second", "between"])
def test_an_interrupted_stack_is_of_the_candidates_that_there_are(monkeypatch, tmp_path, epochs):
    left = [epochs]
    train_epoch = Run.train_epoch

    def interrupted(self):
        if left[0] == 0:
            raise KeyboardInterrupt
        left[0] -= 1
        return train_epoch(self)

    monkeypatch.setattr(Run, "train_epoch", interrupted)
    model = DensityRegressor(
        [*FAMILIES, "gaussian-mixture"], "erm", **QUICK, checkpoint=tmp_path / "run", preset="plain"
    )
    with pytest.warns(UserWarning, match="interrupted") as caught:
        model.fit(X, Y)
    messages = [str(one.message) for one in caught]
    rest = "candidate 'gaussian-mixture' with mixup 'erm'"
    if epochs == 10:
        assert list(model.stack_["family"]) == FAMILIES
        assert any(
            message.startswith("candidate 'student-t' with mixup 'erm': training was interrupted after 2 of at most 8")
            for message in messages
        )
    else:
        assert list(model.stack_["family"]) == ["gaussian"]
        rest = f"candidate 'student-t' with mixup 'erm', {rest}"
    assert f"training was interrupted, and the stack is without the candidates that had not begun: {rest}." in messages
    assert model.predict(NEW).shape == (7,)
    # what there is of the run stays for another
    assert (tmp_path / "run.0").exists()


@pytest.mark.parametrize(
    ("family", "epochs", "message"),
    [
        ("gaussian", 2, "training was interrupted, and a run of the network for 8 epochs is lost: .* at most 2 epochs"),
        ("gaussian", 3, "training was interrupted after 1 of at most 8 epochs, and the estimator is fitted with the "),
        (None, 4, "training was interrupted, and a run of candidate .* for 8 epochs is lost: .* at most 2 epochs"),
        (None, 5, "candidate 'gaussian-mixture' with .*: training was interrupted after 1 of at most 8 epochs, and "),
    ],
)
def test_a_search_that_is_interrupted_in_a_later_round_says_so(family, epochs, message, monkeypatch):
    """Once in the first epoch of the second round, which leaves nothing, and once in its second."""
    left = [epochs]
    train_epoch = Run.train_epoch

    def interrupted(self):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return train_epoch(self)

    monkeypatch.setattr(Run, "train_epoch", interrupted)
    monkeypatch.setattr("probmix.estimators.search.was_best_early", lambda run, share: False)
    # the longer run is the worse one
    for module in ("search", "single_fit"):
        monkeypatch.setattr(f"probmix.estimators.{module}.loss_of", lambda run: float(run.task.options.max_epochs))
    monkeypatch.setitem(PRESETS, "default", replace(PRESETS["default"], n_members=2, max_epochs=8))
    model = DensityRegressor(family, hidden_layer_sizes=(8,), random_state=0)
    with pytest.warns(UserWarning, match="interrupted") as caught:
        model.fit(X, Y)
    (told,) = [str(one.message) for one in caught if "interrupted" in str(one.message)]
    assert re.match(message, told)
    assert model.params_["max_epochs"] == 2 if family else set(model.stack_["epochs"]) == {2}
    assert model.predict(NEW).shape == (7,)


@pytest.mark.parametrize("diverging", [["student-t"], ["gaussian", "student-t"]], ids=["one", "all"])
def test_candidates_that_diverge_leave_no_file(monkeypatch, tmp_path, diverging):
    result = Course.result

    def diverged(self, threads):
        if self.task.objective.family.name in diverging:
            raise DivergenceError("training diverged.")
        return result(self, threads)

    monkeypatch.setattr(Course, "result", diverged)
    model = DensityRegressor(["gaussian", "student-t"], "erm", **QUICK, checkpoint=tmp_path / "run", preset="plain")
    ends = nullcontext() if len(diverging) == 1 else pytest.raises(DivergenceError)
    with pytest.warns(UserWarning, match="is left out: training diverged"), ends:
        model.fit(X, Y)
    assert not list(tmp_path.iterdir())


def test_an_interrupt_while_a_candidate_is_taken_over_keeps_the_others(monkeypatch):
    take_over = DensityRegressor._take_over

    def interrupted(self, task, *args):
        if task.objective.family.name == "student-t":
            raise KeyboardInterrupt
        take_over(self, task, *args)

    monkeypatch.setattr(DensityRegressor, "_take_over", interrupted)
    model = DensityRegressor(["gaussian", "student-t"], "erm", **QUICK, preset="plain")
    with pytest.warns(UserWarning, match="^training was interrupted, and the stack is without .* 'student-t'"):
        model.fit(X, Y)
    assert list(model.stack_["family"]) == ["gaussian"]


def test_an_interrupt_before_anything_is_there_ends_the_fit(monkeypatch):
    monkeypatch.setattr(Run, "train_epoch", lambda self: (_ for _ in ()).throw(KeyboardInterrupt))
    model = DensityRegressor(FAMILIES, "erm", **QUICK, preset="plain")
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, Y)
    assert not hasattr(model, "candidates_")
