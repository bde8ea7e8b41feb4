"""Scores against SciPy sums, quadrature and mpmath, over ordinary and extreme values; all oracles are in NumPy."""

import itertools
import math
import re

import mpmath
import numpy as np
import properscoring
import pyro.distributions as dist
import pytest
import scipy.stats as st
import scoringrules
import torch
from torch import Tensor

from probmix import linear_pool
from probmix.distributions import Gamma, Poisson
from probmix.scores import brier, coverage, crps, nll, pit

DTYPES = [torch.float32, torch.float64]
# torch's incomplete gamma functions are good to 1.5e-9
RTOL = {torch.float32: 1e-6, torch.float64: 3e-9}
CRPS_RTOL = {torch.float32: 1e-4, torch.float64: 1e-8}
DEVIATIONS = (-10.0, -3.0, -1.0, -0.1, 0.0, 0.5, 2.0, 5.0, 10.0)


# -- oracles -----------------------------------------------------------------------------------------------------------


def sum_oracle(weights, members, y):
    """Sum of (F - 1[k >= y])^2 for a mixture of SciPy count distributions."""
    low = int(min(y, *(m.mean() - 13 * m.std() for m in members))) - 1
    high = int(max(y, *(m.mean() + 13 * m.std() for m in members))) + 40
    below, above = np.arange(low, y), np.arange(y, high + 1)
    left = sum(w * m.cdf(below) for w, m in zip(weights, members, strict=True))
    right = sum(w * m.sf(above) for w, m in zip(weights, members, strict=True))
    return np.square(left).sum() + np.square(right).sum()


def integral_oracle(weights, members, y, log=False):
    """The defining integral by Gauss-Legendre quadrature between the quantiles of all members; in log x if `log`."""
    levels = np.concatenate([10.0 ** -np.arange(2, 21, 2), np.linspace(0.03, 0.5, 12)])
    cuts = [f(levels) for m in members for f in (m.ppf, m.isf)]
    edges = np.unique(np.concatenate([*cuts, [y]] if y > 0 or not log else cuts))
    if log:
        edges = edges[edges > 1e-300]
    t, w = np.polynomial.legendre.leggauss(48)
    u = np.log(edges) if log else edges
    middle, half = (u[1:] + u[:-1]) / 2, (u[1:] - u[:-1]) / 2
    nodes = middle[:, None] + half[:, None] * t
    x, jacobian = (np.exp(nodes), np.exp(nodes)) if log else (nodes, 1.0)
    cdf = sum(v * m.cdf(x) for v, m in zip(weights, members, strict=True))
    sf = sum(v * m.sf(x) for v, m in zip(weights, members, strict=True))
    inside = (half[:, None] * w * jacobian * np.where(x < y, cdf, sf) ** 2).sum()
    return inside + (max(0.0, edges[0] - y) if log else 0.0)


def poisson_cases(dtype):
    for exponent, lead in itertools.product(range(-3, 7), (1.0, 3.0)):
        rate = torch.tensor(lead * 10.0**exponent if exponent < 6 else 1e6, dtype=dtype).item()
        for z in DEVIATIONS:
            yield rate, max(0.0, float(math.ceil(rate + z * math.sqrt(rate)) if z > 0 else round(rate + z * rate**0.5)))


def gamma_cases(dtype):
    for mean, shape, z in itertools.product((1e-3, 0.7, 30.0, 1e6), (1e-2, 0.3, 1.0, 5.0, 80.0, 1e4, 1e6), DEVIATIONS):
        concentration = torch.tensor(shape, dtype=dtype)
        rate = torch.tensor(shape / mean, dtype=dtype)
        y = max(mean * (1 + z / math.sqrt(shape)), 1e-3 * mean)
        yield concentration.item(), rate.item(), torch.tensor(y, dtype=dtype).item()


def columns(cases, dtype):
    return torch.tensor(list(cases), dtype=dtype).unbind(-1)


def close(value: Tensor, expected, rtol):
    np.testing.assert_allclose(value.double().numpy(), expected, rtol=rtol, atol=0)


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


