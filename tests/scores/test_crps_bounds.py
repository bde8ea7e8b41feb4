"""The bound that comes with the CRPS, the accuracy of the quadrature, and degenerate input."""

import math

import mpmath
import numpy as np
import pyro.distributions as dist
import pytest
import scipy.stats as st
import torch
from score_oracles import DTYPES, close, gamma_cases, integral_oracle, normal_mixture, poisson_cases, sum_oracle

from probmix import linear_pool
from probmix.distributions import Bernoulli, Beta, Exponential, Gamma, InverseGaussian, LogNormal, Poisson
from probmix.distributions.panels import integrate_with_error
from probmix.distributions.quadrature import quadrature_window
from probmix.distributions.sums import sum_crps
from probmix.scores import crps, crps_with_bound, nll


def wide(*values):
    return torch.tensor(values, dtype=torch.float64)


def rows(count, seed=0):
    """Standard normal and uniform numbers for parameters."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn((4, count), generator=generator, dtype=torch.float64)


def holds(value, bound, want, useful=1e-8):
    """The error lies below the bound, which the oracle's own rounding may exceed, and the bound is of use."""
    want = np.asarray(want)
    assert (np.abs(value.numpy() - want) <= bound.numpy() + 2e-14 * want).all()
    assert (bound >= 0).all()
    assert (bound.numpy() <= useful * want).all()


# -- the bound holds and is of use -------------------------------------------------------------------------------------


def quadrature(distribution, y):
    ends = torch.full_like(y, torch.inf)
    return quadrature_window(distribution, y, -ends, ends)


a, b, c, d = rows(300)
CLOSED = {
    "Normal": (dist.Normal(a, b.exp()), 3 * c),
    "Exponential": (Exponential((3 * a).exp()), (-3 * a + b).exp()),
    "LogNormal": (LogNormal(a, b.exp().clamp(0.1, 3)), (a + 2 * c).exp()),
    "Beta": (Beta((2 * a[:20]).exp(), (2 * b[:20]).exp()), c[:20].sigmoid()),
    "Gamma": (Gamma((2 * a[:60]).exp(), b[:60].exp()), (2 * a - b + c)[:60].exp()),
}


@pytest.mark.parametrize("name", CLOSED)
def test_quadrature_against_closed_forms(name):
    """Both ways to the same number: each within its bound, and within 1e-10 of each other."""
    distribution, y = CLOSED[name]
    generic, error = quadrature(distribution, y)
    value, bound = crps_with_bound(distribution, y)
    torch.testing.assert_close(value, crps(distribution, y), rtol=0, atol=0)
    close(generic, value, 1e-10)
    # the cdf of some is known to 1e-12 only, which is not the panels' business
    assert ((generic - value).abs() <= error + bound + 2e-13 * value).all()
    assert (error <= 1e-10 * value).all()
    assert (bound <= 1e-8 * value).all()


def test_normal_mixtures_by_quadrature():
    generator = torch.Generator().manual_seed(1)
    loc = 10 * torch.randn((300, 4), generator=generator, dtype=torch.float64)
    scale = (2 * torch.randn((300, 4), generator=generator, dtype=torch.float64)).exp()
    weights = torch.rand((300, 4), generator=generator, dtype=torch.float64).softmax(-1)
    mixture, y = linear_pool(dist.Normal(loc, scale), weights), 5 * a
    generic, error = quadrature(mixture, y)
    value, bound = crps_with_bound(mixture, y)
    close(generic, value, 1e-10)
    assert ((generic - value).abs() <= error + bound).all()
    assert (error <= 1e-7 * value).all()
    assert (bound <= 1e-12 * value).all()


def test_normal_in_forty_digits():
    for z in (-30.0, -5.0, -0.3, 0.0, 1.2, 8.0, 33.0):
        with mpmath.workdps(40):
            t = mpmath.mpf(z)
            want = t * (2 * mpmath.ncdf(t) - 1) + 2 * mpmath.npdf(t) - 1 / mpmath.sqrt(mpmath.pi)
            value, bound = crps_with_bound(dist.Normal(wide(0.0), wide(1.0)), wide(z))
            assert abs(mpmath.mpf(value.item()) - want) <= bound.item() <= 1e-13 * want


