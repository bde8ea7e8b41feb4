"""The CRPS of mixtures of Exponentials, Gammas, LogNormals, Bernoullis and Betas, which need no search for panels."""

import math

import mpmath
import pytest
import scipy.stats as st
import torch
from score_oracles import DTYPES, close, integral_oracle

from probmix import linear_pool
from probmix.distributions import Bernoulli, Beta, Exponential, Gamma, LogNormal
from probmix.distributions.beta_mixtures import beta_mixture_crps
from probmix.distributions.gamma_mixtures import mean_distance_between
from probmix.distributions.quadrature import quadrature_window
from probmix.scores import crps, crps_with_bound


def from_cdf(mixture, y):
    ends = torch.full_like(y, torch.inf)
    return quadrature_window(mixture, y, -ends, ends)[0]


def uniform(seed, low, high, *shape):
    generator = torch.Generator().manual_seed(seed)
    return low + (high - low) * torch.rand(shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("dtype", DTYPES)
def test_exponentials(dtype):
    cases = [
        ([0.3, 0.7], [2.0, 9.0], 0.4),
        ([0.3, 0.7], [2.0, 9.0], 0.0),
        ([0.999, 0.001], [1.0, 1e-6], 0.5),
        ([0.999, 0.001], [1e6, 1.0], 1e-7),
        ([0.5, 0.5], [1e3, 1e-3], 1.0),
        ([1.0, 0.0], [4.0, 1e-9], 3.0),
        ([0.5, 0.5], [1e-6, 2e-6], 1e7),
    ]
    weights, rate = (torch.tensor([case[i] for case in cases], dtype=dtype) for i in (0, 1))
    y = torch.tensor([case[2] for case in cases], dtype=dtype)
    value = crps(linear_pool(Exponential(rate), weights), y)
    assert value.dtype == dtype
    w, r = weights.double().numpy(), rate.double().numpy()
    w = w / w.sum(1, keepdims=True)
    want = [
        integral_oracle(w[i], [st.expon(scale=1 / b) for b in r[i]], y[i].item(), log=True) for i in range(len(cases))
    ]
    close(value, want, 1e-6 if dtype == torch.float32 else 1e-12)


@pytest.mark.parametrize("dtype", DTYPES)
def test_lognormals(dtype):
    cases = [
        ([0.3, 0.7], [0.5, -0.2], [0.4, 1.1], 0.4),
        ([0.3, 0.7], [0.5, -0.2], [0.4, 1.1], 1e-5),
        ([0.3, 0.7], [0.5, -0.2], [0.4, 1.1], 900.0),
        ([0.999, 0.001], [0.0, 12.0], [0.3, 0.5], 1.1),
        ([0.5, 0.5], [0.0, 1.0], [6.0, 0.02], 2.7),
        ([0.5, 0.5], [-20.0, 7.0], [3.0, 1.0], 1e-9),
        ([1.0, 0.0], [0.3, 20.0], [0.7, 5.0], 2.0),
    ]
    weights, loc, scale = (torch.tensor([case[i] for case in cases], dtype=dtype) for i in range(3))
    y = torch.tensor([case[3] for case in cases], dtype=dtype)
    value = crps(linear_pool(LogNormal(loc, scale), weights), y)
    assert value.dtype == dtype
    w, m, s = (t.double().numpy() for t in (weights, loc, scale))
    w = w / w.sum(1, keepdims=True)
    members = [[st.lognorm(b, scale=math.exp(a)) for a, b in zip(*row, strict=True)] for row in zip(m, s, strict=True)]
    want = [integral_oracle(w[i], members[i], y[i].item(), log=True) for i in range(len(cases))]
    close(value, want, 1e-6 if dtype == torch.float32 else 1e-12)


def test_lognormals_whose_mean_overflows():
    """Far above the median of a wide one E min(Y, Y') is all that counts, and is finite where E Y is not."""
    for scale in (5.0, 30.0, 38.0, 50.0):
        single = LogNormal(torch.zeros(1).double(), torch.full((1,), scale).double())
        y = torch.tensor([1e-3], dtype=torch.float64)
        z = math.log(1e-3) / scale
        # the logarithm of e^{s^2/2} Phi(t)
        below, smaller = (math.exp(0.5 * scale**2 + st.norm.logcdf(t)) for t in (z - scale, -scale / math.sqrt(2)))
        value = crps(single, y)
        close(value, [1e-3 * (2 * st.norm.cdf(z) - 1) - 2 * below + 2 * smaller], 1e-9)
        pair = linear_pool(single.expand((1, 2)), torch.full((1, 2), 0.5).double())
        close(crps(pair, y), value, 1e-10)


def test_bernoullis():
    probs = torch.tensor([[0.2, 0.9], [1e-12, 3e-12], [0.5, 0.0]], dtype=torch.float64)
    weights = torch.tensor([[0.25, 0.75], [0.5, 0.5], [0.4, 0.6]], dtype=torch.float64)
    mixture = linear_pool(Bernoulli(probs), weights)
    pooled = (weights * probs).sum(-1)
    one, zero = torch.ones(3), torch.zeros(3)
    close(crps(mixture, zero), pooled**2, 1e-9)
    close(crps(mixture, one), (1 - pooled) ** 2, 1e-12)
    close(crps(mixture, 3 * one), (1 - pooled) ** 2 + 2, 1e-12)
    close(crps(mixture, -2 * one), pooled**2 + 2, 1e-12)


BETAS = {
    "ordinary": (0.5, 8.0, False),
    "narrow": (0.0, 4.0, True),
    "at the ends": (-3.0, 0.0, True),
    "all": (-3.0, 5.0, True),
}


@pytest.mark.parametrize("name", BETAS)
def test_betas_against_the_quadrature_of_their_cdf(name):
    low, high, log = BETAS[name]
    a, b = (uniform(seed, low, high, 8, 2) for seed in (0, 1))
    a, b = (10**a, 10**b) if log else (a, b)
    weights = uniform(2, 0.0, 3.0, 8, 2).softmax(-1)
    y = uniform(3, 0.0, 1.0, 8)
    y[:4] = torch.tensor([0.0, 1.0, 1e-20, 1 - 1e-12])
    want = from_cdf(linear_pool(Beta(a, b), weights), y)
    close(crps(linear_pool(Beta(a, b), weights), y), want, 1e-10)
    value, bound = beta_mixture_crps(weights, a, b, y)
    assert ((value - want).abs() <= bound + 1e-12 * want).all()


def test_betas_against_scipy():
    a, b, weights = torch.tensor([[2.0, 40.0]]), torch.tensor([[0.75, 90.0]]), torch.tensor([[0.25, 0.75]])
    members = [st.beta(2.0, 0.75), st.beta(40.0, 90.0)]
    for y in torch.tensor([[0.1], [0.3], [0.95]]):
        want = integral_oracle([0.25, 0.75], members, y.item())
        close(crps(linear_pool(Beta(a, b), weights), y), [want], 1e-6)
        close(crps(linear_pool(Beta(a.double(), b.double()), weights.double()), y), [want], 1e-10)


def test_betas_that_panels_do_not_resolve(monkeypatch):
    a, b = uniform(0, 0.5, 8.0, 6, 2), uniform(1, 0.5, 8.0, 6, 2)
    weights, y = torch.full_like(a, 0.5), uniform(2, 0.0, 1.0, 6)
    whole = crps(linear_pool(Beta(a, b), weights), y)
    monkeypatch.setattr("probmix.distributions.beta_mixtures._BLOCK", 1)
    torch.testing.assert_close(crps(linear_pool(Beta(a, b), weights), y), whole, rtol=1e-14, atol=0)
    monkeypatch.setattr("probmix.distributions.beta_mixtures._TOLERANCE", 0.0)
    torch.testing.assert_close(crps(linear_pool(Beta(a, b), weights), y), whole, rtol=1e-12, atol=0)
    # two of the rows, for real: concentrations at which a density of the logit loses its digits
    monkeypatch.undo()
    a[:2], b[:2] = 1e12, 3e12
    y[:2] = 0.25
    close(crps(linear_pool(Beta(a, b), weights), y)[2:], whole[2:], 1e-14)
    close(crps(linear_pool(Beta(a, b), weights), y)[:2], crps(Beta(a[:2, 0], b[:2, 0]), y[:2]), 1e-5)


@pytest.mark.parametrize("name", ["Exponential", "LogNormal", "Bernoulli", "Beta"])
def test_one_member_blocks_targets_and_outside(name, monkeypatch):
    first, second = uniform(0, 0.5, 3.0, 4, 3, 2), uniform(1, 0.3, 1.5, 4, 3, 2)
    make = {
        "Exponential": lambda a, b: Exponential(a),
        "LogNormal": LogNormal,
        "Bernoulli": lambda a, b: Bernoulli(logits=a - b),
        "Beta": Beta,
    }[name]
    y = torch.tensor([[0.0, 1.0], [1.0, 0.0], [-2.0, 3.0], [1.0, 1.0]], dtype=torch.float64)
    weights = uniform(2, 0.0, 1.0, 4, 3).softmax(-1)
    joint = crps(linear_pool(make(first, second).to_event(1), weights), y)
    single = [crps(linear_pool(make(first[..., j], second[..., j]), weights), y[:, j]) for j in range(2)]
    torch.testing.assert_close(joint, torch.stack(single).mean(0), rtol=1e-12, atol=0)
    monkeypatch.setattr("probmix.distributions.members._BLOCK", 1)
    torch.testing.assert_close(crps(linear_pool(make(first, second).to_event(1), weights), y), joint)
    same = linear_pool(make(first[:, :1, 0].expand(4, 3), second[:, :1, 0].expand(4, 3)), weights)
    torch.testing.assert_close(
        crps(same, y[:, 0]), crps(make(first[:, 0, 0], second[:, 0, 0]), y[:, 0]), rtol=1e-9, atol=0
    )


@pytest.mark.parametrize("name", ["Exponential", "LogNormal", "Bernoulli", "Beta"])
def test_gradients(name):
    first, second = uniform(0, 0.5, 3.0, 2, 2).requires_grad_(), uniform(1, 0.3, 1.5, 2, 2).requires_grad_()
    logits, y = uniform(2, 0.0, 1.0, 2, 2).requires_grad_(), torch.tensor([0.2, 0.7], dtype=torch.float64)
    make = {
        "Exponential": lambda a, b: Exponential(a * b),
        "LogNormal": LogNormal,
        "Bernoulli": lambda a, b: Bernoulli(logits=a - b),
        "Beta": Beta,
    }[name]
    if name == "Bernoulli":
        y = y.round()

    def score(a, b, logits, y):
        return crps(linear_pool(make(a, b), logits.softmax(-1)), y)

    inputs = (first, second, logits, y if name == "Bernoulli" else y.clone().requires_grad_())
    assert torch.autograd.gradcheck(score, inputs)


@pytest.mark.parametrize("name", ["Exponential", "LogNormal", "Beta"])
def test_a_member_without_weight_is_not_there(name):
    make = {"Exponential": lambda a, b: Exponential(a), "LogNormal": LogNormal, "Beta": Beta}[name]
    first, second = uniform(0, 0.5, 3.0, 4, 2).requires_grad_(), uniform(1, 0.3, 1.5, 4, 2).requires_grad_()
    y = uniform(2, 0.0, 1.0, 4)
    mixture = linear_pool(make(first, second), torch.tensor([1.0, 0.0]).double().expand(4, 2))
    value = crps(mixture, y)
    torch.testing.assert_close(value, crps(make(first[:, 0], second[:, 0]), y), rtol=1e-9, atol=0)
    (gradient,) = torch.autograd.grad(value.sum(), first)
    assert gradient.isfinite().all()
    assert (gradient[:, 1] == 0).all()


def test_no_rows():
    none = torch.ones(0, 2)
    for member in (
        Exponential(none),
        LogNormal(none, none),
        Bernoulli(0.5 * none),
        Beta(none, none, validate_args=False),
    ):
        assert crps(linear_pool(member, 0.5 * none), torch.ones(0)).shape == (0,)


@pytest.mark.cuda
@pytest.mark.parametrize("name", ["Exponential", "LogNormal", "Bernoulli", "Beta"])
def test_on_the_device(name):
    first, second = uniform(0, 0.5, 3.0, 5, 3), uniform(1, 0.3, 1.5, 5, 3)
    make = {
        "Exponential": lambda a, b: Exponential(a),
        "LogNormal": LogNormal,
        "Bernoulli": lambda a, b: Bernoulli(logits=a - b),
        "Beta": Beta,
    }[name]
    y = torch.tensor([0.0, 1.0, 1.0, 0.0, 1.0], dtype=torch.float64)
    weights = torch.full_like(first, 1 / 3)
    value = crps(linear_pool(make(first.cuda(), second.cuda()), weights.cuda()), y.cuda())
    assert value.device.type == "cuda"
    torch.testing.assert_close(value.cpu(), crps(linear_pool(make(first, second), weights), y))


def gammas(low, high, seed=0, rows=20, members=5):
    g = torch.Generator().manual_seed(seed)
    a = 10 ** (low + (high - low) * torch.rand(rows, members, generator=g, dtype=torch.float64))
    rate = a / 10 ** (0.3 * torch.randn(rows, members, generator=g, dtype=torch.float64))
    weights = torch.rand(rows, members, generator=g, dtype=torch.float64) ** 3
    return weights / weights.sum(-1, keepdim=True), a, rate


@pytest.mark.parametrize(("low", "high"), [(-1, 1), (-3, 3), (2, 6)])
def test_gammas_against_the_quadrature_of_their_cdf(low, high):
    weights, a, rate = gammas(low, high)
    mixture = linear_pool(Gamma(a, rate), weights)
    middle = mixture.mean
    for y in (middle, 0.1 * middle, 3 * middle, 1e-305 * torch.ones(20).double(), torch.zeros(20).double(), -middle):
        close(crps(mixture, y), from_cdf(mixture, y), 1e-10)
        value, bound = crps_with_bound(mixture, y)
        close(value, crps(mixture, y), 1e-15)
        assert bool((bound < 1e-9 * value).all())


def test_mean_distance_of_two_gammas_against_mpmath():
    for a, b, c, d in ((3, 1, 50, 3), (0.5, 2, 2, 2), (200, 200, 200, 199), (1, 1e6, 1, 1e-6)):
        with mpmath.workdps(40):
            p, q, s = mpmath.mpf(a), mpmath.mpf(c), mpmath.mpf(b) / (mpmath.mpf(b) + mpmath.mpf(d))
            below, above = (mpmath.betainc(*k, 0, s, regularized=True) for k in ((p + 1, q), (p, q + 1)))
            want = float(p / b * (1 - 2 * below) + q / d * (2 * above - 1))
        half = torch.tensor([0.5, 0.5]).double()
        a_pair, b_pair = (torch.tensor(pair, dtype=torch.float64) for pair in ((a, c), (b, d)))
        assert mean_distance_between(half, a_pair, b_pair).item() == pytest.approx(want / 4, rel=1e-11)


def test_gammas_in_blocks_with_gradients_and_in_float32(monkeypatch):
    weights, a, rate = gammas(-1, 1)
    y = (a / rate)[:, 0]
    whole = crps(linear_pool(Gamma(a, rate), weights), y)
    single = crps(linear_pool(Gamma(a.float(), rate.float()), weights.float()), y.float())
    torch.testing.assert_close(single, whole.float(), rtol=1e-5, atol=1e-6)
    monkeypatch.setattr("probmix.distributions.gamma_mixtures._BLOCK", 15)
    torch.testing.assert_close(crps(linear_pool(Gamma(a, rate), weights), y), whole, rtol=1e-13, atol=0)
    few = [t[:2].clone().requires_grad_() for t in (a, rate)]
    assert torch.autograd.gradcheck(lambda a, rate: crps(linear_pool(Gamma(a, rate), weights[:2]), y[:2]), few)
    none = linear_pool(Gamma(torch.ones(0, 3), torch.ones(0, 3)))
    assert crps(none, torch.ones(0)).shape == (0,)
