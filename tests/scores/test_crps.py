"""The CRPS in closed form, against sums, quadrature and other libraries."""

import mpmath
import numpy as np
import properscoring
import pyro.distributions as dist
import pytest
import scipy.stats as st
import torch
from score_oracles import DTYPES, RTOL, close, columns, gamma_cases, integral_oracle, poisson_cases, sum_oracle

from probmix.distributions import Gamma, Poisson
from probmix.scores import brier, crps

# -- CRPS: closed forms ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_crps_normal(dtype):
    z = torch.tensor([-30, -10, -3, -1, -1e-3, 0, 0.5, 2, 10, 30], dtype=dtype)
    loc, scale, z = (
        t.flatten()
        for t in torch.broadcast_tensors(
            torch.tensor([0.0, -5.0, 1e3], dtype=dtype).reshape(3, 1, 1),
            torch.tensor([1e-3, 1.0, 1e5], dtype=dtype).reshape(3, 1),
            z,
        )
    )
    y = loc + scale * z
    value = crps(dist.Normal(loc, scale), y)
    assert value.dtype == dtype
    loc, scale, y = (t.double().numpy() for t in (loc, scale, y))
    close(value, properscoring.crps_gaussian(y, loc, scale), 1e-6 if dtype == torch.float32 else 1e-13)
    # an oracle of our own at one point: the integral in 30 digits
    with mpmath.workdps(30):
        expected = mpmath.quad(lambda x: mpmath.ncdf(x) ** 2, [-40, -10, 0, 0.5]) + mpmath.quad(
            lambda x: mpmath.ncdf(-x) ** 2, [0.5, 2, 10, 40]
        )
    close(
        crps(torch.distributions.Normal(torch.zeros(1, dtype=dtype), 1.0), torch.tensor([0.5], dtype=dtype)),
        [float(expected)],
        1e-6,
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", [Poisson, dist.Poisson, torch.distributions.Poisson])
def test_crps_poisson(dtype, kind):
    rate, y = columns(poisson_cases(dtype), dtype)
    value = crps(kind(rate), y)
    assert value.dtype == dtype
    expected = [sum_oracle([1.0], [st.poisson(r)], k) for r, k in zip(rate.tolist(), y.tolist(), strict=True)]
    close(value, expected, RTOL[dtype])


def test_crps_poisson_in_forty_digits():
    for rate, y in [(1e-3, 0), (1e-3, 1), (0.5, 3), (40.0, 50), (200.0, 130)]:
        with mpmath.workdps(40):
            r, p, cumulative, expected = mpmath.mpf(rate), mpmath.exp(-mpmath.mpf(rate)), mpmath.mpf(0), mpmath.mpf(0)
            for k in range(1000):
                cumulative += p
                expected += (cumulative - (k >= y)) ** 2
                p *= r / (k + 1)
        close(crps(Poisson(torch.tensor(rate, dtype=torch.float64)), torch.tensor(y)), float(expected), 3e-9)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", [Gamma, torch.distributions.Gamma])
def test_crps_gamma(dtype, kind):
    concentration, rate, y = columns(gamma_cases(dtype), dtype)
    value = crps(kind(concentration, rate), y)
    assert value.dtype == dtype
    rows = zip(concentration.tolist(), rate.tolist(), y.tolist(), strict=True)
    expected = [integral_oracle([1.0], [st.gamma(a, scale=1 / b)], t, log=True) for a, b, t in rows]
    close(value, expected, RTOL[dtype])


def test_crps_gamma_in_forty_digits():
    for a, b, y in [(0.01, 0.5, 3.0), (0.5, 2.0, 1e-4), (3.0, 0.2, 40.0), (250.0, 10.0, 22.0), (2000.0, 1.0, 2100.0)]:
        with mpmath.workdps(40):
            a, b, y = mpmath.mpf(a), mpmath.mpf(b), mpmath.mpf(y)
            below, shifted = (mpmath.gammainc(s, 0, b * y, regularized=True) for s in (a, a + 1))
            expected = y * (2 * below - 1) - a / b * (2 * shifted - 1) - 1 / (b * mpmath.beta(0.5, a))
        gamma = Gamma(torch.tensor(float(a), dtype=torch.float64), torch.tensor(float(b), dtype=torch.float64))
        close(crps(gamma, torch.tensor(float(y), dtype=torch.float64)), float(expected), 3e-9)


def test_crps_outside_the_support_is_the_distance_to_the_mean_less_half_the_spread():
    gamma = Gamma(torch.tensor([2.0, 2.0]), torch.tensor([1.0, 1.0]))
    at_zero, below = crps(gamma, torch.tensor([0.0, -3.0]))
    assert below - at_zero == pytest.approx(3.0, rel=1e-6)
    at_zero, below = crps(Poisson(torch.tensor([2.0, 2.0])), torch.tensor([0, -3]))
    assert below - at_zero == pytest.approx(3.0, rel=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
def test_ranked_probability_and_brier_score(dtype):
    generator = torch.Generator().manual_seed(1)
    probs = torch.rand((40, 5), generator=generator, dtype=dtype).softmax(-1)
    y = torch.randint(5, (40,), generator=generator)
    p, k = probs.double().numpy(), y.numpy()
    one_hot = np.eye(5)[k]
    categorical = dist.Categorical(probs)
    close(
        crps(categorical, y),
        np.square(p.cumsum(1) - one_hot.cumsum(1)).sum(1),
        2e-6 if dtype == torch.float32 else 1e-12,
    )
    close(brier(categorical, y), np.square(p - one_hot).sum(1), 2e-6 if dtype == torch.float32 else 1e-12)
    # targets as floats count as well, as they come from NumPy
    torch.testing.assert_close(brier(categorical, y.to(dtype)), brier(categorical, y))


def test_categorical_scores_resolve_near_certainty():
    logits = torch.tensor([[30.0, 0.0, 5.0]])
    exact = np.exp([30.0, 0.0, 5.0]) / np.exp([30.0, 0.0, 5.0]).sum()
    categorical = dist.Categorical(logits=logits)
    above = exact[1:].sum()
    close(crps(categorical, torch.tensor([0])), [above**2 + exact[2] ** 2], 1e-5)
    close(brier(categorical, torch.tensor([0])), [above**2 + (exact[1:] ** 2).sum()], 1e-5)
