"""How training ends: at the best epoch, by the user's hand, or without having learned anything."""

import re
import warnings

import numpy as np
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import SplineTransformer

import probmix
from probmix import DensityRegressor, fit_together
from probmix.networks import MemberNetwork
from probmix.training import DivergenceError, checkpoint
from probmix.training.batches import BatchSource
from probmix.training.course import Course
from probmix.training.mixing import MixingPhase
from probmix.training.run import Run
from probmix.training.stopping import BestWeights

rng = np.random.default_rng(0)
X = rng.normal(size=(120, 2))
Y = X[:, 0] + 0.3 * rng.normal(size=120)
SETTINGS = {"mixup": "erm", "max_epochs": 8, "random_state": 0, "hidden_layer_sizes": (8,)}


def interrupt_in(monkeypatch, epoch, times=1):
    """Ctrl-C in the middle of an epoch: after its steps, and before its rows have been judged."""
    calls, validation_loss = [], probmix.training.run.Task.validation_loss

    def pressed(self, network, noise):
        calls.append(1)
        # the first look is at the start
        if epoch < len(calls) <= epoch + times:
            raise KeyboardInterrupt
        return validation_loss(self, network, noise)

    monkeypatch.setattr(probmix.training.run.Task, "validation_loss", pressed)


@pytest.mark.parametrize("validation_fraction", [0.2, 0])
def test_an_interrupted_fit_keeps_the_best_weights(monkeypatch, validation_fraction):
    settings = SETTINGS | {"validation_fraction": validation_fraction}
    shorter = DensityRegressor(**settings | {"max_epochs": 4}, preset="plain").fit(X, Y)
    with monkeypatch.context() as patch:
        interrupt_in(patch, 5 if validation_fraction else 4)
        model = DensityRegressor(**settings, preset="plain")
        message = r"^training was interrupted after 4 of at most 8 epochs, and the estimator is fitted with the best "
        with pytest.warns(UserWarning, match=message + r"weights so far\.$"):
            model.fit(X, Y)
    assert model.n_epochs_.tolist() == [4]
    if validation_fraction:
        np.testing.assert_array_equal(model.predict(X), shorter.predict(X))
        np.testing.assert_array_equal(model.validation_curve_, shorter.validation_curve_)
        assert model.best_epoch_ == shorter.best_epoch_


def interrupt_once(monkeypatch, owner, name, time=1):
    """Ctrl-C in place of a call."""
    calls, function = [], getattr(owner, name)

    def pressed(*args, **kwargs):
        calls.append(1)
        if len(calls) == time:
            raise KeyboardInterrupt
        return function(*args, **kwargs)

    monkeypatch.setattr(owner, name, pressed)


def assert_is_of(model, epochs):
    """What came of an interrupted fit is what a fit of so many epochs comes to."""
    shorter = DensityRegressor(**model.get_params() | {"max_epochs": epochs}).fit(X, Y)
    assert model.n_epochs_.max() == epochs
    np.testing.assert_array_equal(model.best_epoch_, shorter.best_epoch_)
    np.testing.assert_array_equal(model.validation_curve_, shorter.validation_curve_)
    np.testing.assert_allclose(model.predict_natural_params(X), shorter.predict_natural_params(X), rtol=1e-10)


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (MemberNetwork, "members"),
        (BatchSource, "members"),
        (BestWeights, "members"),
        (MixingPhase, "members"),
        (Run, "_moments"),
        (Run, "_load_moments"),
        (BestWeights, "load_"),
    ],
)
def test_an_interrupt_while_members_leave_gives_each_its_own_weights(monkeypatch, owner, name):
    model = DensityRegressor(
        "gaussian", "erm", n_members=6, max_epochs=40, patience=2, learning_rate=0.03, random_state=0,
        hidden_layer_sizes=(8,), preset="plain",
    )  # fmt: skip
    epochs, keep = [], Run.keep

    def leave(self, positions):
        with monkeypatch.context() as patch:
            if not epochs:
                epochs.append(self.epoch)
                assert positions.tolist() != [*range(len(positions))]
                interrupt_once(patch, owner, name)
            keep(self, positions)

    monkeypatch.setattr(Run, "keep", leave)
    with pytest.warns(UserWarning, match="^training was interrupted after"):
        model.fit(X, Y)
    assert len(epochs) == 1
    assert_is_of(model, epochs[0])


