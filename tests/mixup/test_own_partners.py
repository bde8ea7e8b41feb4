"""Calibrated labels of groups in which a row stands more than once: only between different rows is spread missing."""

import dataclasses

import numpy as np
import pytest
import torch
from mixup_cases import GAUSSIAN, FixedWeights, generator
from torch import nn

from probmix import DensityRegressor, GaussianEmbedding, NaturalHead, mixup_loss
from probmix.mixup import Mixup, UniformWeights, WithinDistance, preset
from probmix.mixup.terms import distinct_weights
from probmix.networks import MLP, SharedMLP

ROWS = 12
X = torch.randn(ROWS, 2, generator=generator(), dtype=torch.float64)
Y = torch.rand(ROWS, generator=generator(1), dtype=torch.float64) + 0.5


def network(family="gaussian"):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(2, 5), nn.Tanh(), NaturalHead(family, 5)).double()


@pytest.mark.parametrize("order", [2, 3, 5])
def test_weights_of_distinct_rows(order):
    rows = torch.randint(3, (50, order), generator=generator())
    weights = torch.rand(50, order, generator=generator(1))
    found = distinct_weights(weights, rows)
    for group, shares, merged in zip(rows.tolist(), weights, found, strict=True):
        for k, row in enumerate(group):
            is_first = row not in group[:k]
            total = sum(shares[j].item() for j in range(order) if group[j] == row)
            assert merged[k].item() == pytest.approx(total if is_first else 0)


def test_weights_of_groups_without_a_row_twice_are_what_they_are():
    rows = torch.rand(50, 4, generator=generator()).argsort(-1)
    weights = torch.rand(50, 4, generator=generator(1))
    assert torch.equal(distinct_weights(weights, rows), weights)


@pytest.mark.parametrize("order", [2, 4])
@pytest.mark.parametrize("at", ["input", "0"])
def test_the_spread_that_is_given_back_is_that_of_the_mean_of_different_rows(at, order):
    """Of independent residuals of variance v the mean over rows has the variance v times the squares of their sums."""
    model, spread = network(), 0.1
    partners = torch.randint(4, (ROWS, order - 1), generator=generator(3))
    mixing = Mixup(at, FixedWeights(0.4), label_pool="calibrated", label_spread=spread, order=order)
    loss = mixup_loss(model, "gaussian", X, Y, mixing, partners=partners)
    expected = []
    for row, others in enumerate(partners.tolist()):
        shares = torch.zeros(ROWS, dtype=torch.float64)
        for one, weight in zip([row, *others], [0.4] + [0.6 / (order - 1)] * (order - 1), strict=True):
            shares[one] += weight
        inside = model[1:](shares @ model[0](X)) if at == "0" else model(shares @ X)
        density = GAUSSIAN.distribution(inside)
        square = (shares @ Y - density.mean) ** 2 + (1 - shares.square().sum()) * density.variance.detach() + spread
        expected.append(0.5 * (2 * torch.pi * density.variance).log() + square / (2 * density.variance))
    torch.testing.assert_close(loss, torch.stack(expected).mean())


@pytest.mark.parametrize("order", [2, 3])
@pytest.mark.parametrize("family", ["gaussian", "gamma", "lognormal", "inverse-gaussian", "exponential"])
def test_rows_that_meet_themselves_alone_are_not_mixed(family, order):
    model = network(family)
    mixing = Mixup("input", FixedWeights(0.3), label_pool="calibrated", order=order)
    own = torch.arange(ROWS).unsqueeze(1).expand(-1, order - 1)
    losses = mixup_loss(model, family, X, Y, mixing, partners=own), mixup_loss(model, family, X, Y, "erm")
    for one, other in zip(*(torch.autograd.grad(loss, [*model.parameters()]) for loss in losses), strict=True):
        torch.testing.assert_close(one, other)


def test_of_several_draws_as_of_one():
    model, embedding = network(), GaussianEmbedding(5, "gaussian-constant").double()
    mixing = preset("m-probmix", at="0", label_pool="calibrated", weights=FixedWeights(0.3))
    partners, losses = torch.arange(ROWS).roll(1).clamp(min=6), []
    for draws in (1, 3):
        again = dataclasses.replace(mixing, draws=draws)
        losses.append(
            mixup_loss(
                model, "gaussian", X, Y, again, embedding=lambda *a: 1e24 * embedding(*a), partners=partners,
                generator=generator(),
            )
        )  # fmt: skip
    torch.testing.assert_close(*losses)


@pytest.mark.parametrize(("order", "batch_size", "network"), [
    (2, None, MLP((4,))), (2, 10, MLP((4,))), (3, 10, MLP((4,))), (2, 10, SharedMLP((4,), k=2)),
])  # fmt: skip
def test_an_estimator_of_rows_that_are_far_from_each_other_is_that_without_mixup(order, batch_size, network):
    """The variance was one and a half times as large."""
    features = np.random.default_rng(0).normal(size=(40, 2))
    y = features[:, 0] + np.random.default_rng(1).normal(size=40)
    alone = WithinDistance(1e-9)
    weights = UniformWeights() if order == 2 else FixedWeights(0.4)
    mixing = preset("mixup", weights=weights, label_pool="calibrated", partners=alone, order=order)
    curves = [
        DensityRegressor(
            mixup=mixup, max_epochs=20, batch_size=batch_size, learning_rate=0.02, random_state=0,
            network=network, preset="plain",
        ).fit(features, y).validation_curve_
        for mixup in (mixing, "erm")
    ]  # fmt: skip
    np.testing.assert_allclose(*curves, rtol=1e-3)
