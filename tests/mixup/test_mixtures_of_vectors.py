"""Mixtures of families of vectors under any mixup, against torch's densities of every row and every point by itself."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from mixup_cases import FixedWeights, generator
from vector_families import TwoT

from probmix import DensityRegressor, mixup_loss
from probmix.families import Histogram, Label, Mixture, MultivariateGaussian, divergence
from probmix.mixup import Consistency, Mixup, consistency_loss

ROWS, SHARE = 7, 0.6
PRECISION = {torch.float32: 2e-4, torch.float64: 1e-10}


EDGES = (-1.0, -0.2, 0.3, 1.5), (-2.0, -0.1, 0.1, 0.4, 2.0)
# the family, and how many targets a vector has
FAMILIES = [
    *((Mixture(MultivariateGaussian(d), k), d) for d, k in ((1, 2), (2, 2), (3, 3))),
    (Mixture(Histogram(edges=EDGES, smoothing=0.0), 2), 2),
    (Mixture(TwoT(), 2), 2),
    (TwoT(), 2),
]
over_families = pytest.mark.parametrize(("family", "d"), FAMILIES, ids=[f"{f.name}-{d}" for f, d in FAMILIES])


def rows_of(order):
    return torch.stack([(torch.arange(ROWS) + step) % ROWS for step in range(order)], 1)


def a_network(family, dtype=torch.float64, seed=0):
    """A linear network, rows and targets."""
    weight = torch.randn(2, family.num_raw, generator=generator(seed), dtype=torch.float64).to(dtype)
    return lambda x: family.constrain(x @ weight)


def data(d, dtype=torch.float64):
    x = torch.randn(ROWS, 2, generator=generator(1), dtype=torch.float64)
    y = 1.2 * torch.randn(ROWS, d, generator=generator(2), dtype=torch.float64)
    return x.to(dtype), y.to(dtype)


def density_of(family, eta):
    """Log p(y) of one row by the definition of a mixture, from torch's densities."""
    if not isinstance(family, Mixture):
        return lambda y: family.distribution(eta).log_prob(y).item()
    log_weights, params = family.split(eta.double())
    parts = [family.base.distribution(one) for one in params]
    log_weights = log_weights.log_softmax(-1)
    return lambda y: torch.logsumexp(
        torch.stack([w + part.log_prob(y.double()) for w, part in zip(log_weights, parts, strict=True)]), 0
    ).item()


def pooled_density(family, group, weights, pool):
    """Log p(y) of the pool of a group of rows."""
    if pool == "log-linear" and family.pools_log_linearly:
        return density_of(family, family.pool_params(group, weights))
    logs = [density_of(family, one) for one in group]
    return lambda y: np.logaddexp.reduce([w.log().item() + log(y) for w, log in zip(weights, logs, strict=True)])


def by_hand(family, network, x, y, mixup, order):
    """The loss of every group as a double loop over groups and points of the label."""
    rows, weights = rows_of(order), FixedWeights(SHARE).sample((), None, order).to(x.dtype)
    total = 0.0
    for row in rows:
        if mixup.at == "input":
            density = density_of(family, network((weights.unsqueeze(-1) * x[row]).sum(0)))
        else:
            density = pooled_density(family, network(x[row]), weights, mixup.pool)
        # a family without a log-linear pool takes each of the labels there, too
        base = family.base if isinstance(family, Mixture) else family
        is_points = mixup.label_pool == "linear" or (mixup.label_pool == "log-linear" and not base.pools_log_linearly)
        if is_points:
            total -= sum(w.item() * density(one) for w, one in zip(weights, y[row], strict=True))
        elif mixup.label_pool == "average" or isinstance(base, MultivariateGaussian):
            total -= density((weights.unsqueeze(-1) * y[row]).sum(0))
        else:  # on the line of the bins of each target
            centre = [
                bins.at_coordinate((weights.double() * bins.coordinate(one.double())).sum(-1))
                for bins, one in zip(base._bins, y[row].unbind(-1), strict=True)
            ]
            total -= density(torch.stack(centre))
    return total / len(rows)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("order", [2, 3])
@pytest.mark.parametrize("label_pool", ["linear", "log-linear", "average"])
@pytest.mark.parametrize(("at", "pool"), [("output", "log-linear"), ("input", "log-linear"), ("output", "linear")])
@over_families
def test_the_loss_is_that_of_every_point_by_itself(family, d, at, pool, label_pool, order, dtype):
    network, (x, y) = a_network(family, dtype), data(d, dtype)
    mixup = Mixup(at=at, pool=pool, order=order, weights=FixedWeights(SHARE), label_pool=label_pool)
    found = mixup_loss(network, family, x, y, mixup, partners=rows_of(order)[:, 1:])
    assert found.dtype == dtype
    assert found.item() == pytest.approx(by_hand(family, network, x, y, mixup, order), rel=PRECISION[dtype])