# -- CRPS: mixtures ----------------------------------------------------------------------------------------------------


def normal_mixture(dtype=torch.float64):
    loc = torch.tensor([[0.0, 3.0, -1.0], [5.0, 5.0, 5.0], [1e4, -1e4, 0.0]], dtype=dtype)
    scale = torch.tensor([[1.0, 0.2, 3.0], [1e-3, 1.0, 1e3], [1.0, 1.0, 1.0]], dtype=dtype)
    weights = torch.tensor([[0.2, 0.5, 0.3], [0.1, 0.8, 0.1], [0.3, 0.3, 0.4]], dtype=dtype)
    return dist.MixtureSameFamily(dist.Categorical(weights), dist.Normal(loc, scale)), weights, loc, scale


@pytest.mark.parametrize("dtype", DTYPES)
def test_crps_normal_mixture(dtype):
    mixture, weights, loc, scale = normal_mixture(dtype)
    for shift in (-40.0, 0.3, 4.7):
        y = torch.tensor([shift, shift, shift], dtype=dtype)
        value = crps(mixture, y)
        assert value.dtype == dtype
        w, m, s = (t.double().numpy() for t in (weights, loc, scale))
        w = w / w.sum(1, keepdims=True)
        expected = [
            integral_oracle(w[i], [st.norm(*p) for p in zip(m[i], s[i], strict=True)], y[i].item()) for i in range(3)
        ]
        close(value, expected, 1e-6 if dtype == torch.float32 else 1e-10)
        close(value, scoringrules.crps_mixnorm(y.double().numpy(), m, s, w), 1e-6 if dtype == torch.float32 else 1e-10)


def test_crps_normal_mixture_in_blocks(monkeypatch):
    mixture, *_ = normal_mixture()
    y = torch.tensor([0.0, 1.0, 2.0], dtype=torch.float64)
    whole = crps(mixture, y)
    monkeypatch.setattr("probmix.scores._normal._BLOCK", 1)
    torch.testing.assert_close(crps(mixture, y), whole)


@pytest.mark.parametrize("dtype", DTYPES)
def test_crps_poisson_mixture(dtype):
    cases = [
        ([0.5, 0.3, 0.2], [0.5, 3.0, 40.0], 2),
        ([0.2, 0.3, 0.5], [1e-3, 1e-3, 2e-3], 0),
        ([1 - 2e-6, 1e-6, 1e-6], [0.5, 1e5, 2e5], 1),
        ([0.5, 0.3, 0.2], [5.0, 250.0, 1e4], 256),
        ([0.5, 0.3, 0.2], [5.0, 250.0, 1e4], 257),
        ([0.5, 0.3, 0.2], [5.0, 250.0, 1e4], 9000),
        ([0.2, 0.3, 0.5], [250.0, 260.0, 270.0], 255),
        ([0.2, 0.3, 0.5], [1e6, 1.001e6, 1.3e6], 1_000_500),
        ([0.2, 0.3, 0.5], [1e6, 1.001e6, 1.3e6], 900_000),
        ([0.2, 0.3, 0.5], [300.0, 600.0, 900.0], 0),
        ([0.2, 0.3, 0.5], [300.0, 600.0, 900.0], 5000),
    ]
    weights, rate = (torch.tensor([c[i] for c in cases], dtype=dtype) for i in (0, 1))
    y = torch.tensor([c[2] for c in cases])
    value = crps(dist.MixtureSameFamily(dist.Categorical(weights), dist.Poisson(rate)), y)
    assert value.dtype == dtype
    w = weights.double().numpy()
    w = w / w.sum(1, keepdims=True)
    rows = zip(w, rate.tolist(), y.tolist(), strict=True)
    close(value, [sum_oracle(v, [st.poisson(r) for r in rates], k) for v, rates, k in rows], CRPS_RTOL[dtype] / 2)


