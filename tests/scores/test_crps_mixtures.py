"""The CRPS of mixtures, of several targets, and from nothing but a cdf."""

import numpy as np
import pyro.distributions as dist
import pytest
import scipy.stats as st
import scoringrules
import torch
from score_oracles import CRPS_RTOL, DTYPES, close, integral_oracle, normal_mixture, sum_oracle

from probmix import linear_pool
from probmix.distributions import Gamma, Poisson
from probmix.scores import brier, crps, nll

# -- CRPS: mixtures ----------------------------------------------------------------------------------------------------


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
    monkeypatch.setattr("probmix.distributions.members._BLOCK", 1)
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
    monkeypatch.setattr("probmix.distributions.sums.BLOCK", block)
    monkeypatch.setattr("probmix.distributions.panels.BLOCK", block)
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