def test_lognormal_and_exponential_in_forty_digits():
    for scale, y in [(1e-3, 1.0005), (0.5, 0.3), (3.0, 1e-6), (6.0, 40.0), (0.7, 900.0)]:
        with mpmath.workdps(60):
            s, t = mpmath.mpf(scale), mpmath.mpf(y)
            z, mean = mpmath.log(t) / s, mpmath.exp(s**2 / 2)
            want = t * (2 * mpmath.ncdf(z) - 1) - 2 * mean * (mpmath.ncdf(z - s) + mpmath.ncdf(s / mpmath.sqrt(2)) - 1)
            single = LogNormal(wide(0.0), wide(scale))
            for distribution in (single, linear_pool(single.expand((1, 2)), wide([0.5, 0.5]))):
                value, bound = crps_with_bound(distribution, wide(y))
                assert abs(mpmath.mpf(value.item()) - want) <= bound.item() <= 1e-9 * want
    for rate, y in [(1e-3, 1.0), (2.0, 0.3), (5.0, 1e-8), (1e5, 3.0)]:
        with mpmath.workdps(40):
            r, t = mpmath.mpf(rate), mpmath.mpf(y)
            want = t - 2 * (1 - mpmath.exp(-r * t)) / r + 1 / (2 * r)
            value, bound = crps_with_bound(Exponential(wide(rate)), wide(y))
            assert abs(mpmath.mpf(value.item()) - want) <= bound.item() <= 1e-12 * want


def test_gamma_and_poisson_against_scipy():
    cases = list(gamma_cases(torch.float64))[::5]
    shape, rate, y = (wide(*column) for column in zip(*cases, strict=True))
    want = [integral_oracle([1.0], [st.gamma(p[0], scale=1 / p[1])], p[2], log=True) for p in cases]
    value, bound = crps_with_bound(Gamma(shape, rate), y)
    # the oracle is good to 1e-12
    holds(value, bound + 1e-12 * value, want)
    cases = [case for case in poisson_cases(torch.float64) if case[0] < 1e5][::4]
    rate, y = (wide(*column) for column in zip(*cases, strict=True))
    want = [sum_oracle([1.0], [st.poisson(case[0])], case[1]) for case in cases]
    value, bound = crps_with_bound(Poisson(rate), y)
    holds(value, bound + 1e-12 * value, want, useful=2e-8)
    generic = sum_crps(Poisson(rate[rate < 300]), y[rate < 300])
    close(generic, value[rate < 300], 1e-9)


def test_poisson_mixtures_against_scipy():
    cases = [
        ([0.5, 0.3, 0.2], [0.5, 3.0, 40.0], 2),
        ([0.5, 0.3, 0.2], [5.0, 250.0, 1e4], 257),
        ([0.2, 0.3, 0.5], [300.0, 600.0, 900.0], 5000),
        ([0.2, 0.3, 0.5], [2.0, 6.0, 9.0], -20),
    ]
    mixture = linear_pool(Poisson(wide(*(case[1] for case in cases))), wide(*(case[0] for case in cases)))
    value, bound = crps_with_bound(mixture, wide(*(case[2] for case in cases)))
    want = [sum_oracle(w, [st.poisson(r) for r in rates], max(y, 0)) + max(-y, 0) for w, rates, y in cases]
    holds(value, bound, want, useful=1.1e-8)
    assert bound[0] < 1e-9 * value[0]


def test_gamma_and_beta_mixtures():
    weights = torch.full((14, 2), 0.5, dtype=torch.float64)
    first, second = (2 * rows(28, 1)[0]).exp().reshape(14, 2), (rows(28, 1)[1]).exp().reshape(14, 2)
    for member, scipy, y in [
        (Gamma, lambda p, q: st.gamma(p, scale=1 / q), (rows(14, 2)[2]).exp()),
        (Beta, st.beta, rows(14, 2)[2].sigmoid()),
    ]:
        value, bound = crps_with_bound(linear_pool(member(first, second), weights), y)
        torch.testing.assert_close(value, crps(linear_pool(member(first, second), weights), y), rtol=0, atol=0)
        assert (bound <= 1e-7 * value).all()
        for i in range(0, 14, 3):
            pairs = zip(first[i].tolist(), second[i].tolist(), strict=True)
            want = integral_oracle([0.5, 0.5], [scipy(*pair) for pair in pairs], y[i].item(), log=member is Gamma)
            assert abs(value[i].item() - want) <= bound[i].item() + 1e-11 * want


def test_classes():
    probs = wide([0.1, 0.2, 0.7], [1e-9, 1e-12, 1.0])
    value, bound = crps_with_bound(dist.Categorical(probs), torch.tensor([1, 2]))
    p = probs.numpy() / probs.numpy().sum(1, keepdims=True)
    holds(value, bound, [0.01 + 0.49, p[1, 0] ** 2 + (p[1, 0] + p[1, 1]) ** 2], useful=1e-13)
    value, bound = crps_with_bound(Bernoulli(wide(0.3, 1e-9)), torch.tensor([1.0, 0.0]))
    holds(value, bound, [0.49, 1e-18], useful=1e-13)
    mixture = linear_pool(Bernoulli(wide([0.3, 0.4])), wide([0.5, 0.5]))
    holds(*crps_with_bound(mixture, torch.tensor([1.0])), [0.65**2], useful=1e-13)


