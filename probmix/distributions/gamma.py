"""The Gamma distribution."""

import math
from typing import Any

import numpy as np
import pyro.distributions as dist
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.distributions import MixtureSameFamily

from .._incomplete_gamma import incomplete_gamma, log_gamma_kernel, log_kernel_slope, log_less_digamma, shape_derivative
from .._special import gamma_log_prob, stirling_remainder
from .gamma_mixtures import mean_distance_between
from .inversion import with_ends
from .marginals import Marginals, cdf, icdf
from .members import members_last, weights_last
from .origins import Parameters, parametrised, scipy_name, skpro_name
from .scoring import (
    incomplete_gamma_error,
    marginal_crps,
    marginal_crps_with_bound,
    marginal_nll,
    mixture_crps,
    mixture_crps_with_bound,
)

# Newton's method for quantiles: rounds at most, and the relative step that ends it, for its square is below rounding.
_ROUNDS, _STEP = 40, 1e-10
# Below the exponential of this, the first term of the power series is the whole lower tail, to the last digit.
_LOG_TINY = -600.0


class Gamma(Marginals, dist.Gamma):
    """Pyro's Gamma with `icdf`, both differentiable in the shape, and a log-density that stays exact for large shapes.

    Examples
    --------
    >>> import torch
    >>> from probmix.distributions import Gamma
    >>> gamma = Gamma(torch.tensor(2.0, requires_grad=True), torch.tensor(1.0))
    >>> torch.autograd.grad(gamma.cdf(torch.tensor(2.0)), gamma.concentration)
    (tensor(-0.2940),)
    """

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        return gamma_log_prob(value.double(), self.concentration.double(), self.rate.double()).to(self.rate.dtype)


@cdf.register
def _(distribution: torch.distributions.Gamma, y: Tensor) -> Tensor:
    shape, rate = distribution.concentration.double(), distribution.rate.double()
    lower, _ = incomplete_gamma(shape, rate * y.double())
    return lower.to(distribution.rate.dtype)


@icdf.register
def _(distribution: torch.distributions.Gamma, q: Tensor) -> Tensor:
    shape, rate = distribution.concentration.double(), distribution.rate.double()
    y = _quantile(*torch.broadcast_tensors(shape, q.double())) / rate
    q = q.double().expand_as(y)
    return with_ends(y, q, torch.zeros_like(y), torch.full_like(y, torch.inf)).to(distribution.rate.dtype)


@marginal_nll.register
def _(distribution: torch.distributions.Gamma, y: Tensor) -> Tensor:
    concentration, rate = distribution.concentration.double(), distribution.rate.double()
    inside = y > 0
    y = y.double()
    value = -gamma_log_prob(torch.where(inside, y, torch.ones_like(y)), concentration, rate)
    # the limit at zero: -log b for the exponential distribution, else infinite with the sign of a - 1
    at_zero = -torch.xlogy(concentration - 1, torch.zeros_like(y)) - rate.log()
    return torch.where(inside, value, torch.where(y == 0, at_zero, torch.inf))


@marginal_crps.register
def _(distribution: torch.distributions.Gamma, y: Tensor) -> Tensor:
    return gamma_crps(distribution.concentration.double(), distribution.rate.double(), y)


@marginal_crps_with_bound.register
def _(distribution: torch.distributions.Gamma, y: Tensor) -> tuple[Tensor, Tensor]:
    return marginal_crps(distribution, y), incomplete_gamma_error(distribution, y)


@mixture_crps.register
def _(component: torch.distributions.Gamma, mixture: MixtureSameFamily, y: Tensor) -> Tensor:
    a, rate = (members_last(mixture, p) for p in (component.concentration, component.rate))
    return gamma_mixture_crps(weights_last(mixture), a, rate, y)


@mixture_crps_with_bound.register
def _(component: torch.distributions.Gamma, mixture: MixtureSameFamily, y: Tensor) -> tuple[Tensor, Tensor]:
    # the incomplete beta functions of pairs lose digits as the shapes grow
    unit = 1 + 1e-4 * members_last(mixture, component.concentration).amax(-1)
    return mixture_crps(component, mixture, y), unit * incomplete_gamma_error(mixture, y)


@scipy_name("gamma", loc=0.0)
def _(p: Parameters) -> Gamma:
    return parametrised(Gamma, concentration=p["a"], rate=1 / np.asarray(p["scale"]))


@skpro_name("Gamma")
def _(p: Parameters) -> Gamma:
    return parametrised(Gamma, concentration=p["alpha"], rate=p["beta"])


def _quantile(a: Tensor, q: Tensor) -> Tensor:
    """The quantile at rate one, differentiable in both arguments."""
    x = _newton(a.detach(), q.detach())
    if not (torch.is_grad_enabled() and (a.requires_grad or q.requires_grad)):
        return x
    # the implicit function theorem: P(a, x) - q stays zero
    lower, _ = incomplete_gamma(a, x)
    missing = q - lower
    density = (log_gamma_kernel(a.detach(), x) + a.detach().log() - x.log()).exp()
    return x + (missing - missing.detach()) / density


