"""The log-normal distribution."""

import math

import numpy as np
import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import MixtureSameFamily

from .._special import HALF_LOG_2PI, ndtr
from .marginals import Marginals, cdf, icdf
from .members import members_last, sum_over_pairs, weights_last
from .normal_scores import from_normal_score, normal_score
from .origins import Parameters, parametrised, scipy_name, skpro_name
from .scoring import (
    ROUNDING,
    marginal_crps,
    marginal_crps_with_bound,
    marginal_nll,
    mixture_crps,
    mixture_crps_with_bound,
    validate,
)


class LogNormal(Marginals, dist.LogNormal):
    """Pyro's LogNormal with `cdf` and `icdf` down to zero, and a log-density that stays exact for small scales."""

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        return lognormal_log_prob(value.double(), self.loc.double(), self.scale.double()).to(self.loc.dtype)


def lognormal_log_prob(y: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
    inside = y > 0
    # the logarithm of any y will do outside
    log_y = torch.where(inside, y, 1.0).log()
    z = (log_y - loc) / scale
    density = -HALF_LOG_2PI - scale.log() - 0.5 * z.square() - log_y
    return torch.where(inside, density, -torch.inf)


@cdf.register
def _(distribution: torch.distributions.LogNormal, y: Tensor) -> Tensor:
    y = y.double()
    inside = y > 0
    # the logarithm of any y will do outside, where that of zero would leave no gradient
    z = (torch.where(inside, y, 1.0).log() - distribution.loc.double()) / distribution.scale.double()
    below = torch.where(inside, ndtr(z), torch.zeros_like(y))
    return below.to(distribution.loc.dtype)


@icdf.register
def _(distribution: torch.distributions.LogNormal, q: Tensor) -> Tensor:
    # NaN outside [0, 1], and the ends of the support at 0 and 1
    z: Tensor = torch.special.ndtri(q.double())
    y = (distribution.loc.double() + distribution.scale.double() * z).exp()
    return y.to(distribution.loc.dtype)


@normal_score.register
def _(distribution: torch.distributions.LogNormal, y: Tensor) -> Tensor:
    return (y.clamp(min=0).log() - distribution.loc) / distribution.scale


@from_normal_score.register
def _(distribution: torch.distributions.LogNormal, score: Tensor) -> Tensor:
    return (distribution.loc + distribution.scale * score).exp()


@marginal_nll.register
def _(distribution: torch.distributions.LogNormal, y: Tensor) -> Tensor:
    validate(distribution, y)
    return -lognormal_log_prob(y.double(), distribution.loc.double(), distribution.scale.double())


@marginal_crps.register
def _(distribution: torch.distributions.LogNormal, y: Tensor) -> Tensor:
    return lognormal_crps(distribution.loc.double(), distribution.scale.double(), y)


@marginal_crps_with_bound.register
def _(distribution: torch.distributions.LogNormal, y: Tensor) -> tuple[Tensor, Tensor]:
    value = marginal_crps(distribution, y)
    return value, ROUNDING * _digits(distribution) * (y.abs() + value)


@mixture_crps.register
def _(component: torch.distributions.LogNormal, mixture: MixtureSameFamily, y: Tensor) -> Tensor:
    loc, scale = (members_last(mixture, p) for p in (component.loc, component.scale))
    return lognormal_mixture_crps(weights_last(mixture), loc, scale, y)


@mixture_crps_with_bound.register
def _(component: torch.distributions.LogNormal, mixture: MixtureSameFamily, y: Tensor) -> tuple[Tensor, Tensor]:
    value = mixture_crps(component, mixture, y)
    return value, ROUNDING * members_last(mixture, _digits(component)).amax(-1) * (y.abs() + value)


def _digits(distribution: torch.distributions.LogNormal) -> Tensor:
    """What exp loses: the digits that its argument has before the point."""
    return 1 + distribution.loc.double().abs() + distribution.scale.double().square()


@scipy_name("lognorm", loc=0.0)
def _(p: Parameters) -> LogNormal:
    return parametrised(LogNormal, loc=np.log(p["scale"]), scale=p["s"])


@skpro_name("LogNormal")
def _(p: Parameters) -> LogNormal:
    return parametrised(LogNormal, loc=p["mu"], scale=p["sigma"])


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


def lognormal_mixture_crps(weights: Tensor, loc: Tensor, scale: Tensor, y: Tensor) -> Tensor:
    r""":math:`y(2F(y) - 1) - 2\sum_i w_i m_i\Phi(z_i - \sigma_i) + 2\sum_{ij} w_i w_j m_i\Phi(z_{ij})`.

    With :math:`m_i = e^{\mu_i + \sigma_i^2/2}`, :math:`z_i = (\log y - \mu_i)/\sigma_i` and
    :math:`z_{ij} = (\mu_j - \mu_i - \sigma_i^2)/(\sigma_i^2 + \sigma_j^2)^{1/2}`.
    """
    inside = (y > 0).unsqueeze(-1)
    # the logarithm of any y will do outside
    z = (torch.where(inside, y.unsqueeze(-1), 1.0).log() - loc) / scale
    log_mean = loc + 0.5 * scale.square()
    distance = y.unsqueeze(-1) * torch.erf(z / 2**0.5) - 2 * truncated_mean(log_mean, scale - z)
    to_y = (weights * torch.where(inside, distance, -y.unsqueeze(-1))).sum(-1)
    return to_y + sum_over_pairs(_mean_smaller_lognormal, y.shape, weights, loc, scale)


def _mean_smaller_lognormal(loc: Tensor, scale: Tensor, other_loc: Tensor, other_scale: Tensor) -> Tensor:
    """Twice the part of E min(Y, Y') on Y < Y'; over all ordered pairs the parts add up to E min."""
    t = (loc - other_loc + scale.square()) / torch.hypot(scale, other_scale)
    return 2 * truncated_mean(loc + 0.5 * scale.square(), t)
