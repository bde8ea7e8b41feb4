"""CRPS of the negative binomial distribution in closed form, up to an integral of one variable."""

import math

import numpy as np
import torch
from torch import Tensor

from ..distributions.negative_binomial import negative_binomial_log_prob, smooth_negative_binomial_cdf

# An integrand is cut off where it has fallen to exp(-40), and looked at more closely within its first scale.
_DROP, _FIRST = 40.0, 3.0
_NODES = 40
# Elements of one evaluation of the integrand: 8 MiB of float64.
_BLOCK = 2**20


def negative_binomial_crps(log_mean: Tensor, total_count: Tensor, y: Tensor) -> Tensor:
    r"""CRPS in float64 for whole numbers y of any sign, of mean :math:`\mu` and dispersion :math:`\alpha = 1/r`.

    .. math:: (y - \mu)(2F(y) - 1) + 2\mu(1 + \alpha y) f(y) - \tfrac12 E|Y - Y'|

    The published form holds F of r + 1 as well, whose difference to F is a multiple of f.
    """
    mean = log_mean.exp()
    y_inside = y.clamp(min=0)
    below = smooth_negative_binomial_cdf(y_inside, log_mean, total_count)
    density = negative_binomial_log_prob(y_inside, log_mean, total_count).exp()
    distance = (y_inside - mean) * (2 * below - 1) + 2 * mean * (1 + y_inside / total_count) * density
    return distance - half_mean_distance(log_mean, total_count) + (y_inside - y)


def half_mean_distance(log_mean: Tensor, total_count: Tensor) -> Tensor:
    r"""Half of E|Y - Y'| of two independent draws.

    .. math:: \mu(1 + m)\,{}_2F_1(\tfrac12, r + 1; 2; -4m(1 + m))
        = \tfrac2\pi\sqrt{\mu r(1 + m)} \int_0^U \sqrt{1 - (\sinh u/\sinh U)^2}\,(\cosh u)^{-2r - 1}\,du

    with :math:`m = \mu/r` and :math:`\sinh(U/2) = \sqrt m`: Euler's integral of the hypergeometric function, after
    :math:`\sinh u = s\sinh U`. The integrand has one scale, and a root at U that vanishes in the square of the
    distance to it.
    """
    log_mean, total_count = torch.broadcast_tensors(log_mean, total_count)
    log_odds = log_mean - total_count.log()
    whole = 2 * torch.asinh((0.5 * log_odds).exp())
    power = 2 * total_count + 1
    with torch.no_grad():
        # cosh u = exp(c) at log(1 + t + sqrt(t (2 + t))), with t = exp(c) - 1
        cut = _DROP / power
        rise = torch.expm1(cut.clamp(max=_DROP))
        cut = torch.log1p(rise + (rise * (2 + rise)).sqrt())
        scale = torch.minimum(cut, _FIRST * torch.ones_like(cut))
    end = torch.minimum(whole, cut)
    middle = torch.minimum(end, scale)
    area = _integral(torch.zeros_like(end), middle, whole, power) + _integral(middle, end, whole, power)
    # mu r (1 + m), its logarithm without overflow
    log_factor = log_mean + total_count.log() + torch.logaddexp(torch.zeros_like(log_odds), log_odds)
    return 2 / math.pi * (0.5 * log_factor).exp() * area


def _integral(low: Tensor, high: Tensor, whole: Tensor, power: Tensor) -> Tensor:
    """Gauss-Legendre quadrature in x, where the distance to the upper end is (1 - x)^2 of the range."""
    width = high - low
    column = (-1,) + (1,) * low.ndim
    value = torch.zeros_like(low)
    step = max(1, _BLOCK // max(1, low.numel()))
    for nodes, rule in zip(torch.from_numpy(_X).split(step), torch.from_numpy(_RULE).split(step), strict=True):
        rest = (1 - nodes.to(low)).reshape(column)
        u = high - width * rest.square()
        log_cosh = torch.log1p(2 * (0.5 * u).sinh().square())
        # 1 - (sinh u / sinh U)^2 = sinh(U - u) sinh(U + u) / sinh(U)^2, where U - u is known without cancellation
        left = (whole - high) + width * rest.square()
        # where the range is empty the root of zero would have no gradient
        product = torch.where(width > 0, left.sinh() * (whole + u).sinh(), torch.ones_like(u))
        root = product.sqrt() / whole.sinh()
        terms = root * torch.exp(-power * log_cosh) * rest
        value = value + (2 * rule.to(low).reshape(column) * terms).sum(0)
    return width * value


def _gauss() -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights on [0, 1]."""
    x, weights = np.polynomial.legendre.leggauss(_NODES)
    return (x + 1) / 2, weights / 2


_X, _RULE = _gauss()
