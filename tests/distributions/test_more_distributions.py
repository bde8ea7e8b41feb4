"""The distributions of exponential, log-normal, Bernoulli, beta and inverse Gaussian: cdf, quantiles and scores."""

import math

import mpmath
import numpy as np
import pytest
import scipy.stats as st
import scoringrules
import torch
from families_table import draws, ordinary_params, weights_like
from scipy.special import betainc
from score_oracles import DTYPES, RTOL, close, columns, integral_oracle
from torch.distributions import Distribution

from probmix import families, linear_pool
from probmix._incomplete_beta import incomplete_beta
from probmix.distributions import (
    Bernoulli,
    Beta,
    Exponential,
    InverseGaussian,
    LogNormal,
    Mixture,
    StudentT,
    cdf,
    icdf,
    is_discrete,
)
from probmix.scores import crps, nll

over_names = pytest.mark.parametrize("name", ["exponential", "lognormal", "bernoulli", "beta", "inverse-gaussian"])
LEVELS = np.array([1e-6, 0.01, 0.3, 0.5, 0.9, 0.999999])


def wide(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64).squeeze()


# -- cdf and quantiles -------------------------------------------------------------------------------------------------

CONTINUOUS: list[tuple[Distribution, st.rv_continuous]] = [
    (Exponential(wide(0.2)), st.expon(scale=5)),
    (Exponential(wide(1e9)), st.expon(scale=1e-9)),
    (LogNormal(wide(0.3), wide(0.7)), st.lognorm(0.7, scale=math.exp(0.3))),
    (LogNormal(wide(-5.0), wide(8.0)), st.lognorm(8, scale=math.exp(-5))),
    (LogNormal(wide(2.0), wide(1e-3)), st.lognorm(1e-3, scale=math.exp(2))),
    (InverseGaussian(wide(2.0), wide(3.0)), st.invgauss(2 / 3, scale=3)),
    (InverseGaussian(wide(1e3), wide(20.0)), st.invgauss(50, scale=20)),
    (InverseGaussian(wide(1e-2), wide(1e2)), st.invgauss(1e-4, scale=1e2)),
    (Beta(wide(2.5), wide(1.3)), st.beta(2.5, 1.3)),
    (Beta(wide(0.3), wide(0.5)), st.beta(0.3, 0.5)),
    (Beta(wide(40.0), wide(5e3)), st.beta(40, 5e3)),
]


@pytest.mark.parametrize(("ours", "scipy"), CONTINUOUS, ids=range(len(CONTINUOUS)))
def test_cdf_and_quantiles_against_scipy(ours, scipy):
    y = scipy.ppf(LEVELS)
    np.testing.assert_allclose(cdf(ours, wide(*y)), scipy.cdf(y), rtol=1e-9)
    np.testing.assert_allclose(icdf(ours, wide(*LEVELS)), y, rtol=1e-9)
    assert not is_discrete(ours)
    ends = icdf(ours, wide(0.0, 1.0, -0.1, 1.1))
    np.testing.assert_array_equal(ends, [*scipy.support(), math.nan, math.nan])
    np.testing.assert_array_equal(cdf(ours, wide(-1.0, 0.0)), [0, 0])
    q = torch.linspace(0.001, 0.999, 99, dtype=torch.float64)
    torch.testing.assert_close(cdf(ours, icdf(ours, q)), q)


CONCENTRATIONS = (1e-9, 1e-4, 0.01, 0.3, 0.7, 1.0, 1.5, 10.0, 50.0, 1e3, 1e4, 1e6)


@pytest.mark.parametrize("a", CONCENTRATIONS)
def test_incomplete_beta_function(a):
    """Against SciPy's, at its own quantiles, which lie all over the distribution."""
    for b in CONCENTRATIONS:
        x = np.concatenate([st.beta.ppf([1e-12, *LEVELS], a, b), [0.001, 0.2, 0.5, 0.9, 0.999]])
        np.testing.assert_allclose(incomplete_beta(wide(a), wide(b), wide(*x)), betainc(a, b, x), atol=2e-11)


@pytest.mark.parametrize("a", CONCENTRATIONS[2:])
def test_beta_quantiles(a):
    """In units of probability, for SciPy's own are off by 3e-8; except where the next float is too far away."""
    for b in CONCENTRATIONS[2:]:
        y = Beta(wide(a), wide(b)).icdf(wide(*LEVELS)).numpy()
        inside = (y > 1e-290) & (y < 1 - 1e-4)
        np.testing.assert_allclose(betainc(a, b, y[inside]), LEVELS[inside], rtol=1e-9, atol=2e-11)
        assert (np.diff(y) >= 0).all()


