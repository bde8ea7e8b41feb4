"""Propriety: under every truth the expected score is smallest for the truth, and exceeds it by the known divergence.

Expectations are integrals over the quantiles of the truth, or sums over its counts: nothing is drawn.
"""

import math

import numpy as np
import pyro.distributions as dist
import pytest
import torch
from torch.distributions import kl_divergence

from probmix import linear_pool
from probmix.distributions import (
    Bernoulli,
    Beta,
    Exponential,
    Gamma,
    Hurdle,
    InverseGaussian,
    LogNormal,
    NegativeBinomial,
    Poisson,
    ZeroInflated,
    cdf,
    icdf,
    is_discrete,
)
from probmix.scores import crps, nll, threshold_weighted_crps

WINDOW = (0.4, 1.3)


def wide(*values):
    return torch.tensor(values, dtype=torch.float64)


def pooled(member):
    """Mixtures of two members, their parameters along the last axis."""

    def make(*parameters):
        return linear_pool(member(*parameters), torch.full_like(parameters[0], 0.5))

    return make


# a family, the truth, and forecasts: too high, too low, too sharp, too wide, or all of it
CASES = {
    "Normal": (dist.Normal, [(0.5, 1.0), (0.7, 1.0), (0.5, 0.8), (0.5, 1.3), (-1.0, 3.0), (0.5001, 1.0)]),
    "LogNormal": (LogNormal, [(0.1, 0.6), (0.3, 0.6), (0.1, 0.4), (0.1, 1.0), (-1.0, 1.5), (0.1001, 0.6)]),
    "Exponential": (Exponential, [(1.5,), (1.0,), (2.0,), (8.0,), (1.5001,)]),
    "Gamma": (Gamma, [(2.0, 2.0), (2.5, 2.0), (2.0, 1.6), (8.0, 8.0), (0.7, 0.7), (2.0001, 2.0)]),
    "Beta": (Beta, [(2.0, 1.5), (2.5, 1.5), (2.0, 2.5), (20.0, 15.0), (0.5, 0.4), (2.0001, 1.5)]),
    "InverseGaussian": (InverseGaussian, [(1.0, 2.0), (1.3, 2.0), (1.0, 1.0), (1.0, 9.0), (0.4, 3.0), (1.0001, 2.0)]),
    "Poisson": (Poisson, [(1.4,), (1.0,), (2.0,), (7.0,), (1.4001,)]),
    "Bernoulli": (Bernoulli, [(0.3,), (0.1,), (0.5,), (0.99,), (0.3001,)]),
    "Categorical": (
        dist.Categorical,
        [([0.2, 0.5, 0.3],), ([0.3, 0.4, 0.3],), ([0.2, 0.3, 0.5],), ([0.01, 0.98, 0.01],), ([0.2001, 0.4999, 0.3],)],
    ),
    "NegativeBinomial": (
        NegativeBinomial.from_mean,
        [(1.4, 0.1), (1.0, 0.1), (2.0, 0.1), (1.4, 0.3), (1.4, 0.01), (0.2, 0.5), (1.4001, 0.1)],
    ),
    "zero-inflated Poisson": (
        lambda rate, gate: ZeroInflated(Poisson(rate), gate=gate),
        [(1.4, 0.2), (1.0, 0.2), (1.4, 0.4), (1.4, 0.01), (1.75, 0.36), (1.4001, 0.2)],
    ),
    "hurdle Poisson": (
        lambda rate, gate: Hurdle(Poisson(rate), gate.logit()),
        [(1.4, 0.2), (1.0, 0.2), (1.4, 0.4), (1.4, 0.01), (3.0, 0.5), (1.4001, 0.2)],
    ),
    "mixture of negative binomials": (
        pooled(NegativeBinomial.from_mean),
        [([0.5, 3.0], [0.1, 0.05]), ([0.5, 2.0], [0.1, 0.05]), ([1.75, 1.75], [0.1, 0.1])],
    ),
    "mixture of Normals": (
        pooled(dist.Normal),
        [([0.0, 1.5], [0.4, 0.6]), ([0.2, 1.5], [0.4, 0.6]), ([0.75, 0.75], [0.9, 0.9]), ([0.0, 1.5], [0.2, 0.3])],
    ),
    "mixture of Poissons": (
        pooled(Poisson),
        [([0.5, 4.0],), ([0.5, 3.0],), ([2.25, 2.25],), ([0.1, 6.0],)],
    ),
}
CRPS = {
    "crps": (crps, (-math.inf, math.inf)),
    "thresholds": (lambda d, y: threshold_weighted_crps(d, y, *WINDOW), WINDOW),
}


