"""Weights that are learned: the step against finite differences, members, the estimators, and what it is not for."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from training_cases import MEMBERS, OPTIONS, make_data, run, task_of

from probmix import DensityRegressor, NaturalHead, families
from probmix.mixup import BetaWeights, LearnedWeights, Mixup, mixup_loss, preset
from probmix.mixup.losses import Losses
from probmix.mixup.objectives import objective
from probmix.mixup.terms import Groups, Inputs, Term, pool_targets
from probmix.networks import MLP, DensityNetwork
from probmix.training.learned import Judges, with_learned_weights
from probmix.training.task import Batch

B, N = 5, 7


def problem(mixup, family="gaussian", order=2):
    """A network of two members in float64, a batch of mixed rows, and rows that judge it."""
    family, draw = families.get(family), torch.Generator().manual_seed(0)
    network = DensityNetwork(family, 3, MLP((4,)), None, 2).double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(0.5 * torch.randn(parameter.shape, generator=draw))
    goal = objective("nll", family)

    def rows(count):
        x = torch.randn(2, count, 3, generator=draw, dtype=torch.float64)
        return x, torch.poisson(torch.exp(x[..., 0]), generator=draw) + (0 if family.is_discrete else 0.5)

    x, y = rows(B)
    shifts = tuple(range(1, order))
    targets = torch.stack([y, *(y.roll(-shift, 1) for shift in shifts)], -1)
    weights = torch.rand(2, B, order, generator=draw, dtype=torch.float64).softmax(-1)
    label = pool_targets(goal, mixup, targets, weights)
    row_weight = torch.rand(2, B, generator=draw, dtype=torch.float64)
    groups = Groups(mixup.layers[0], shifts, weights)
    batch = Batch(Inputs(x, 1), [Term(targets, label, groups, row_weight=row_weight)])
    judge_x, judge_y = rows(N)
    judges = Inputs(judge_x, 1), Term(judge_y.unsqueeze(-1), goal.point_label(judge_y))
    return network, goal, batch, lambda count: judges


def value(network, goal, mixup, batch, judges, logits):
    """The loss of the judges after a step under the weights, (M,), without any graph."""
    (term,), weights = batch.terms, logits.softmax(-1)
    label = pool_targets(goal, mixup, term.targets, weights)
    groups = Groups(term.groups.layer, term.groups.partners, weights)
    losses = Losses(network, goal, mixup, batch.inputs).of(Term(term.targets, label, groups))
    network.zero_grad()
    (term.row_weight * losses).mean(-1).sum().backward()
    before = [parameter.detach().clone() for parameter in network.parameters()]
    with torch.no_grad():
        for parameter in network.parameters():
            parameter -= mixup.weights.step * parameter.grad
        found = Losses(network, goal, mixup, judges(B)[0]).of(judges(B)[1]).mean(-1)
        for parameter, old in zip(network.parameters(), before, strict=True):
            parameter.copy_(old)
    return found


@pytest.mark.parametrize("at", ["output", "input", "hidden.0"])
@pytest.mark.parametrize(("family", "order", "pool"), [("gaussian", 2, "average"), ("poisson", 3, "log-linear"),
                                                       ("student-t", 2, "linear")])  # fmt: skip
def test_the_step_is_down_the_gradient_of_the_rows_that_judge(family, order, pool, at):
    mixup = Mixup(at=at, weights=LearnedWeights(rate=0.7, step=0.3), order=order, label_pool=pool)
    network, goal, batch, judges = problem(mixup, family, order)
    (term,) = with_learned_weights(network, task_of(make_data(), mixup, family), batch, judges).terms
    logits = batch.terms[0].groups.weights.log()
    gradient, h = torch.zeros_like(logits), 1e-5
    for index in np.ndindex(B, order):
        shift = torch.zeros_like(logits)
        shift[(slice(None), *index)] = h
        ends = [value(network, goal, mixup, batch, judges, logits + sign * shift) for sign in (1, -1)]
        gradient[(slice(None), *index)] = (ends[0] - ends[1]) / (2 * h)
    size = gradient.square().mean((-2, -1), keepdim=True).sqrt()
    expected = (logits - 0.7 * gradient / size).softmax(-1)
    torch.testing.assert_close(term.groups.weights, expected, rtol=1e-5, atol=1e-6)
    label = pool_targets(goal, mixup, term.targets, term.groups.weights)
    torch.testing.assert_close(term.label.value, label.value)
    assert network.training


def test_rows_that_stand_alone_have_nothing_to_learn():
    mixup = Mixup(weights=LearnedWeights())
    network, _, batch, judges = problem(mixup)
    (term,) = batch.terms
    alone = term.groups.weights.clone()
    alone[1] = torch.tensor([1.0, 0.0], dtype=torch.float64)
    batch = Batch(batch.inputs, [Term(term.targets, term.label, Groups("output", (1,), alone))])
    (learned,) = with_learned_weights(network, task_of(make_data(), mixup), batch, judges).terms
    assert torch.equal(learned.groups.weights[1], alone[1])
    assert not torch.equal(learned.groups.weights[0], alone[0])


def test_members_learn_as_they_would_alone():
    mixup = preset("meta-probmix")
    options = replace(OPTIONS, max_epochs=3)
    joint, _, _ = run(make_data(), mixup, options=options)
    for m in (0, MEMBERS - 1):
        alone, _, _ = run(make_data(members=slice(m, m + 1)), mixup, options=options, members=slice(m, m + 1))
        for name, one in alone.state.items():
            torch.testing.assert_close(one[0], joint.state[name][m], rtol=2e-3, atol=2e-4)


def test_judges_are_validation_rows_with_their_targets():
    task = task_of(make_data())
    data, scaler = task.data, task.scaler
    draw = Judges(task).epoch(3)
    inputs, term = draw(50)
    for m in range(MEMBERS):
        own = data.rows.x[data.validation_rows[m]]
        assert all((own == row).all(1).any() for row in inputs.x[m])
        known = {tuple(row.tolist()): y.item() for row, y in zip(data.rows.x, data.rows.y, strict=True)}
        y = term.targets[m, :, 0] * scaler.scale[m] + scaler.loc[m]
        assert y.tolist() == pytest.approx([known[tuple(row.tolist())] for row in inputs.x[m]])
    assert not torch.equal(inputs.x, draw(50)[0].x)


@pytest.mark.parametrize("n_members", [1, 2])
def test_networks_of_ones_own(n_members):
    network = torch.nn.Sequential(
        torch.nn.Linear(3, 8), torch.nn.BatchNorm1d(8), torch.nn.Tanh(), torch.nn.Dropout(0.1)
    )
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 3))
    options = {"network": network, "n_members": n_members, "max_epochs": 3, "random_state": 0}
    model = DensityRegressor(mixup="meta-mixup", **options, preset="plain").fit(x, x[:, 0])
    assert np.isfinite(model.predict(x)).all()


X = np.random.default_rng(0).normal(size=(40, 2))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: preset("m-probmix", weights=LearnedWeights()),
         "weights are learned for rows that are mixed as points; got embedding='gaussian'. Use 'point', "),
        (lambda: Mixup(weights=LearnedWeights(), label_weights=BetaWeights()),
         "weights are learned for rows and labels alike; leave `label_weights` out."),
        (lambda: Mixup(weights=LearnedWeights(), label_pool="calibrated"),
         "calibrated labels follow the predictions without a gradient, by which weights are learned; choose another "),
        (lambda: Mixup(label_weights=LearnedWeights()), "weights are learned for rows and labels alike; leave "),
        (lambda: DensityRegressor(mixup="meta-mixup", loss="crps", preset="plain").fit(X, X[:, 0]),
         "loss='crps' has no second derivatives, by which weights are learned. Use loss='nll'."),
        (lambda: DensityRegressor("tweedie", "meta-mixup", preset="plain").fit(X, np.abs(X[:, 0])),
         "the likelihood of the family 'tweedie' has no second derivatives, by which weights are learned. Use "),
        (lambda: DensityRegressor(mixup="meta-mixup", validation_fraction=0.0, preset="plain").fit(X, X[:, 0]),
         "weights are learned from rows that judge: they need `validation` rows. Use another law."),
        (lambda: mixup_loss(NaturalHead("gaussian", 2), "gaussian", torch.zeros(4, 2), torch.zeros(4), "meta-mixup"),
         "weights are learned by the estimators, from rows that judge a step of the network. In a loop of your own "),
    ],
)  # fmt: skip
def test_errors(call, message):
    with pytest.raises(ValueError, match="^" + re.escape(message)):
        call()
