"""What one table had and another had not: bounds, thresholds, point masses and densities outside of the support."""

import math
from itertools import pairwise

import numpy as np
import pyro.distributions as dist
import pytest
import torch
from scipy import integrate, stats
from score_oracles import DTYPES

from probmix import linear_pool
from probmix.calibration import PITMap, Recalibrated
from probmix.distributions import (
    Bernoulli,
    Beta,
    Empirical,
    Exponential,
    Hurdle,
    LogNormal,
    NegativeBinomial,
    Poisson,
    QuantileFunction,
    ZeroAdjusted,
    ZeroInflated,
    atoms,
    cdf,
)
from probmix.distributions.counts import SMOOTH_FROM
from probmix.distributions.transformed import MonotoneMap, Transformed
from probmix.scores import crps, crps_samples, crps_with_bound, nll, pit, threshold_weighted_crps

WINDOWS = [(-math.inf, 0.7), (0.3, 1.2), (0.5, math.inf)]


def tensor(*values, dtype=torch.float64):
    return torch.tensor(values, dtype=dtype)


def multivariate(dtype=torch.float64):
    covariance = torch.tensor([[1.0, 0.5], [0.5, 4.0]], dtype=dtype)
    return dist.MultivariateNormal(torch.tensor([[0.0, 1.0], [2.0, -1.0]], dtype=dtype), covariance)


def no_quadrature(monkeypatch):
    def fail(*_):
        raise AssertionError("the closed form was not taken")

    monkeypatch.setattr("probmix.distributions.quadrature.integrate_with_error", fail)
    monkeypatch.setattr("probmix.distributions.scoring.sum_crps", fail)


# -- bounds and thresholds ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("mixed", [False, True])
def test_a_multivariate_normal_has_its_closed_forms_everywhere(dtype, mixed, monkeypatch):
    distribution = multivariate(dtype)
    y = torch.tensor([[0.3, 2.0], [1.0, -9.0]], dtype=dtype)
    # the marginals by themselves
    marginals = dist.Normal(distribution.loc, distribution.stddev).to_event(1)
    if mixed:
        distribution, marginals = (linear_pool(d, tensor(0.3, 0.7, dtype=dtype)) for d in (distribution, marginals))
        y = y[0]
    windows = [threshold_weighted_crps(marginals, y, *window) for window in WINDOWS]
    if not mixed:
        no_quadrature(monkeypatch)
        for window, want in zip(WINDOWS, windows, strict=True):
            torch.testing.assert_close(threshold_weighted_crps(distribution, y, *window), want)
    no_quadrature(monkeypatch)
    value, bound = crps_with_bound(distribution, y)
    want, want_bound = crps_with_bound(marginals, y)
    torch.testing.assert_close(value, want)
    torch.testing.assert_close(bound, want_bound)
    assert (bound <= 1e-13 * (1 + y.abs().amax()) + 2 * torch.finfo(dtype).eps * value).all()


@pytest.mark.parametrize("base", ["poisson", "negative-binomial"])
@pytest.mark.parametrize("kind", [ZeroInflated, Hurdle])
def test_zeros_are_bounded_by_their_closed_form(kind, base):
    rate, gate = tensor(0.02, 3.0, 900.0, 1e6), tensor(-1.0, 0.5, 2.0, 0.0)
    inner = Poisson(rate) if base == "poisson" else NegativeBinomial.from_mean(rate, tensor(0.1, 2.0, 0.5, 1e-3))
    distribution = kind(inner, gate_logits=gate)
    y = (rate * tensor(0.0, 1.0, 1.3, 1.01)).round()
    value, bound = crps_with_bound(distribution, y)
    assert torch.equal(value, crps(distribution, y))
    # beyond SMOOTH_FROM the general bound is 1e-8 of the value
    assert rate[-1] > SMOOTH_FROM
    assert (bound < 1e-10 * (1 + y)).all()
    if base == "poisson":
        for i in range(3):
            k = np.arange(0, 2000)
            f = stats.poisson.cdf(k, rate[i].item())
            g = 1 / (1 + math.exp(-gate[i].item()))
            f = g + (1 - g) * (f if kind is ZeroInflated else (f - f[0]) / (1 - f[0]))
            want = np.square(f - (k >= y[i].item())).sum()
            assert abs(value[i].item() - want) <= bound[i].item() + 1e-11 * want


