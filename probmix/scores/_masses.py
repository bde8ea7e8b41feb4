"""Probabilities of many counts in a row, coordinate by coordinate."""

from functools import singledispatch

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, MixtureSameFamily
from torch.nn.functional import logsigmoid

from ..distributions.inflated import Hurdle, hurdle_excess
from ..distributions.mixture import mixture_weights
from ..distributions.negative_binomial import count_and_log_mean, negative_binomial_log_prob


@singledispatch
def masses(distribution: Distribution, k: Tensor) -> Tensor:
    """Probabilities of consecutive counts k, (K, 1, ...), of a float64 distribution: (K, *B)."""
    return distribution.log_prob(k).exp()


@masses.register
def _(distribution: torch.distributions.NegativeBinomial, k: Tensor) -> Tensor:
    # f(k + 1) / f(k) = q (r + k) / (k + 1): a logarithm each, where the log-probability takes a dozen
    total_count, log_mean = count_and_log_mean(distribution)
    first = negative_binomial_log_prob(k[:1], log_mean, total_count)
    rise = logsigmoid(log_mean - total_count.log()) + ((total_count + k[:-1]) / (k[:-1] + 1)).log()
    return torch.cat([first, rise.expand(-1, *first.shape[1:])]).cumsum(0).exp()


@masses.register
def _(distribution: dist.ZeroInflatedDistribution, k: Tensor) -> Tensor:
    gate = distribution.gate_logits.double()
    counted: Tensor = (-gate).sigmoid() * masses(distribution.base_dist, k)
    return counted + torch.where(k == 0, gate.sigmoid(), 0.0)


@masses.register
def _(distribution: Hurdle, k: Tensor) -> Tensor:
    counted = hurdle_excess(distribution) * masses(distribution.base_dist, k)
    return torch.where(k == 0, distribution.gate_logits.double().sigmoid(), counted)


@masses.register(Independent)
def _(distribution: Independent[Distribution], k: Tensor) -> Tensor:
    return masses(distribution.base_dist, k)


@masses.register
def _(distribution: MixtureSameFamily, k: Tensor) -> Tensor:
    weights, dim = mixture_weights(distribution)
    return torch.sum(weights * masses(distribution.component_distribution, k.unsqueeze(-1)), dim)
