r"""The regularised incomplete gamma functions, both tails to nearly all digits, differentiable in both arguments.

torch.special has them to about 1e-9, and without the derivative in the shape.

The tail beyond x that does not hold most of the mass is :math:`e^{-x} x^a/\Gamma(a)` times an integral over the signed
distance :math:`u` from log x,

.. math:: \int e^{-\psi(u)}\,|du|,\qquad \psi(u) = x(e^u - 1) - a u,

over u > 0 for the upper tail and u < 0 for the lower one. :math:`\psi` is convex and grows from 0 on, so that the
integral has one scale, at which one Gauss-Legendre rule is good to rounding for every shape and x. Two recurrences
keep it there: the lower tail is taken at the shape a + 6 (DLMF 8.8.7), and where a and x are both below one the power
series replaces it (DLMF 8.7.1).
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ._special import HALF_LOG_2PI, stirling_remainder

# The integral is cut off where its integrand has fallen to exp(-34), 2e-15 of where it starts.
_DROP, _NODES, _RAISE = 34.0, 22, 6
# 1 / 19! is below float64's precision.
_SERIES = 18
# log1p(d) = 2 artanh(d / (2 + d)), used for |d / (2 + d)| < 0.18.
_ARTANH, _NEAR = 10, (-0.3, 0.43)
# From here on four terms of the digamma function's asymptotic series are good to rounding.
_DIGAMMA_FROM = 20.0
# Elements of one evaluation of the integrand: what stays in the cache of a CPU, and 128 MiB of float64 elsewhere.
_BLOCK_CPU, _BLOCK = 2**18, 2**24
# Its square is finite; no finite shape has any mass beyond.
_LARGEST = 1e150


def incomplete_gamma(a: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    r"""Regularised incomplete gamma functions, lower and upper.

    .. math:: P(a, x) = \frac1{\Gamma(a)}\int_0^x t^{a - 1}e^{-t}\,dt,\qquad Q(a, x) = 1 - P(a, x)

    Parameters
    ----------
    a : Tensor, float64, positive
    x : Tensor, float64, broadcastable with `a`
        Where it is not positive, P is 0 and its derivatives are taken as 0.

    Returns
    -------
    lower, upper : Tensor of the common shape
        Both are differentiable in `a` and in `x`, once.

    Notes
    -----
    Against 50 digits the smaller of both is off by at most 3e-13 of itself for shapes from 1e-9 to 1e6, and by 1e-12
    up to 1e8, wherever it is above 1e-300; so is the derivative in the shape. The larger is one minus the smaller.
    Memory is bounded: the integrand is evaluated for a block of elements at a time, forward and backward.

    References
    ----------
    NIST Digital Library of Mathematical Functions, chapter 8. https://dlmf.nist.gov/8

    Examples
    --------
    >>> import torch
    >>> from probmix._incomplete_gamma import incomplete_gamma
    >>> lower, upper = incomplete_gamma(torch.tensor(1.0).double(), torch.tensor(50.0).double())
    >>> lower, upper / torch.exp(torch.tensor(-50.0).double())
    (tensor(1., dtype=torch.float64), tensor(1.0000, dtype=torch.float64))
    """
    lower, upper = _IncompleteGamma.apply(a, x)
    return lower, upper


def log_gamma_kernel(a: Tensor, x: Tensor) -> Tensor:
    r"""The Poisson probability of a at rate x, for any real a > 0, x > 0: both tails are this times a smooth factor.

    .. math:: \log\frac{x^a e^{-x}}{\Gamma(a + 1)} = -a\,g(x/a) - S(a) - \tfrac12\log 2\pi a,\quad g(t) = t - 1 - \log t

    with the remainder S of Stirling's formula. Good to float64's precision of itself, however large the shape.
    """
    return -a * _excess(a, x) - stirling_remainder(a) - HALF_LOG_2PI - 0.5 * a.log()


def log_kernel_slope(a: Tensor, x: Tensor) -> Tensor:
    r"""The derivative of `log_gamma_kernel` in a, :math:`\log(x/a) + \log a - \psi(a + 1)`."""
    d, near, _ = _relative(a, x)
    return torch.where(near, torch.log1p(d), _ratio(a, x).log()) + log_less_digamma(a)


def log_less_digamma(a: Tensor) -> Tensor:
    r""":math:`\log a - \psi(a + 1)`, about -1 / (2 a) for large shapes, from its series there (DLMF 5.11.2)."""
    small, inverse = a.clamp(max=_DIGAMMA_FROM), 1 / a.clamp(min=_DIGAMMA_FROM)
    square = inverse * inverse
    series = 1 / 12 - square * (1 / 120 - square * (1 / 252 - square / 240))
    return torch.where(a < _DIGAMMA_FROM, small.log() - torch.digamma(small + 1), inverse * (inverse * series - 0.5))


def shape_derivative(a: Tensor, x: Tensor) -> Tensor:
    r""":math:`\partial P(a, x)/\partial a`, as exact as P itself, with the same arguments; not differentiable."""
    with torch.no_grad():
        (value,) = _in_blocks(_derivative, a, x)
    return value


class _IncompleteGamma(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(a: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        lower, upper = _in_blocks(_tails, a, x)
        return lower, upper

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: tuple[Tensor, Tensor]) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, lower: Tensor, upper: Tensor) -> tuple[Tensor | None, Tensor | None]:
        a, x = ctx.saved_tensors
        gradient = lower - upper
        in_a = in_x = None
        if ctx.needs_input_grad[0]:
            in_a = (gradient * shape_derivative(a, x)).sum_to_size(a.shape)
        if ctx.needs_input_grad[1]:
            inside = torch.where(x <= 0, 1.0, x)
            density = (log_gamma_kernel(a, inside) + a.log() - inside.log()).exp()
            in_x = (gradient * torch.where(x <= 0, 0.0, density)).sum_to_size(x.shape)
        return in_a, in_x


def _in_blocks(function: Callable[[Tensor, Tensor], tuple[Tensor, ...]], a: Tensor, x: Tensor) -> tuple[Tensor, ...]:
    """Outputs of a function of flat shapes and x, a block of them at a time."""
    a, x = torch.broadcast_tensors(a, x)
    rows = max(1, (_BLOCK_CPU if x.device.type == "cpu" else _BLOCK) // _NODES)
    blocks = [function(*block) for block in zip(a.flatten().split(rows), x.flatten().split(rows), strict=True)]
    return tuple(torch.cat(parts).reshape(x.shape) for parts in zip(*blocks, strict=True))


def _tails(a: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """P and Q."""
    none, series, left, x = _regions(a, x)
    shape, mass, _ = _integrals(a, x, left, moment=False)
    below = shape * mass
    for k in range(_RAISE, 0, -1):
        below = (below * x).div_(a + k).add_(1)
    tail = log_gamma_kernel(a, x).exp() * torch.where(left, below, shape * mass)
    log_lower, _ = _power_series(a, x, slope=False)
    lower = torch.where(series, log_lower.exp(), torch.where(left, tail, 1 - tail))
    upper = torch.where(series, -torch.expm1(log_lower), torch.where(left, 1 - tail, tail))
    return torch.where(none, 0.0, lower), torch.where(none, 1.0, upper)


def _derivative(a: Tensor, x: Tensor) -> tuple[Tensor]:
    """The derivative of P in a: that of the kernel and those of the integrals."""
    none, series, left, x = _regions(a, x)
    shape, mass, moment = _integrals(a, x, left, moment=True)
    # the integral of the lower tail falls with the shape, that of the upper tail rises
    tail, slope = shape * mass, mass + torch.where(left, -shape, shape) * moment
    below, below_slope = tail, slope
    for k in range(_RAISE, 0, -1):
        ratio = x / (a + k)
        below, below_slope = 1 + below * ratio, (below_slope - below / (a + k)) * ratio
    tail, slope = torch.where(left, below, tail), torch.where(left, below_slope, slope)
    value = log_gamma_kernel(a, x).exp() * (log_kernel_slope(a, x) * tail + slope)
    log_lower, series_slope = _power_series(a, x, slope=True)
    value = torch.where(series, log_lower.exp() * series_slope, torch.where(left, value, -value))
    return (torch.where(none, 0.0, value),)


def _regions(a: Tensor, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Where x is not positive, where the series is due, where the lower tail is the smaller one, and x made safe."""
    none = x <= 0
    x = torch.where(none, 1.0, x).clamp(max=_LARGEST)
    return none, (a < 1) & (x < 1), x < a, x