def test_gradients_of_the_incomplete_beta_function():
    a, b = wide(0.4, 2.5, 30.0).requires_grad_(), wide(3.0, 0.7, 4.0).requires_grad_()
    assert torch.autograd.gradcheck(incomplete_beta, (a, b, wide(0.2, 0.5, 0.95).requires_grad_()))


def test_bernoulli_cdf_and_quantiles():
    bernoulli = Bernoulli(wide(0.3))
    np.testing.assert_allclose(bernoulli.cdf(wide(-1, -0.5, 0, 0.5, 1, 2)), [0, 0, 0.7, 0.7, 1, 1])
    np.testing.assert_array_equal(bernoulli.icdf(wide(0, 0.69, 0.71, 1, 1.1)), [0, 0, 1, 1, math.nan])
    assert is_discrete(bernoulli)
    assert bernoulli.cdf(torch.tensor(1)).dtype == torch.float64


@over_names
@pytest.mark.parametrize("dtype", DTYPES)
def test_shapes_and_dtypes(name, dtype):
    family = families.get(name)
    distribution = family.distribution(ordinary_params(family, 4, 1).to(dtype))
    y, q = draws(family, ordinary_params(family, 4, 1)).to(dtype), torch.tensor([0.1, 0.5, 0.9], dtype=dtype)
    for values in (distribution.cdf(y), distribution.icdf(q), distribution.log_prob(y), distribution.sample()):
        assert values.dtype == dtype
    assert distribution.icdf(q).shape == (4, 3)
    assert distribution.expand((2, 4, 3)).icdf(q).shape == (2, 4, 3)
    pooled = linear_pool(distribution.expand((4, 3)), weights_like((4, 3)).to(dtype))
    assert pooled.icdf(q[:1]).shape == (4,)
    torch.testing.assert_close(pooled.icdf(q[:1]), distribution.icdf(q[:1])[:, 0], rtol=1e-4, atol=1e-6)


def test_densities_end_with_the_support():
    for distribution in (
        Exponential(wide(2.0), validate_args=False),
        LogNormal(wide(0.0), wide(1.0), validate_args=False),
        Beta(wide(2.0), wide(1.0), validate_args=False),
        InverseGaussian(wide(2.0), wide(1.0), validate_args=False),
    ):
        assert distribution.log_prob(wide(-1.0)) == -math.inf
        assert nll(distribution, wide(-1.0)) == math.inf
    for distribution in (Exponential(wide(2.0)), LogNormal(wide(0.0), wide(1.0)), Beta(wide(2.0), wide(1.0))):
        with pytest.raises(ValueError, match="support"):
            distribution.log_prob(wide(-1.0))