@pytest.mark.parametrize("block", [1, 1000])
def test_crps_in_blocks(block, monkeypatch):
    rate = torch.tensor([[2.0, 9.0], [5.0, 500.0]], dtype=torch.float64)
    poisson = linear_pool(Poisson(rate), torch.tensor([0.5, 0.5]).double())
    gamma = linear_pool(Gamma(rate, torch.ones_like(rate)), torch.tensor([0.5, 0.5]).double())
    y = torch.tensor([3.0, 300.0], dtype=torch.float64)
    whole = crps(poisson, y), crps(gamma, y)
    monkeypatch.setattr("probmix.scores._sums.BLOCK", block)
    monkeypatch.setattr("probmix.scores._quadrature.BLOCK", block)
    torch.testing.assert_close((crps(poisson, y), crps(gamma, y)), whole)


@pytest.mark.parametrize("dtype", DTYPES)
def test_crps_gamma_mixture(dtype):
    cases = [
        ([0.3, 0.7], [2.0, 9.0], [1.0, 0.5], 4.0),
        ([0.3, 0.7], [0.1, 50.0], [1.0, 2.0], 0.01),
        ([0.5, 0.5], [1e4, 1e4], [1e4, 1e1], 500.0),
        ([0.999, 0.001], [3.0, 1e6], [300.0, 1.0], 0.02),
        ([0.4, 0.6], [5.0, 6.0], [1e-6, 1e-6], 1e7),
        ([0.8, 0.2], [0.1, 8e3], [4.0, 4.5], 0.02),
    ]
    weights, concentration, rate = (torch.tensor([c[i] for c in cases], dtype=dtype) for i in range(3))
    y = torch.tensor([c[3] for c in cases], dtype=dtype)
    value = crps(dist.MixtureSameFamily(dist.Categorical(weights), dist.Gamma(concentration, rate)), y)
    assert value.dtype == dtype
    w = weights.double().numpy()
    w = w / w.sum(1, keepdims=True)
    rows = zip(w, concentration.tolist(), rate.tolist(), y.tolist(), strict=True)
    members = [(v, [st.gamma(a, scale=1 / b) for a, b in zip(*p, strict=True)], t) for v, *p, t in rows]
    close(value, [integral_oracle(v, m, t, log=True) for v, m, t in members], CRPS_RTOL[dtype] / 2)


@pytest.mark.parametrize("name", ["Normal", "Poisson", "Gamma"])
def test_a_mixture_of_one_or_of_equal_members_is_the_member(name):
    rows = torch.tensor([0.3, 2.0, 70.0, 5e3], dtype=torch.float64)
    y = torch.tensor([1.0, 5.0, 61.0, 5100.0], dtype=torch.float64)
    make = {
        "Normal": lambda r: dist.Normal(r, r.sqrt()),
        "Poisson": Poisson,
        "Gamma": lambda r: Gamma(r, torch.ones_like(r)),
    }[name]
    for members, weights in [(1, [1.0]), (3, [0.2, 0.3, 0.5])]:
        mixture = linear_pool(make(rows.unsqueeze(-1).expand(4, members)), torch.tensor(weights).double())
        torch.testing.assert_close(crps(mixture, y), crps(make(rows), y), rtol=5e-9, atol=0)
        torch.testing.assert_close(nll(mixture, y), nll(make(rows), y), rtol=1e-7, atol=1e-7)


def test_crps_of_a_mixture_of_classes_is_that_of_the_pooled_classes():
    probs = torch.tensor([[[0.7, 0.2, 0.1], [0.1, 0.1, 0.8]]]).double()
    weights = torch.tensor([[0.25, 0.75]]).double()
    mixture = torch.distributions.MixtureSameFamily(torch.distributions.Categorical(weights), dist.Categorical(probs))
    pooled = linear_pool(dist.Categorical(probs), weights)
    for y in range(3):
        torch.testing.assert_close(crps(mixture, torch.tensor([y])), crps(pooled, torch.tensor([y])))


