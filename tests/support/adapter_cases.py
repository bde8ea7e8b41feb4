"""What the tests of adapters share."""

import re

import numpy as np
import pyro.distributions as dist
import pytest
import scipy.stats as st
import torch
from score_oracles import integral_oracle, sum_oracle

from probmix.distributions import (
    Beta,
    Exponential,
    Gamma,
    InverseGaussian,
    LogNormal,
    NegativeBinomial,
    Poisson,
    StudentT,
    cdf,
    icdf,
    is_discrete,
)
from probmix.scores import coverage, crps, nll, pit

POSITIVE = np.array([0.2, 1.0, 3.5])
SHARES = np.array([0.2, 0.5, 0.99])
COUNTS = np.array([0.0, 2.0, 9.0])
REAL = np.array([-3.0, 0.1, 40.0])

# a frozen distribution of three rows, the class it becomes (None for SciPy's own functions), targets
SCIPY = {
    "norm": (st.norm([0.0, 1.0, 2.0], 2.0), dist.Normal, REAL),
    "laplace": (st.laplace([0.0, 1.0, 2.0], scale=[0.5, 1, 2]), dist.Laplace, REAL),
    "lognorm": (st.lognorm([0.5, 1.0, 2.0], scale=np.exp([0.0, -1.0, 1.0])), LogNormal, POSITIVE),
    "lognorm-shifted": (st.lognorm([0.5, 1.0, 2.0], loc=-1), None, POSITIVE),
    "gamma": (st.gamma(a=[0.3, 2.0, 50.0], scale=[1.0, 2.0, 0.1]), Gamma, POSITIVE),
    "gamma-shifted": (st.gamma([0.9, 2.0, 50.0], -1.0, 0.1), None, POSITIVE),
    "expon": (st.expon(scale=[0.5, 1.0, 20.0]), Exponential, POSITIVE),
    "beta": (st.beta([1.5, 2.0, 80.0], 3.0), Beta, SHARES),
    "beta-wide": (st.beta([1.5, 2.0, 80.0], 3.0, 0.0, 4.0), None, POSITIVE),
    "invgauss": (st.invgauss([0.5, 1.0, 3.0], scale=2.0), InverseGaussian, POSITIVE),
    "poisson": (st.poisson([0.5, 3.0, 4.0]), Poisson, COUNTS),
    "poisson-shifted": (st.poisson([0.5, 3.0, 4.0], 2), None, COUNTS + 2),
    "t": (st.t(df=[2.5, 4.0, 30.0], loc=1.0, scale=[1, 2, 3]), StudentT, REAL),
    "logistic": (st.logistic(loc=1.0, scale=[1, 2, 3]), None, REAL),
    "weibull": (st.weibull_min([0.8, 1.5, 3.0], scale=2.0), None, POSITIVE),
    "nbinom": (st.nbinom([0.5, 3.0, 20.0], 0.4), NegativeBinomial, COUNTS),
    "betabinom": (st.betabinom(12, [0.5, 3.0, 20.0], 2.0), None, COUNTS),
}


def raises(kind, message):
    return pytest.raises(kind, match=f"^{re.escape(message)}")


def agrees_with_scipy(distribution, frozen, y, rtol=1e-7):
    """All scores of `distribution` follow from the functions of SciPy's."""
    discrete = hasattr(frozen, "pmf")
    target = torch.from_numpy(np.asarray(y, dtype=np.float64))
    assert distribution.batch_shape == target.shape
    assert is_discrete(distribution) == discrete
    log_density = (frozen.logpmf if discrete else frozen.logpdf)(y)
    np.testing.assert_allclose(nll(distribution, target).numpy(), -log_density, rtol=1e-9, atol=1e-12)
    assert nll(distribution, target).dtype == torch.float64
    np.testing.assert_allclose(cdf(distribution, target).numpy(), frozen.cdf(y), rtol=1e-8)
    levels = torch.tensor([0.0, 0.01, 0.5, 0.99], dtype=torch.float64).reshape(-1, 1)
    quantiles = icdf(distribution, levels).expand(4, len(y))
    np.testing.assert_allclose(quantiles[1:].numpy(), frozen.ppf(levels[1:].numpy()), rtol=1e-6)
    np.testing.assert_array_equal(quantiles[0].numpy(), np.broadcast_to(frozen.support()[0], quantiles[0].shape))
    np.testing.assert_allclose(distribution.mean.numpy(), np.broadcast_to(frozen.mean(), y.shape), rtol=1e-9)
    np.testing.assert_allclose(distribution.variance.numpy(), np.broadcast_to(frozen.var(), y.shape), rtol=1e-9)
    low, high = frozen.ppf(0.05), frozen.ppf(0.95)
    np.testing.assert_array_equal(coverage(distribution, target, 0.9).numpy(), (low <= y) & (y <= high))
    below = frozen.cdf(y - 1) if discrete else frozen.cdf(y)
    value = pit(distribution, target).numpy()
    assert (value >= below - 1e-9).all()
    assert (value <= frozen.cdf(y) + 1e-9).all()
    for row, value in enumerate(crps(distribution, target).tolist()):
        arguments = {name: np.broadcast_to(arg, y.shape)[row] for name, arg in frozen.kwds.items()}
        one = frozen.dist(*(np.broadcast_to(arg, y.shape)[row] for arg in frozen.args), **arguments)
        oracle = sum_oracle([1.0], [one], int(y[row])) if discrete else integral_oracle([1.0], [one], float(y[row]))
        assert value == pytest.approx(oracle, rel=rtol)
