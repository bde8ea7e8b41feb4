"""Rows that choose the epoch, given by `X_val` and `y_val`."""

import numpy as np
import pytest
import torch
from own_zoo import conv1d, flat_mlp, rows

from probmix import DensityClassifier, DensityRegressor
from probmix.estimators import base
from probmix.training import loop, run

FAST = {"max_epochs": 2, "batch_size": 16, "random_state": 0}


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.fixture
def _no_training(monkeypatch):
    def train(*args):
        pytest.fail("training started")

    monkeypatch.setattr(base, "train", train)


@pytest.mark.parametrize("network", [None, flat_mlp])
@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("mixup", ["erm", "m-probmix"])
def test_held_out_rows_choose_the_epoch(network, several, weighted, mixup, monkeypatch):
    """Exactly these rows, unweighted, for all members: the lowest point of the curve is the score of the result.

    But for the floor of the scale, which is raised when training is over.
    """
    monkeypatch.setattr(loop, "raise_floors_", lambda *_: None)
    X, y = rows((3,), 100)
    y = np.stack([y, -2 * y], 1) if several else y
    weight = np.random.default_rng(1).uniform(0.1, 2, 70) if weighted else None
    settings = {"max_epochs": 12, "learning_rate": 0.02, "random_state": 2}
    model = DensityRegressor(network=network, n_members=2, mixup=mixup, **settings, preset="plain")
    model.set_params(n_draws=run.VALIDATION_DRAWS)
    model.fit(X[:70], y[:70], weight, X_val=X[70:], y_val=y[70:])
    best = model.best_epoch_
    assert (best > 0).all()
    for m in range(2):
        assert model.validation_curve_[:, m].argmin() == best[m] - 1
        components = model._component_params(X[70:])[m]
        distribution = model._distribution(components)
        log_prob = distribution.log_prob(torch.from_numpy(y[70:])).logsumexp(0) - np.log(len(components))
        assert -log_prob.mean().item() == pytest.approx(model.validation_curve_[best[m] - 1, m], abs=2e-4)
    if mixup == "erm":
        single = DensityRegressor(network=network, mixup=mixup, **settings, preset="plain")
        single.fit(X[:70], y[:70], weight, X[70:], y[70:])
        assert -single.score(X[70:], y[70:]) == pytest.approx(single.validation_curve_.min(), abs=2e-4)


@pytest.mark.parametrize("network", [None, flat_mlp])
@pytest.mark.parametrize("weighted", [False, True])
def test_held_out_rows_leave_the_training_as_it_is(network, weighted):
    """Neither the units nor the steps depend on them; if the last epoch is the best of both, all is the same."""
    X, y = rows((3,), 100)
    weight = np.random.default_rng(1).uniform(0.1, 2, 70) if weighted else None
    settings = {"max_epochs": 3, "patience": None, "learning_rate": 5e-3, "mixup": "probmix", "random_state": 1}
    one, other, last = (DensityRegressor(network=network, n_members=2, **settings, preset="plain") for _ in range(3))
    one.fit(X[:70], y[:70], weight, X_val=X[20:70], y_val=y[20:70])
    other.fit(X[:70], y[:70], weight, X_val=X[:20], y_val=y[:20])
    last.set_params(validation_fraction=0).fit(X[:70], y[:70], weight)
    assert (one.best_epoch_ == 3).all()
    assert (other.best_epoch_ == 3).all()
    assert not np.array_equal(one.validation_curve_, other.validation_curve_)
    for model in (other, last):
        np.testing.assert_allclose(model.predict(X), one.predict(X), rtol=1e-5)