def _integrals(a: Tensor, x: Tensor, left: Tensor, moment: bool) -> tuple[Tensor, Tensor, Tensor]:
    r"""The shape that goes with each tail, the integral of :math:`e^{-\psi}`, and that of :math:`|u|e^{-\psi}`."""
    shape = torch.where(left, a + _RAISE, a)
    excess = (x - shape).abs()
    # both lie above the end of the integral, from where Newton's method on a convex function comes down to it
    gap = 2 * excess - _DROP
    left_end = 4 * _DROP / (gap + (gap.square() + 8 * _DROP * shape).sqrt())
    right_end = 2 * _DROP / (excess + (excess.square() + 2 * _DROP * x).sqrt())
    right_end = torch.minimum(right_end, torch.log1p((_DROP + a * right_end) / x))
    end = torch.where(left, -left_end, right_end)
    for _ in range(2):
        growth = x * torch.expm1(end)
        end = end - (growth - shape * end - _DROP) / (growth + x - shape)
    u = torch.from_numpy(_T).to(end).unsqueeze(-1) * end
    terms = torch.expm1(u).mul_(-x).add_(u.mul_(shape)).exp_()
    rule = torch.from_numpy(_RULE).to(end)
    end = end.abs()
    mass = end * (rule[0] @ terms)
    return shape, mass, end.square() * (rule[1] @ terms) if moment else mass


