"""Rows without labels: the loss against its formula, teachers, members, checkpoints, and the estimators."""

import dataclasses
import re

import numpy as np
import pytest
import torch
from mixup_cases import FixedWeights, generator
from torch import nn
from torch.distributions import kl_divergence
from training_cases import MEMBERS, OPTIONS, Killed, make_data, run

import probmix
from probmix import DensityClassifier, DensityRegressor, GaussianEmbedding, NaturalHead, families, log_linear_pool
from probmix.mixup import Consistency, Mixup, Teacher, consistency_loss, preset
from probmix.training import Unlabelled, checkpoint

X = torch.randn(6, 2, generator=generator(3), dtype=torch.float64)


def network(family="gaussian", seed=0, num_targets=None):
    torch.manual_seed(seed)
    head = NaturalHead(family, 4, num_targets=num_targets)
    return torch.nn.Sequential(torch.nn.Linear(2, 4), torch.nn.Tanh(), head).double()


def partners_of(n, order, seed=1):
    draw = generator(seed)
    columns = [torch.rand((n,), generator=draw).clamp(min=2.0**-24).argsort() for _ in range(order - 1)]
    return torch.stack(columns, -1)


@pytest.mark.parametrize("order", [2, 3])
@pytest.mark.parametrize("family", ["gaussian", "poisson", "gamma"])
@pytest.mark.parametrize("at", ["input", "output", "1", None])
def test_the_loss_is_the_divergence_from_the_teachers_pool(family, order, at):
    student, teacher = network(family), network(family, seed=1)
    mixup = Mixup(at=at, weights=FixedWeights(0.7), order=order) if at else Mixup(at=None, weights=FixedWeights(0.7))
    order = order if at else 2
    loss = consistency_loss(student, teacher, family, X, mixup, generator=generator(1))
    groups = torch.cat([torch.arange(6).unsqueeze(-1), partners_of(6, order)], -1)
    weights = FixedWeights(0.7).sample((6,), None, order)
    kind = families.get(family)
    pooled = kind.distribution(log_linear_pool(teacher(X)[groups], weights))
    rows = student[:2](X) if at == "1" else X
    mixed = (weights.unsqueeze(-1) * rows[groups]).sum(1)
    predicted = kind.distribution(student[2](mixed) if at == "1" else student(mixed))
    torch.testing.assert_close(loss, kl_divergence(pooled, predicted).mean(), rtol=1e-9, atol=1e-10)
    loss.backward()
    assert all(parameter.grad is None for parameter in teacher.parameters())


def test_a_linear_pool_of_the_teachers_densities():
    student, teacher = network(), network(seed=1)
    mixup = Mixup(at="input", weights=FixedWeights(0.7), unlabelled=Consistency(pool="linear"))
    loss = consistency_loss(student, teacher, "gaussian", X, mixup, generator=generator(1))
    (partners,) = partners_of(6, 2).unbind(-1)
    kind = families.get("gaussian")
    own, other = kind.distribution(teacher(X)), kind.distribution(teacher(X)[partners])
    predicted = kind.distribution(student(0.7 * X + 0.3 * X[partners]))
    expected = 0.7 * kl_divergence(own, predicted) + 0.3 * kl_divergence(other, predicted)
    torch.testing.assert_close(loss, expected.mean(), rtol=1e-9, atol=1e-10)


