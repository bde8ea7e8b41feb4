"""Gradients, the NLL, propriety, calibration and errors of the scores."""

import itertools
import math
import re

import mpmath
import numpy as np
import pyro.distributions as dist
import pytest
import scipy.stats as st
import torch
from score_oracles import DTYPES, close, columns, gamma_cases, normal_mixture, poisson_cases

from probmix import linear_pool
from probmix.distributions import Gamma, Poisson
from probmix.scores import brier, coverage, crps, nll, pit

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
        "the CRPS of VonMises has no closed form here and needs its cdf and icdf. "
        "Register them with `probmix.distributions.cdf.register(VonMises)` and `icdf.register(VonMises)`."
    )
    with raises(NotImplementedError, message):
        crps(dist.VonMises(0.0, 1.0), torch.tensor(0.5))
