"""Moments of mixup as perturbed risk minimisation against enumeration, closed forms and the literature's values."""

import math

import numpy as np
import pytest
import torch
from scipy import integrate, special, stats

from probmix.mixup import (
    BetaWeights,
    DirichletWeights,
    FixedWeights,
    FoldedBetaWeights,
    LearnedWeights,
    SimilarityWeights,
    TwoPointWeights,
    UniformWeights,
    WWeights,
)
from probmix.random import KeyedRandom, member_keys
from probmix.theory import intrusion, linearity, mixup_risk, perturbed_erm, strength
from probmix.theory._quadrature import fold_nodes

# alpha, and theta_bar, s2, s2 / theta_bar^2 and (s2 + g2) / theta_bar^2 as far as the literature gives them
TABLE = [
    (0.5, 0.5 + 1 / math.pi, 1 / 8 - 1 / math.pi**2, 0.0354, 0.120),
    (1.0, 0.75, 1 / 48, 0.0370, 0.185),
    (10.0, 0.588, 0.0041, 0.0120, 0.515),
]


class Pairs:
    """A law that has no density: 0.6 or 0.9 for the first row, each with probability one half."""

    def sample(self, shape, uniform, order=2):
        first = torch.where(uniform((*shape, 1)).squeeze(-1) < 0.5, 0.6, 0.9)
        return torch.stack([first, 1 - first], -1)


class Dirichlet:
    """Of whole shapes by sums of exponentials, for groups of any size."""

    def sample(self, shape, uniform, order=2):
        gammas = -uniform((*shape, order, 2)).log().sum(-1)
        return gammas / gammas.sum(-1, keepdim=True)


@pytest.mark.parametrize(("alpha", "theta_bar", "s2", "variance", "spread"), TABLE)
def test_table_of_strengths(alpha, theta_bar, s2, variance, spread):
    found = perturbed_erm([[0.0], [1.0]], [0.0, 1.0], BetaWeights(alpha))
    exact = alpha < 10
    assert found.theta_bar == pytest.approx(theta_bar, abs=1e-12 if exact else 5e-4)
    assert found.s2 == pytest.approx(s2, abs=1e-12 if exact else 5e-5)
    assert found.s2 / found.theta_bar**2 == pytest.approx(variance, abs=5e-5)
    assert (found.s2 + found.g2) / found.theta_bar**2 == pytest.approx(spread, abs=5e-4)


@pytest.mark.parametrize("alpha", [0.05, 0.2, 0.5, 1.0, 3.0, 8.0, 8.1, 32.0, 128.0, 1024.0])
def test_moments_of_beta_weights_are_their_closed_forms(alpha):
    found = perturbed_erm([[0.0], [1.0]], [0.0, 1.0], BetaWeights(alpha))
    theta_bar = 1 - special.betainc(alpha + 1, alpha, 0.5)
    s2 = 1 / (4 * (2 * alpha + 1)) - (theta_bar - 0.5) ** 2
    np.testing.assert_allclose([found.theta_bar, found.s2], [theta_bar, s2], rtol=1e-9)
    assert found.g2 == pytest.approx(s2 + (1 - theta_bar) ** 2, rel=1e-10)
    # smooth functions of the larger weight, by the density
    nodes, probabilities = fold_nodes(BetaWeights(alpha), 32)
    law = stats.beta(alpha, alpha)
    expected = 2 * integrate.quad(lambda p: math.tanh(3 * law.isf(p)), 0, 0.5, epsabs=1e-12)[0]
    assert probabilities @ np.tanh(3 * nodes) == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize(("order", "ratio"), [(2, 0.035), (3, 0.056), (4, 0.068), (5, 0.076)])
