r"""Density and distribution function of the compound Poisson-Gamma variables, in float64.

A Poisson number N of mean :math:`\lambda` of Gamma variables of shape :math:`\alpha` and scale :math:`\theta`, with the
variance function :math:`\phi\mu^p`, has

.. math:: \lambda = \frac{\mu^{2 - p}}{\phi(2 - p)},\qquad \alpha = \frac{2 - p}{p - 1},\qquad
    \theta = \phi(p - 1)\mu^{p - 1}

and depends on the scale through :math:`r = y/\mu` and :math:`\delta = \phi\mu^{p - 2}`, the squared coefficient of
variation, only.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ._special import gamma_log_prob, poisson_log_prob

# The sum over numbers of jumps goes over so many widths of its largest term, in steps of one or of equal parts of that.
_WIDTHS, _BELOW = 17.5, 0.46
_NEWTON = 4
# Elements of one evaluation of a sum: what stays in the cache of a CPU, and 32 MiB of float64 elsewhere.
_BLOCK_CPU, _BLOCK = 2**15, 2**22
# The vertex of the contour lies at least so far from the origin, in units of what exp(-x u) falls by.
_VERTEX = 5.0
# Nodes in a standard deviation of the integrand at its saddle point, and the logarithm of where it is cut off.
_FINENESS, _DROP = 2.0, 42.0
# Jumps from which on that standard deviation is what matters; with fewer the integrand grows as fast off the contour.
_FEW = 3.5
# Nodes of the contour that are evaluated together.
_NODES_AT_ONCE = 8
_SERIES = 12
# Of Newton's method for a bound of a quantile, of which any will do.
_BOUND_STEPS = 6


def parameters(log_mean: Tensor, log_dispersion: Tensor, power: float) -> tuple[Tensor, Tensor]:
    r"""The logarithms of :math:`\lambda` and of :math:`\theta`."""
    log_rate = (2 - power) * log_mean - log_dispersion - math.log(2 - power)
    return log_rate, log_dispersion + math.log(power - 1) + (power - 1) * log_mean


# -- the density -------------------------------------------------------------------------------------------------------


def tweedie_log_prob(y: Tensor, log_mean: Tensor, log_dispersion: Tensor, power: float) -> Tensor:
    r"""Log-density for y > 0, log-probability at zero, in float64; differentiable once.

    .. math:: p(y) = \sum_{n \ge 1} \mathrm{Poisson}(n; \lambda)\,\mathrm{Gamma}(y; n\alpha, \theta),\qquad
        P(Y = 0) = e^{-\lambda}

    The terms are summed from their logarithms around the largest. Where they are many they change so slowly that a few
    in each width of the largest give the sum of all: its error falls off with the exponential of their square.

    Against 50 digits the logarithm is off by at most 1e-13 of itself or of one, for any y and dispersion.

    References
    ----------
    Dunn and Smyth (2005), Series evaluation of Tweedie exponential dispersion model densities, Stat. Comput. 15,
    267-280.
    """
    value: Tensor = _LogDensity.apply(y, log_mean, log_dispersion, power)[0]
    return value


class _LogDensity(torch.autograd.Function):
    r"""The series, and the mean number of jumps given y, from which all derivatives follow."""

    generate_vmap_rule = True

    @staticmethod
    def forward(y: Tensor, log_mean: Tensor, log_dispersion: Tensor, power: float) -> tuple[Tensor, Tensor]:
        y, log_mean, log_dispersion = torch.broadcast_tensors(y, log_mean, log_dispersion)
        log_rate, log_scale = parameters(log_mean, log_dispersion, power)
        positive = y > 0
        log_y = torch.where(positive, y, 1.0).log()
        shape = (2 - power) / (power - 1)
        nodes = _terms(shape)
        value, jumps = _in_blocks(lambda rate, x: _series(rate, x, shape, nodes), nodes, log_rate, log_y - log_scale)
        value = torch.where(positive, value - log_y, torch.where(y == 0, -log_rate.exp(), -torch.inf))
        return value, torch.where(positive, jumps, 0.0)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor, float], output: tuple[Tensor, Tensor]) -> None:
        *tensors, ctx.power = inputs
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(*tensors, output[1])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        y, log_mean, log_dispersion, jumps = ctx.saved_tensors
        power = ctx.power
        log_rate, log_scale = parameters(log_mean, log_dispersion, power)
        rate, x = log_rate.exp(), y.clamp(min=0) * (-log_scale).exp()
        shape = (2 - power) / (power - 1)
        # for a known dispersion it is an exponential family in the mean
        in_mean = (y * (-log_mean).exp() - 1) * ((2 - power) * log_mean - log_dispersion).exp()
        in_dispersion = rate + x - (1 + shape) * jumps
        in_y = torch.where(y > 0, (shape * jumps - 1 - x) / torch.where(y > 0, y, 1.0), 0.0)
        slopes = zip((in_y, in_mean, in_dispersion), (y, log_mean, log_dispersion), ctx.needs_input_grad, strict=False)
        found = [(gradient * slope).sum_to_size(one.shape) if needed else None for slope, one, needed in slopes]
        return (*found, None)


def _in_blocks(function: Callable[..., tuple[Tensor, ...]], nodes: int, *tensors: Tensor) -> tuple[Tensor, ...]:
    """Outputs of a function of flat tensors of one shape, a block of their elements at a time."""
    size = max(1, _block(tensors[0]) // nodes)
    blocks = [function(*parts) for parts in zip(*(t.flatten().split(size) for t in tensors), strict=True)]
    return tuple(torch.cat(parts).reshape(tensors[0].shape) for parts in zip(*blocks, strict=True))


def _block(tensor: Tensor) -> int:
    return _BLOCK_CPU if tensor.device.type == "cpu" else _BLOCK


def _terms(shape: float) -> int:
    """Of the sum: enough for all up to some 36 / (1 + shape) jumps, beyond which the first term is negligible."""
    return max(44, math.ceil(99 / (1 + shape)) + 12)


def _series(log_rate: Tensor, log_x: Tensor, shape: float, nodes: int) -> tuple[Tensor, Tensor]:
    """The logarithm of y p(y), and the mean number of jumps given y; flat, with x in units of the Gamma variables."""
    largest, width = _largest_term(log_rate, log_x, shape)
    step = (width * _WIDTHS / nodes).clamp(min=1)
    below = math.floor(_BELOW * nodes)
    start = torch.where(step == 1, (largest.round() - below).clamp(min=1), largest - below * step)
    count = torch.arange(nodes, dtype=log_x.dtype, device=log_x.device).unsqueeze(-1)
    n = start + step * count
    inside = n > 0.5
    n = torch.where(inside, n, 1.0)
    x = log_x.exp()
    terms = poisson_log_prob(n, log_rate) + gamma_log_prob(x, shape * n, torch.ones_like(x)) + log_x
    terms = torch.where(inside, terms, -torch.inf)
    peak = terms.amax(0)
    weights = (terms - peak).exp()
    total = weights.sum(0)
    jumps = largest + (weights * (n - largest)).sum(0) / total
    return peak + (step * total).log(), jumps


def _largest_term(log_rate: Tensor, log_x: Tensor, shape: float) -> tuple[Tensor, Tensor]:
    """The real number of jumps at which the terms are largest, at least one half, and their width around it."""
    # by Stirling's formula; Newton's method on the derivative of the logarithm does the rest
    log_n = (log_rate + shape * (log_x - math.log(shape))) / (1 + shape)
    for _ in range(_NEWTON):
        n = log_n.exp().clamp(min=0.5)
        slope = log_rate - torch.digamma(n + 1) + shape * (log_x - torch.digamma(shape * n))
        curvature = torch.polygamma(1, n + 1) + shape**2 * torch.polygamma(1, shape * n)
        log_n = (n.log() + (slope / (n * curvature)).clamp(-2, 2)).clamp(min=math.log(0.5))
    n = log_n.exp()
    return n, (torch.polygamma(1, n + 1) + shape**2 * torch.polygamma(1, shape * n)).rsqrt()


# -- the distribution function -----------------------------------------------------------------------------------------


def tweedie_cdf(y: Tensor, log_mean: Tensor, log_dispersion: Tensor, power: float) -> Tensor:
    r"""F(y) in float64, differentiable in all arguments but the power.

    Notes
    -----
    The inverse of the Laplace transform of F, :math:`e^{\lambda(u^{-\alpha} - 1)}/(u - 1)` with
    :math:`u = 1 + \theta s`, is an integral around the negative axis, along the parabola :math:`u = u_0 (1 + i t)^2`
    through the saddle point :math:`u_0 = r^{1 - p}`. There the integrand is at most :math:`e^{-w t^2}` of its value at
    t = 0, with :math:`w = \alpha\lambda r^{2 - p}`, for any parameters; where w is small the vertex moves outwards. The
    midpoint rule converges with the exponential of its number of nodes. The pole at u = 1 may lie anywhere near the
    vertex: what it does to the rule is known (Weideman and Trefethen 2007; Chiarella and Reichel 1968).

    Against 50 digits F is off by at most 1e-12, and in the lower tail by 1e-11 of itself.

    References
    ----------
    Weideman and Trefethen (2007), Parabolic and hyperbolic contours for computing the Bromwich integral, Math. Comp.
    76, 1341-1356.
    Chiarella and Reichel (1968), On the evaluation of integrals related to the error function, Math. Comp. 22,
    137-143.
    """
    y, log_mean, log_dispersion = torch.broadcast_tensors(y, log_mean, log_dispersion)
    positive = y > 0
    log_ratio = torch.where(positive, y, 1.0).log() - log_mean
    log_square = log_dispersion - (2 - power) * log_mean
    infinite = y == torch.inf
    log_ratio = torch.where(infinite, 0.0, log_ratio)
    (value,) = _in_blocks(lambda r, d: (_standard_cdf(r, d, power),), _NODES_AT_ONCE, log_ratio, log_square)
    value = torch.where(infinite, 1.0, value)
    at_zero = (-(-log_square - math.log(2 - power)).exp()).exp()
    return torch.where(positive, value, torch.where(y == 0, at_zero, 0.0))


def _standard_cdf(log_ratio: Tensor, log_square: Tensor, power: float) -> Tensor:
    """F at mean one, from the logarithms of y > 0 and of the squared coefficient of variation."""
    shape = (2 - power) / (power - 1)
    # A = lambda r^(2 - p), the number of jumps that is most likely given y
    jumps = ((2 - power) * log_ratio - log_square - math.log(2 - power)).exp()
    saddle = shape * jumps
    # the vertex in units of the saddle point; the integral does not depend on it
    vertex = (_VERTEX / saddle.detach().clamp(min=1e-300)).clamp(min=1)
    decay = saddle * vertex
    step = 1 / (2 * _FINENESS * (decay.detach().clamp(min=_FEW * shape) * (1 + shape)).sqrt())
    first = jumps * vertex.pow(-shape)
    exponent = _log_saddle(log_ratio, log_square, power) + jumps * (
        torch.expm1(-shape * vertex.log()) + shape * (vertex - 1)
    )
    # the pole at u = 1, of which this is the square root, relative to the vertex
    pole = (0.5 * (power - 1) * log_ratio - 0.5 * vertex.log()).exp()
    total = torch.zeros_like(log_ratio)
    nodes = torch.arange(_count(shape), dtype=step.dtype, device=step.device) + 0.5
    for some in nodes.split(max(1, _block(step) // max(1, step.numel()))):
        t = some.reshape(-1, *(1,) * step.ndim) * step
        total = total + _node(t, first, decay, exponent, pole, shape).sum(0)
    integral = 2 / math.pi * step * total
    # what the rule misses because of the pole, unless the integrand grows so fast up to it that the rule has converged
    growth = 2 * (decay * pole - shape * first * pole.pow(-2 * shape - 1)).detach().abs()
    missed = torch.sigmoid(-2 * math.pi * (1 - pole).abs() / step)
    missed = torch.where(growth < 2 * math.pi / step, missed, 0.0)
    return torch.where(pole < 1, integral + missed, 1 + integral - missed).clamp(0, 1)


def _count(shape: float) -> int:
    """Nodes on one side until the integrand has fallen off."""
    return math.ceil(2 * _FINENESS * math.sqrt(_DROP * max(1.0, _FEW * shape / _VERTEX) * (1 + shape)))


def _node(t: Tensor, first: Tensor, decay: Tensor, exponent: Tensor, pole: Tensor, shape: float) -> Tensor:
    """The real part of the integrand at 1 + i t, in forms that do not cancel near t = 0."""
    square = t * t
    log_size, angle = -shape * torch.log1p(square), 2 * shape * torch.atan(t)
    size = log_size.exp()
    real = first * (torch.expm1(log_size) * angle.cos() - 2 * (0.5 * angle).sin().square()) - decay * square + exponent
    phase = 2 * decay * t - first * size * angle.sin()
    # (1 + i t) / ((1 + i t)^2 - pole^2)
    a, b = 1 - square - pole.square(), 2 * t
    norm = a * a + b * b
    part_real, part_imaginary = (a + t * b) / norm, (t * a - b) / norm
    return real.exp() * (phase.cos() * part_real - phase.sin() * part_imaginary)


def _log_saddle(log_ratio: Tensor, log_square: Tensor, power: float) -> Tensor:
    r"""The exponent at the saddle point, minus half the deviance.

    .. math:: -\frac1{\delta(p - 1)}\Bigl[r - 1 - \frac{r^{2 - p} - 1}{2 - p}\Bigr]
    """
    near = log_ratio.abs() < 0.3
    small = torch.where(near, log_ratio, 0.0)
    series = torch.zeros_like(small)
    for k in range(_SERIES + 2, 1, -1):
        series = (series * small / (k + 1)) + (1 - (2 - power) ** (k - 1))
    series = 0.5 * series * small.square()
    far = torch.where(near, 1.0, log_ratio)
    difference = torch.expm1(far) - torch.expm1((2 - power) * far) / (2 - power)
    return -torch.where(near, series, difference) * (-log_square).exp() / (power - 1)


def bound_of_quantile(level: float, log_square: Tensor, power: float) -> Tensor:
    r"""A place r beyond the quantile at mean one: above it at levels above one half, below it at others.

    By Chernoff's bound, which half the deviance is the exponent of: :math:`P(Y \ge r) \le e^{-d(r)/2}` for
    :math:`r \ge 1`, and so below. The exponent is convex in r, so that Newton's method stays beyond.
    """
    if level == 0.5:
        return torch.ones_like(log_square)
    sign = math.copysign(1.0, level - 0.5)
    target = -math.log(min(level, 1 - level))
    square = log_square.exp()
    r = (1 + sign * (2 * target * square).sqrt()).clamp(min=0.1)
    for _ in range(_BOUND_STEPS):
        excess = -_log_saddle(r.log(), log_square, power) - target
        slope = (1 - r.pow(1 - power)) / (square * (power - 1))
        r = r - excess / slope
        r = r.clamp(min=1) if sign > 0 else torch.where(r > 0, r, torch.nan)
    # at zero lies more, or nothing that counts
    return r.nan_to_num(nan=0.0)
