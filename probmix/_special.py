"""Special functions in the forms that do not cancel.

Everything here works in float64: callers widen float32 input first, because the differences below lose too much in
single precision, while the widened tensors (one number per row and member) cost next to nothing beside the network.
"""

import math

import torch
from torch import Tensor

HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)

# Coefficients of the asymptotic series of the log-gamma function (DLMF 5.11.1), B_2k / (2k (2k - 1)).
_STIRLING = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360)
_STIRLING_FROM = 10.0


def stirling_remainder(a: Tensor) -> Tensor:
    r"""What Stirling's formula leaves of the log-gamma function.

    .. math:: S(a) = \log\Gamma(a) - (a - 1/2)\log a + a - \tfrac12\log 2\pi

    Parameters
    ----------
    a : Tensor of any shape, positive

    Notes
    -----
    Evaluated from the definition below 10 and from the asymptotic series above, where the definition would cancel.
    """
    small = a.clamp(max=_STIRLING_FROM)
    direct = torch.lgamma(small) - (small - 0.5) * small.log() + small - HALF_LOG_2PI
    inverse = 1 / a.clamp(min=_STIRLING_FROM)
    square = inverse * inverse
    series = torch.full_like(inverse, _STIRLING[-1])
    for coefficient in reversed(_STIRLING[:-1]):
        series = series * square + coefficient
    return torch.where(a < _STIRLING_FROM, direct, series * inverse)


def ndtr(z: Tensor) -> Tensor:
    r""":math:`\Phi(z)` to relative precision; torch's own function is 0 from 8.3 standard deviations below zero on."""
    p: Tensor = 0.5 * torch.special.erfc(z * -math.sqrt(0.5))
    return p


def poisson_log_prob(y: Tensor, log_rate: Tensor) -> Tensor:
    r"""Poisson log-probability from the log-rate, in deviance form, for any real y >= 0.

    .. math:: \log p = -\tfrac12\log(2\pi y) - S(y) - r\,[(1 + x)\log(1 + x) - x],\quad x = (y - r)/r

    and :math:`-r` at y = 0 (Loader 2000, "Fast and accurate computation of binomial probabilities"). The textbook form
    :math:`y \log r - r - \log y!` subtracts numbers of the order of :math:`r \log r`.
    """
    rate = log_rate.exp()
    positive = y > 0
    y_safe = torch.where(positive, y, torch.ones_like(y))
    x = (y_safe - rate) / rate
    # far below its rate, 1 + x = y / r is a small number that x itself no longer resolves; far above a rate that
    # underflows, x overflows
    near = (x > -0.5) & (x < 1)
    x_near = torch.where(near, x, torch.zeros_like(x))
    log_ratio = torch.where(near, torch.log1p(x_near), y_safe.log() - log_rate)
    half_deviance = y_safe * log_ratio - (y_safe - rate)
    log_prob = -HALF_LOG_2PI - 0.5 * y_safe.log() - stirling_remainder(y_safe) - half_deviance
    return torch.where(positive, log_prob, -rate)


def gamma_log_prob(y: Tensor, concentration: Tensor, rate: Tensor) -> Tensor:
    r"""Gamma log-density in a form that stays exact for large shapes.

    .. math:: \log p = \tfrac12\log\frac{a}{2\pi} - S(a) - a\,(t - 1 - \log t) - \log y,\quad t = b y / a
    """
    t = y * rate / concentration
    near = t > 0.5
    x = torch.where(near, (y * rate - concentration) / concentration, torch.zeros_like(t))
    t_far = torch.where(near, torch.ones_like(t), t)
    spread = torch.where(near, x - torch.log1p(x), t_far - 1 - t_far.log())
    return (
        0.5 * concentration.log() - HALF_LOG_2PI - stirling_remainder(concentration) - concentration * spread - y.log()
    )
