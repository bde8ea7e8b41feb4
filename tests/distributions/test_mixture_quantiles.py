"""Quantiles of mixtures: against bisection, at extreme parameters and levels, and how often they ask for the cdf."""

import numpy as np
import pyro.distributions as dist
import pytest
import torch
from scipy import optimize, stats

from probmix import linear_pool
from probmix.distributions import (
    Bernoulli,
    Beta,
    Categorical,
    Empirical,
    Exponential,
    Gamma,
    Hurdle,
    Independent,
    InverseGaussian,
    LogNormal,
    NegativeBinomial,
    Poisson,
    StudentT,
    ZeroAdjusted,
    ZeroInflated,
    cdf,
    icdf,
    is_discrete,
    mixture_quantiles,
)
from probmix.distributions.inversion import invert_continuous, invert_discrete

ROWS, MEMBERS = 20, 6
LEVELS = [1e-10, 1e-3, 0.05, 0.5, 0.95]


def draws(*shape, seed):
    return torch.from_numpy(np.random.default_rng(seed).uniform(size=shape))


def powers(low, high, seed):
    return 10 ** (low + (high - low) * draws(ROWS, MEMBERS, seed=seed))


def weights():
    w = draws(ROWS, MEMBERS, seed=9) ** 4
    w[::3, 0], w[::4, 1] = 0.0, 1e-300
    return w / w.sum(-1, keepdim=True)


def real(seed):
    return 4 * draws(ROWS, MEMBERS, seed=seed) - 2


COMPONENTS = {
    "gamma": lambda: Gamma(powers(-0.5, 6, 0), powers(-3, 3, 1)),
    "gamma close to zero": lambda: Gamma(powers(-1.5, 0, 0), powers(-3, 3, 1)),
    "beta": lambda: Beta(powers(-1, 4, 0), powers(-0.5, 4, 1)),
    "normal": lambda: dist.Normal(real(0), powers(-1, 0, 1)),
    "normal, far apart": lambda: dist.Normal(powers(0, 4, 0) * real(2).sign(), powers(-3, 0, 1)),
    "student-t": lambda: StudentT(powers(-0.3, 2, 0), real(1), powers(-1, 1, 2)),
    "lognormal": lambda: LogNormal(5 * real(0), powers(-2, 1, 1)),
    "exponential": lambda: Exponential(powers(-3, 3, 0)),
    "inverse gaussian": lambda: InverseGaussian(powers(-1, 1, 0), powers(-3, 3, 1)),
    "poisson": lambda: Poisson(powers(-3, 6, 0)),
    "negative binomial": lambda: NegativeBinomial.from_mean(powers(-2, 4, 0), powers(-4, 2, 1)),
    "zero-inflated": lambda: ZeroInflated(Poisson(powers(-1, 2, 0)), gate_logits=real(1)),
    "hurdle": lambda: Hurdle(NegativeBinomial.from_mean(powers(-1, 2, 0), powers(-2, 1, 1)), real(2)),
    "bernoulli": lambda: Bernoulli(logits=real(0)),
    "identical": lambda: Gamma(powers(0, 1, 0)[:, :1].expand(ROWS, MEMBERS), torch.ones(ROWS, MEMBERS).double()),
}


def bisection(mixture, q):
    """From the components' quantiles, by halving in the order of floating-point numbers."""
    components = icdf(mixture.component_distribution, q.unsqueeze(-1)).double()
    low, high = components.amin(-1), components.amax(-1)
    if is_discrete(mixture):
        low = low - 1
    while True:
        wide = (low > 0) & (high > 4 * low)
        middle = torch.where(wide, low.clamp(min=0).sqrt() * high.clamp(min=0).sqrt(), 0.5 * (low + high))
        if is_discrete(mixture):
            middle = middle.floor()
        between = (middle > low) & (middle < high)
        if not bool(between.any()):
            return high
        below = cdf(mixture, middle) < q
        low, high = torch.where(between & below, middle, low), torch.where(between & ~below, middle, high)


@pytest.mark.parametrize("name", COMPONENTS)
def test_quantiles_are_those_of_bisection(name):
    mixture = linear_pool(COMPONENTS[name](), weights())
    for level in LEVELS:
        q = torch.full((ROWS,), level, dtype=torch.float64)
        found, want = mixture.icdf(q), bisection(mixture, q)
        if is_discrete(mixture):
            torch.testing.assert_close(found, want, rtol=0, atol=0)
        else:
            # beside a flat stretch a cdf that is off by rounding moves a quantile: there the level is met instead
            close = (found - want).abs() <= 2e-12 * want.abs()
            met = (cdf(mixture, found) - q).abs() <= 2e-15 * q
            assert bool((close | met).all()), (level, found[~(close | met)], want[~(close | met)])


