"""Mixtures of one family, and several independent coordinates."""

import pyro.distributions as dist
import torch
from pyro.distributions.torch_distribution import TorchDistributionMixin
from torch import Tensor
from torch.distributions import Distribution, MixtureSameFamily

from .inversion import invert_continuous, invert_discrete, with_ends
from .marginals import Marginals, cdf, icdf, is_discrete


class Independent(dist.Independent):
    """Pyro's Independent with `cdf` and `icdf` of the coordinates."""

    def cdf(self, value: Tensor) -> Tensor:
        return cdf(self, value)

    def icdf(self, value: Tensor) -> Tensor:
        return icdf(self, value)


class Mixture(Marginals, MixtureSameFamily, TorchDistributionMixin):
    """Pyro's mixture of one family with `cdf` and `icdf` for every component this package knows."""


@cdf.register(torch.distributions.Independent)
def _(distribution: torch.distributions.Independent[Distribution], y: Tensor) -> Tensor:
    return cdf(distribution.base_dist, y)


@cdf.register
def _(distribution: MixtureSameFamily, y: Tensor) -> Tensor:
    weights, dim = mixture_weights(distribution)
    y = y.expand(torch.broadcast_shapes(y.shape, distribution.batch_shape + distribution.event_shape))
    return torch.sum(weights * cdf(distribution.component_distribution, y.unsqueeze(dim)), dim)


@icdf.register(torch.distributions.Independent)
def _(distribution: torch.distributions.Independent[Distribution], q: Tensor) -> Tensor:
    return icdf(distribution.base_dist, q)


@icdf.register
def _(distribution: MixtureSameFamily, q: Tensor) -> Tensor:
    _, dim = mixture_weights(distribution)
    shape = torch.broadcast_shapes(q.shape, distribution.batch_shape + distribution.event_shape)
    q = q.expand(shape)
    components = icdf(distribution.component_distribution, q.unsqueeze(dim))
    low, high = components.amin(dim), components.amax(dim)
    if is_discrete(distribution):
        y = invert_discrete(lambda y: cdf(distribution, y), q, low - 1, high)
    else:
        y = invert_continuous(lambda y: cdf(distribution, y), q, low, high)
    return with_ends(y, q, low, high)


def mixture_weights(mixture: MixtureSameFamily) -> tuple[Tensor, int]:
    """Weights that broadcast against batch, component and event axes, and the component axis."""
    events = len(mixture.event_shape)
    weights = mixture.mixture_distribution.probs
    return weights.reshape(weights.shape + (1,) * events), -1 - events
