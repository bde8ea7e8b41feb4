"""The exponential distribution."""

import numpy as np
import torch
from pyro.distributions.torch_distribution import TorchDistributionMixin
from torch import Tensor
from torch.distributions import MixtureSameFamily

from .inversion import with_ends
from .marginals import Marginals, cdf, icdf
from .members import members_last, sum_over_pairs, weights_last
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


class Exponential(Marginals, torch.distributions.Exponential, TorchDistributionMixin):
    """Pyro's Exponential with `cdf` and `icdf` that keep their digits near zero, and no density below it."""

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        return exponential_log_prob(value.double(), self.rate.double()).to(self.rate.dtype)


def exponential_log_prob(y: Tensor, rate: Tensor) -> Tensor:
    return torch.where(y >= 0, rate.log() - rate * y, -torch.inf)


@cdf.register
def _(distribution: torch.distributions.Exponential, y: Tensor) -> Tensor:
    # 1 - exp(-r y) would lose its digits near zero
    rate: Tensor = distribution.rate
    return (-torch.expm1(-rate.double() * y.double().clamp(min=0))).to(rate.dtype)


@icdf.register
def _(distribution: torch.distributions.Exponential, q: Tensor) -> Tensor:
    q, rate = torch.broadcast_tensors(q.double(), distribution.rate.double())
    y = -torch.log1p(-q) / rate
    return with_ends(y, q, torch.zeros_like(y), torch.full_like(y, torch.inf)).to(distribution.rate.dtype)


@marginal_nll.register
def _(distribution: torch.distributions.Exponential, y: Tensor) -> Tensor:
    validate(distribution, y)
    return -exponential_log_prob(y.double(), distribution.rate.double())


@marginal_crps.register
def _(distribution: torch.distributions.Exponential, y: Tensor) -> Tensor:
    return exponential_crps(distribution.rate.double(), y)


@marginal_crps_with_bound.register
def _(distribution: torch.distributions.Exponential, y: Tensor) -> tuple[Tensor, Tensor]:
    value = marginal_crps(distribution, y)
    return value, ROUNDING * (y.abs() + value)


@mixture_crps.register
def _(component: torch.distributions.Exponential, mixture: MixtureSameFamily, y: Tensor) -> Tensor:
    return exponential_mixture_crps(weights_last(mixture), members_last(mixture, component.rate), y)


@mixture_crps_with_bound.register
def _(component: torch.distributions.Exponential, mixture: MixtureSameFamily, y: Tensor) -> tuple[Tensor, Tensor]:
    value = mixture_crps(component, mixture, y)
    return value, ROUNDING * (y.abs() + value)


@scipy_name("expon", loc=0.0)
def _(p: Parameters) -> Exponential:
    return parametrised(Exponential, rate=1 / np.asarray(p["scale"]))


@skpro_name("Exponential")
def _(p: Parameters) -> Exponential:
    return parametrised(Exponential, rate=p["rate"])


def exponential_crps(rate: Tensor, y: Tensor) -> Tensor:
    r""":math:`|y| - 2F(y)/r + 1/(2r)`."""
    return y.abs() + (0.5 + 2 * torch.expm1(-rate * y.clamp(min=0))) / rate


def exponential_mixture_crps(weights: Tensor, rate: Tensor, y: Tensor) -> Tensor:
    r""":math:`|y| - 2\sum_i w_i F_i(y)/r_i + \sum_{ij} w_i w_j/(r_i + r_j)`."""
    below = (weights * torch.expm1(-rate * y.clamp(min=0).unsqueeze(-1)) / rate).sum(-1)
    return y.abs() + 2 * below + sum_over_pairs(_mean_smaller_exponential, y.shape, weights, rate)


def _mean_smaller_exponential(rate: Tensor, other: Tensor) -> Tensor:
    return 1 / (rate + other)