def test_held_out_rows_are_no_training_rows(monkeypatch):
    X, y = rows((2, 6), 100)
    seen, train = [], base.train

    def remember(network, task):
        seen.append(task.data)
        return train(network, task)

    monkeypatch.setattr(base, "train", remember)
    DensityRegressor(network=conv1d, n_members=2, **FAST, preset="plain").fit(
        X[:70], y[:70], X_val=X[70:], y_val=y[70:]
    )
    data = seen[0]
    for m in range(2):
        for part, expected in ((data.train_rows, slice(0, 70)), (data.validation_rows, slice(70, 100))):
            assert sorted(data.rows.y[part[m]].tolist()) == sorted(y[expected].tolist())
        assert torch.equal(data.unit_rows[m], data.train_rows[m])
    known = {target: row for row, target in zip(X, y, strict=True)}
    assert all(
        np.array_equal(row, known[target])
        for row, target in zip(data.rows.x.numpy(), data.rows.y.tolist(), strict=True)
    )


def test_held_out_rows_of_a_classifier():
    X, y = rows((3,), 200)
    names = np.select([y < -1, y < 1], ["low", "middle"], "high")
    held_out = np.flatnonzero(names == "low")[-20:]  # not even of all classes
    kept = np.setdiff1d(np.arange(200), held_out)
    model = DensityClassifier(mixup="erm", network=flat_mlp, **FAST | {"max_epochs": 9}, preset="plain")
    model.fit(X[kept], names[kept], X_val=X[held_out], y_val=names[held_out])
    assert model.classes_.tolist() == ["high", "low", "middle"]
    assert -model.score(X[held_out], names[held_out]) == pytest.approx(model.validation_curve_.min(), abs=1e-4)


GOOD = rows((3,))
BOTH = r"^`X_val` and `y_val` are features and targets of the same rows: pass both or none\.$"
HELD_OUT_ERRORS = {
    "no targets": (GOOD[0], None, BOTH),
    "no features": (None, GOOD[1], BOTH),
    "columns": (np.zeros((5, 4)), np.ones(5), r"^X_val must have shape \(n, 3\), as X in the fit; got \(5, 4\)\.$"),
    "dimensions": (np.zeros((5, 3, 2)), np.ones(5),
                   r"^X_val must have shape \(n, 3\), as X in the fit; got \(5, 3, 2\)\.$"),
    "rows": (np.zeros((5, 3)), np.ones(4), r"^y_val must have shape \(5,\), as y and X_val say; got \(4,\)\.$"),
    "targets": (np.zeros((5, 3)), np.ones((5, 1)),
                r"^y_val must have shape \(5,\), as y and X_val say; got \(5, 1\)\.$"),
    "infinity": (np.full((5, 3), np.inf), np.ones(5), r"^`X_val` must be finite; got infinity at row 0 of column 0"),
    "NaN in targets": (np.zeros((5, 3)), np.full(5, np.nan), r"^`y_val` must be finite; got NaN at row 0 "),
    "no rows": (np.zeros((0, 3)), np.ones(0),
                r"^X_val must have at least one row; got none\.$"),
    "support": (np.zeros((5, 3)), -np.ones(5), r"^y_val: Gamma targets must be positive; got -1 at row 0\."),
}  # fmt: skip


@pytest.mark.parametrize("case", HELD_OUT_ERRORS)
@pytest.mark.parametrize("network", [None, flat_mlp])
@pytest.mark.usefixtures("_no_training")
def test_bad_held_out_rows(case, network):
    X_val, y_val, message = HELD_OUT_ERRORS[case]
    with pytest.raises(ValueError, match=message):
        DensityRegressor("gamma", network=network, **FAST, preset="plain").fit(
            GOOD[0], np.exp(GOOD[1] / 9), X_val=X_val, y_val=y_val
        )


@pytest.mark.usefixtures("_no_training")
def test_held_out_classes_that_were_not_seen():
    message = r"^y_val has the class 'c', which the fit did not see; classes are \['a' 'b'\]\.$"
    names = np.where(GOOD[1] > 0, "a", "b")
    with pytest.raises(ValueError, match=message):
        DensityClassifier(**FAST, preset="plain").fit(
            GOOD[0], names, X_val=GOOD[0], y_val=np.where(GOOD[1] > 0, "a", "c")
        )
