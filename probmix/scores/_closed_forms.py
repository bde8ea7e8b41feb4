"""Closed forms of the CRPS that need no more than the parameters, in float64 for any real y."""

import math

import torch
from torch import Tensor

from .._special import stirling_remainder
from ..distributions.beta import incomplete_beta, log_kernel


def exponential_crps(rate: Tensor, y: Tensor) -> Tensor:
    r""":math:`|y| - 2F(y)/r + 1/(2r)`."""
    return y.abs() + (0.5 + 2 * torch.expm1(-rate * y.clamp(min=0))) / rate


def lognormal_crps(loc: Tensor, scale: Tensor, y: Tensor) -> Tensor:
    r""":math:`y(2\Phi(z) - 1) - 2m[\Phi(z - \sigma) + \Phi(\sigma/\sqrt2) - 1]`, :math:`z = (\log y - \mu)/\sigma`.

    Here :math:`m = e^{\mu + \sigma^2/2}` is the mean. Below it the bracket is a difference of two tails.
    """
    inside = y > 0
    # the logarithm of any y will do outside
    z = (torch.where(inside, y, 1.0).log() - loc) / scale
    mean = (loc + 0.5 * scale.square()).exp()
    shifted = (z - scale) / math.sqrt(2)
    bracket = torch.where(
        shifted < 0,
        torch.erfc(-shifted) - torch.erfc(0.5 * scale),
        torch.erf(shifted) + torch.erf(0.5 * scale),
    )
    value = y * torch.erf(z / math.sqrt(2)) - mean * bracket
    return torch.where(inside, value, mean * torch.erfc(0.5 * scale) - y)


def bernoulli_crps(logits: Tensor, y: Tensor) -> Tensor:
    """The squared probability of the other value."""
    inside = y.clamp(0, 1)
    return torch.where(inside > 0, -logits, logits).sigmoid().square() + (y - inside).abs()


def beta_crps(a: Tensor, b: Tensor, y: Tensor) -> Tensor:
    r""":math:`(y - \mu)(2F(y) - 1) + \frac2{a + b}\,[g(y) - B(2a, 2b)/B(a, b)^2]`, g the density of the logit.

    The published form holds F(y; a, b) and F(y; a + 1, b), whose terms cancel for large concentrations; their
    difference is g / a. The ratio of beta functions is taken by Stirling's formula.
    """
    total = a + b
    inside = (y > 0) & (y < 1)
    y_inside = torch.where(inside, y, 0.5)
    below = torch.where(inside, incomplete_beta(a, b, y_inside), (y >= 1).to(y.dtype))
    density = torch.where(inside, log_kernel(y_inside, a, b).exp(), 0.0)
    remainder = _beta_remainder(2 * a, 2 * b) - 2 * _beta_remainder(a, b)
    ratio = 0.5 * (remainder + 0.5 * (a.log() + b.log() - total.log())).exp() / math.sqrt(math.pi)
    return (y - a / total) * (2 * below - 1) + 2 / total * (density - ratio)


def _beta_remainder(a: Tensor, b: Tensor) -> Tensor:
    return stirling_remainder(a) + stirling_remainder(b) - stirling_remainder(a + b)
