"""The Bernoulli distribution."""

import torch
from pyro.distributions.torch_distribution import TorchDistributionMixin
from torch import Tensor
from torch.distributions import MixtureSameFamily
from torch.nn.functional import binary_cross_entropy_with_logits

from .inversion import with_ends
from .marginals import Marginals, cdf, icdf
from .members import members_last, weights_last
from .origins import Parameters, parametrised, scipy_name
from .scoring import (
    ROUNDING,
    marginal_crps,
    marginal_crps_with_bound,
    marginal_nll,
    mixture_crps,
    mixture_crps_with_bound,
    validate,
)


class Bernoulli(Marginals, torch.distributions.Bernoulli, TorchDistributionMixin):
    """Pyro's Bernoulli with `cdf` and `icdf`."""


@cdf.register
def _(distribution: torch.distributions.Bernoulli, y: Tensor) -> Tensor:
    zero, y = torch.broadcast_tensors((-distribution.logits).sigmoid(), y)
    return torch.where(y < 1, torch.where(y < 0, torch.zeros_like(zero), zero), torch.ones_like(zero))


@icdf.register
def _(distribution: torch.distributions.Bernoulli, q: Tensor) -> Tensor:
    q, zero = torch.broadcast_tensors(q, (-distribution.logits).sigmoid())
    y = (q > zero).to(zero.dtype)
    return with_ends(y, q, torch.zeros_like(y), torch.ones_like(y))


@marginal_nll.register
def _(distribution: torch.distributions.Bernoulli, y: Tensor) -> Tensor:
    validate(distribution, y)
    logits, y = torch.broadcast_tensors(distribution.logits.double(), y.double())
    value = binary_cross_entropy_with_logits(logits, y, reduction="none")
    return torch.where((y == 0) | (y == 1), value, torch.inf)


@marginal_crps.register
def _(distribution: torch.distributions.Bernoulli, y: Tensor) -> Tensor:
    return bernoulli_crps(distribution.logits.double(), y)


@marginal_crps_with_bound.register
def _(distribution: torch.distributions.Bernoulli, y: Tensor) -> tuple[Tensor, Tensor]:
    value = marginal_crps(distribution, y)
    return value, ROUNDING * value


@mixture_crps.register
def _(component: torch.distributions.Bernoulli, mixture: MixtureSameFamily, y: Tensor) -> Tensor:
    return bernoulli_mixture_crps(weights_last(mixture), members_last(mixture, component.logits), y)


@mixture_crps_with_bound.register
def _(component: torch.distributions.Bernoulli, mixture: MixtureSameFamily, y: Tensor) -> tuple[Tensor, Tensor]:
    value = mixture_crps(component, mixture, y)
    return value, ROUNDING * value


@scipy_name("bernoulli", loc=0.0)
def _(p: Parameters) -> Bernoulli:
    return parametrised(Bernoulli, probs=p["p"])


def bernoulli_crps(logits: Tensor, y: Tensor) -> Tensor:
    """The squared probability of the other value."""
    inside = y.clamp(0, 1)
    return torch.where(inside > 0, -logits, logits).sigmoid().square() + (y - inside).abs()


def bernoulli_mixture_crps(weights: Tensor, logits: Tensor, y: Tensor) -> Tensor:
    """The squared probability of the other value."""
    inside = y.clamp(0, 1)
    other = torch.where(inside.unsqueeze(-1) > 0, -logits, logits).sigmoid()
    return (weights * other).sum(-1).square() + (y - inside).abs()