def _newton(a: Tensor, q: Tensor) -> Tensor:
    """Newton's method on the logarithm of the smaller tail, a concave function of log x, which needs no bracket.

    Each step from anywhere ends on the side where the tail is too small, and all further ones stay there.
    """
    inside = (q > 0) & (q < 1)
    q = torch.where(inside, q, 0.5)
    right = q > 0.5
    level = torch.where(right, 1 - q, q)
    # the first term of the power series of P: near zero it is all of P, elsewhere it gives a lower bound
    log_power = (q.log() + torch.lgamma(a + 1)) / a
    tiny = log_power < _LOG_TINY
    x = _start(a, q, right, log_power)
    for _ in range(_ROUNDS):
        lower, upper = incomplete_gamma(a, x)
        tail = torch.where(right, upper, lower)
        step = (level / tail).log() * tail / (log_gamma_kernel(a, x) + a.log()).exp()
        step = torch.where(tiny, 0.0, torch.where(right, -step, step))
        x = x * step.exp()
        if not bool((step.abs() > _STEP).any()):
            break
    return torch.where(tiny, log_power.exp(), x)


def _start(a: Tensor, q: Tensor, right: Tensor, log_power: Tensor) -> Tensor:
    """The larger of the lower bound and Wilson and Hilferty's approximation; up to a shape of one other bounds."""
    root = 1 - 1 / (9 * a) + torch.special.ndtri(q) / (3 * a.sqrt())
    power = log_power.clamp(min=_LOG_TINY).exp()
    # for shapes up to one an exponential variable is larger
    bound = torch.where(right & (log_power > -1), -torch.log1p(-q), power)
    return torch.where(a <= 1, bound, torch.maximum(a * root.clamp(min=0) ** 3, power))


def gamma_crps(concentration: Tensor, rate: Tensor, y: Tensor) -> Tensor:
    r"""CRPS in float64 for any real y.

    The published form holds F(y; a) and F(y; a + 1), whose terms cancel for large shapes a; with
    :math:`F(y; a + 1) = F(y; a) - (b y)^a e^{-b y}/\Gamma(a + 1)` it becomes the form in `crps`.
    """
    value: Tensor = _UnitRateCRPS.apply(concentration, rate * y)
    return value / rate


def gamma_mixture_crps(weights: Tensor, a: Tensor, rate: Tensor, y: Tensor) -> Tensor:
    r""":math:`\sum_i w_i\,[\mathrm{CRPS}(F_i, y) + \tfrac12(1 - w_i) E|X_i - X_i'|] - \sum_{i<j} w_i w_j E|X_i - X_j|`.

    Parameters are broadcastable to ``y.shape + (M,)``; memory is bounded by blocks of rows.
    """
    to_y = gamma_crps(a, rate, y.unsqueeze(-1))
    within = (weights * (to_y + (1 - weights) * a / rate * _relative_distance(a))).sum(-1)
    return within - mean_distance_between(weights, a, rate)


class _UnitRateCRPS(torch.autograd.Function):
    r""":math:`(x - a)(P - Q) + 2 a k - a d`, k the kernel of the incomplete gamma functions, d the distance below.

    The derivative in x is :math:`P - Q`, to which autograd would add two terms of the order of the density that cancel.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(a: Tensor, x: Tensor) -> Tensor:
        lower, upper = incomplete_gamma(a, x)
        return (x - a) * (lower - upper) + a * (2 * _kernel(a, x) - _relative_distance(a))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        a, x = ctx.saved_tensors
        lower, upper = incomplete_gamma(a, x)
        in_a = in_x = None
        if ctx.needs_input_grad[0]:
            kernel_slope = 2 * _kernel(a, x) * (1 + a * log_kernel_slope(a, torch.where(x > 0, x, 1.0)))
            slope = upper - lower + 2 * (x - a) * shape_derivative(a, x) + kernel_slope - _distance_slope(a)
            in_a = (gradient * slope).sum_to_size(a.shape)
        if ctx.needs_input_grad[1]:
            in_x = (gradient * (lower - upper)).sum_to_size(x.shape)
        return in_a, in_x


def _kernel(a: Tensor, x: Tensor) -> Tensor:
    r""":math:`x^a e^{-x}/\Gamma(a + 1)`, the density times x / a."""
    inside = x > 0
    return torch.where(inside, log_gamma_kernel(a, torch.where(inside, x, 1.0)).exp(), 0.0)


def _relative_distance(a: Tensor) -> Tensor:
    r"""Half of :math:`E|Y - Y'|` per mean, :math:`1/(a B(1/2, a)) = \Gamma(a + 1/2)/(\sqrt\pi\,\Gamma(a + 1))`."""
    remainder = stirling_remainder(a + 0.5) - stirling_remainder(a) + a * torch.log1p(0.5 / a) - 0.5
    return (remainder - 0.5 * a.log()).exp() / math.sqrt(math.pi)


def _distance_slope(a: Tensor) -> Tensor:
    r"""The derivative of a times the relative distance: that times :math:`\psi(a + 1/2) - \psi(a)`, about 1 / (2 a)."""
    rise = torch.log1p(0.5 / a) + log_less_digamma(a) - log_less_digamma(a + 0.5) + 0.5 / (a * (a + 0.5))
    return a * _relative_distance(a) * rise
