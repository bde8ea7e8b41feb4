"""Distribution functions of counts, continued to real numbers by the incomplete gamma and beta functions."""

from functools import singledispatch

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, MixtureSameFamily

from .._incomplete_gamma import incomplete_gamma
from .inflated import Hurdle, hurdle_excess
from .mixture import mixture_weights
from .negative_binomial import count_and_log_mean, smooth_negative_binomial_cdf


@singledispatch
def smooth_cdf(distribution: Distribution, y: Tensor) -> Tensor:
    """F(y) in float64, smooth in y >= 0 and equal to the cdf at whole numbers, coordinate by coordinate.

    It changes around k over a distance of the square root of k or more.

    Raises
    ------
    NotImplementedError
        If the distribution has none here; see `has_smooth_cdf`.
    """
    raise NotImplementedError


def has_smooth_cdf(distribution: Distribution) -> bool:
    """Whether all parts of the distribution have a `smooth_cdf`."""
    if isinstance(distribution, MixtureSameFamily):
        return has_smooth_cdf(distribution.component_distribution)
    if isinstance(distribution, Independent | dist.ZeroInflatedDistribution | Hurdle):
        return has_smooth_cdf(distribution.base_dist)
    return smooth_cdf.dispatch(type(distribution)) is not smooth_cdf.dispatch(object)


@smooth_cdf.register
def _(distribution: torch.distributions.Poisson, y: Tensor) -> Tensor:
    return incomplete_gamma(y + 1, distribution.rate.double())[1]


@smooth_cdf.register
def _(distribution: torch.distributions.NegativeBinomial, y: Tensor) -> Tensor:
    total_count, log_mean = count_and_log_mean(distribution)
    return smooth_negative_binomial_cdf(y, log_mean, total_count)


@smooth_cdf.register
def _(distribution: dist.ZeroInflatedDistribution, y: Tensor) -> Tensor:
    gate = distribution.gate_logits.double()
    smooth: Tensor = gate.sigmoid() + (-gate).sigmoid() * smooth_cdf(distribution.base_dist, y)
    return smooth


@smooth_cdf.register
def _(distribution: Hurdle, y: Tensor) -> Tensor:
    gate, base = distribution.gate_logits.double(), distribution.base_dist
    above = smooth_cdf(base, y) - smooth_cdf(base, torch.zeros_like(gate))
    return gate.sigmoid() + hurdle_excess(distribution) * above


@smooth_cdf.register(Independent)
def _(distribution: Independent[Distribution], y: Tensor) -> Tensor:
    return smooth_cdf(distribution.base_dist, y)


@smooth_cdf.register
def _(distribution: MixtureSameFamily, y: Tensor) -> Tensor:
    weights, dim = mixture_weights(distribution)
    y = y.expand(torch.broadcast_shapes(y.shape, distribution.batch_shape + distribution.event_shape))
    return torch.sum(weights * smooth_cdf(distribution.component_distribution, y.unsqueeze(dim)), dim)