@pytest.mark.parametrize("dtype", DTYPES)
def test_crps_from_the_cdf(dtype):
    y = np.array([0.05, 0.9, 4.0, 300.0])
    target, one = torch.tensor(y, dtype=dtype), torch.ones(4, dtype=dtype)
    y = target.double().numpy()
    rtol = 1e-6 if dtype == torch.float32 else 1e-9
    close(
        crps(torch.distributions.LogNormal(0.4 * one, 0.5 * one), target),
        scoringrules.crps_lognormal(y, torch.tensor(0.4, dtype=dtype).item(), 0.5),
        rtol,
    )
    close(crps(dist.Exponential(2 * one), target), scoringrules.crps_exponential(y, 2.0), rtol)
    close(crps(dist.Laplace(0 * one, 2 * one), -target), scoringrules.crps_laplace(-y, 0.0, 2.0), rtol)
    close(crps(dist.Uniform(0 * one, one), target), scoringrules.crps_uniform(y, 0.0, 1.0), rtol)


@pytest.mark.parametrize("make", [dist.Normal, Gamma, dist.LogNormal])
def test_no_rows_give_no_scores(make):
    none = torch.ones(0)
    mixture = linear_pool(make(torch.ones(0, 2), torch.ones(0, 2)), torch.full((0, 2), 0.5))
    for distribution in (make(none, none), mixture):
        assert crps(distribution, none).shape == nll(distribution, none).shape == (0,)


def test_several_targets_are_averaged_over_their_marginals():
    torch.manual_seed(0)
    y = torch.tensor([[1.0, 4.0], [2.0, 300.0], [0.0, 7.0]], dtype=torch.float64)
    rate = torch.rand((3, 4, 2), dtype=torch.float64) * 5 + torch.tensor([1.0, 270.0]).double()
    weights = torch.rand((3, 4), dtype=torch.float64).softmax(-1)
    for make in (Poisson, lambda r: Gamma(r, 0.5 + r / 300), lambda r: dist.Normal(r, r.sqrt())):
        joint = linear_pool(make(rate).to_event(1), weights)
        single = torch.stack([crps(linear_pool(make(rate[..., j]), weights), y[:, j]) for j in range(2)])
        assert crps(joint, y).shape == (3,)
        torch.testing.assert_close(crps(joint, y), single.mean(0))
        alone = crps(make(rate[:, 0]).to_event(1), y)
        torch.testing.assert_close(alone, crps(make(rate[:, 0]), y).mean(-1))
    classes = dist.Categorical(torch.rand(3, 2, 4)).to_event(1)
    labels = torch.tensor([[0, 1], [2, 3], [3, 3]])
    assert crps(classes, labels).shape == brier(classes, labels).shape == nll(classes, labels).shape == (3,)


# -- gradients ---------------------------------------------------------------------------------------------------------


def test_gradients_are_finite_in_float32():
    rate, y = columns(poisson_cases(torch.float32), torch.float32)
    rate.requires_grad_()
    for score in (crps, nll):
        (gradient,) = torch.autograd.grad(score(torch.distributions.Poisson(rate), y).sum(), rate)
        assert gradient.isfinite().all()
    concentration, rate, y = columns(gamma_cases(torch.float32), torch.float32)
    y = torch.cat([y, torch.zeros(3)])
    concentration, rate = torch.cat([concentration, torch.tensor([0.5, 1.0, 9.0])]), torch.cat([rate, torch.ones(3)])
    concentration.requires_grad_()
    rate.requires_grad_()
    for score, rows in ((crps, slice(None)), (nll, slice(-3))):
        values = score(torch.distributions.Gamma(concentration, rate), y)[rows]
        gradients = torch.autograd.grad(values.sum(), (concentration, rate))
        assert all(g.isfinite().all() for g in gradients)
    z = torch.tensor([-30.0, 0.0, 30.0])
    scale = torch.tensor([1e-3, 1.0, 1e3], requires_grad=True)
    (gradient,) = torch.autograd.grad(crps(dist.Normal(torch.zeros(3), scale), z * scale.detach()).sum(), scale)
    assert gradient.isfinite().all()