def test_an_interrupt_between_judging_and_writing_down_loses_neither(monkeypatch):
    interrupt_once(monkeypatch, Course, "note", 5)
    model = DensityRegressor("gaussian", n_members=2, **SETTINGS | {"learning_rate": 0.03}, preset="plain")
    with pytest.warns(UserWarning, match="^training was interrupted after 5 of at most 8 epochs"):
        model.fit(X, Y)
    monkeypatch.undo()
    assert (model.best_epoch_ == 5).any()
    assert_is_of(model, 5)


def test_an_interrupt_after_the_last_epoch_keeps_what_was_trained(monkeypatch):
    monkeypatch.setattr(probmix.training.loop, "raise_floors_", lambda *_: None)
    expected = DensityRegressor("gaussian", **SETTINGS, preset="plain").fit(X, Y).predict(X)
    monkeypatch.setattr(probmix.training.loop, "raise_floors_", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    model = DensityRegressor("gaussian", **SETTINGS, preset="plain")
    with pytest.warns(UserWarning, match="^training was interrupted after 8 of at most 8 epochs"):
        model.fit(X, Y)
    np.testing.assert_array_equal(model.predict(X), expected)


def test_no_bar_is_made_where_none_is_shown(monkeypatch):
    monkeypatch.setattr(probmix.training.groups, "tqdm", lambda *_, **__: pytest.fail("a bar"))
    DensityRegressor(**SETTINGS, preset="plain").fit(X, Y)


def test_an_interrupt_before_the_first_epoch_has_ended_is_raised(monkeypatch):
    model = DensityRegressor(**SETTINGS, preset="plain").fit(X, Y)
    interrupt_in(monkeypatch, 1)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, Y)
    assert not hasattr(model, "network_")


def test_a_second_interrupt_is_raised(monkeypatch):
    model = DensityRegressor(**SETTINGS, preset="plain")
    interrupt_in(monkeypatch, 3)

    def pressed_again(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(Run, "final_state", pressed_again)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, Y)
    assert not hasattr(model, "network_")


def test_members_whose_turn_had_not_come_are_told(monkeypatch):
    monkeypatch.setattr(probmix.training.loop, "members_at_once", lambda network, task: 1)
    monkeypatch.setattr(probmix.training.loop, "groups_beside", lambda *_: 1)
    interrupt_in(monkeypatch, 5)
    model = DensityRegressor(n_members=3, **SETTINGS, preset="plain")
    with pytest.warns(
        UserWarning, match=r"so far\. 2 of 3 members had not begun: they predict the distribution of y\.$"
    ):
        model.fit(X, Y)
    assert model.n_epochs_.tolist() == [4, 0, 0]
    alone = model._component_params(X)[1:, 0]
    torch.testing.assert_close(alone, alone[:, :1].expand_as(alone))


def test_the_checkpoint_of_an_interrupted_fit_stays_and_the_fit_goes_on(monkeypatch, tmp_path):
    monkeypatch.setattr(checkpoint, "_SECONDS_BETWEEN", 0.0)
    path = tmp_path / "run"
    straight = DensityRegressor(**SETTINGS, preset="plain").fit(X, Y)
    model = DensityRegressor(checkpoint=path, **SETTINGS, preset="plain")
    with monkeypatch.context() as patch:
        interrupt_in(patch, 5)
        message = f"The same fit goes on from the checkpoint {str(path)!r}; remove it if it shall not."
        with pytest.warns(UserWarning, match=re.escape(message)):
            model.fit(X, Y)
    assert path.exists()
    np.testing.assert_array_equal(model.fit(X, Y).predict(X), straight.predict(X))
    assert not path.exists()


def test_fits_together_are_given_up(monkeypatch):
    interrupt_in(monkeypatch, 4)
    splits = [np.arange(60), np.arange(60, 120)]
    with pytest.raises(KeyboardInterrupt):
        fit_together(DensityRegressor(**SETTINGS, preset="plain"), X, Y, splits, [0, 1])


