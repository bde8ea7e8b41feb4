"""Positive variables with exact zeros: a probability at zero beside a density above."""

from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import MixtureSameFamily, constraints
from torch.nn.functional import logsigmoid

from .._special import ndtr
from .inflated import Gated, crps_with_zeros, crps_with_zeros_and_bound
from .inversion import with_ends
from .marginals import cdf, icdf
from .mixture import Mixture
from .normal_scores import from_normal_score, from_probability, normal_score
from .parts import widen
from .point_masses import atoms
from .pools import pooled
from .quadrature import CUTS, cuts
from .scoring import (
    generic_crps,
    generic_crps_with_bound,
    marginal_crps,
    marginal_crps_with_bound,
    marginal_nll,
    mixture_crps,
    mixture_crps_with_bound,
)


class ZeroAdjusted(Gated):
    r"""A zero with probability :math:`\pi`, else a positive variable with a density.

    .. math:: P(Y = 0) = \pi,\qquad p(y) = (1 - \pi) f(y),\quad y > 0

    `log_prob` is the logarithm of a **probability at zero** and of a **density above**: sums over rows compare models
    of the same targets, as densities do, but the two kinds have no common unit.

    Parameters
    ----------
    base_dist : Distribution
        Of positive values, with a cdf and quantiles; f is its density.
    gate_logits : Tensor
        The logit of :math:`\pi`.

    References
    ----------
    Heller, Stasinopoulos and Rigby (2006), The zero-adjusted inverse Gaussian distribution as a model for insurance
    claims, Proc. 21st Int. Workshop Statist. Modelling, 226-233.

    Examples
    --------
    >>> import torch
    >>> from probmix.distributions import Gamma, ZeroAdjusted
    >>> claims = ZeroAdjusted(Gamma(torch.tensor(2.0), torch.tensor(1.0)), gate_logits=torch.tensor(0.0))
    >>> claims.mean, claims.icdf(torch.tensor([0.3, 0.5, 0.75]))
    (tensor(1.), tensor([0.0000, 0.0000, 1.6783]))
    """

    support = constraints.nonnegative

    @property
    def mean(self) -> Tensor:
        mean: Tensor = (-self.gate_logits).sigmoid() * self.base_dist.mean
        return mean

    @property
    def variance(self) -> Tensor:
        above = (-self.gate_logits).sigmoid()
        variance: Tensor = above * (self.base_dist.variance + self.gate_logits.sigmoid() * self.base_dist.mean.square())
        return variance

    def sample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(torch.Size(sample_shape))
        with torch.no_grad():
            above = self.base_dist.sample(torch.Size(sample_shape))
            # one that underflows is small, but no exact zero
            above = above.clamp(min=torch.finfo(above.dtype).tiny)
            zero = torch.rand(shape, dtype=torch.float64, device=above.device) < self.gate_logits.double().sigmoid()
            return torch.where(zero, torch.zeros_like(above), above)

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        return -marginal_nll(self, value).to(self.gate_logits.dtype)


@pooled.register
def _(distribution: ZeroAdjusted, weights: Tensor) -> ZeroAdjusted:
    r"""The mixture of the bases, with a probability of zero of its own.

    .. math:: \sum_k w_k\,[\pi_k\,\delta_0 + (1 - \pi_k) f_k] = \pi\,\delta_0 + (1 - \pi)\sum_k v_k f_k,\qquad
        v_k = \frac{w_k (1 - \pi_k)}{1 - \pi}
    """
    gate, log_weights = distribution.gate_logits, weights.log()
    above = log_weights + logsigmoid(-gate)
    mixing = dist.Categorical(logits=above.expand(distribution.batch_shape))
    base = Mixture(mixing, distribution.base_dist, validate_args=False)
    return ZeroAdjusted(base, (log_weights + logsigmoid(gate)).logsumexp(-1) - above.logsumexp(-1), validate_args=False)


@atoms.register
def _(distribution: ZeroAdjusted) -> tuple[Tensor, Tensor]:
    probability = distribution.gate_logits.double().sigmoid().unsqueeze(0)
    return torch.zeros_like(probability), probability