def test_gradients_agree_with_differences():
    def variable(*values):
        return torch.tensor(values, dtype=torch.float64, requires_grad=True)

    y = torch.tensor([0.0, 3.0, 700.0], dtype=torch.float64)
    a, b = variable(0.6, 2.0, 700.0), variable(1.0, 0.5, 1.1)
    check = torch.autograd.gradcheck
    assert check(lambda m, s, t: crps(dist.Normal(m, s, validate_args=False), t), (a, b, variable(0.1, 3.0, 1e3)))
    assert check(lambda r: crps(Poisson(r, validate_args=False), y), (a,))
    assert check(lambda s, r: crps(Gamma(s, r, validate_args=False), y + 0.5), (a, b))
    assert check(lambda logits: crps(dist.Categorical(logits=logits), torch.tensor(1)), (variable(0.3, 1.0, -2.0),))
    assert check(lambda logits: brier(dist.Categorical(logits=logits), torch.tensor(1)), (variable(0.3, 1.0, -2.0),))

    def pooled(make):
        def score(p, q, logit):
            w = torch.stack([logit.sigmoid(), 1 - logit.sigmoid()], -1)
            return crps(linear_pool(make(torch.stack([p, 1.5 * p], -1), torch.stack([q, q], -1)), w), y)

        return score

    logits = variable(0.1, -0.4, 0.9)
    assert check(pooled(lambda p, q: dist.Normal(p, q, validate_args=False)), (a, b, logits))
    assert check(pooled(lambda p, q: Poisson(p * q, validate_args=False)), (a, b, logits), atol=1e-4)
    fixed = a.detach()
    assert check(
        lambda q, logit: pooled(lambda p, r: Gamma(p, r, validate_args=False))(fixed, q, logit), (b, logits), atol=1e-4
    )


# -- NLL ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_nll(dtype):
    rtol = 1e-6 if dtype == torch.float32 else 1e-10
    rate, y = columns(poisson_cases(dtype), dtype)
    value = nll(torch.distributions.Poisson(rate), y)
    assert value.dtype == dtype
    close(value, -st.poisson(rate.double().numpy()).logpmf(y.double().numpy()), max(rtol, 2e-8))
    concentration, rate, y = columns(gamma_cases(dtype), dtype)
    value = nll(torch.distributions.Gamma(concentration, rate), y).double()
    a, b, t = (v.double().numpy() for v in (concentration, rate, y))
    with mpmath.workdps(40):
        expected = [
            float(mpmath.loggamma(k) - k * mpmath.log(r) - (mpmath.mpf(k) - 1) * mpmath.log(s) + mpmath.mpf(r) * s)
            for k, r, s in zip(a, b, t, strict=True)
        ]
    np.testing.assert_allclose(value.numpy(), expected, rtol=rtol, atol=rtol)
    mixture, *_ = normal_mixture(dtype)
    y = torch.tensor([0.0, 4.0, 9999.0], dtype=dtype)
    close(nll(mixture, y), -mixture.log_prob(y).double().numpy(), 1e-5 if dtype == torch.float32 else 1e-12)
    assert nll(mixture, y).dtype == dtype


def test_nll_of_a_float32_poisson_mixture_is_exact():
    rate = torch.tensor([[1e6, 1.002e6]])
    mixture = torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(torch.tensor([[0.5, 0.5]])), torch.distributions.Poisson(rate)
    )
    density = 0.5 * sum(st.poisson(r).pmf(1_000_500) for r in rate[0].tolist())
    close(nll(mixture, torch.tensor([1_000_500])), [-math.log(density)], 1e-6)


def test_nll_at_the_border_of_the_support():
    poisson = Poisson(torch.tensor([1.0, 1.0]), validate_args=False)
    assert nll(poisson, torch.tensor([0.0, -1.0])).tolist() == [1.0, math.inf]
    gamma = Gamma(torch.tensor([0.5, 1.0, 2.0, 2.0]), torch.full((4,), 2.0), validate_args=False)
    value = nll(gamma, torch.tensor([0.0, 0.0, 0.0, -1.0])).tolist()
    assert value == [-math.inf, pytest.approx(-math.log(2.0)), math.inf, math.inf]
    mute = dist.MixtureSameFamily(
        dist.Categorical(torch.tensor([[1.0, 0.0]])), dist.Normal(torch.tensor([[0.0, 30.0]]), torch.ones(1, 2))
    )
    close(nll(mute, torch.tensor([30.0])), [450 + 0.5 * math.log(2 * math.pi)], 1e-6)


