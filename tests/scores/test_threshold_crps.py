"""The CRPS between thresholds: against integrals, other libraries, and its own identities."""

import functools
import itertools
import math

import mpmath
import numpy as np
import pyro.distributions as dist
import pytest
import scipy.stats as st
import scoringrules
import torch
from score_oracles import DTYPES, close

from probmix import linear_pool
from probmix.distributions import Bernoulli, Beta, Exponential, Gamma, InverseGaussian, LogNormal, Poisson
from probmix.scores import crps, crps_samples, threshold_weighted_crps, threshold_weighted_crps_samples


def wide(*values):
    return torch.tensor(values, dtype=torch.float64)


def mixture(member, *parameters, weights=(0.3, 0.7)):
    rows = [torch.tensor([p], dtype=torch.float64) for p in parameters]
    return linear_pool(member(*rows), wide(*weights).unsqueeze(0))


CONTINUOUS = {
    "Normal": (dist.Normal(wide(0.5), wide(2.0)), st.norm(0.5, 2).cdf),
    "LogNormal": (LogNormal(wide(0.3), wide(0.8)), st.lognorm(0.8, scale=math.exp(0.3)).cdf),
    "Exponential": (Exponential(wide(0.4)), st.expon(scale=2.5).cdf),
    "Gamma": (Gamma(wide(2.5), wide(1.5)), st.gamma(2.5, scale=1 / 1.5).cdf),
    "Beta": (Beta(wide(2.0), wide(0.7)), st.beta(2, 0.7).cdf),
    "InverseGaussian": (InverseGaussian(wide(2.0), wide(3.0)), st.invgauss(2 / 3, scale=3).cdf),
    "Laplace": (dist.Laplace(wide(1.0), wide(0.5)), st.laplace(1, 0.5).cdf),
    "mixture of Normals": (
        mixture(dist.Normal, [0.0, 3.0], [1.0, 0.02]),
        lambda x: 0.3 * st.norm.cdf(x) + 0.7 * st.norm(3, 0.02).cdf(x),
    ),
    "mixture of Betas": (
        mixture(Beta, [2.0, 80.0], [0.7, 90.0]),
        lambda x: 0.3 * st.beta(2, 0.7).cdf(x) + 0.7 * st.beta(80, 90).cdf(x),
    ),
    "mixture of Exponentials": (
        mixture(Exponential, [0.5, 30.0]),
        lambda x: 0.3 * st.expon(scale=2).cdf(x) + 0.7 * st.expon(scale=1 / 30).cdf(x),
    ),
}
DISCRETE = {
    "Poisson": (Poisson(wide(3.5)), st.poisson(3.5).cdf),
    "Poisson of 900": (Poisson(wide(900.0)), st.poisson(900).cdf),
    "Bernoulli": (Bernoulli(wide(0.3)), st.bernoulli(0.3).cdf),
    "Categorical": (
        dist.Categorical(wide([0.1, 0.2, 0.3, 0.4])),
        st.rv_discrete(values=(range(4), [0.1, 0.2, 0.3, 0.4])).cdf,
    ),
    "mixture of Poissons": (
        mixture(Poisson, [2.0, 400.0]),
        lambda x: 0.3 * st.poisson(2).cdf(x) + 0.7 * st.poisson(400).cdf(x),
    ),
    "mixture of Categoricals": (
        mixture(dist.Categorical, [[0.1, 0.9, 0.0], [0.4, 0.1, 0.5]]),
        st.rv_discrete(values=(range(3), [0.31, 0.34, 0.35])).cdf,
    ),
}
WINDOWS = [(-math.inf, 0.6), (0.2, 0.9), (1.7, 2.0), (2.5, math.inf), (-1.5, 40.0), (0.5, 0.5), (-3.0, -2.0)]


STEPS = np.geomspace(1e-13, 0.1, 40)
CUTS = np.concatenate(
    [np.linspace(-45, 150, 400), np.linspace(2.8, 3.2, 41), STEPS, 1 - STEPS, np.linspace(0, 3, 31), [1 - 1e-15]]
)