@marginal_nll.register
def _(distribution: ZeroAdjusted, y: Tensor) -> Tensor:
    gate, positive = distribution.gate_logits.double(), y > 0
    above = marginal_nll(distribution.base_dist, torch.where(positive, y, torch.ones_like(y))).double()
    elsewhere = torch.where(y == 0, -logsigmoid(gate), torch.inf)
    return torch.where(positive, above - logsigmoid(-gate), elsewhere)


@cdf.register
def _(distribution: ZeroAdjusted, y: Tensor) -> Tensor:
    gate, above = _gate(distribution)
    below = gate + above * cdf(widen(distribution.base_dist), y.double().clamp(min=0))
    return torch.where(y < 0, torch.zeros_like(below), below).to(distribution.gate_logits.dtype)


@icdf.register
def _(distribution: ZeroAdjusted, q: Tensor) -> Tensor:
    gate, above = _gate(distribution)
    q, gate, above = torch.broadcast_tensors(q.double(), gate, above)
    positive = (q > gate) & (q < 1)
    level = torch.where(positive, (q - gate) / above, 0.5)
    y = torch.where(positive, icdf(widen(distribution.base_dist), level), 0.0)
    return with_ends(y, q, torch.zeros_like(y), torch.full_like(y, torch.inf)).to(distribution.gate_logits.dtype)


@normal_score.register
def _(distribution: ZeroAdjusted, y: Tensor) -> Tensor:
    gate, above = _gate(distribution)
    score = normal_score(widen(distribution.base_dist), y.double().clamp(min=0))
    # of the smaller tail, which keeps its digits where the other one is rounded to 1
    lower, upper = gate + above * ndtr(score), above * ndtr(-score)
    found = torch.where(lower < 0.5, from_probability(lower), -from_probability(upper))
    return torch.where(y < 0, -torch.inf, found)


@from_normal_score.register
def _(distribution: ZeroAdjusted, score: Tensor) -> Tensor:
    gate, above = _gate(distribution)
    lower, upper = (ndtr(score) - gate) / above, ndtr(-score) / above
    base = torch.where(lower < 0.5, from_probability(lower.clamp(0, 1)), -from_probability(upper.clamp(0, 1)))
    y = from_normal_score(widen(distribution.base_dist), base)
    return torch.where(lower > 0, y, 0.0)


@cuts.register
def _(distribution: ZeroAdjusted, levels: tuple[float, ...] = CUTS) -> Tensor:
    # those of the density, and the step at zero
    base = cuts(distribution.base_dist, levels)
    return torch.cat([base, torch.zeros_like(base[:1])])


@marginal_crps.register
def _(distribution: ZeroAdjusted, y: Tensor) -> Tensor:
    return crps_with_zeros(distribution.base_dist, *_gate(distribution), y)


@marginal_crps_with_bound.register
def _(distribution: ZeroAdjusted, y: Tensor) -> tuple[Tensor, Tensor]:
    return crps_with_zeros_and_bound(distribution.base_dist, *_gate(distribution), y)


@mixture_crps.register
def _(component: ZeroAdjusted, mixture: MixtureSameFamily, y: Tensor) -> Tensor:
    if mixture.event_shape:
        # each coordinate would have weights of its own
        return generic_crps(mixture, y)
    return marginal_crps(pooled(component, mixture.mixture_distribution.probs), y)


@mixture_crps_with_bound.register
def _(component: ZeroAdjusted, mixture: MixtureSameFamily, y: Tensor) -> tuple[Tensor, Tensor]:
    if mixture.event_shape:
        return generic_crps_with_bound(mixture, y)
    return marginal_crps_with_bound(pooled(component, mixture.mixture_distribution.probs), y)


def _gate(distribution: ZeroAdjusted) -> tuple[Tensor, Tensor]:
    """The probabilities of a zero and of a positive value, in float64."""
    gate = distribution.gate_logits.double()
    return gate.sigmoid(), (-gate).sigmoid()