def test_several_targets_add_up():
    student, teacher = network(num_targets=3), network(seed=1, num_targets=3)
    mixup = Mixup(at="input", weights=FixedWeights(0.7))
    loss = consistency_loss(student, teacher, "gaussian", X, mixup, generator=generator(1))
    (partners,) = partners_of(6, 2).unbind(-1)
    kind = families.get("gaussian")
    pooled = kind.distribution(0.7 * teacher(X) + 0.3 * teacher(X)[partners])
    predicted = kind.distribution(student(0.7 * X + 0.3 * X[partners]))
    torch.testing.assert_close(loss, kl_divergence(pooled, predicted).sum(-1).mean(), rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("family", families.names())
def test_every_family(family):
    options = {"categorical": {"num_classes": 3}, "multivariate-gaussian": {"num_targets": 2}}.get(family, {})
    kind = families.get(family, **options)
    student, teacher = network(kind), network(kind, seed=1)
    loss = consistency_loss(student, teacher, kind, X, "mixup", generator=generator(1))
    loss.backward()
    assert loss > 0
    assert all(parameter.grad.isfinite().all() for parameter in student.parameters())


def test_rows_are_drawn_from_an_embedding():
    embedding = GaussianEmbedding(4).double()
    mixup = preset("m-probmix", at="1")
    losses = set()
    for seed in (1, 1, 2):
        given = {"embedding": embedding, "generator": generator(seed)}
        losses.add(consistency_loss(network(), network(seed=1), "gaussian", X, mixup, **given).item())
    assert len(losses) == 2


def test_a_teacher_is_a_moving_average():
    student = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
    teacher = Teacher(student, Consistency(ema=0.75))
    average = student[0].weight.detach().clone()
    for step in range(1, 9):
        with torch.no_grad():
            student[0].weight += 1.0
            student[1].num_batches_tracked += 1
        teacher.update(student)
        decay = min(0.75, 1 - 1 / (step + 1))
        average = decay * average + (1 - decay) * student[0].weight.detach()
        torch.testing.assert_close(teacher.module[0].weight, average)
    assert teacher.module[1].num_batches_tracked == 8
    assert not teacher.module.training
    again = Teacher(student, Consistency(ema=0.75)).load_state_dict(teacher.state_dict())
    assert again.step == 8
    torch.testing.assert_close(again.module[0].weight, average)
    assert not teacher(torch.zeros(2, 2)).requires_grad


def test_the_ramp():
    settings = Consistency(weight=2.0, ramp=0.25)
    assert [settings.at(t) for t in (0.25, 0.5, 1.0)] == [2.0] * 3
    assert settings.at(0.125) == pytest.approx(2 * np.exp(-1.25))
    assert Consistency(ramp=0.0).at(0.0) == 1.0


def with_unlabelled(members=slice(None), rows=50):
    x = torch.randn(rows, 3, generator=generator(9), dtype=torch.float64) * 100 + 2000
    return dataclasses.replace(make_data(members=members), unlabelled=Unlabelled(x=x))


@pytest.mark.parametrize("mixup", ["mixup", "probmix", "erm", "m-probmix", "similarity-mixup"])
def test_members_are_what_they_would_be_alone(mixup):
    joint, _, result = run(with_unlabelled(), mixup)
    plain, _, _ = run(make_data(), mixup)
    assert any(not torch.equal(one, plain.state[name]) for name, one in joint.state.items())
    for m in (0, MEMBERS - 1):
        members = slice(m, m + 1)
        alone, _, own = run(with_unlabelled(members), mixup, members=members)
        assert own.n_epochs.tolist() == [result.n_epochs[m]]
        for name, one in alone.state.items():
            torch.testing.assert_close(one[0], joint.state[name][m], rtol=2e-3, atol=2e-4)


def test_a_killed_run_goes_on_as_if_nothing_had_happened(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "_SECONDS_BETWEEN", 0.0)
    path = tmp_path / "run.safetensors"
    options = dataclasses.replace(OPTIONS, checkpoint=path)
    straight, _, result = run(with_unlabelled(), "mixup")
    write, written = checkpoint.Checkpoint.write, []

    def write_then_kill(self, state):
        write(self, state)
        written.append(1)
        if len(written) == 4:
            raise Killed

    monkeypatch.setattr(checkpoint.Checkpoint, "write", write_then_kill)
    with pytest.raises(Killed):
        run(with_unlabelled(), "mixup", options=options)
    monkeypatch.setattr(checkpoint.Checkpoint, "write", write)
    with pytest.raises(ValueError, match=r"belongs to other data or settings"):
        run(with_unlabelled(rows=49), "mixup", options=options)
    resumed, _, resumed_result = run(with_unlabelled(), "mixup", options=options)
    for one, other in zip(straight.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(one, other)
    assert np.array_equal(result.validation_curve, resumed_result.validation_curve, equal_nan=True)


def test_patience_counts_from_the_end_of_the_ramp():
    options = dataclasses.replace(OPTIONS, max_epochs=40, patience=2, learning_rate=0.05)
    _, _, plain = run(make_data(), "erm", options=options)
    _, _, result = run(with_unlabelled(), "erm", options=options)
    assert plain.n_epochs.min() < 12 <= result.n_epochs.min()
    assert (result.n_epochs == np.minimum(np.maximum(result.best_epoch, 10) + 2, 40)).all()


rng = np.random.default_rng(0)
ROWS, MORE = rng.normal(size=(40, 2)), rng.normal(size=(70, 2))
FAST = {"max_epochs": 3, "random_state": 0, "n_members": 2}


@pytest.mark.parametrize("family", ["gaussian", "poisson", "student-t", "negative-binomial"])
@pytest.mark.parametrize("loss", ["nll", "crps"])
def test_estimators(tmp_path, family, loss):
    y = rng.poisson(np.exp(0.3 * ROWS[:, 0])).astype(float)
    model = DensityRegressor(family, mixup="mixup", loss=loss, **FAST, preset="plain").fit(ROWS, y, X_unlabelled=MORE)
    other = DensityRegressor(family, mixup="mixup", loss=loss, **FAST, preset="plain").fit(ROWS, y)
    assert np.isfinite(model.predict(ROWS)).all()
    assert not np.array_equal(model.predict(ROWS), other.predict(ROWS))
    model.save(tmp_path / "model")
    assert np.array_equal(probmix.load(tmp_path / "model").predict(ROWS), model.predict(ROWS))


def test_classes_and_networks_of_ones_own():
    own = torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.BatchNorm1d(8), torch.nn.Tanh(), torch.nn.Dropout(0.1))
    for built in (None, own):
        model = DensityClassifier("mixup", network=built, **FAST, preset="plain").fit(
            ROWS, ROWS[:, 0] > 0, X_unlabelled=MORE
        )
        np.testing.assert_allclose(model.predict_proba(ROWS).sum(1), 1)


def test_exposures_are_no_matter_of_rows_without_labels():
    y, years = rng.poisson(np.exp(0.3 * ROWS[:, 0])).astype(float), rng.uniform(0.5, 2.0, 40)
    model = DensityRegressor("poisson", **FAST, preset="plain")
    one = model.fit(ROWS, y, exposure=years, X_unlabelled=MORE).predict(ROWS)
    other = model.fit(ROWS, y, exposure=10 * years, X_unlabelled=MORE).predict(ROWS)
    np.testing.assert_allclose(one, 10 * other, rtol=1e-4)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: Consistency(weight=0.0), ValueError, "`weight` of Consistency must be positive and finite; got 0.0."),
        (lambda: Consistency(ema=1.5), ValueError, "`ema` of Consistency must be from 0 to 1; got 1.5."),
        (lambda: Consistency(pool="mean"), ValueError, "unknown pool 'mean'"),
        (lambda: Mixup(unlabelled=1.0), TypeError, "`unlabelled` must be a Consistency; got 1.0."),
        (lambda: DensityRegressor(**FAST, preset="plain").fit(ROWS, ROWS[:, 0], X_unlabelled=MORE[:, :1]), ValueError,
         "X_unlabelled must have shape (n, 2), as X in the fit; got (70, 1)."),
        (lambda: DensityRegressor(**FAST, preset="plain").fit(ROWS, ROWS[:, 0], X_unlabelled=MORE[:0]), ValueError,
         "X_unlabelled must have at least one row; got none."),
        (lambda: DensityRegressor(**FAST, preset="plain").fit(ROWS, ROWS[:, 0], X_unlabelled="text"), ValueError,
         "X_unlabelled must have shape (n, 2), as X in the fit; got ()."),
        (lambda: DensityRegressor(**FAST, preset="plain").fit(ROWS, ROWS[:, 0], X_unlabelled=np.full((3, 2), np.inf)),
         ValueError,
         "`X_unlabelled` must be finite; got infinity at row 0 of column 0 (3 such values in all)."),
    ],
)  # fmt: skip
def test_errors(call, error, message):
    with pytest.raises(error, match=re.escape(message)):
        call()


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64, torch.complex64, torch.complex128])
def test_a_teacher_moves_weights_of_any_kind(kind):
    """Complex ones were taken over as they are."""
    student = nn.Module()
    student.weight = nn.Parameter(torch.tensor([1.0, 2.0], dtype=kind))
    student.register_buffer("running", torch.tensor(3.0, dtype=kind))
    teacher, factor = Teacher(student, Consistency(ema=0.25)), 1 + 2j if kind.is_complex else 3
    with torch.no_grad():
        student.weight *= factor
        student.running *= factor
    teacher.update(student)
    share = 0.25 + 0.75 * factor
    torch.testing.assert_close(teacher.module.weight, share * torch.tensor([1.0, 2.0], dtype=kind), check_dtype=False)
    torch.testing.assert_close(teacher.module.running, share * torch.tensor(3.0, dtype=kind), check_dtype=False)