def test_from_nothing_but_a_cdf():
    laplace = dist.Laplace(wide(0.0, 1.0), wide(1.0, 1e-3))
    value, bound = crps_with_bound(laplace, wide(0.4, 3.0))
    z, s = np.array([0.4, 2000.0]), np.array([1.0, 1e-3])
    holds(value, bound, s * (z + np.exp(-z) - 0.75))
    # the tails that are left out count: F of a Cauchy is (1e-12)^2 over 1e12
    value, bound = crps_with_bound(dist.Cauchy(wide(0.0), wide(1.0)), wide(0.5))
    with mpmath.workdps(30):
        # F(-x) = 1 - F(x)
        ends = [-mpmath.inf, -100, -1]
        want = sum(mpmath.quad(lambda x: (0.5 + mpmath.atan(x) / mpmath.pi) ** 2, [*ends, y]) for y in (0.5, -0.5))
    assert 1e-15 * want < abs(value.item() - want) <= bound.item()


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_dtype_counts(dtype):
    normal = dist.Normal(torch.tensor([0.1], dtype=dtype), torch.tensor([1.0], dtype=dtype))
    value, bound = crps_with_bound(normal, torch.tensor([0.7], dtype=dtype))
    assert value.dtype == bound.dtype == dtype
    exact = crps(dist.Normal(normal.loc.double(), 1.0), torch.tensor([0.7], dtype=dtype).double())
    assert abs(value.double() - exact) <= bound.double()
    assert bound < (2e-7 if dtype == torch.float32 else 1e-13)


def test_several_targets_gradients_and_errors():
    y, loc = wide([0.5, 2.0], [1.0, -1.0]), wide([0.0, 1.0], [2.0, 3.0]).requires_grad_()
    value, bound = crps_with_bound(dist.Normal(loc, 1.0).to_event(1), y)
    assert value.shape == bound.shape == (2,)
    assert value.requires_grad
    assert not bound.requires_grad
    for kind in (InverseGaussian, Gamma, Beta):
        value, bound = crps_with_bound(kind(loc.abs() + 1, loc.abs() + 1), y.sigmoid())
        assert value.requires_grad
        assert not bound.requires_grad
    with pytest.raises(ValueError, match="`y` must be finite"):
        crps_with_bound(dist.Normal(loc, 1.0), y * math.nan)
    with pytest.raises(NotImplementedError, match="CRPS of VonMises"):
        crps_with_bound(dist.VonMises(loc, 1.0), y)


# -- the quadrature ----------------------------------------------------------------------------------------------------


def test_the_estimate_of_a_panel_bounds_its_error():
    """Functions of every kind of smoothness: analytic, with a pole near by, a kink, a step, a root at the end."""
    cuts = torch.linspace(0, 3, 4, dtype=torch.float64).unsqueeze(-1).expand(4, 1)
    third = math.pi / 3
    cases = [
        (lambda x: x.exp(), math.expm1(3)),
        (lambda x: 1 / (0.01 + (x - third) ** 2), 10 * (math.atan(10 * (3 - third)) + math.atan(10 * third))),
        (lambda x: 1 + (x - third).abs(), 3 + (third**2 + (3 - third) ** 2) / 2),
        (lambda x: (x > third).double(), 3 - third),
        (lambda x: x.sqrt(), 2 / 3 * 3**1.5),
        (lambda x: 1 + (x - third).abs() ** 3, 3 + (third**4 + (3 - third) ** 4) / 4),
        (lambda x: (-((x - third) ** 2) / 2e-4).exp(), 1e-2 * math.sqrt(2 * math.pi)),
    ]
    for function, want in cases:
        value, error = integrate_with_error(function, cuts, torch.zeros(1, dtype=torch.float64), 1)
        assert abs(value.item() - want) <= error.item() + 1e-14 * want
        assert error.item() <= 1.01e-10 * want


def test_narrow_members_do_not_hide():
    """A member of a thousandth of the width of another, anywhere in it."""
    loc = torch.stack([torch.zeros(200).double(), torch.linspace(-8, 8, 200).double()], -1)
    for narrow in (1e-3, 1e-6):
        mixture = linear_pool(dist.Normal(loc, torch.tensor([1.0, narrow]).double()), torch.full_like(loc, 0.5))
        y = torch.linspace(3, -3, 200).double()
        close(quadrature(mixture, y)[0], crps(mixture, y), 1e-10)