def test_moments_of_groups(order, ratio):
    found = perturbed_erm([[0.0], [1.0]], [0.0, 1.0], BetaWeights(0.5), order=order)
    assert found.s2 / found.theta_bar**2 == pytest.approx(ratio, abs=5e-4)
    w = np.random.default_rng(0).dirichlet(np.full(order, 0.5), 200_000)
    largest = w.max(1)
    others = (w**2).sum(1) - largest**2
    for value, draws in ((found.theta_bar, largest), (found.g2, others)):
        assert value == pytest.approx(draws.mean(), abs=5 * draws.std() / len(w) ** 0.5)
    assert found.s2 == pytest.approx(largest.var(), rel=0.02)


def test_moments_of_other_laws_are_those_of_their_draws():
    found = perturbed_erm([[0.0], [1.0]], [0.0, 1.0], Pairs())
    np.testing.assert_allclose([found.theta_bar, found.s2, found.g2], [0.75, 0.15**2, 0.085], rtol=1e-4)
    group = perturbed_erm([[0.0], [1.0]], [0.0, 1.0], Dirichlet(), order=3)
    exact = perturbed_erm([[0.0], [1.0]], [0.0, 1.0], BetaWeights(2.0), order=3)
    for name in ("theta_bar", "s2", "g2"):
        assert getattr(group, name) == pytest.approx(getattr(exact, name), rel=5e-3)


@pytest.mark.parametrize(
    "law",
    [
        BetaWeights(0.3),
        DirichletWeights(2.0),
        FoldedBetaWeights(0.7),
        WWeights(0.5),
        WWeights(0.1),
        WWeights(30.0),
        UniformWeights(),
        UniformWeights(0.2, 0.9),
        FixedWeights(0.3),
        TwoPointWeights(),
    ],
    ids=repr,
)
def test_nodes_of_every_law_have_its_moments(law):
    theta, p = fold_nodes(law, 16)
    assert np.all((theta >= 0.5) & (theta <= 1))
    found, expected = perturbed_erm([[0.0], [1.0]], [0.0, 1.0], law), strength(law)
    assert (found.theta_bar, found.s2) == (expected.theta_bar, expected.s2)
    assert found.g2 == pytest.approx(expected.relative_spread * expected.theta_bar**2 - expected.s2, rel=1e-12)
    mean = p @ theta
    np.testing.assert_allclose(
        [mean, p @ (theta - mean) ** 2], [expected.theta_bar, expected.s2], rtol=2e-4, atol=1e-12
    )


@pytest.mark.parametrize(
    "law", [UniformWeights(), FixedWeights(0.4), TwoPointWeights(), DirichletWeights(0.5)], ids=repr
)
def test_groups_of_every_law(law):
    found = perturbed_erm([[0.0], [1.0]], [0.0, 1.0], law, order=3)
    uniform = KeyedRandom(member_keys(1, 1)).uniform
    w = law.sample((200_000,), uniform, 3)[0].double().numpy()
    others = (w**2).sum(1) - w.max(1) ** 2
    np.testing.assert_allclose([found.theta_bar, found.g2], [w.max(1).mean(), others.mean()], rtol=5e-3)


def test_laws_that_look_at_the_rows_are_refused():
    words = r"^the theory is that of weights that do not depend on the rows, unlike (Similarity|Learned)Weights\. "
    x, y, linear = [[0.0], [1.0]], [0.0, 1.0], torch.nn.Linear(1, 1)
    for law in (SimilarityWeights(), LearnedWeights()):
        with pytest.raises(ValueError, match=words):
            perturbed_erm(x, y, law)
        with pytest.raises(ValueError, match=words):
            mixup_risk(linear, x, y, law, family="squared")
        with pytest.raises(ValueError, match=words):
            linearity(linear, x, law)
        with pytest.raises(ValueError, match=words):
            intrusion(x, y, law)