# -- propriety ---------------------------------------------------------------------------------------------------------


LEVELS = (np.arange(4000) + 0.5) / 4000
COUNTS = np.arange(0, 60)
CLASSES = np.arange(3)
PROPER = {
    "normal": (lambda p: dist.Normal(p[0], p[1]), (1.0, 2.0), st.norm(1, 2).ppf(LEVELS), None, (crps, nll)),
    "poisson": (lambda p: Poisson(p[0]), (4.0,), COUNTS, st.poisson(4).pmf(COUNTS), (crps, nll)),
    "gamma": (lambda p: Gamma(p[0], p[1]), (1.5, 2.0), st.gamma(1.5, scale=0.5).ppf(LEVELS), None, (crps, nll)),
    "categorical": (
        lambda p: dist.Categorical(p),
        (0.5, 0.3, 0.2),
        CLASSES,
        np.array([0.5, 0.3, 0.2]),
        (crps, nll, brier),
    ),
    "poisson mixture": (
        lambda p: linear_pool(Poisson(p[:2]), torch.tensor([0.4, 0.6]).double()),
        (1.0, 7.0),
        COUNTS,
        0.4 * st.poisson(1).pmf(COUNTS) + 0.6 * st.poisson(7).pmf(COUNTS),
        (crps, nll),
    ),
    "lognormal": (lambda p: dist.LogNormal(p[0], p[1]), (0.0, 0.5), st.lognorm(0.5).ppf(LEVELS), None, (crps, nll)),
}


@pytest.mark.parametrize("name", PROPER)
def test_the_expected_score_is_smallest_at_the_truth(name):
    make, truth, y, weights, scores = PROPER[name]
    y = torch.as_tensor(y)
    weights = np.full(len(y), 1 / len(y)) if weights is None else weights
    truth = torch.tensor(truth, dtype=torch.float64)
    for score in scores:

        def expected(parameters, score=score):
            distribution = make(parameters)
            values = score(distribution.expand((len(y),)), y)
            return float((values.numpy() * weights).sum())

        best = expected(truth)
        for i, factor in itertools.product(range(len(truth)), (0.7, 0.93, 1.07, 1.3)):
            other = truth.clone()
            other[i] = truth[i] * factor if truth[i] else math.log(factor)
            assert expected(other) > best + 1e-6, (score.__name__, i, factor)


# -- calibration -------------------------------------------------------------------------------------------------------


def calibrated(name, rows=4000):
    """A distribution whose parameters differ by row."""
    spread = torch.linspace(0.2, 30.0, rows, dtype=torch.float64)
    pair = torch.stack([spread, 3 * spread], -1)
    weights = torch.tensor([0.3, 0.7]).double()
    return {
        "normal": lambda: dist.Normal(spread, spread.sqrt()),
        "poisson": lambda: Poisson(spread),
        "gamma": lambda: Gamma(spread, torch.ones_like(spread)),
        "categorical": lambda: dist.Categorical(torch.stack([spread, spread.sqrt(), torch.ones_like(spread)], -1)),
        "normal mixture": lambda: linear_pool(dist.Normal(pair, pair.sqrt()), weights),
        "poisson mixture": lambda: linear_pool(Poisson(pair), weights),
        "two targets": lambda: Poisson(pair).to_event(1),
    }[name]()


CALIBRATED = ["normal", "poisson", "gamma", "categorical", "normal mixture", "poisson mixture", "two targets"]


@pytest.mark.parametrize("name", CALIBRATED)
def test_pit_is_uniform_under_the_truth(name):
    torch.manual_seed(5)
    distribution = calibrated(name)
    y = distribution.sample()
    before = torch.get_rng_state()
    values = pit(distribution, y)
    assert torch.equal(before, torch.get_rng_state())
    assert values.shape == y.shape
    assert values.dtype == torch.float64
    assert st.kstest(values.flatten().numpy(), "uniform").pvalue > 0.01
    torch.testing.assert_close(values, pit(distribution, y), rtol=0, atol=0)
    if name in ("normal", "gamma", "normal mixture"):
        return
    draws = [pit(distribution, y, torch.Generator().manual_seed(seed)) for seed in (3, 3, 4)]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    assert st.kstest(pit(distribution, y + (name != "categorical")).flatten().numpy(), "uniform").pvalue < 1e-6 or (
        name == "categorical"
    )