# -- degenerate input --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [1e-6, 1e-12, 1e-30, 1e-300])
def test_tiny_scales_give_the_distance(scale):
    y = wide(0.0, 0.25, 1.0, 3.0)
    one = torch.ones_like(y)
    narrow = [dist.Normal(one, scale * one), linear_pool(dist.Normal(one[:, None].expand(4, 2), scale), None)]
    if scale > 1e-20:
        narrow += [dist.Laplace(one, scale * one), LogNormal(0 * one, scale * one)]
        narrow += [linear_pool(LogNormal(0 * one[:, None].expand(4, 2), scale), None)]
    for distribution in narrow:
        value, bound = crps_with_bound(distribution, y)
        np.testing.assert_allclose(value, (y - 1).abs(), atol=1.5 * scale + 2e-15)
        assert bound.isfinite().all()
        assert (value >= -1e-15).all()
    normal = crps(dist.Normal(wide(1.0), wide(scale)), wide(1.0))
    close(normal, [scale * (math.sqrt(2 / math.pi) - 1 / math.sqrt(math.pi))], 1e-12)


def test_targets_at_the_ends_of_the_support():
    one = wide(1.0, 1.0)
    ends = {
        # F is 0 below both: E min(Y, Y')
        "Exponential": (Exponential(2 * one), wide(0.0, -0.0), 0.25),
        "LogNormal": (LogNormal(0 * one, one), wide(0.0, -0.0), math.exp(0.5) * math.erfc(0.5)),
        "Gamma": (Gamma(2 * one, one), wide(0.0, -0.0), 1.25),
        "Beta": (Beta(one, one), wide(0.0, 1.0), 1 / 3),
        "Uniform": (dist.Uniform(0 * one, one), wide(0.0, 1.0), 1 / 3),
        "Poisson": (Poisson(1e-3 * one), wide(0.0, -0.0), 1e-3 * (1 - st.skellam(1e-3, 1e-3).pmf([0, 1]).sum())),
    }
    for distribution, y, want in ends.values():
        value, bound = crps_with_bound(distribution, y)
        np.testing.assert_allclose(value, want, rtol=1e-9)
        assert bound.isfinite().all()
        if isinstance(distribution, dist.Uniform):
            continue
        pooled = linear_pool(distribution.expand((2, 2)), torch.full((2, 2), 0.5).double())
        np.testing.assert_allclose(crps(pooled, y), want, rtol=1e-9)


@pytest.mark.parametrize("kind", [dist.Normal, Gamma, LogNormal, InverseGaussian, Exponential, Poisson])
def test_no_rows_and_no_numbers(kind):
    count = 1 if kind in (Exponential, Poisson) else 2
    value, bound = crps_with_bound(kind(*[torch.ones(0)] * count), torch.ones(0))
    assert value.shape == bound.shape == (0,)
    for score in (crps, nll, crps_with_bound):
        with pytest.raises(ValueError, match=r"`y` must be finite; got nan at row 1\. Drop or impute"):
            score(kind(*[torch.ones(2)] * count), torch.tensor([1.0, math.nan]))
        with pytest.raises(ValueError, match="`y` must be finite; got inf at row 0"):
            score(kind(*[torch.ones(2)] * count), torch.tensor([math.inf, 1.0]))


def test_the_log_score_of_classes_at_extreme_logits():
    """In float32 as well: what is left for the other classes keeps its digits however sure the forecast is."""
    logits = torch.tensor([[90.0, 0.0, -90.0], [1e4, 0.0, -1e4], [30.0, 15.0, 0.0], [-80.0, -80.0, -80.5]])
    exact = logits.double().numpy()
    exact = (
        np.log(np.exp(exact - exact.max(1, keepdims=True)).sum(1, keepdims=True)) + exact.max(1, keepdims=True) - exact
    )
    for k in range(3):
        value = nll(dist.Categorical(logits=logits), torch.full((4,), k))
        np.testing.assert_allclose(value.double(), exact[:, k], rtol=1e-6, atol=3e-6)


@pytest.mark.cuda
@pytest.mark.parametrize("name", [*CLOSED, "mixture"])
def test_on_the_device(name):
    distribution, y = CLOSED.get(name, (normal_mixture()[0], wide(0.0, 1.0, 2.0)))

    def there(t):
        return t.cuda() if isinstance(t, torch.Tensor) else t

    if name == "mixture":
        _, weights, loc, scale = normal_mixture()
        moved = linear_pool(dist.Normal(loc.cuda(), scale.cuda()), weights.cuda())
    else:
        moved = type(distribution)(*(there(getattr(distribution, p)) for p in type(distribution).arg_constraints))
    value, bound = crps_with_bound(moved, y.cuda())
    assert value.device.type == bound.device.type == "cuda"
    torch.testing.assert_close(value.cpu(), crps_with_bound(distribution, y)[0])
