"""What the tests of the scores compare with: sums, integrals and cases over wide ranges."""

import itertools
import math

import numpy as np
import pyro.distributions as dist
import torch
from torch import Tensor

DTYPES = [torch.float32, torch.float64]
RTOL = {torch.float32: 1e-6, torch.float64: 1e-10}
CRPS_RTOL = {torch.float32: 1e-4, torch.float64: 1e-8}
DEVIATIONS = (-10.0, -3.0, -1.0, -0.1, 0.0, 0.5, 2.0, 5.0, 10.0)


# -- oracles -----------------------------------------------------------------------------------------------------------


def sum_oracle(weights, members, y):
    """Sum of (F - 1[k >= y])^2 for a mixture of SciPy count distributions."""
    low = int(min(y, *(m.mean() - 13 * m.std() for m in members))) - 1
    high = int(max(y, *(m.mean() + 13 * m.std() for m in members))) + 40
    below, above = np.arange(low, y), np.arange(y, high + 1)
    left = sum(w * m.cdf(below) for w, m in zip(weights, members, strict=True))
    right = sum(w * m.sf(above) for w, m in zip(weights, members, strict=True))
    return np.square(left).sum() + np.square(right).sum()


def integral_oracle(weights, members, y, log=False):
    """The defining integral by Gauss-Legendre quadrature between the quantiles of all members; in log x if `log`."""
    levels = np.concatenate([10.0 ** -np.arange(2, 21, 2), np.linspace(0.03, 0.5, 12)])
    cuts = [f(levels) for m in members for f in (m.ppf, m.isf)]
    edges = np.unique(np.concatenate([*cuts, [y]] if y > 0 or not log else cuts))
    if log:
        edges = edges[edges > 1e-300]
    t, w = np.polynomial.legendre.leggauss(48)
    u = np.log(edges) if log else edges
    middle, half = (u[1:] + u[:-1]) / 2, (u[1:] - u[:-1]) / 2
    nodes = middle[:, None] + half[:, None] * t
    x, jacobian = (np.exp(nodes), np.exp(nodes)) if log else (nodes, 1.0)
    cdf = sum(v * m.cdf(x) for v, m in zip(weights, members, strict=True))
    sf = sum(v * m.sf(x) for v, m in zip(weights, members, strict=True))
    inside = (half[:, None] * w * jacobian * np.where(x < y, cdf, sf) ** 2).sum()
    return inside + (max(0.0, edges[0] - y) if log else 0.0)


def poisson_cases(dtype):
    for exponent, lead in itertools.product(range(-3, 7), (1.0, 3.0)):
        rate = torch.tensor(lead * 10.0**exponent if exponent < 6 else 1e6, dtype=dtype).item()
        for z in DEVIATIONS:
            yield rate, max(0.0, float(math.ceil(rate + z * math.sqrt(rate)) if z > 0 else round(rate + z * rate**0.5)))


def gamma_cases(dtype):
    for mean, shape, z in itertools.product((1e-3, 0.7, 30.0, 1e6), (1e-2, 0.3, 1.0, 5.0, 80.0, 1e4, 1e6), DEVIATIONS):
        concentration = torch.tensor(shape, dtype=dtype)
        rate = torch.tensor(shape / mean, dtype=dtype)
        y = max(mean * (1 + z / math.sqrt(shape)), 1e-3 * mean)
        yield concentration.item(), rate.item(), torch.tensor(y, dtype=dtype).item()


def columns(cases, dtype):
    return torch.tensor(list(cases), dtype=dtype).unbind(-1)


def close(value: Tensor, expected, rtol):
    np.testing.assert_allclose(value.double().numpy(), expected, rtol=rtol, atol=0)


def normal_mixture(dtype=torch.float64):
    loc = torch.tensor([[0.0, 3.0, -1.0], [5.0, 5.0, 5.0], [1e4, -1e4, 0.0]], dtype=dtype)
    scale = torch.tensor([[1.0, 0.2, 3.0], [1e-3, 1.0, 1e3], [1.0, 1.0, 1.0]], dtype=dtype)
    weights = torch.tensor([[0.2, 0.5, 0.3], [0.1, 0.8, 0.1], [0.3, 0.3, 0.4]], dtype=dtype)
    return dist.MixtureSameFamily(dist.Categorical(weights), dist.Normal(loc, scale)), weights, loc, scale