def integral(cdf, y, lower, upper):
    """The definition, by Gauss-Legendre quadrature between the cuts."""
    low, high = max(lower, -45.0), min(upper, 150.0)
    edges = np.unique(np.clip([low, high, y, *CUTS], low, high))
    t, w = np.polynomial.legendre.leggauss(20)
    half = np.diff(edges)[:, None] / 2
    x = edges[:-1, None] + half * (1 + t)
    return (half * w * (cdf(x) - (x >= y)) ** 2).sum()


@pytest.mark.parametrize("window", WINDOWS, ids=str)
@pytest.mark.parametrize("name", CONTINUOUS)
def test_continuous_against_the_integral(name, window):
    distribution, cdf = CONTINUOUS[name]
    for y in (-1.0, 0.3, 1.8, 7.0):
        value = threshold_weighted_crps(distribution, wide(y), *window)
        np.testing.assert_allclose(value, integral(cdf, y, *window), rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("window", WINDOWS, ids=str)
@pytest.mark.parametrize("name", DISCRETE)
def test_discrete_against_the_sum(name, window):
    distribution, cdf = DISCRETE[name]
    for y in (0.0, 1.0, 2.0, 870.0):
        if y > 2 and "ategorical" in name:
            continue
        value = threshold_weighted_crps(distribution, wide(y), *window)
        k = np.arange(-10.0, 1400)
        lengths = np.clip(np.minimum(k + 1, window[1]) - np.maximum(k, window[0]), 0, None)
        want = ((cdf(k) - (k >= y)) ** 2 * lengths).sum()
        np.testing.assert_allclose(value, want, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("name", [*CONTINUOUS, *DISCRETE])
def test_windows_of_a_partition_add_up_to_the_crps(name):
    distribution, _ = {**CONTINUOUS, **DISCRETE}[name]
    y = wide(1.0)
    ends = [-math.inf, -2.0, 0.25, 0.9, 1.0, 1.6, 350.0, math.inf]
    parts = [threshold_weighted_crps(distribution, y, *pair) for pair in itertools.pairwise(ends)]
    close(sum(parts), crps(distribution, y), 1e-9)
    assert all(part >= 0 for part in parts)
    torch.testing.assert_close(threshold_weighted_crps(distribution, y), crps(distribution, y), rtol=0, atol=0)
    # nearly the whole line, by the way of the windows
    close(threshold_weighted_crps(distribution, y, -1e3, 1e4), crps(distribution, y), 1e-9)


@pytest.mark.parametrize("dtype", DTYPES)
def test_normal_against_scoringrules(dtype):
    rng = np.random.default_rng(0)
    loc, y = 3 * rng.standard_normal((2, 200))
    scale = np.exp(rng.standard_normal(200))
    lower = loc + scale * rng.normal(size=200)
    upper = lower + scale * rng.exponential(size=200)
    arrays = [torch.tensor(a, dtype=dtype) for a in (loc, scale, y, lower, upper)]
    loc, scale, y, lower, upper = arrays
    value = threshold_weighted_crps(dist.Normal(loc, scale), y, lower, upper)
    assert value.dtype == dtype
    loc, scale, y, lower, upper = (t.double().numpy() for t in arrays)
    # the CRPS of the censored Normal holds the point masses at both ends
    want = scoringrules.crps_cnormal(np.clip(y, lower, upper), loc, scale, lower, upper)
    np.testing.assert_allclose(value.double(), want, rtol=2e-6 if dtype == torch.float32 else 1e-9, atol=1e-12)


def test_normal_keeps_its_digits_in_short_windows_and_tails():
    normal = dist.Normal(wide(1.0), wide(2.0))
    for lower, upper, y in [
        (-13.0, -11.0, 5.0),
        (1.0, 1.0 + 2.0**-30, 1.0),
        (14.0, 16.0, 3.0),
        (-17.0, math.inf, 30.0),
    ]:
        with mpmath.workdps(30):
            m, end = min(max(y, lower), upper), min(upper, 60.0)
            below = mpmath.quad(lambda x: mpmath.ncdf((x - 1) / 2) ** 2, np.linspace(lower, m, 9))
            want = below + mpmath.quad(lambda x: mpmath.ncdf((1 - x) / 2) ** 2, np.linspace(m, end, 9))
        close(threshold_weighted_crps(normal, wide(y), lower, upper), [float(want)], 3e-12)


def test_thresholds_broadcast_to_the_targets():
    y = wide([0.5, 2.0, 4.0], [1.0, 3.0, 0.1])
    rate = wide([0.5, 1.0, 2.0], [3.0, 1.0, 0.2])
    joint = Gamma(2 * rate, rate).to_event(1)
    upper = torch.tensor([1.0, 2.0, 3.0])
    value = threshold_weighted_crps(joint, y, 0.5, upper)
    assert value.shape == (2,)
    single = [threshold_weighted_crps(Gamma(2 * rate[:, j], rate[:, j]), y[:, j], 0.5, upper[j]) for j in range(3)]
    close(value, torch.stack(single).mean(0), 1e-12)
    close(threshold_weighted_crps(joint, y, wide([0.5], [0.5]), upper), value, 1e-12)


def test_draws_are_chained():
    rng = np.random.default_rng(1)
    samples, y = rng.standard_normal((40, 30)), rng.standard_normal(40)
    for lower, upper in [(-0.5, 0.7), (-math.inf, 0.2), (0.3, math.inf)]:
        chain = functools.partial(np.clip, a_min=lower, a_max=upper)
        want = scoringrules.twcrps_ensemble(y, samples, v_func=chain, estimator="nrg", backend="numpy")
        value = threshold_weighted_crps_samples(torch.tensor(samples), torch.tensor(y), lower, upper, fair=False)
        close(value, want, 1e-10)
        fair = threshold_weighted_crps_samples(torch.tensor(samples), torch.tensor(y), lower, upper)
        assert (fair <= value).all()
        assert (fair < value).any()
    plain = crps_samples(torch.tensor(samples), torch.tensor(y))
    torch.testing.assert_close(threshold_weighted_crps_samples(torch.tensor(samples), torch.tensor(y)), plain)
    rows = torch.linspace(-1, 1, 40)
    per_row = threshold_weighted_crps_samples(torch.tensor(samples).float(), torch.tensor(y), rows, rows + 0.5)
    assert per_row.dtype == torch.float32
    one = threshold_weighted_crps_samples(torch.tensor(samples[7]).float(), torch.tensor(y[7]), rows[7], rows[7] + 0.5)
    torch.testing.assert_close(per_row[7], one)


def test_fair_draws_are_unbiased_for_the_distribution():
    generator = torch.Generator().manual_seed(0)
    samples = torch.randn((40_000, 4), generator=generator, dtype=torch.float64)
    y = torch.full((40_000,), 0.4, dtype=torch.float64)
    values = threshold_weighted_crps_samples(samples, y, 0.2, 1.5)
    expected = threshold_weighted_crps(dist.Normal(wide(0.0), wide(1.0)), wide(0.4), 0.2, 1.5)
    assert abs(values.mean() - expected) < 4 * values.std() / 200


@pytest.mark.parametrize("name", ["Normal", "Gamma", "mixture of Normals"])
def test_gradients(name):
    y = wide(0.9, 3.0).requires_grad_()
    lower, upper = wide(0.25, 0.3).requires_grad_(), wide(1.5, 2.0).requires_grad_()
    loc, scale = wide([0.5, 2.5], [1.0, 2.2]).requires_grad_(), wide([1.0, 0.8], [1.3, 0.7]).requires_grad_()
    make = {
        "Normal": lambda loc, scale: dist.Normal(loc[:, 0], scale[:, 0]),
        "Gamma": lambda loc, scale: Gamma(scale[:, 0], loc[:, 0]),
        "mixture of Normals": lambda loc, scale: linear_pool(dist.Normal(loc, scale), torch.full_like(loc, 0.5)),
    }[name]
    inputs = (loc, scale, y, lower, upper)
    assert torch.autograd.gradcheck(
        lambda loc, scale, *rest: threshold_weighted_crps(make(loc, scale), *rest) + 0 * scale.sum(), inputs
    )


def test_no_rows():
    none = torch.ones(0)
    assert threshold_weighted_crps(dist.Normal(none, none), none, 0.0).shape == (0,)
    assert threshold_weighted_crps(Gamma(none, none), none, 0.0).shape == (0,)
    assert threshold_weighted_crps(Poisson(none), none, 0.0).shape == (0,)
    assert threshold_weighted_crps_samples(torch.ones(0, 3), none, 0.0).shape == (0,)


@pytest.mark.parametrize(
    ("window", "message"),
    [
        ((2.0, 1.0), "`lower` must not be above `upper`; got 2 at row 0. Swap"),
        ((math.nan, 1.0), "`lower` must not be NaN"),
        ((0.0, math.nan), "`upper` must not be NaN"),
        ((math.inf, math.inf), "`lower` must be finite or minus infinity"),
        ((-math.inf, -math.inf), "`upper` must be finite or infinity"),
        ((torch.zeros(3), 1.0), r"`lower` must broadcast to the shape of the targets, \(2,\); got shape \(3,\)"),
        ((0.0, torch.ones(2, 1)), r"`upper` must broadcast to the shape of the targets"),
    ],
    ids=range(7),
)
def test_errors_of_thresholds(window, message):
    y = torch.zeros(2)
    with pytest.raises(ValueError, match=message):
        threshold_weighted_crps(dist.Normal(y, y + 1), y, *window)
    with pytest.raises(ValueError, match=message):
        threshold_weighted_crps_samples(torch.zeros(2, 5), y, *window)


def test_other_errors():
    y = torch.zeros(2)
    with pytest.raises(ValueError, match="`y` must be finite"):
        threshold_weighted_crps(dist.Normal(y, y + 1), y * math.nan, 0.0)
    with pytest.raises(NotImplementedError, match="CRPS of VonMises"):
        threshold_weighted_crps(dist.VonMises(y, y + 1), y, 0.0)
    with pytest.raises(TypeError, match="`samples` must be float32 or float64"):
        threshold_weighted_crps_samples(torch.zeros(2, 5, dtype=torch.float16), y, 0.0)
    with pytest.raises(ValueError, match="at least one draw"):
        threshold_weighted_crps_samples(torch.tensor(1.0), torch.tensor(1.0), 0.0)


@pytest.mark.cuda
@pytest.mark.parametrize("name", ["Normal", "Gamma", "Poisson", "mixture of Normals"])
def test_on_the_device(name):
    y = torch.tensor([[1.0], [3.0]])
    loc = torch.tensor([[0.5, 2.5], [1.0, 2.2]])
    make = {
        "Normal": lambda p: dist.Normal(p[:, :1], p[:, :1]),
        "Gamma": lambda p: Gamma(p[:, :1], p[:, :1]),
        "Poisson": lambda p: Poisson(p[:, :1]),
        "mixture of Normals": lambda p: linear_pool(dist.Normal(p.unsqueeze(-2), p.unsqueeze(-2)), None),
    }[name]
    on_cpu, there = make(loc), make(loc.cuda())
    targets = y.expand(on_cpu.batch_shape)
    value = threshold_weighted_crps(there, targets.cuda(), 0.5, 2.25)
    assert value.device.type == "cuda"
    torch.testing.assert_close(value.cpu(), threshold_weighted_crps(on_cpu, targets, 0.5, 2.25))
