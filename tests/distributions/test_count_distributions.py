"""Negative binomial, zero-inflated and hurdle distributions against SciPy, mpmath and plain sums."""

import math

import mpmath
import numpy as np
import pyro
import pytest
import scipy.stats as st
import torch
from score_oracles import DTYPES, RTOL, close

from probmix import linear_pool
from probmix.distributions import Hurdle, Independent, NegativeBinomial, Poisson, ZeroInflated, cdf, icdf, is_discrete
from probmix.scores import calibration_error, coverage, crps, nll, pit

MEANS = (1e-3, 0.3, 2.0, 50.0, 1e3, 1e6)
DISPERSIONS = (1e-8, 1e-4, 0.1, 1.0, 5.0, 100.0)
LEVELS = torch.tensor([1e-6, 0.01, 0.3, 0.5, 0.9, 0.999999], dtype=torch.float64)


def wide(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64).squeeze()


def negative_binomial(mean: float, dispersion: float) -> NegativeBinomial:
    return NegativeBinomial.from_mean(wide(mean), wide(dispersion))


def exact_log_prob(y: float, mean: float, dispersion: float) -> mpmath.mpf:
    y, mean, r = mpmath.mpf(y), mpmath.mpf(mean), 1 / mpmath.mpf(dispersion)
    rest = r * mpmath.log(r / (r + mean)) + (y * mpmath.log(mean / (r + mean)) if y else 0)
    return mpmath.loggamma(y + r) - mpmath.loggamma(r) - mpmath.loggamma(y + 1) + rest


def places(mean: float, dispersion: float) -> list[int]:
    spread = math.sqrt(mean + dispersion * mean**2)
    return sorted({0, 1, round(mean), round(mean + spread) + 1, round(mean + 6 * spread) + 2, round(mean / 50)})


# -- negative binomial -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mean", MEANS)
@pytest.mark.parametrize("dispersion", DISPERSIONS)
def test_negative_binomial_log_prob(mean, dispersion):
    with mpmath.workdps(50):
        for y in places(mean, dispersion):
            want, ours = exact_log_prob(y, mean, dispersion), negative_binomial(mean, dispersion)
            for got in (ours.log_prob(wide(y)), -nll(ours, wide(y))):
                assert abs(float((got.item() - want) / want)) < 1e-11


@pytest.mark.parametrize("mean", MEANS[:5])
@pytest.mark.parametrize("dispersion", DISPERSIONS[1:])
def test_negative_binomial_cdf_and_quantiles(mean, dispersion):
    ours, scipy = negative_binomial(mean, dispersion), st.nbinom(1 / dispersion, 1 / (1 + dispersion * mean))
    y = np.array(places(mean, dispersion))
    np.testing.assert_allclose(ours.cdf(torch.from_numpy(y)).numpy(), scipy.cdf(y), rtol=1e-9, atol=1e-300)
    quantiles = ours.icdf(LEVELS)
    assert (ours.cdf(quantiles) >= LEVELS).all()
    assert (ours.cdf(quantiles - 1) < LEVELS).all()
    assert ours.icdf(wide(0.0, 1.0)).tolist() == [0.0, math.inf]
    assert ours.icdf(wide(-0.1)).isnan()
    assert cdf(ours, wide(-1.0)) == 0
    assert cdf(ours, wide(1.7)) == cdf(ours, wide(1.0))


def test_negative_binomial_of_one_failure_is_geometric():
    """In closed form also where torch and SciPy lose digits: F(k) = 1 - q^(k + 1)."""
    mean, k = torch.logspace(-3, 6, 10, dtype=torch.float64), torch.tensor([[0.0], [3.0], [1e3], [1e7]]).double()
    ours = NegativeBinomial.from_mean(mean, torch.ones_like(mean))
    want = -torch.expm1(-(k + 1) * torch.log1p(1 / mean))
    torch.testing.assert_close(ours.cdf(k), want, rtol=1e-12, atol=0)
    torch.testing.assert_close(ours.mean, mean, rtol=1e-13, atol=0)
    torch.testing.assert_close(ours.variance, mean + mean**2, rtol=1e-13, atol=0)