@pytest.mark.parametrize("window", WINDOWS)
def test_draws_and_quantiles_between_thresholds(window):
    generator = torch.Generator().manual_seed(0)
    draws = torch.randn((6, 40), generator=generator, dtype=torch.float64) + 0.5
    y = tensor(-3.0, 0.0, 0.4, 0.6, 1.1, 5.0)
    moved = draws.clamp(*window)
    want = crps_samples(moved, y.clamp(*window), fair=False)
    torch.testing.assert_close(threshold_weighted_crps(Empirical(draws), y, *window), want, rtol=1e-14, atol=1e-15)
    quantiles = QuantileFunction(draws.sort(-1).values[:, ::10].contiguous(), [0.1, 0.3, 0.6, 0.95])
    got = threshold_weighted_crps(quantiles, y, *window)
    for i in range(len(y)):
        ends = [window[0] if window[0] > -9 else -9.0, window[1] if window[1] < 9 else 9.0]
        jumps = [t.item() for t in (*quantiles.quantiles[i], y[i]) if ends[0] < t < ends[1]]

        def square(x, i=i):
            below = np.interp(x, quantiles.quantiles[i].numpy(), [0.1, 0.3, 0.6, 0.95])
            below = 0.0 if x < quantiles.quantiles[i, 0] else 1.0 if x > quantiles.quantiles[i, -1] else below
            return (below - (x > y[i].item())) ** 2

        edges = sorted([ends[0], *jumps, ends[1]])
        want = sum(integrate.quad(square, a, b)[0] for a, b in pairwise(edges))
        assert got[i].item() == pytest.approx(want, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("distribution", [
    Empirical(torch.linspace(-1, 2, 33, dtype=torch.float64).square().expand(4, -1)),
    QuantileFunction(torch.linspace(-1, 2, 33, dtype=torch.float64).expand(4, -1), torch.arange(1, 34) / 34),
], ids=["draws", "quantiles"])  # fmt: skip
def test_draws_and_quantiles_have_bounds_of_rounding(distribution, monkeypatch):
    y = tensor(-5.0, 0.25, 1.1, 1e3)
    no_quadrature(monkeypatch)
    value, bound = crps_with_bound(distribution, y)
    assert torch.equal(value, crps(distribution, y))
    assert (bound < 1e-11 * (1 + y.abs())).all()


def test_mixtures_of_draws_are_exact():
    generator = torch.Generator().manual_seed(1)
    draws = (
        torch.randn((3, 5, 50), generator=generator, dtype=torch.float64) * tensor(1.0, 0.01, 5.0, 1.0, 3.0)[:, None]
    )
    y = tensor(0.0, 1.0, -20.0)
    mixture = linear_pool(Empirical(draws))
    # equal weights and as many draws of each: all draws together
    together = draws.flatten(1)
    torch.testing.assert_close(crps(mixture, y), crps_samples(together, y, fair=False), rtol=1e-12, atol=1e-14)
    value, bound = crps_with_bound(mixture, y)
    assert ((value - crps_samples(together, y, fair=False)).abs() <= bound).all()
    window = threshold_weighted_crps(mixture, y, -0.5, 2.0)
    want = crps_samples(together.clamp(-0.5, 2.0), y.clamp(-0.5, 2.0), fair=False)
    torch.testing.assert_close(window, want, rtol=1e-12, atol=1e-14)
    # other weights
    weights = tensor(0.5, 0.1, 0.1, 0.1, 0.2)
    each = tensor(*np.repeat(weights.numpy() / 50, 50))
    distance = (each * (together - y[:, None]).abs()).sum(-1)
    spread = (each[:, None] * each * (together[:, :, None] - together[:, None]).abs()).sum((-2, -1))
    torch.testing.assert_close(
        crps(linear_pool(Empirical(draws), weights), y), distance - spread / 2, rtol=1e-12, atol=0
    )


def test_recalibrated_distributions_between_thresholds_and_with_a_bound():
    knots = tensor(-2.0, -0.5, 0.5, 2.0)
    line = PITMap(knots, tensor(-1.0, -0.4, 0.9, 1.0), tensor(0.5, 0.4, 0.6, 0.3))
    for base in (dist.Normal(tensor(0.0, 0.3), tensor(1.0, 0.5)), LogNormal(tensor(0.0, 0.3), tensor(1.0, 0.5))):
        distribution, y = Recalibrated(base, line), tensor(0.4, 3.0)
        value, bound = crps_with_bound(distribution, y)
        assert torch.equal(value, crps(distribution, y))
        assert (bound < 1e-6 * value).all()
        parts = [threshold_weighted_crps(distribution, y, *w) for w in ((-math.inf, 0.2), (0.2, 0.9), (0.9, math.inf))]
        torch.testing.assert_close(sum(parts), value, rtol=1e-9, atol=0)


# -- point masses ------------------------------------------------------------------------------------------------------


def jumps(distribution, places):
    return cdf(distribution, places) - cdf(distribution, places.nextafter(torch.full_like(places, -torch.inf)))


def test_point_masses_are_the_jumps_of_the_cdf():
    draws = Empirical(tensor(3.0, 1.0, 1.0, 2.0).expand(2, 4))
    quantiles = QuantileFunction(
        torch.tensor([[0.0, 1.0, 1.0, 4.0], [1.0, 2.0, 3.0, 4.0]]).double(), [0.1, 0.3, 0.6, 0.8]
    )
    half = PITMap(tensor(-2.0, 2.0), tensor(-1.0, 1.0), tensor(0.5, 0.5))
    for distribution in (draws, quantiles, Recalibrated(quantiles, half), linear_pool(draws), linear_pool(quantiles)):
        places, masses = atoms(distribution)
        together = torch.where(places.unsqueeze(1) == places, masses, 0.0).sum(1)
        torch.testing.assert_close(together, jumps(distribution, places), rtol=0, atol=1e-12)
    assert atoms(quantiles)[1].sum(0).tolist() == pytest.approx([0.6, 0.3])
    assert len(atoms(dist.Normal(tensor(0.0), tensor(1.0)))[0]) == 0


def test_the_pit_is_uniform_on_point_masses():
    n = 4000
    distribution = QuantileFunction(tensor(0.0, 1.0, 1.0, 4.0).expand(n, 4), [0.3, 0.4, 0.6, 0.9])
    draws = Empirical(torch.arange(5, dtype=torch.float64).expand(n, 5))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        y, one = distribution.sample(), draws.sample()
    assert (y == 0).double().mean().item() == pytest.approx(0.3, abs=0.03)
    values = pit(distribution, y)
    assert stats.kstest(values.numpy(), "uniform").pvalue > 1e-3
    assert stats.kstest(pit(draws, one).numpy(), "uniform").pvalue > 1e-3


def test_a_transform_moves_point_masses_and_does_not_stretch_them():
    payments = ZeroAdjusted(LogNormal(tensor(0.0), tensor(1.0)), gate_logits=tensor(0.3))
    in_cents = Transformed(payments, MonotoneMap(lambda y: y / 100, lambda z: 100 * z))
    places, masses = atoms(in_cents)
    assert (places.item(), masses.item()) == (0.0, pytest.approx(tensor(0.3).sigmoid().item()))
    at_zero, above = in_cents.log_prob(tensor(0.0)), in_cents.log_prob(tensor(250.0))
    assert at_zero.item() == pytest.approx(masses.log().item())
    assert above.item() == pytest.approx(payments.log_prob(tensor(2.5)).item() - math.log(100), rel=1e-9)


def test_recalibration_keeps_point_masses():
    half = PITMap(tensor(-2.0, 2.0), tensor(-1.0, 1.0), tensor(0.5, 0.5))
    quantiles = QuantileFunction(tensor(0.0, 1.0, 4.0).expand(1, 3), [0.3, 0.4, 0.9])
    masses = atoms(Recalibrated(quantiles, half))[1]
    at_zero, at_four = half(tensor(0.3)).item(), 1 - half(tensor(0.9)).item()
    assert masses.flatten().tolist() == pytest.approx([at_zero, 0.0, at_four])


# -- outside of the support --------------------------------------------------------------------------------------------

OPEN = {"validate_args": False}


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_nll_is_infinite_outside_of_the_support(dtype):
    one = torch.ones(1, dtype=dtype)
    counts = [
        Poisson(one, **OPEN), torch.distributions.Poisson(one, **OPEN),
        NegativeBinomial(one, logits=one, **OPEN), torch.distributions.NegativeBinomial(one, logits=one, **OPEN),
    ]  # fmt: skip
    zeros = [kind(base, gate_logits=one, **OPEN) for kind in (ZeroInflated, Hurdle) for base in counts]
    zeros.append(dist.ZeroInflatedPoisson(one, gate_logits=one, **OPEN))
    for distribution in (*counts, *zeros):
        assert nll(distribution, -one).item() == math.inf, distribution
        assert distribution.log_prob(-one).item() == -math.inf or type(distribution).__module__.startswith("torch")
    for kind in (LogNormal, torch.distributions.LogNormal):
        assert nll(kind(one, one, **OPEN), -one).item() == math.inf
    for kind in (Exponential, torch.distributions.Exponential):
        assert nll(kind(one, **OPEN), -one).item() == math.inf
    for kind in (Beta, torch.distributions.Beta):
        assert nll(kind(one, one, **OPEN), torch.tensor([1.5], dtype=dtype)).item() == math.inf
    for kind in (Bernoulli, torch.distributions.Bernoulli):
        assert nll(kind(logits=one, **OPEN), 2 * one).item() == math.inf


def test_distributions_that_validate_still_raise():
    one = torch.ones(1)
    for distribution in (LogNormal(one, one), Exponential(one), Beta(one, one), Bernoulli(logits=one)):
        with pytest.raises(ValueError, match="Expected value argument"):
            nll(distribution, -one)
