"""Stirling's remainder and the deviance forms against mpmath, where the textbook forms cancel."""

import math

import mpmath
import numpy as np
import pytest
import torch

from probmix._special import HALF_LOG_2PI, gamma_log_prob, poisson_log_prob, stirling_remainder


def exact_remainder(a: float) -> float:
    with mpmath.workdps(60):
        a = mpmath.mpf(a)
        return float(mpmath.loggamma(a) - (a - 0.5) * mpmath.log(a) + a - mpmath.log(2 * mpmath.pi) / 2)


def test_half_log_two_pi() -> None:
    assert pytest.approx(0.5 * np.log(2 * np.pi), abs=1e-16) == HALF_LOG_2PI


def test_stirling_remainder_is_exact_on_both_sides_of_its_switch() -> None:
    a = np.concatenate([np.logspace(-4, 12, 200), [1.0, 2.0, math.nextafter(10.0, 0), 10.0, 10.0001]])
    got = stirling_remainder(torch.from_numpy(a)).numpy()
    np.testing.assert_allclose(got, [exact_remainder(value) for value in a], atol=5e-15, rtol=1e-14)


def test_derivative_of_the_stirling_remainder() -> None:
    a = torch.tensor([1e-2, 0.7, 9.9, 10.1, 1e3, 1e6], dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(stirling_remainder(a).sum(), a)
    with mpmath.workdps(50):
        want = [float(mpmath.digamma(v) - mpmath.log(v) + 1 / (2 * mpmath.mpf(v))) for v in a.tolist()]
    np.testing.assert_allclose(gradient, want, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("rate", [1e-3, 0.7, 30.0, 1e6, 1e9, 1e13])
def test_poisson_log_prob_at_ratios_around_its_switches(rate: float) -> None:
    """The deviance form changes at y = r / 2 and y = 2 r; between integers it interpolates with the Gamma function."""
    log_rate = math.log(rate)
    with mpmath.workdps(60):
        exact_rate = mpmath.exp(log_rate)
        ratios = [1e-20, 1e-9, 0.1, 0.4999, 0.5001, 1 - 1e-9, 1.0, 1 + 1e-9, 1.999, 2.001, 10.0]
        y = [float(exact_rate * ratio) for ratio in ratios]
        want = [float(v * mpmath.mpf(log_rate) - exact_rate - mpmath.loggamma(mpmath.mpf(v) + 1)) for v in y]
    got = poisson_log_prob(torch.tensor(y, dtype=torch.float64), torch.tensor(log_rate, dtype=torch.float64))
    # one unit in the last place of y changes log p by log(y / r) y 1e-16
    np.testing.assert_allclose(got, want, rtol=1e-13, atol=1e-9 if rate < 1e9 else 1e-3)


def test_poisson_log_prob_of_vanishing_rates() -> None:
    y = torch.tensor([0.0, 1.0, 3.0], dtype=torch.float64)
    got = poisson_log_prob(y, torch.tensor(-800.0, dtype=torch.float64))
    np.testing.assert_allclose(got, [0, -800, -2400 - math.log(6)])
    got = poisson_log_prob(y, torch.tensor(-torch.inf, dtype=torch.float64))
    assert got.tolist() == [0, -torch.inf, -torch.inf]


@pytest.mark.parametrize("concentration", [1e-2, 0.7, 1.0, 30.0, 1e6, 1e9])
def test_gamma_log_prob_at_ratios_around_its_switch(concentration: float) -> None:
    rate = 2.3
    with mpmath.workdps(60):
        a, b = mpmath.mpf(concentration), mpmath.mpf(rate)
        ratios = [1e-9, 0.1, 0.4999, 0.5001, 1 - 1e-9, 1.0, 1 + 1e-9, 1.999, 10.0]
        y = [float(a / b * ratio) for ratio in ratios]
        want = [float(a * mpmath.log(b) - mpmath.loggamma(a) + (a - 1) * mpmath.log(v) - b * v) for v in y]
    tensors = [torch.tensor(value, dtype=torch.float64) for value in (y, concentration, rate)]
    np.testing.assert_allclose(gamma_log_prob(*tensors), want, rtol=1e-12, atol=1e-9)