@pytest.mark.parametrize("dispersion", [1e-3, 0.3, 2.0, 30.0])
@pytest.mark.parametrize("mean", [0.05, 1.0, 20.0])
def test_negative_binomial_crps_is_the_sum_of_squares(mean, dispersion):
    k = np.arange(40_000)
    below = st.nbinom(1 / dispersion, 1 / (1 + dispersion * mean)).cdf(k)
    for y in (0, 1, 7, 120):
        want = np.square(below - (k >= y)).sum()
        for kind in (
            negative_binomial(mean, dispersion),
            torch.distributions.NegativeBinomial(*torch_form(mean, dispersion)),
        ):
            assert crps(kind, wide(y)).item() == pytest.approx(want, rel=1e-9)
        assert crps(negative_binomial(mean, dispersion), wide(-3.0)).item() == pytest.approx(
            np.square(below - 1).sum() + 3, rel=1e-9
        )


def torch_form(mean: float, dispersion: float) -> tuple[torch.Tensor, torch.Tensor]:
    odds = wide(mean * dispersion)
    return wide(1 / dispersion), odds / (1 + odds)


@pytest.mark.parametrize("mean", MEANS)
@pytest.mark.parametrize("dispersion", [1e-6, 1e-2, 1.0, 100.0])
def test_negative_binomial_crps_against_the_hypergeometric_form(mean, dispersion):
    """Wei and Held (2014) by mpmath: y = 0 needs no cdf; where its series gives up, an integral by tanh-sinh."""
    with mpmath.workdps(40):
        mu, r = mpmath.mpf(mean), 1 / mpmath.mpf(dispersion)
        m = mu / r
        z = 4 * m * (1 + m)
        half = (
            mu
            * (1 + m)
            * (4 / mpmath.pi)
            * mpmath.quad(
                lambda u: (
                    mpmath.sqrt(abs(1 - mpmath.sinh(u) ** 2 / z)) * mpmath.cosh(u) ** (-2 * r - 1) / mpmath.sqrt(z)
                ),
                mpmath.linspace(0, min(mpmath.asinh(mpmath.sqrt(z)), 12 / mpmath.sqrt(r) + 60 / (2 * r)), 12),
            )
        )
        got = crps(negative_binomial(mean, dispersion), wide(0.0)).item()
        assert abs(float((got - (mu - half)) / (mu - half))) < 1e-10


@pytest.mark.parametrize("dtype", DTYPES)
def test_negative_binomial_gradients(dtype):
    """Finite at the extremes, and right against central differences."""
    log_mean = torch.tensor([-20.0, 0.0, 3.0, 14.0, 30.0], dtype=dtype).unsqueeze(1).requires_grad_()
    log_dispersion = torch.tensor([-16.0, -1.0, 2.0, 8.0], dtype=dtype, requires_grad=True)
    for score in (nll, crps):
        for y in (0.0, 3.0, 1e6):
            ours = NegativeBinomial((-log_dispersion).exp(), logits=log_mean + log_dispersion)
            value = score(ours, torch.tensor(y, dtype=dtype))
            gradients = torch.autograd.grad(value.sum(), (log_mean, log_dispersion))
            assert all(one.isfinite().all() for one in (value, *gradients))
    if dtype == torch.float64:
        params = (wide(1.3).requires_grad_(), wide(-0.4).requires_grad_())

        def scores(log_mean, log_dispersion):
            logits = (log_mean + log_dispersion).expand(3)
            ours = NegativeBinomial((-log_dispersion).exp(), logits=logits, validate_args=False)
            return crps(ours, wide(0.0, 2.0, 9.0)), nll(ours, wide(0.0, 2.0, 9.0)), cdf(ours, wide(0.0, 2.0, 9.0))

        assert torch.autograd.gradcheck(scores, params)


# -- zeros of their own ------------------------------------------------------------------------------------------------

BASES = {
    "poisson": (lambda: Poisson(wide(1.7)), st.poisson(1.7)),
    "low poisson": (lambda: Poisson(wide(1e-3)), st.poisson(1e-3)),
    "negative binomial": (lambda: negative_binomial(3.0, 0.8), st.nbinom(1 / 0.8, 1 / 3.4)),
}