def test_pit_of_counts_lies_between_neighbouring_values_of_the_cdf():
    value = pit(Poisson(torch.full((1000,), 2.0)), torch.full((1000,), 3.0)).numpy()
    low, high = st.poisson(2).cdf([2, 3])
    assert low <= value.min() < low + 0.01
    assert high - 0.01 < value.max() <= high


@pytest.mark.parametrize("name", CALIBRATED)
def test_coverage(name):
    torch.manual_seed(6)
    distribution = calibrated(name)
    y = distribution.sample()
    for level in (0.5, 0.9):
        covered = coverage(distribution, y, level)
        assert covered.shape == y.shape
        assert covered.dtype == torch.float64
        assert set(covered.unique().tolist()) <= {0.0, 1.0}
        rate = covered.mean().item()
        assert rate > level - 0.025
        if name in ("normal", "gamma", "normal mixture"):
            assert rate < level + 0.025


def test_coverage_includes_the_ends_of_the_interval():
    poisson = st.poisson(4.0)
    y = np.arange(15)
    expected = (poisson.ppf(0.05) <= y) & (y <= poisson.ppf(0.95))
    value = coverage(Poisson(torch.full((15,), 4.0)), torch.tensor(y), 0.9)
    assert value.dtype == torch.float32
    assert value.tolist() == expected.astype(float).tolist()


# -- errors ------------------------------------------------------------------------------------------------------------


def raises(kind, message):
    return pytest.raises(kind, match=f"^{re.escape(message)}$")


@pytest.mark.parametrize("score", [nll, crps, pit, lambda d, y: coverage(d, y, 0.9)])
def test_bad_targets(score):
    normal = dist.Normal(torch.zeros(3), 1.0)
    rule = "`y` must broadcast to batch shape + event shape of the distribution, (3,); got shape "
    with raises(ValueError, rule + "(3, 1). Pass y.reshape((3,))."):
        score(normal, torch.zeros(3, 1))
    with raises(ValueError, rule + "(4,). Pass one target for each row, or `expand` the distribution."):
        score(normal, torch.zeros(4))
    with raises(ValueError, rule.replace("(3,)", "(3, 1)") + "(3,). Pass y.reshape((3, 1))."):
        score(dist.Normal(torch.zeros(3, 1), 1.0), torch.zeros(3))
    with raises(ValueError, "`y` must be finite; got nan at row 1. Drop or impute these rows."):
        score(normal, torch.tensor([0.0, math.nan, 1.0]))
    message = "`y` must be a whole number for a discrete distribution; got 0.5 at row 0. "
    with raises(ValueError, message + "Use counts, or a continuous distribution."):
        score(Poisson(torch.ones(1)), torch.tensor([0.5]))
    message = "`y` must be a class index 0 .. 2; got 3 at row 1. "
    with raises(ValueError, message + "Encode the classes first, for example with sklearn's LabelEncoder."):
        score(dist.Categorical(torch.ones(2, 3)), torch.tensor([0, 3]))
    assert score(normal, torch.tensor(0.0)).shape == (3,)


def test_other_errors():
    with raises(TypeError, "the Brier score needs a Categorical distribution, got Normal. Use `crps`."):
        brier(dist.Normal(0.0, 1.0), torch.tensor(0.0))
    with raises(ValueError, "`level` must lie between 0 and 1, got 90. For 90 % pass 0.9."):
        coverage(dist.Normal(0.0, 1.0), torch.tensor(0.0), 90)
    message = (
        "the CRPS of Beta has no closed form here and needs its cdf and icdf. "
        "Register them with `probmix.distributions.cdf.register(Beta)` and `icdf.register(Beta)`."
    )
    with raises(NotImplementedError, message):
        crps(dist.Beta(2.0, 3.0), torch.tensor(0.5))