def _power_series(a: Tensor, x: Tensor, slope: bool) -> tuple[Tensor, Tensor]:
    r"""The logarithm of P(a, x) and, if asked for, its derivative in a; for a and x below one.

    .. math:: P = \frac{x^a}{\Gamma(a + 1)}\,(1 + a s),\qquad s = \sum_{k \ge 1}\frac{(-x)^k}{k!\,(a + k)}
    """
    a, x = a.clamp(max=1), x.clamp(max=1)
    total = in_a = torch.zeros_like(x)
    minus, power = -x, 1 / math.factorial(_SERIES)
    for k in range(_SERIES, 0, -1):
        term = power / (a + k)
        if slope:
            in_a = minus * (in_a - term / (a + k))
        total, power = term.add_(total).mul_(minus), power * k
    above = 1 + a
    digamma, log_x = torch.digamma(above), x.log()
    # the log-gamma function at 1 + a, less the rounding of that sum
    log_gamma = torch.lgamma(above) + digamma * (a - (above - 1))
    # Q = 1 - P may be as small as a, and so may this logarithm, of which nothing has cancelled
    log_lower = a * log_x - log_gamma + torch.log1p(a * total)
    return log_lower, log_x - digamma + (total + a * in_a) / (1 + a * total) if slope else log_lower


def _excess(a: Tensor, x: Tensor) -> Tensor:
    """The function g(t) = t - 1 - log t of t = x / a."""
    d, near, r = _relative(a, x)
    square = r * r
    series = torch.full_like(r, 2 / (2 * _ARTANH + 1))
    for k in range(_ARTANH - 1, 0, -1):
        series = series * square + 2 / (2 * k + 1)
    t = torch.where(near, 2.0, _ratio(a, x))
    return torch.where(near, r * (d - square * series), t - 1 - t.log())


def _ratio(a: Tensor, x: Tensor) -> Tensor:
    """The ratio x / a with a finite logarithm; beyond, there is no mass."""
    return (x / a).clamp(2.3e-308, 1e300)


def _relative(a: Tensor, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The difference d = x / a - 1, whether it is small, and d / (2 + d); zero where it is not small."""
    d = (x - a) / a
    near = (d > _NEAR[0]) & (d < _NEAR[1])
    d = torch.where(near, d, 0.0)
    return d, near, d / (2 + d)


def _gauss_legendre() -> tuple[np.ndarray, np.ndarray]:
    """Nodes on [0, 1], and the weights of the integral and of the first moment."""
    x, weights = np.polynomial.legendre.leggauss(_NODES)
    nodes = (x + 1) / 2
    return nodes, np.stack([weights / 2, weights / 2 * nodes])


_T, _RULE = _gauss_legendre()
