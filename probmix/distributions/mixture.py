"""Mixtures of one family, and several independent coordinates: what they have comes from their parts."""

from functools import partial
from typing import Any

import pyro.distributions as dist
import torch
from pyro.distributions.torch_distribution import TorchDistributionMixin
from torch import Tensor
from torch.distributions import Distribution, MixtureSameFamily

from .._shapes import broadcast_shapes
from .counts import counted, masses, smooth_cdf
from .marginals import Marginals, cdf, cdf_below, icdf
from .members import component_weights
from .mixture_quantiles import axis_of, mixture_quantiles
from .nesting import flattened
from .normal_scores import from_normal_score, normal_score
from .parts import innermost, is_discrete, to_dtype_of
from .point_masses import atoms
from .pooled_scores import has_far_quantiles, pooled_score, with_far_quantiles
from .sampling import sample_mixture
from .scoring import (
    marginal_crps,
    marginal_crps_with_bound,
    marginal_nll,
    marginal_window_crps,
    mixture_crps,
    mixture_crps_with_bound,
    mixture_window_crps,
)


class Independent(dist.Independent):
    """Pyro's Independent with `cdf` and `icdf` of the coordinates."""

    def cdf(self, value: Tensor) -> Tensor:
        return cdf(self, value)

    def icdf(self, value: Tensor) -> Tensor:
        return icdf(self, value)


class Mixture(Marginals, MixtureSameFamily, TorchDistributionMixin):
    """Pyro's mixture of one family with `cdf` and `icdf` for every component this package knows.

    A draw is one of the component that was drawn for it, and of no other: see `select` for the classes of components of
    which single rows can be taken. Of the rest all components are drawn, a block at a time.

    Examples
    --------
    >>> import torch
    >>> from probmix.distributions import Mixture, Poisson
    >>> weights = torch.distributions.Categorical(torch.tensor([0.5, 0.5]))
    >>> mixture = Mixture(weights, Poisson(torch.tensor([1.0, 3.0])))
    >>> mixture.cdf(torch.tensor(0.0)), mixture.icdf(torch.tensor(0.5)), mixture.sample((5,)).shape
    (tensor(0.2088), tensor(2.), torch.Size([5]))
    """

    @property
    def support(self) -> Any:
        """That of the components where all have the same; torch's constraint of mixtures has no ends to ask for."""
        support = self.component_distribution.support
        ends = (getattr(support, end, None) for end in ("lower_bound", "upper_bound"))
        return super().support if self.event_shape or any(isinstance(end, Tensor) for end in ends) else support

    @property
    def mean(self) -> Tensor:
        """That of the components that have a weight: of others it need not exist."""
        return self._average(self.component_distribution.mean)

    @property
    def variance(self) -> Tensor:
        """As the mean, by the law of total variance."""
        means = self.component_distribution.mean
        away = (means - self._pad(self._average(means))).square()
        return self._average(self.component_distribution.variance) + self._average(away)

    def _average(self, values: Tensor) -> Tensor:
        """The mean over the components, (*B, C, *E) -> (*B, *E)."""
        weights = self._pad_mixture_dimensions(self.mixture_distribution.probs)
        return torch.where(weights > 0, weights * values, 0.0).sum(-1 - self._event_ndims)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        shape = torch.Size(sample_shape)
        with torch.no_grad():
            return sample_mixture(self, shape)


@cdf.register(torch.distributions.Independent)
def _(distribution: torch.distributions.Independent[Distribution], y: Tensor) -> Tensor:
    return cdf(distribution.base_dist, y)


@cdf.register
def _(distribution: MixtureSameFamily, y: Tensor) -> Tensor:
    distribution = flattened(distribution)
    weights, dim = component_weights(distribution)
    y = y.expand(broadcast_shapes(y.shape, distribution.batch_shape + distribution.event_shape))
    below = torch.sum(weights * cdf(distribution.component_distribution, y.unsqueeze(dim)), dim)
    # weights add up to one but for rounding
    return below.clamp(max=1)


@normal_score.register
def _(distribution: MixtureSameFamily, y: Tensor) -> Tensor:
    if is_discrete(distribution):
        return normal_score.dispatch(Distribution)(distribution, y)
    distribution = flattened(distribution)
    weights, dim = component_weights(distribution)
    y = y.expand(broadcast_shapes(y.shape, distribution.batch_shape + distribution.event_shape))
    return pooled_score(weights, normal_score(distribution.component_distribution, y.unsqueeze(dim)), dim)


@from_normal_score.register
def _(distribution: MixtureSameFamily, score: Tensor) -> Tensor:
    near = from_normal_score.dispatch(Distribution)(distribution, score)
    if not has_far_quantiles(distribution, score):
        return near
    distribution = flattened(distribution)
    weights, dim = component_weights(distribution)
    parts = from_normal_score(distribution.component_distribution, score.expand(near.shape).unsqueeze(dim))
    parts = torch.where(weights > 0, parts, torch.nan).movedim(dim, 0)
    return with_far_quantiles(near, score, parts, partial(normal_score, distribution), axis_of(distribution.support))


@icdf.register(torch.distributions.Independent)
def _(distribution: torch.distributions.Independent[Distribution], q: Tensor) -> Tensor:
    return icdf(distribution.base_dist, q)


@icdf.register
def _(distribution: MixtureSameFamily, q: Tensor) -> Tensor:
    shape = broadcast_shapes(q.shape, distribution.batch_shape + distribution.event_shape)
    q = q.double().expand(shape)
    batch = shape[len(shape) - len(distribution.batch_shape + distribution.event_shape) :]
    batch = batch[: len(distribution.batch_shape)]
    if batch != distribution.batch_shape:
        # levels along an axis on which all rows are one
        distribution = distribution.expand(batch)
    distribution = flattened(distribution)
    y = mixture_quantiles(distribution, q)
    # no zero of counts is below zero
    return to_dtype_of(distribution, y + 0.0 if is_discrete(distribution) else on_atoms(distribution, q, y))