def test_the_number_of_epochs_is_always_there(tmp_path):
    model = DensityRegressor(n_members=2, **SETTINGS | {"max_epochs": 60, "patience": 4}, preset="plain").fit(X, Y)
    assert model.n_epochs_.tolist() == np.minimum(model.best_epoch_ + 4, 60).tolist()
    model.save(tmp_path / "model")
    loaded = probmix.load(tmp_path / "model")
    assert loaded.n_epochs_.tolist() == model.n_epochs_.tolist()
    assert loaded.params_ == model.params_
    assert DensityRegressor(**SETTINGS | {"validation_fraction": 0}, preset="plain").fit(X, Y).n_epochs_.tolist() == [8]


# -- fits that learned nothing, or not all -----------------------------------------------------------------------------


def test_a_fit_that_never_beat_the_marginal_says_so_and_predicts_it():
    noise = rng.normal(size=120)
    model = DensityRegressor(
        n_members=2, **SETTINGS | {"learning_rate": 30.0, "max_epochs": 50, "patience": 5}, preset="plain"
    )
    message = (
        r"^2 of 2 members never beat the distribution of y without X, and predict it for all rows\. Lower "
        r"`learning_rate`, raise `patience` or `max_epochs`, or see whether X tells anything of y\.$"
    )
    with pytest.warns(ConvergenceWarning, match=message):
        model.fit(X, noise)
    assert model.best_epoch_.tolist() == [0, 0]
    np.testing.assert_allclose(model.predict(X), noise.mean(), rtol=1e-4)
    marginal = 0.5 * np.log(2 * np.pi * noise.var()) + 0.5
    assert -model.score(X, noise) == pytest.approx(marginal, abs=1e-4)


def test_a_fit_that_is_best_at_the_last_epoch_says_so():
    message = (
        r"^1 of 1 members were best in the last epoch, max_epochs=3, and may still get better\. Raise `max_epochs`\.$"
    )
    settings = SETTINGS | {"max_epochs": 3}
    with pytest.warns(ConvergenceWarning, match=message):
        DensityRegressor(**settings, preset="plain").fit(X, Y)
    for quiet in ({"patience": None}, {"validation_fraction": 0}):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            DensityRegressor(**settings | quiet, preset="plain").fit(X, Y)


def test_a_good_fit_is_quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = DensityRegressor(**SETTINGS | {"max_epochs": 200, "learning_rate": 0.05}, preset="plain").fit(X, Y)
    assert 0 < model.best_epoch_[0] < 200


def test_a_linear_poisson_model_of_spline_columns_is_no_worse_than_the_marginal():
    """Columns of which only a few rows are not zero: standardised by their deviation they reach far out."""
    draw = np.random.default_rng(1)
    raw = draw.exponential(size=(4000, 6)) ** 3
    columns = SplineTransformer(n_knots=8, knots="uniform").fit_transform(raw)
    y = draw.poisson(np.exp(-2 + 0.5 * np.log1p(raw[:, 0])))
    model = DensityRegressor(
        "poisson", "erm", hidden_layer_sizes=(), batch_size=512, max_epochs=15, random_state=0, preset="plain"
    )
    model.fit(columns, y)
    marginal = (y.mean() - y * np.log(y.mean()) + [float(torch.lgamma(torch.tensor(one + 1.0))) for one in y]).mean()
    assert (columns - columns.mean(0)).max() / columns.std(0).min() > 60
    assert -model.score(columns, y) < marginal + 1e-6


def test_a_run_that_diverged_leaves_no_file(monkeypatch, tmp_path):
    monkeypatch.setattr(checkpoint, "_SECONDS_BETWEEN", 0.0)
    model = DensityRegressor("gaussian", learning_rate=1e30, checkpoint=tmp_path / "run", **SETTINGS, preset="plain")
    written, write = [], checkpoint.Checkpoint.write
    monkeypatch.setattr(checkpoint.Checkpoint, "write", lambda self, state: (written.append(1), write(self, state)))
    with pytest.raises(DivergenceError):
        model.fit(X, Y)
    assert written
    assert not list(tmp_path.iterdir())