def forecasts(name):
    make, parameters = CASES[name]
    return [make(*(wide(p) for p in row)) for row in parameters]


def expectation(truth, *cuts):
    """Targets, (n, 1), and their weights under the truth; the score may have kinks at the cuts."""
    if is_discrete(truth):
        last = {Bernoulli: 1, dist.Categorical: 2}.get(type(truth), 59)
        y = torch.arange(last + 1.0, dtype=torch.float64).unsqueeze(-1)
        return y, truth.log_prob(y).exp().squeeze(-1)
    # levels in panels that shrink towards both ends, where the logarithmic score may have no bound
    inner = cdf(truth, torch.tensor(cuts).double()).numpy()
    tails = 0.25 ** np.arange(2, 14)
    edges = np.unique(np.concatenate([np.linspace(0, 1, 13), tails, inner, 1 - tails]))
    t, w = np.polynomial.legendre.leggauss(8)
    half = np.diff(edges)[:, None] / 2
    levels, weights = (edges[:-1, None] + half * (1 + t)).ravel(), (half * w).ravel()
    return icdf(truth, torch.from_numpy(levels).unsqueeze(-1)), torch.from_numpy(weights)


def expected(score, forecast, y, weights):
    values = score(forecast.expand(y.shape), y).squeeze(-1)
    return (weights * values).sum().item()


def squared_distance(forecast, truth, lower, upper):
    """The integral of the squared difference of two cdfs: the divergence of the CRPS."""
    if is_discrete(truth):
        k = torch.arange(60.0, dtype=torch.float64)
        lengths = (k + 1).clamp(max=upper) - k.clamp(min=lower)
        x, weights = k, lengths.clamp(min=0)
    else:
        cuts = np.concatenate([np.linspace(-15, 30, 451), np.geomspace(1e-12, 1e6, 100), [lower, upper]])
        edges = np.unique(np.clip(cuts, lower, upper))
        edges = edges[np.isfinite(edges)]
        t, w = np.polynomial.legendre.leggauss(12)
        half = np.diff(edges)[:, None] / 2
        x, weights = (torch.from_numpy(v.ravel()) for v in (edges[:-1, None] + half * (1 + t), half * w))
    difference = cdf(forecast, x.unsqueeze(-1)) - cdf(truth, x.unsqueeze(-1))
    return (weights * difference.square().squeeze(-1)).sum().item()


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("score", CRPS)
def test_crps_is_smallest_at_the_truth(name, score):
    function, window = CRPS[score]
    truth, *others = forecasts(name)
    y, weights = expectation(truth, *window)
    smallest = expected(function, truth, y, weights)
    for forecast in others:
        excess = expected(function, forecast, y, weights) - smallest
        divergence = squared_distance(forecast, truth, *window)
        assert excess > 0
        assert divergence > 1e-10
        assert excess == pytest.approx(divergence, rel=1e-5, abs=2e-11)


@pytest.mark.parametrize("name", CASES)
def test_nll_is_smallest_at_the_truth(name):
    truth, *others = forecasts(name)
    y, weights = expectation(truth)
    smallest = expected(nll, truth, y, weights)
    for forecast in others:
        excess = expected(nll, forecast, y, weights) - smallest
        assert excess > 0
        try:
            divergence = kl_divergence(truth, forecast)
        except NotImplementedError:
            continue
        assert excess == pytest.approx(divergence.item(), rel=1e-5, abs=1e-11)


@pytest.mark.parametrize("name", ["Normal", "Exponential", "Poisson", "mixture of Normals"])
def test_a_score_of_the_rows_in_a_window_alone_is_not_proper(name):
    """Why thresholds weigh the score and not the rows: forecasts of too many large values would win."""
    make, parameters = CASES[name]
    truth = make(*(wide(p) for p in parameters[0]))
    threshold = icdf(truth, wide(0.8)).item()
    y, weights = expectation(truth, threshold)
    large = (y >= threshold).squeeze(-1)

    def on_large(forecast):
        return expected(crps, forecast, y[large], weights[large])

    def thresholded(forecast):
        return expected(lambda d, y: threshold_weighted_crps(d, y, threshold), forecast, y, weights)

    others = [make(*(wide(p) for p in row)) for row in parameters[1:]]
    assert min(map(on_large, others)) < on_large(truth)
    assert min(map(thresholded, others)) > thresholded(truth)
