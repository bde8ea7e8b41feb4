"""Moments of mixup as perturbed risk minimisation against enumeration, closed forms and the literature's values."""

import math

import numpy as np
import pytest
import torch
from scipy import integrate, special, stats

from probmix.mixup import BetaWeights
from probmix.theory import mixup_risk, perturbed_erm
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


def test_mixing_shrinks_the_mean_of_the_two_class_gaussian_model():
    # E[y~ x~] over all pairs is c mean(y x) + (1 - c) mean(y) mean(x), with c = (alpha + 1) / (2 alpha + 1)
    random = np.random.default_rng(5)
    x, y = random.normal(size=(20, 2)), random.choice([-1.0, 1.0], 20)
    for alpha in (0.2, 1.0, 5.0):
        found = perturbed_erm(x, y, BetaWeights(alpha))
        product = (found.y * found.x + found.covariance_yx()[:, 0]).mean(0)
        c = (alpha + 1) / (2 * alpha + 1)
        np.testing.assert_allclose(product, c * (y[:, None] * x).mean(0) + (1 - c) * y.mean() * x.mean(0), rtol=1e-10)


def expected_calibration_error(distance, p, n, shrinkages, repetitions):
    """Of plug-in classifiers of N(+-mu, I), |mu| = distance, exactly: mean and deviation over training sets."""
    random = np.random.default_rng(0)
    z, weight = np.polynomial.hermite_e.hermegauss(60)
    weight, errors = weight / weight.sum(), []
    for _ in range(repetitions):
        # y x is N(mu, I) whatever the class
        mean = random.normal(size=p) / n**0.5
        mean[0] += distance
        signal, variance = mean[0] * distance, mean @ mean
        score = signal + variance**0.5 * z
        truth = special.expit(2 * signal * score / variance)
        errors.append([weight @ abs(truth - special.expit(2 * c * score)) for c in shrinkages])
    return np.mean(errors, 0), np.std(errors, 0)


def test_mixup_improves_calibration_where_features_are_many_and_hurts_where_they_are_few():
    alphas = np.array([0.0, 0.2, 0.5, 1.0, 5.0])
    shrinkages = (alphas + 1) / (2 * alphas + 1)
    cases = (5, 50, [0.009, 0.010, 0.019, 0.031, 0.054]), (200, 100, [0.064, 0.052, 0.040, 0.029, 0.011])
    means = []
    for p, n, figures in cases:
        mean, deviation = expected_calibration_error(1.5, p, n, shrinkages, 200)
        # they come from some ten training sets, and test rows whose bins add a little
        assert np.all(abs(mean - figures) < 3 * deviation / 10**0.5 + 0.002)
        means.append(mean)
    assert np.all(np.diff(means[0]) > 0)
    assert np.all(np.diff(means[1]) < 0)


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