@pytest.mark.parametrize("name", COMPONENTS)
def test_levels_next_to_one(name):
    """A cdf is known to 1e-16 there, and so its distance from one to some 1e-6 of it."""
    mixture = linear_pool(COMPONENTS[name](), weights())
    q = torch.full((ROWS,), 1 - 1e-10, dtype=torch.float64)
    found = mixture.icdf(q)
    if is_discrete(mixture):
        assert bool((cdf(mixture, found) >= q - 2e-15).all())
        assert bool((cdf(mixture, found - 1) < q + 2e-15).all())
    else:
        step = 1e-9 * found.abs() if name == "beta" else 2e-5 * found.abs()
        assert bool((cdf(mixture, found - step) <= q + 2e-15).all())
        assert bool((cdf(mixture, found + step) >= q - 2e-15).all())


@pytest.mark.parametrize("name", COMPONENTS)
def test_ends_and_no_levels(name):
    component = COMPONENTS[name]()
    mixture = linear_pool(component, weights())
    for level in (0.0, 1.0):
        q = torch.full((ROWS, 1), level, dtype=torch.float64)
        ends = icdf(component, q)
        torch.testing.assert_close(mixture.icdf(q.squeeze(-1)), ends.amin(-1) if level == 0 else ends.amax(-1))
    wrong = torch.tensor([-0.1, 1.1, torch.nan, 0.5] * 5, dtype=torch.float64)
    assert mixture.icdf(wrong).isnan().tolist() == [True, True, True, False] * 5


def test_median_of_two_that_are_far_apart_is_where_the_lower_one_ends():
    """The cdf is 1/2 to rounding from 8 on to far below 1000; the smallest place counts."""
    mixture = linear_pool(dist.Normal(torch.tensor([[0.0, 1000.0]]).double(), torch.tensor(1.0).double()))
    (median,) = mixture.icdf(torch.tensor([0.5]).double()).tolist()
    assert 7 < median < 9
    low, high = mixture.icdf(torch.tensor([[0.5 - 1e-9], [0.5 + 1e-9]], dtype=torch.float64)).flatten().tolist()
    # beside it one of the two components has the level 1 -+ 2e-9
    assert low == pytest.approx(stats.norm.isf(2e-9), rel=1e-8)
    assert high == pytest.approx(1000 - stats.norm.isf(2e-9), rel=1e-10)


def test_gammas_against_scipy():
    a, b, w = np.array([0.3, 5.0, 80.0]), np.array([2.0, 1.0, 4.0]), np.array([0.2, 0.5, 0.3])
    mixture = linear_pool(Gamma(torch.from_numpy(a), torch.from_numpy(b)), torch.from_numpy(w))
    for level in (0.01, 0.2, 0.5, 0.9, 0.999):
        want = optimize.brentq(lambda y, q=level: w @ stats.gamma.cdf(y, a, scale=1 / b) - q, 1e-9, 99, xtol=1e-15)
        assert mixture.icdf(torch.tensor(level, dtype=torch.float64)).item() == pytest.approx(want, rel=1e-12)


def test_few_evaluations_and_rows_that_leave(monkeypatch):
    """Counted in components at places: bisection took 65 for every one, and as many for the components' quantiles."""
    asked = []

    def counting(distribution, y):
        asked.append(torch.broadcast_shapes(y.shape, distribution.batch_shape).numel())
        return cdf(distribution, y)

    monkeypatch.setattr(mixture_quantiles, "cdf", counting)
    rows, members = 300, 16
    shape, rate = ((draws(rows, members, seed=s) + draws(rows, 1, seed=9)).exp() for s in (0, 1))
    p = draws(rows, members, seed=2) * 0.2 + 0.6 * draws(rows, 1, seed=3) + 0.1
    cases = {
        Gamma(shape, rate): 4,
        dist.Normal(rate, shape): 4,
        Beta(5 * p, 5 * (1 - p)): 4,
        NegativeBinomial.from_mean(10 * rate, 1 / shape): 3,
    }
    for component, most in cases.items():
        for level in (0.05, 0.5, 0.95):
            asked.clear()
            linear_pool(component).icdf(torch.full((rows,), level, dtype=torch.float64))
            assert sum(asked) <= most * rows * members
            assert is_discrete(component) or asked[-1] < asked[0]


def test_blocks(monkeypatch):
    component, w = Gamma(powers(-0.5, 3, 0), powers(-3, 3, 1)), weights()
    q = torch.tensor([[0.1], [0.7]], dtype=torch.float64).expand(2, ROWS)
    whole = linear_pool(component, w).icdf(q)
    largest = []

    def counting(distribution, y):
        largest.append(torch.broadcast_shapes(y.shape, distribution.batch_shape).numel())
        return cdf(distribution, y)

    monkeypatch.setattr(mixture_quantiles, "cdf", counting)
    monkeypatch.setattr(mixture_quantiles, "_BLOCK", 7 * MEMBERS)
    torch.testing.assert_close(linear_pool(component, w).icdf(q), whole, rtol=1e-13, atol=0)
    assert max(largest) == 7 * MEMBERS