def probabilities(kind: str, base: str, gate: float, k: np.ndarray) -> np.ndarray:
    f = BASES[base][1].pmf(k)
    if kind == "hurdle":
        return np.where(k == 0, gate, (1 - gate) * f / BASES[base][1].sf(0))
    return gate * (k == 0) + (1 - gate) * f


def made(kind: str, base: str, gate: float) -> torch.distributions.Distribution:
    logit = wide(gate).logit()
    return Hurdle(BASES[base][0](), logit) if kind == "hurdle" else ZeroInflated(BASES[base][0](), gate_logits=logit)


over_kinds = pytest.mark.parametrize("kind", ["hurdle", "zero-inflated"])


@over_kinds
@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("gate", [1e-4, 0.3, 0.95])
def test_zero_inflated_and_hurdle(kind, base, gate):
    k = np.arange(300)
    p, ours = probabilities(kind, base, gate, k), made(kind, base, gate)
    counts = torch.from_numpy(k).double()
    np.testing.assert_allclose(ours.log_prob(counts[:20]).exp().numpy(), p[:20], rtol=1e-10)
    np.testing.assert_allclose(nll(ours.expand([20]), counts[:20]).numpy(), -np.log(p[:20]), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(ours.cdf(counts).numpy(), p.cumsum(), rtol=1e-10)
    mean = (p * k).sum()
    assert ours.mean.item() == pytest.approx(mean, rel=1e-10)
    assert ours.variance.item() == pytest.approx((p * (k - mean) ** 2).sum(), rel=1e-9)
    for y in (0, 1, 5, 40):
        want = np.square(p.cumsum() - (k >= y)).sum()
        assert crps(ours, wide(y)).item() == pytest.approx(want, rel=1e-9)
    quantiles = ours.icdf(LEVELS)
    assert (ours.cdf(quantiles) >= LEVELS).all()
    assert (ours.cdf(quantiles - 1) < LEVELS).all()
    assert is_discrete(ours)
    assert cdf(ours, wide(-0.5)) == 0


@over_kinds
def test_quantiles_at_the_steps(kind):
    """Exactly at a value of the cdf the quantile is that count, not the next."""
    ours = made(kind, "poisson", 0.3)
    counts = torch.arange(12, dtype=torch.float64)
    assert torch.equal(ours.icdf(ours.cdf(counts)), counts)


@over_kinds
def test_draws_follow_the_probabilities(kind):
    ours = made(kind, "negative binomial", 0.3)
    pyro.set_rng_seed(0)
    draws = ours.sample(torch.Size([20_000]))
    k = np.arange(8)
    shares = np.array([(draws == value).double().mean().item() for value in k])
    p = probabilities(kind, "negative binomial", 0.3, k)
    np.testing.assert_allclose(shares, p, atol=4 * np.sqrt(p.max() / 20_000))
    values = pit(ours.expand([20_000]), draws, torch.Generator().manual_seed(1))
    assert st.kstest(values.numpy(), "uniform").pvalue > 1e-3
    assert coverage(ours.expand([20_000]), draws, 0.8).mean().item() >= 0.8


@over_kinds
@pytest.mark.parametrize("dtype", DTYPES)
def test_pools_of_counts_with_zeros(kind, dtype):
    rates, gates = torch.tensor([[1.0, 6.0]], dtype=dtype), torch.tensor([[-1.0, 0.5]], dtype=dtype)
    base = Poisson(rates)
    members = Hurdle(base, gates) if kind == "hurdle" else ZeroInflated(base, gate_logits=gates)
    mixture = linear_pool(members, torch.tensor([0.25, 0.75], dtype=dtype))
    k = torch.arange(200, dtype=dtype)
    p = (
        0.25 * members.log_prob(k.reshape(-1, 1, 1))[..., 0].exp()
        + 0.75 * members.log_prob(k.reshape(-1, 1, 1))[..., 1].exp()
    )
    close(cdf(mixture, k.unsqueeze(-1)), p.cumsum(0).numpy(), RTOL[dtype])
    want = (p[:, 0].cumsum(0) - (k >= 4).to(dtype)).square().sum()
    close(crps(mixture, torch.tensor([4.0], dtype=dtype)), want.reshape(1).numpy(), RTOL[dtype])
    assert icdf(mixture, torch.tensor([0.9], dtype=dtype)).item() == int((p[:, 0].cumsum(0) < 0.9).sum())


def test_several_targets():
    several = Independent(NegativeBinomial.from_mean(wide(2.0, 5.0), wide(0.5, 0.5)), 1)
    single = NegativeBinomial.from_mean(wide(2.0, 5.0), wide(0.5, 0.5))
    y = wide(3.0, 3.0)
    assert crps(several, y).item() == pytest.approx(crps(single, y).mean().item())
    assert nll(several, y).item() == pytest.approx(nll(single, y).sum().item())


@pytest.mark.parametrize(("mean", "dispersion"), [(3.0, 0.5), (400.0, 1e-3), (400.0, 0.5), (3e3, 2.0)])
def test_crps_of_mixtures_over_wide_ranges(mean, dispersion):
    """A sum over low counts and an integral over high ones, against the plain sum over all of them."""
    means, shares = wide(mean, 0.3 * mean), wide(0.4, 0.6)
    members = NegativeBinomial.from_mean(means, wide(dispersion, dispersion))
    last = int(members.icdf(wide(1 - 1e-13)).max()) + 1
    k = np.arange(last + 1)
    below = sum(
        share * st.nbinom(1 / dispersion, 1 / (1 + dispersion * m)).cdf(k)
        for m, share in zip(means.tolist(), shares.tolist(), strict=True)
    )
    for y in (0, round(mean), round(3 * mean)):
        want = np.square(below - (k >= y)).sum() + max(0, y - last - 1)
        assert crps(linear_pool(members, shares), wide(y)).item() == pytest.approx(want, rel=1e-7)
        gate = wide(0.2)
        inflated = ZeroInflated(members, gate_logits=torch.full((2,), gate.logit().item(), dtype=torch.float64))
        want = np.square(0.2 + 0.8 * below - (k >= y)).sum() + max(0, y - last - 1)
        assert crps(linear_pool(inflated, shares), wide(y)).item() == pytest.approx(want, rel=1e-7)
        hurdle = Hurdle(members, torch.zeros(2, dtype=torch.float64))
        zeros = members.log_prob(wide(0.0)).exp().tolist()
        above = sum(
            share * 0.5 * (1 + (st.nbinom(1 / dispersion, 1 / (1 + dispersion * m)).cdf(k) - zero) / (1 - zero))
            for m, share, zero in zip(means.tolist(), shares.tolist(), zeros, strict=True)
        )
        want = np.square(above - (k >= y)).sum() + max(0, y - last - 1)
        assert crps(linear_pool(hurdle, shares), wide(y)).item() == pytest.approx(want, rel=1e-7)


@pytest.mark.cuda
@pytest.mark.parametrize("dtype", DTYPES)
def test_cuda_agrees(dtype):
    means = torch.tensor([0.01, 2.0, 300.0], dtype=dtype)
    y = torch.tensor([0.0, 3.0, 280.0], dtype=dtype)
    for device in ("cpu", "cuda"):
        negative = NegativeBinomial.from_mean(means.to(device), torch.full_like(means, 0.5).to(device))
        gates = torch.zeros_like(means).to(device)
        kinds = [negative, ZeroInflated(negative, gate_logits=gates), Hurdle(negative, gates)]
        found = [[f(kind, y.to(device)) for f in (crps, nll, cdf, pit)] for kind in kinds]
        found += [[icdf(kind, torch.full_like(means, 0.9).to(device)) for kind in kinds]]
        assert all(value.device.type == device for row in found for value in row)
        if device == "cpu":
            here = found
    for one, other in zip(here, found, strict=True):
        for value, theirs in zip(one[:3], other[:3], strict=True):
            torch.testing.assert_close(theirs.cpu(), value, rtol=RTOL[dtype], atol=RTOL[dtype])


@pytest.mark.parametrize("kind", ["poisson", "negative binomial", "zero-inflated", "hurdle"])
def test_everything_lies_below_infinity(kind):
    base = NegativeBinomial.from_mean(wide(2.0, 5.0), wide(0.5, 0.5))
    gate = torch.zeros(2, dtype=torch.float64)
    made = {
        "poisson": Poisson(wide(2.0, 5.0)),
        "negative binomial": base,
        "zero-inflated": ZeroInflated(base, gate_logits=gate),
        "hurdle": Hurdle(base, gate),
    }[kind]
    assert cdf(made, wide(math.inf, math.inf)).tolist() == [1.0, 1.0]
    assert cdf(made, wide(-math.inf, -1.0)).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("dtype", DTYPES)
def test_hurdles_of_small_means_keep_their_digits(dtype):
    small = Hurdle(Poisson(torch.tensor(1e-9, dtype=dtype)), torch.tensor(0.0, dtype=dtype))
    assert cdf(small, torch.tensor(1.0, dtype=dtype)).item() == pytest.approx(1, rel=1e-6)
    assert icdf(small, torch.tensor(0.75, dtype=dtype)).item() == 1.0
    pyro.set_rng_seed(0)
    rare = Hurdle(Poisson(torch.tensor(1e-2, dtype=dtype)), torch.tensor(0.0, dtype=dtype))
    share = (rare.sample(torch.Size([200_000])) >= 2).double().mean().item()
    assert share == pytest.approx(0.5 * st.poisson(1e-2).sf(1) / st.poisson(1e-2).sf(0), rel=0.15)


@over_kinds
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("mean", [1e-30, 1e-3, 0.5, 40.0, 1e7, 1e14])
@pytest.mark.parametrize("logit", [-60.0, -3.0, 0.5, 20.0])
def test_variances_keep_their_digits(kind, dtype, mean, logit):
    rate, gate = torch.tensor(mean, dtype=dtype), torch.tensor(logit, dtype=dtype)
    ours = Hurdle(Poisson(rate), gate) if kind == "hurdle" else ZeroInflated(Poisson(rate), gate_logits=gate)
    with mpmath.workdps(60):
        m, above = mpmath.mpf(rate.item()), 1 / (1 + mpmath.exp(gate.item()))
        if kind == "hurdle":
            above /= -mpmath.expm1(-m)
        want = float(above * (m + m**2) - (above * m) ** 2)
    # a small mean is beside a count of one for certain: the variance is the square of the mean
    assert ours.variance.item() == pytest.approx(want, rel=1e-6 if dtype == torch.float32 else 1e-12 / min(1, mean))


def test_draws_of_a_hurdle_reach_into_a_long_tail():
    base = NegativeBinomial.from_mean(wide(1e-3), wide(2900.0))
    hurdle = Hurdle(base, torch.zeros((), dtype=torch.float64))
    pyro.set_rng_seed(0)
    draws = hurdle.sample(torch.Size([100_000]))
    level = 1 - hurdle.cdf(wide(22.0)).item()
    assert (draws > 22).double().mean().item() == pytest.approx(level, rel=0.6)


@pytest.mark.parametrize(("log_mean", "log_dispersion"), [(30.0, -16.0), (30.0, -12.0), (25.0, 0.0), (14.0, -16.0)])
def test_cdfs_at_very_large_means(log_mean, log_dispersion):
    """A Gamma of the same mean and dispersion has the same cdf where the counts are large."""
    ours = NegativeBinomial((-wide(log_dispersion)).exp(), logits=wide(log_mean + log_dispersion))
    a = math.exp(-log_dispersion)
    for z in (-3.0, -0.5, 0.0, 1.0, 4.0):
        y = math.exp(log_mean) * max(1e-3, 1 + z * math.sqrt(1 / a + math.exp(-log_mean)))
        want = st.nbinom(a, 1 / (1 + math.exp(log_mean + log_dispersion))).cdf(y)
        assert ours.cdf(wide(y)).item() == pytest.approx(want, rel=1e-6, abs=1e-9)


def test_zero_inflated_counts_have_a_shape_as_others_do():
    distribution = ZeroInflated(Poisson(torch.full((6,), 2.0)), gate=torch.full((6,), 0.25))
    for one in (distribution, distribution.expand([3, 6])):
        assert isinstance(one.batch_shape, torch.Size)
    assert 0 <= calibration_error(distribution, distribution.sample()).item() <= 1
