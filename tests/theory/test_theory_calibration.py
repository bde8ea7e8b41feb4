"""When mixup improves calibration: the exact two-class Gaussian model, of which mixing shrinks the mean."""

import numpy as np
from scipy import special

from probmix.mixup import BetaWeights
from probmix.theory import perturbed_erm


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