def test_several_targets_and_levels():
    """Every coordinate at every level by itself."""
    component = Gamma(powers(0, 1, 0).reshape(5, 4, 6), powers(0, 1, 1).reshape(5, 4, 6))
    w = weights()[:5, :4] + 0.1
    w = w / w.sum(-1, keepdim=True)
    several = linear_pool(Independent(component, 1), w)
    q = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64).reshape(3, 1, 1)
    found = several.icdf(q)
    assert found.shape == (3, 5, 6)
    one = linear_pool(Gamma(component.concentration[..., 2], component.rate[..., 2]), w)
    torch.testing.assert_close(found[1, :, 2], one.icdf(torch.tensor(0.5, dtype=torch.float64)), rtol=1e-13, atol=0)
    torch.testing.assert_close(several.cdf(found), q.expand(3, 5, 6), rtol=1e-13, atol=0)


def test_dependent_targets_and_components_that_cannot_be_taken_apart():
    covariance = torch.tensor([[1.0, 0.5], [0.5, 2.0]]).double()
    loc = real(0).reshape(10, 4, 3)[..., :2]
    mixture = linear_pool(dist.MultivariateNormal(loc, covariance))
    q = torch.full((10, 2), 0.3, dtype=torch.float64)
    torch.testing.assert_close(cdf(mixture, icdf(mixture, q)), q, rtol=1e-13, atol=0)
    uniform = linear_pool(dist.Uniform(torch.tensor([0.0, 2.0]), torch.tensor([1.0, 3.0]), validate_args=False))
    torch.testing.assert_close(icdf(uniform, torch.tensor([0.25, 0.75])), torch.tensor([0.5, 2.5]))


def test_draws_and_point_masses():
    samples = draws(ROWS, MEMBERS, 5, seed=0)
    found = linear_pool(Empirical(samples)).icdf(torch.full((ROWS,), 0.37, dtype=torch.float64))
    want = samples.flatten(1).sort(-1).values[:, int(np.ceil(0.37 * 30)) - 1]
    torch.testing.assert_close(found, want, rtol=0, atol=0)
    gamma, gates = Gamma(powers(0, 1, 0), powers(0, 1, 1)), real(2)
    mixture = dist.MixtureSameFamily(dist.Categorical(weights()), ZeroAdjusted(gamma, gates))
    zero = cdf(mixture, torch.zeros(ROWS).double())
    torch.testing.assert_close(icdf(mixture, 0.9 * zero), torch.zeros(ROWS).double(), rtol=0, atol=0)
    above = zero + 0.5 * (1 - zero)
    torch.testing.assert_close(cdf(mixture, icdf(mixture, above)), above, rtol=1e-13, atol=0)


def test_classes():
    mixture = dist.MixtureSameFamily(dist.Categorical(weights()), Categorical(draws(ROWS, MEMBERS, 7, seed=0)))
    q = torch.full((ROWS,), 0.6, dtype=torch.float64)
    found = icdf(mixture, q)
    assert bool((cdf(mixture, found) >= q).all() & ((found == 0) | (cdf(mixture, found - 1) < q)).all())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dtypes_and_empty_batches(dtype):
    mixture = linear_pool(Gamma(torch.ones(2, 3, dtype=dtype), torch.arange(1, 4).to(dtype).expand(2, 3)))
    found = mixture.icdf(torch.tensor(0.3, dtype=dtype))
    assert found.dtype == dtype
    assert found.shape == (2,)
    torch.testing.assert_close(mixture.cdf(found), torch.full((2,), 0.3, dtype=dtype))
    none = linear_pool(Gamma(torch.ones(0, 3, dtype=dtype), torch.ones(0, 3, dtype=dtype)))
    assert none.icdf(torch.tensor(0.3, dtype=dtype)).shape == (0,)
    counts = linear_pool(Poisson(torch.tensor([[1.0, 9.0]], dtype=dtype)))
    k = torch.arange(15).to(dtype).unsqueeze(-1)
    torch.testing.assert_close(counts.icdf(counts.cdf(k) - 1e-4), k, rtol=0, atol=0)


def test_inversion_of_any_cdf():
    q = torch.tensor([1e-8, 0.3, 0.5, 0.999], dtype=torch.float64)
    low, high = torch.full_like(q, -3.0), torch.full_like(q, -2.0)
    torch.testing.assert_close(
        invert_continuous(torch.special.ndtr, q, torch.full_like(q, -40.0), high),
        torch.special.ndtri(q),
        rtol=1e-8,
        atol=1e-15,
    )
    counts = invert_discrete(lambda y: torch.from_numpy(stats.poisson.cdf(y.numpy(), 50)), q, low, high)
    assert counts.tolist() == stats.poisson.ppf(q.numpy(), 50).tolist()