# -- CRPS --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", [Exponential, torch.distributions.Exponential])
def test_crps_exponential(dtype, kind):
    cases = [(1 / mean, step * mean) for mean in (1e-6, 1.0, 1e6) for step in (0, 1e-9, 0.1, 0.7, 1, 5, 40)]
    rate, y = columns(cases, dtype)
    value = crps(kind(rate), y)
    assert value.dtype == dtype
    rate, y = rate.double().numpy(), y.double().numpy()
    close(value, scoringrules.crps_exponential(y, rate), RTOL[dtype])
    close(
        value, [integral_oracle([1.0], [st.expon(scale=1 / r)], t) for r, t in zip(rate, y, strict=True)], RTOL[dtype]
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", [LogNormal, torch.distributions.LogNormal])
def test_crps_lognormal(dtype, kind):
    z = (-30, -10, -3, -1, 0, 0.5, 2, 5, 10)
    cases = [
        (mu, sd, math.exp(mu + sd * k)) for mu in (-20.0, 0.0, 7.0) for sd in (1e-3, 0.1, 0.7, 3.0, 6.0) for k in z
    ]
    loc, scale, y = columns([case for case in cases if -80 < math.log(case[2]) < 80], dtype)
    value = crps(kind(loc, scale), y)
    assert value.dtype == dtype
    loc, scale, y = (t.double().numpy() for t in (loc, scale, y))
    rows = zip(loc, scale, y, strict=True)
    close(
        value,
        [integral_oracle([1.0], [st.lognorm(s, scale=math.exp(m))], t, log=True) for m, s, t in rows],
        RTOL[dtype],
    )
    some = scale < 2  # the library's form cancels in wide distributions
    close(value[torch.from_numpy(some)], scoringrules.crps_lognormal(y, loc, scale)[some], max(RTOL[dtype], 1e-9))


def test_crps_below_the_support_is_the_distance_to_zero_more():
    for distribution in (
        Exponential(wide(2.0)),
        LogNormal(wide(0.3), wide(1.5)),
        Beta(wide(2.0), wide(3.0)),
        InverseGaussian(wide(2.0), wide(3.0)),
    ):
        at_zero, below = crps(distribution, wide(0.0)), crps(distribution, wide(-3.0))
        assert below - at_zero == pytest.approx(3.0)
        assert crps(distribution, wide(1e-12)) == pytest.approx(at_zero.item())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", [Beta, torch.distributions.Beta])
def test_crps_beta(dtype, kind):
    cases = [
        (a, b, y)
        for a in (0.3, 1.0, 5.0, 80.0, 1e4, 1e6)
        for b in (0.5, 2.0, 30.0, 1e4)
        for y in (1e-3, 0.2, 0.7, 0.999, *st.beta.ppf([1e-6, 0.1, 0.5, 0.99], a, b))
        if 1e-6 < y < 1 - 1e-6
    ]
    a, b, y = columns(cases, dtype)
    value = crps(kind(a, b), y)
    assert value.dtype == dtype
    a, b, y = (t.double().numpy() for t in (a, b, y))
    want = [integral_oracle([1.0], [st.beta(*row[:2])], row[2]) for row in zip(a, b, y, strict=True)]
    close(value, want, RTOL[dtype])
    some = a + b < 100  # the library's form cancels in narrow distributions
    close(value[torch.from_numpy(some)], scoringrules.crps_beta(y[some], a[some], b[some]), max(RTOL[dtype], 1e-9))


def test_crps_beta_in_forty_digits():
    for a, b, y in [(0.01, 0.5, 0.3), (1e-3, 2e-3, 0.9), (3.0, 0.2, 0.99), (2e3, 1e3, 0.667), (100.0, 3e3, 0.03)]:
        with mpmath.workdps(40):
            a, b, y = mpmath.mpf(a), mpmath.mpf(b), mpmath.mpf(y)
            below, shifted = (mpmath.betainc(s, b, 0, y, regularized=True) for s in (a, a + 1))
            spread = 2 * mpmath.beta(2 * a, 2 * b) / (a * mpmath.beta(a, b) ** 2)
            expected = y * (2 * below - 1) + a / (a + b) * (1 - 2 * shifted - spread)
        close(crps(Beta(wide(float(a)), wide(float(b))), wide(float(y))), float(expected), 3e-9)


@pytest.mark.parametrize("dtype", DTYPES)
def test_crps_inverse_gaussian(dtype):
    cases = [
        (mean, mean * phi, mean * t)
        for mean in (1e-3, 1.0, 1e4)
        for phi in (0.05, 1.0, 30.0, 1e4)
        for t in (0.0, 0.1, 0.9, 1.0, 1.01, 5.0)
    ]
    mean, shape, y = columns(cases, dtype)
    value = crps(InverseGaussian(mean, shape), y)
    assert value.dtype == dtype
    want = [inverse_gaussian_integral(*row) for row in zip(mean.tolist(), shape.tolist(), y.tolist(), strict=True)]
    close(value, want, 1e-6 if dtype == torch.float32 else 1e-8)


def inverse_gaussian_integral(mean: float, shape: float, y: float) -> float:
    """The defining integral in log x; SciPy has no quantiles far out in the tails."""
    scipy, bound = st.invgauss(mean / shape, scale=shape), 2 * math.asinh(5 * math.sqrt(mean / shape))
    ends = np.linspace(-bound, bound, 200) + math.log(mean)
    low, high = math.exp(ends[0]), math.exp(ends[-1])
    inside = min(max(y, low), high)
    ends = np.union1d(ends, math.log(inside))
    nodes, rule = np.polynomial.legendre.leggauss(20)
    half = np.diff(ends)[:, None] / 2
    x = np.exp(ends[:-1, None] + half * (1 + nodes))
    return float((half * rule * x * np.where(x < inside, scipy.cdf(x), scipy.sf(x)) ** 2).sum()) + abs(y - inside)


def test_inverse_gaussian_draws_and_shapes():
    distribution = InverseGaussian(wide(2.0), wide(0.7))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        y = distribution.sample((20_000,))
    assert st.kstest(y.numpy(), lambda y: distribution.cdf(torch.from_numpy(y)).numpy()).pvalue > 1e-3
    assert y.mean() == pytest.approx(2.0, abs=5 * distribution.stddev.item() / 20_000**0.5)
    wider = distribution.expand((3, 2))
    assert wider.sample((4,)).shape == (4, 3, 2)
    assert wider.batch_shape == wider.variance.shape == (3, 2)
    with pytest.raises(ValueError, match="concentration"):
        InverseGaussian(torch.tensor(1.0), torch.tensor(-1.0))


@pytest.mark.parametrize("dtype", DTYPES)
def test_crps_of_a_bernoulli_is_its_brier_score(dtype):
    p = torch.tensor([1e-6, 0.3, 0.3, 0.9999], dtype=dtype)
    y = torch.tensor([0.0, 0.0, 1.0, 1.0])
    close(crps(Bernoulli(p), y), (p.double() - y).square(), 1e-5 if dtype == torch.float32 else 1e-9)
    torch.testing.assert_close(crps(Bernoulli(wide(0.3)), wide(3.0)), wide(0.49 + 2))


@over_names
def test_crps_of_mixtures_is_that_of_draws(name):
    family = families.get(name)
    eta, weights = ordinary_params(family, 3, 2), weights_like((3, 2))
    y = draws(family, eta)[:, 0]
    mixture = linear_pool(family.distribution(eta), weights)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        sample = mixture.sample((100_000,)).double()
    terms = (sample - y).abs() - 0.5 * (sample - sample.roll(1, 0)).abs()
    error = (crps(mixture, y) - terms.mean(0)) / (terms.std(0) / 100_000**0.5)
    assert error.abs().max() < 4.5
    same = linear_pool(family.distribution(eta[:, :1].expand(3, 2, -1)), weights)
    torch.testing.assert_close(crps(same, y), crps(family.distribution(eta[:, 0]), y), rtol=1e-6, atol=1e-9)
    assert torch.autograd.gradcheck(lambda eta: crps(family.distribution(eta), y), eta[:, 0].clone().requires_grad_())


def test_quantiles_of_inverse_gaussians_have_gradients():
    loc, shape = wide(0.7, 3.0, 40.0).requires_grad_(), wide(1.5, 0.2, 900.0).requires_grad_()
    q = wide(0.3, 0.9, 0.5).requires_grad_()
    assert torch.autograd.gradcheck(lambda *a: InverseGaussian(a[0], a[1]).icdf(a[2]), (loc, shape, q), atol=1e-6)
    ends = InverseGaussian(loc, shape).icdf(wide(0.0, 1.0, 0.5))
    assert ends[:2].tolist() == [0, np.inf]
    (gradient,) = torch.autograd.grad(ends[2], loc)
    assert gradient[:2].tolist() == [0, 0]


def test_quantiles_of_negative_binomials_have_no_gradient():
    logits = wide(0.3, -1.0).requires_grad_()
    counts = torch.distributions.NegativeBinomial(wide(3.0, 50.0), logits=logits)
    assert not icdf(counts, wide(0.3, 0.9)).requires_grad


def test_moments_of_mixtures_are_those_of_components_with_a_weight():
    weights = torch.distributions.Categorical(wide(1.0, 0.0))
    mixture = Mixture(weights, StudentT(wide(5.0, 0.8), wide(2.0, 0.0), wide(1.0, 1.0)))
    assert (mixture.mean.item(), mixture.variance.item()) == (2.0, pytest.approx(5 / 3))
    heavy = Mixture(torch.distributions.Categorical(wide(0.5, 0.5)), mixture.component_distribution)
    assert not bool(heavy.mean.isfinite())
    several = Mixture(
        torch.distributions.Categorical(wide(0.25, 0.75)),
        torch.distributions.Independent(torch.distributions.Normal(torch.arange(4.0).double().view(2, 2), 1.0), 1),
    )
    torch.testing.assert_close(several.mean, wide(1.5, 2.5))
    torch.testing.assert_close(several.variance, wide(1.75, 1.75))