@pytest.mark.parametrize(
    ("family", "d", "at"),
    [
        (family, d, at)
        for family, d in FAMILIES
        for at in ("output", "input")
        if at == "input" or family.pools_log_linearly
    ],
    ids=str,
)
def test_gradients_are_those_of_autograd(family, d, at):
    """Of the loss of every point by itself, whose gradients are not by theory."""
    (x, y), rows, weights = data(d), rows_of(3), FixedWeights(SHARE).sample((), None, 3)
    weight = torch.randn(2, family.num_raw, generator=generator(0), dtype=torch.float64).requires_grad_()

    def network(rows):
        return family.constrain(rows @ weight)

    mixup = Mixup(at=at, order=3, weights=FixedWeights(SHARE), label_pool="linear")
    loss = mixup_loss(network, family, x, y, mixup, partners=rows[:, 1:])
    mixed = (weights.unsqueeze(-1) * x[rows]).sum(1)
    eta = network(mixed) if at == "input" else family.pool_params(network(x[rows]), weights.expand(ROWS, -1))
    of_points = [w * family.distribution(eta).log_prob(y[rows[:, k]]).mean() for k, w in enumerate(weights)]
    found, expected = (torch.autograd.grad(one, weight)[0] for one in (loss, -sum(of_points)))
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("loss_of", ["divergence", "consistency", "linear consistency"])
@over_families
def test_divergences_are_means_over_many_draws(family, d, loss_of):
    teacher, student, (x, _) = a_network(family), a_network(family, seed=5), data(d)
    if loss_of == "divergence":
        found = divergence(family, teacher(x), student(x)).mean()
        taught, learned, shares = teacher(x).unsqueeze(1), student(x), torch.ones(1, dtype=torch.float64)
    else:
        pool = "linear" if loss_of == "linear consistency" else "log-linear"
        mixup = Mixup(at="input", weights=FixedWeights(SHARE), unlabelled=Consistency(pool=pool))
        found = consistency_loss(student, teacher, family, x, mixup, generator=generator(1))
        partners = torch.rand((ROWS,), generator=generator(1)).clamp(min=2.0**-24).argsort()
        shares = FixedWeights(SHARE).sample((), None)
        taught = teacher(x)[torch.stack([torch.arange(ROWS), partners], 1)]
        learned = student(SHARE * x + (1 - SHARE) * x[partners])
        if pool == "log-linear" and family.pools_log_linearly:
            taught, shares = family.pool_params(taught, shares.expand(ROWS, -1)).unsqueeze(1), shares.sum(0, True)
    ratios = []
    for k, share in enumerate(shares):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(k)
            density = family.distribution(taught[:, k])
            y = density.sample((40_000,))
        ratios.append(share * (density.log_prob(y) - family.distribution(learned).log_prob(y)).mean(0))
    want = sum(ratios).mean().item()
    assert found.item() == pytest.approx(want, rel=0.03)


def test_one_component_has_the_divergence_of_its_base():
    """Points of a Gaussian have its mean and its covariance: of quadratic functions the rule is exact."""
    for d in (1, 2, 3, 200):
        base = MultivariateGaussian(d)
        teacher, student = (
            base.constrain(0.3 * torch.randn(4, base.num_raw, generator=generator(seed), dtype=torch.float64))
            for seed in (0, 1)
        )
        alone = torch.zeros(4, 1, dtype=torch.float64)
        found = divergence(Mixture(base, 1), *(torch.cat([alone, one], -1) for one in (teacher, student)))
        want = torch.distributions.kl_divergence(base.distribution(teacher), base.distribution(student))
        torch.testing.assert_close(found, want, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize(
    "mixup",
    [
        Mixup(label_pool="linear", clean=0.5),
        Mixup(at="input", order=3, label_pool="linear"),
        Mixup(pool="linear", label_pool="linear"),
        Mixup(at="input", label_pool="average", unlabelled=Consistency()),
    ],
    ids=["output", "input", "linear", "unlabelled"],
)
@pytest.mark.parametrize("base", [MultivariateGaussian(), Histogram(6)], ids=lambda base: base.name)
def test_members_train_as_they_would_alone(base, mixup):
    X, Y = (one.numpy() for one in data(3))
    X, Y = np.tile(X, (8, 1)), np.tile(Y, (8, 1)) + 0.1 * np.random.default_rng(0).normal(size=(8 * ROWS, 3))
    settings = {"max_epochs": 3, "batch_size": 16, "random_state": 0, "hidden_layer_sizes": (6,), "preset": "plain"}
    unlabelled = {"X_unlabelled": X[:20]} if mixup.unlabelled is not None else {}
    joint, alone = (
        DensityRegressor(Mixture(base, 2), mixup, n_members=n, **settings).fit(X, Y, **unlabelled) for n in (2, 1)
    )
    assert np.isfinite(joint.score(X, Y))
    np.testing.assert_allclose(joint.validation_curve_[:, 0], alone.validation_curve_[:, 0], rtol=2e-3, atol=2e-3)


def test_densities_of_which_no_points_are_known():
    density = torch.distributions.Dirichlet(torch.ones(2, 1, 3, dtype=torch.float64))

    @dataclass(frozen=True)
    class Simplex(TwoT):
        def distribution(self, eta):
            return density

    with pytest.raises(NotImplementedError, match="got a Dirichlet"):
        Simplex().density_label(torch.zeros(2, 1, 6), torch.ones(2, 1))


@pytest.mark.parametrize("family", [MultivariateGaussian(2), Histogram(edges=EDGES, smoothing=0.0)], ids=repr)
def test_a_label_of_points_without_a_mixture(family):
    eta = family.constrain(torch.randn(ROWS, family.num_raw, generator=generator(0), dtype=torch.float64))
    y = torch.randn(ROWS, 2, 3, generator=generator(1), dtype=torch.float64)
    weights = torch.randn(ROWS, 1, 3, generator=generator(2), dtype=torch.float64).softmax(-1)
    found = family.expected_nll(eta, Label.one_of(y, weights, family.event_dim))
    want = -sum(weights[:, 0, k] * family.distribution(eta).log_prob(y[..., k]) for k in range(3))
    torch.testing.assert_close(found, want)