def test_a_teacher_moves_weights_that_are_shared_once():
    student = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    student[1].weight = student[0].weight
    teacher = Teacher(student, Consistency(ema=0.5))
    before = student[0].weight.detach().clone()
    with torch.no_grad():
        student[0].weight += 1.0
    teacher.update(student)
    torch.testing.assert_close(teacher.module[0].weight, before + 0.5)
    assert teacher.module[1].weight is teacher.module[0].weight


def test_a_teacher_follows_the_module_that_it_was_made_of():
    student = nn.Linear(2, 2)
    student.register_buffer("step", torch.tensor(7))
    teacher = Teacher(student, Consistency(ema=0.75))
    teacher.update(student)
    again = Teacher(student, Consistency(ema=0.75)).load_state_dict(teacher.state_dict())
    assert (again.step, int(again.module.step)) == (1, 7)
    with pytest.raises(ValueError, match=r"^a teacher follows the module that it was made of, .* has '0\.bias'"):
        teacher.update(nn.Sequential(student))
    assert teacher.step == 1


def test_an_empty_batch_without_labels_is_an_error():
    student = nn.Sequential(nn.Linear(2, 2), NaturalHead("gaussian", 2))
    with pytest.raises(ValueError, match=r"^`x` must have at least one row, .* Skip empty batches\.$"):
        consistency_loss(student, Teacher(student), "gaussian", torch.empty(0, 2), preset("mixup"))