def on_atoms(distribution: Distribution, q: Tensor, y: Tensor) -> Tensor:
    """The quantiles found, with those at levels that a point mass takes up on its very place."""
    places, _ = atoms(distribution)
    if not len(places):
        return y
    shape = distribution.batch_shape + distribution.event_shape
    places = places.reshape(len(places), *(1,) * (y.ndim - len(shape)), *shape)
    nearest = (places - y).abs().argmin(0, keepdim=True)
    place = places.expand(-1, *y.shape).take_along_dim(nearest, 0).squeeze(0)
    held = (cdf_below(distribution, place) < q) & (q <= cdf(distribution, place))
    return torch.where(held, place.to(y.dtype), y)


# -- several coordinates ----------------------------------------------------------------------------------------------


@atoms.register(torch.distributions.Independent)
def _(distribution: torch.distributions.Independent[Distribution]) -> tuple[Tensor, Tensor]:
    return atoms(distribution.base_dist)


@counted.register(torch.distributions.Independent)
def _(distribution: torch.distributions.Independent[Distribution]) -> Distribution:
    return counted(distribution.base_dist)


@masses.register(torch.distributions.Independent)
def _(distribution: torch.distributions.Independent[Distribution], k: Tensor) -> Tensor:
    return masses(distribution.base_dist, k)


@smooth_cdf.register(torch.distributions.Independent)
def _(distribution: torch.distributions.Independent[Distribution], y: Tensor) -> Tensor:
    return smooth_cdf(distribution.base_dist, y)


@normal_score.register(torch.distributions.Independent)
def _(distribution: torch.distributions.Independent[Distribution], y: Tensor) -> Tensor:
    return normal_score(distribution.base_dist, y)


@from_normal_score.register(torch.distributions.Independent)
def _(distribution: torch.distributions.Independent[Distribution], score: Tensor) -> Tensor:
    return from_normal_score(distribution.base_dist, score)


@marginal_crps.register(torch.distributions.Independent)
def _(distribution: torch.distributions.Independent[Distribution], y: Tensor) -> Tensor:
    return marginal_crps(distribution.base_dist, y)


@marginal_crps_with_bound.register(torch.distributions.Independent)
def _(distribution: torch.distributions.Independent[Distribution], y: Tensor) -> tuple[Tensor, Tensor]:
    return marginal_crps_with_bound(distribution.base_dist, y)


@marginal_window_crps.register(torch.distributions.Independent)
def _(distribution: torch.distributions.Independent[Distribution], y: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    return marginal_window_crps(distribution.base_dist, y, lower, upper)


@marginal_nll.register(torch.distributions.Independent)
def _(distribution: torch.distributions.Independent[Distribution], y: Tensor) -> Tensor:
    value = marginal_nll(distribution.base_dist, y)
    return value.flatten(-distribution.reinterpreted_batch_ndims).sum(-1)


# -- mixtures ----------------------------------------------------------------------------------------------------------


@atoms.register
def _(distribution: MixtureSameFamily) -> tuple[Tensor, Tensor]:
    distribution = flattened(distribution)
    weights, dim = component_weights(distribution)
    places, probabilities = atoms(distribution.component_distribution)
    members = places, weights.double() * probabilities
    places, probabilities = (t.movedim(dim, 0).flatten(0, 1) for t in members)
    return places, probabilities


@counted.register
def _(distribution: MixtureSameFamily) -> Distribution:
    return counted(distribution.component_distribution)


@masses.register
def _(distribution: MixtureSameFamily, k: Tensor) -> Tensor:
    distribution = flattened(distribution)
    weights, dim = component_weights(distribution)
    return torch.sum(weights * masses(distribution.component_distribution, k.unsqueeze(-1)), dim)


@smooth_cdf.register
def _(distribution: MixtureSameFamily, y: Tensor) -> Tensor:
    distribution = flattened(distribution)
    weights, dim = component_weights(distribution)
    y = y.expand(broadcast_shapes(y.shape, distribution.batch_shape + distribution.event_shape))
    return torch.sum(weights * smooth_cdf(distribution.component_distribution, y.unsqueeze(dim)), dim)


@marginal_nll.register
def _(distribution: MixtureSameFamily, y: Tensor) -> Tensor:
    mixing = distribution.mixture_distribution
    # torch lifts a weight of zero to the smallest positive step; a member without weight shall not speak
    log_weights = torch.where(mixing.probs > 0, mixing.logits.log_softmax(-1), -torch.inf)
    members = marginal_nll(distribution.component_distribution, y.unsqueeze(-1 - len(distribution.event_shape)))
    return -(log_weights - members).logsumexp(-1)


@marginal_crps.register
def _(distribution: MixtureSameFamily, y: Tensor) -> Tensor:
    distribution = flattened(distribution)
    return mixture_crps(innermost(distribution), distribution, y)


@marginal_crps_with_bound.register
def _(distribution: MixtureSameFamily, y: Tensor) -> tuple[Tensor, Tensor]:
    distribution = flattened(distribution)
    return mixture_crps_with_bound(innermost(distribution), distribution, y)


@marginal_window_crps.register
def _(distribution: MixtureSameFamily, y: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    distribution = flattened(distribution)
    return mixture_window_crps(innermost(distribution), distribution, y, lower, upper)
