"""The beta distribution with what torch lacks: cdf and quantiles on the device, and a density that does not cancel."""

import math

import torch
from pyro.distributions.torch_distribution import TorchDistributionMixin
from torch import Tensor
from torch.distributions import MixtureSameFamily

from .._incomplete_beta import incomplete_beta, log_kernel, regularised
from .._special import stirling_remainder
from .beta_mixtures import beta_mixture_crps, beta_mixture_window
from .marginals import Marginals, cdf, icdf
from .members import members_last, weights_last
from .origins import Parameters, parametrised, scipy_name, skpro_name
from .scoring import (
    ROUNDING,
    marginal_crps,
    marginal_crps_with_bound,
    marginal_nll,
    marginal_window_crps,
    mixture_crps,
    mixture_crps_with_bound,
    mixture_window_crps,
    rounding_error,
    validate,
)

# Quantiles are sought in the logit.
_LOGIT_LIMIT, _ROUNDS = 700.0, 60


class Beta(Marginals, torch.distributions.Beta, TorchDistributionMixin):
    """Pyro's Beta with `cdf` and `icdf`, and a log-density that stays exact for large concentrations.

    Examples
    --------
    >>> import torch
    >>> from probmix.distributions import Beta
    >>> Beta(torch.tensor(2.0), torch.tensor(1.0)).cdf(torch.tensor(0.5))
    tensor(0.2500)
    """

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        a, b = concentrations(self)
        return beta_log_prob(value.double(), a, b).to(self.concentration1.dtype)


def concentrations(distribution: torch.distributions.Beta) -> tuple[Tensor, Tensor]:
    """Both parameters in float64."""
    return torch.as_tensor(distribution.concentration1).double(), torch.as_tensor(distribution.concentration0).double()


@cdf.register
def _(distribution: torch.distributions.Beta, y: Tensor) -> Tensor:
    return incomplete_beta(*concentrations(distribution), y.double()).to(distribution.mean.dtype)


@icdf.register
def _(distribution: torch.distributions.Beta, q: Tensor) -> Tensor:
    return _quantile(*concentrations(distribution), q.double()).to(distribution.mean.dtype)


def beta_log_prob(y: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Log-density in float64 for any real y, with its limits at the ends of the support."""
    inside = (y > 0) & (y < 1)
    y_inside = torch.where(inside, y, 0.5)
    density = log_kernel(y_inside, a, b) - y_inside.log() - torch.log1p(-y_inside)
    zero = torch.zeros_like(y)
    at_zero, at_one = torch.xlogy(a - 1, zero) + b.log(), torch.xlogy(b - 1, zero) + a.log()
    ends = torch.where(y == 0, at_zero, torch.where(y == 1, at_one, -torch.inf))
    return torch.where(inside, density, ends)


def _quantile(a: Tensor, b: Tensor, q: Tensor) -> Tensor:
    """Newton's method on the logarithm of the smaller tail, a concave function of the logit, inside a bracket."""
    a, b, q = torch.broadcast_tensors(a, b, q)
    upper = q > 0.5
    a, b, level = torch.where(upper, b, a), torch.where(upper, a, b), torch.where(upper, 1 - q, q)
    u = (a.log() - b.log()).clamp(-_LOGIT_LIMIT, _LOGIT_LIMIT)
    low, high = torch.full_like(u, -_LOGIT_LIMIT), torch.full_like(u, _LOGIT_LIMIT)
    for _ in range(_ROUNDS):
        y, rest = u.sigmoid(), (-u).sigmoid()
        below = regularised(a, b, y, rest)
        short = below < level
        low, high = torch.where(short, u, low), torch.where(short, high, u)
        newton = u + (level / below).log() * below / log_kernel(y, a, b, rest).exp()
        inside = (newton >= low) & (newton <= high)
        following = torch.where(inside, newton, 0.5 * (low + high))
        still = (following - u).abs() > 1e-13 * u.abs().clamp(min=1)
        u = following
        if not bool(still.any()):
            break
    y = torch.where(upper, (-u).sigmoid(), u.sigmoid())
    y = torch.where(q <= 0, 0.0, torch.where(q >= 1, 1.0, y))
    return torch.where((q >= 0) & (q <= 1), y, torch.nan)


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


@marginal_nll.register
def _(distribution: torch.distributions.Beta, y: Tensor) -> Tensor:
    validate(distribution, y)
    return -beta_log_prob(y.double(), *concentrations(distribution))


@marginal_crps.register
def _(distribution: torch.distributions.Beta, y: Tensor) -> Tensor:
    return beta_crps(*concentrations(distribution), y)


@marginal_crps_with_bound.register
def _(distribution: torch.distributions.Beta, y: Tensor) -> tuple[Tensor, Tensor]:
    unit = _cdf_error(*concentrations(distribution))
    return marginal_crps(distribution, y), rounding_error(distribution, y, unit)


@marginal_window_crps.register
def _(distribution: torch.distributions.Beta, y: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    a, b = (p.unsqueeze(-1) for p in concentrations(distribution))
    return beta_mixture_window(torch.ones_like(a), a, b, y, lower, upper)[0]


@mixture_crps.register
def _(component: torch.distributions.Beta, mixture: MixtureSameFamily, y: Tensor) -> Tensor:
    return beta_mixture_crps(*_members(component, mixture), y)[0]


@mixture_crps_with_bound.register
def _(component: torch.distributions.Beta, mixture: MixtureSameFamily, y: Tensor) -> tuple[Tensor, Tensor]:
    weights, a, b = _members(component, mixture)
    value, error = beta_mixture_crps(weights, a, b, y)
    return value, error + ROUNDING * value.detach() + 2 * (_cdf_error(a, b).amax(-1) * value.detach().sqrt())


@mixture_window_crps.register
def _(
    component: torch.distributions.Beta, mixture: MixtureSameFamily, y: Tensor, lower: Tensor, upper: Tensor
) -> Tensor:
    return beta_mixture_window(*_members(component, mixture), y, lower, upper)[0]


def _members(component: torch.distributions.Beta, mixture: MixtureSameFamily) -> tuple[Tensor, Tensor, Tensor]:
    a, b = (members_last(mixture, p) for p in concentrations(component))
    return weights_last(mixture), a, b


def _cdf_error(a: Tensor, b: Tensor) -> Tensor:
    return 1e-13 + 1e-16 * (a + b)


@scipy_name("beta", loc=0.0, scale=1.0)
def _(p: Parameters) -> Beta:
    return parametrised(Beta, concentration1=p["a"], concentration0=p["b"])


@skpro_name("Beta")
def _(p: Parameters) -> Beta:
    return parametrised(Beta, concentration1=p["alpha"], concentration0=p["beta"])