def test_moved_points_and_covariances_are_those_of_all_pairs():
    random = np.random.default_rng(0)
    x, y = random.normal(size=(7, 2)), random.normal(size=(7, 3))
    found = perturbed_erm(x, y, BetaWeights(0.3))
    theta, p = fold_nodes(BetaWeights(0.3), 40)
    both = np.concatenate([x, y], 1)
    moved = np.concatenate([found.x, found.y], 1)
    np.testing.assert_allclose(moved, both.mean(0) + found.theta_bar * (both - both.mean(0)), rtol=1e-13)
    for i in range(7):
        mixed = theta[:, None, None] * both[i] + (1 - theta[:, None, None]) * both
        weight = (p[:, None] / 7 * np.ones(7)).ravel()
        delta = (mixed - moved[i]).reshape(-1, 5)
        np.testing.assert_allclose(weight @ delta, 0, atol=1e-12)
        covariance = (weight[:, None] * delta).T @ delta
        np.testing.assert_allclose(found.covariance_xx()[i], covariance[:2, :2], atol=1e-12)
        np.testing.assert_allclose(found.covariance_yx()[i], covariance[2:, :2], atol=1e-12)
        np.testing.assert_allclose(found.covariance_yy()[i], covariance[2:, 2:], atol=1e-12)


def test_covariances_of_groups_are_those_of_draws():
    random, n, order, draws = np.random.default_rng(1), 5, 4, 400_000
    x = random.normal(size=(n, 2))
    found = perturbed_erm(x, x[:, 0], BetaWeights(0.5), order=order)
    w = np.sort(random.dirichlet(np.full(order, 0.5), draws), 1)[:, ::-1]
    i = 2
    others = x[random.integers(n, size=(draws, order - 1))]
    delta = w[:, :1] * x[i] + (w[:, 1:, None] * others).sum(1) - found.x[i]
    np.testing.assert_allclose(delta.mean(0), 0, atol=4e-3)
    np.testing.assert_allclose(np.cov(delta.T), found.covariance_xx()[i], atol=4e-3)


def test_mixup_of_linear_models_over_all_pairs_is_least_squares():
    random = np.random.default_rng(3)
    x, y = random.normal(size=(15, 3)), random.normal(size=15)
    design = np.concatenate([x, np.ones((15, 1))], 1)
    expected = np.linalg.lstsq(design, y, rcond=None)[0]
    for alpha in (0.2, 1.0, 10.0):
        theta, p = fold_nodes(BetaWeights(alpha), 16)
        mixed, label = (
            theta[:, None, None, None] * v[None, :, None] + (1 - theta[:, None, None, None]) * v[None, None]
            for v in (design, y[:, None])
        )
        root = np.sqrt(np.repeat(p, 225))
        found = np.linalg.lstsq(mixed.reshape(-1, 4) * root[:, None], label.ravel() * root, rcond=None)[0]
        np.testing.assert_allclose(found, expected, atol=1e-10)
        # so says our risk: its gradient is zero there
        linear = torch.nn.Linear(3, 1).double()
        risks = []
        for step in (-1e-4, 0.0, 1e-4):
            with torch.no_grad():
                linear.weight.copy_(torch.from_numpy(expected[:3] + step))
                linear.bias.fill_(expected[3])
            risks.append(mixup_risk(linear, x, y, BetaWeights(alpha), family="squared").risk)
        assert abs(risks[2] - risks[0]) < 1e-11
        assert risks[1] < min(risks[0], risks[2])


def test_errors():
    with pytest.raises(ValueError, match=r"^`y` must have as many rows as `X`, 2; got 3\.$"):
        perturbed_erm([[0.0], [1.0]], [0.0, 1.0, 2.0])
    with pytest.raises(ValueError, match=r"^`order` must be an integer of at least 2; got 1\.$"):
        perturbed_erm([[0.0], [1.0]], [0.0, 1.0], order=1)


def test_plot():
    from matplotlib.figure import Figure

    x = np.random.default_rng(0).normal(size=(12, 2))
    found = perturbed_erm(x, x[:, 0])
    ax = found.plot(Figure().subplots())
    np.testing.assert_allclose(ax.lines[2].get_xydata(), found.x)
    assert len(ax.patches) == 8
    assert ax.get_ylabel() == "second feature"
    assert perturbed_erm(x[:, :1], x[:, 1]).plot(Figure().subplots()).get_ylabel() == "target"
