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
    r""":math:`y(2\Phi(z) - 1) - 2m[\Phi(z - \sigma) - \Phi(-\sigma/\sqrt2)]`, :math:`z = (\log y - \mu)/\sigma`.

    Here :math:`m = e^{\mu + \sigma^2/2}` is the mean, which may overflow: it does not stand alone.
    """
    inside = y > 0
    # the logarithm of any y will do outside
    z = (torch.where(inside, y, 1.0).log() - loc) / scale
    log_mean = loc + 0.5 * scale.square()
    to_y = torch.where(inside, y * torch.erf(z / math.sqrt(2)) - 2 * truncated_mean(log_mean, scale - z), -y)
    return to_y + 2 * truncated_mean(log_mean, scale / math.sqrt(2))


def truncated_mean(log_mean: Tensor, t: Tensor) -> Tensor:
    r""":math:`e^{l}\Phi(-t)`, which for a mean of a log-normal distribution may be small where the mean overflows."""
    upper = t > 0
    scaled: Tensor = torch.special.erfcx(torch.where(upper, t, 0.0) / math.sqrt(2))
    tail = torch.where(upper, log_mean - 0.5 * t.square(), 0.0).exp() * scaled
    return 0.5 * torch.where(upper, tail, torch.where(upper, 0.0, log_mean).exp() * torch.erfc(t / math.sqrt(2)))


def bernoulli_crps(logits: Tensor, y: Tensor) -> Tensor:
    """The squared probability of the other value."""
    inside = y.clamp(0, 1)
    return torch.where(inside > 0, -logits, logits).sigmoid().square() + (y - inside).abs()


def categorical_crps(probs: Tensor, y: Tensor, lengths: Tensor | None = None) -> Tensor:
    """Squares of the probabilities up to a class below y, or above a class from y on.

    `lengths`, (*B, classes - 1), are what a window leaves of the unit intervals between the classes.
    """
    below = probs.cumsum(-1)[..., :-1]
    # 1 - F as a sum of its own keeps its digits where F is nearly one
    above = probs.flip(-1).cumsum(-1).flip(-1)[..., 1:]
    classes = torch.arange(below.shape[-1], device=y.device)
    squares = torch.where(classes < y.unsqueeze(-1), below, above).square()
    return (squares if lengths is None else squares * lengths).sum(-1)


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
