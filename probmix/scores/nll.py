"""The negative log-likelihood."""

from functools import singledispatch

import torch
from torch import Tensor
from torch.distributions import Categorical, Distribution, Independent, MixtureSameFamily

from .._special import gamma_log_prob, poisson_log_prob
from ..distributions.negative_binomial import count_and_log_mean, negative_binomial_log_prob
from ._inputs import checked_targets, to_dtype_of, widen


def nll(distribution: Distribution, y: Tensor) -> Tensor:
    r"""Negative log-likelihood (logarithmic score), :math:`-\log p(y)`, in nats; smaller is better.

    Parameters
    ----------
    distribution : torch or Pyro distribution
    y : Tensor, broadcastable to batch shape + event shape

    Returns
    -------
    Tensor, (*batch_shape,), in the dtype of the distribution
        One value per row; several targets count jointly. Infinite where a count or a Gamma target is impossible.

    Raises
    ------
    ValueError
        If `y` has another shape or is not finite, or outside the support of a distribution that validates.

    Notes
    -----
    All are evaluated in float64; Poisson, negative binomial and Gamma, torch's own too, in forms that do not cancel: at
    a rate of 1e6 float32's :math:`y \log r - r - \log y!` is off by whole nats.

    References
    ----------
    Gneiting and Raftery (2007), Strictly proper scoring rules, prediction, and estimation, JASA 102, 359-378.

    Examples
    --------
    >>> import torch
    >>> from probmix.scores import nll
    >>> nll(torch.distributions.Normal(torch.zeros(2), 1.0), torch.tensor([0.0, 2.0]))
    tensor([0.9189, 2.9189])
    """
    y = checked_targets(distribution, y)
    return to_dtype_of(distribution, _nll(distribution, y))


@singledispatch
def _nll(distribution: Distribution, y: Tensor) -> Tensor:
    return -widen(distribution).log_prob(y.double())


@_nll.register
def _(distribution: Categorical, y: Tensor) -> Tensor:
    # from the logits as they are: in probabilities small ones vanish
    log_prob: Tensor = distribution.log_prob(y)
    return -log_prob


@_nll.register
def _(distribution: torch.distributions.Poisson, y: Tensor) -> Tensor:
    possible = y >= 0
    y = torch.where(possible, y, torch.zeros_like(y)).double()
    return torch.where(possible, -poisson_log_prob(y, distribution.rate.double().log()), torch.inf)


@_nll.register
def _(distribution: torch.distributions.Gamma, y: Tensor) -> Tensor:
    concentration, rate = distribution.concentration.double(), distribution.rate.double()
    inside = y > 0
    y = y.double()
    value = -gamma_log_prob(torch.where(inside, y, torch.ones_like(y)), concentration, rate)
    # the limit at zero: -log b for the exponential distribution, else infinite with the sign of a - 1
    at_zero = -torch.xlogy(concentration - 1, torch.zeros_like(y)) - rate.log()
    return torch.where(inside, value, torch.where(y == 0, at_zero, torch.inf))


@_nll.register
def _(distribution: torch.distributions.NegativeBinomial, y: Tensor) -> Tensor:
    total_count, log_mean = count_and_log_mean(distribution)
    possible = y >= 0
    y = torch.where(possible, y, torch.zeros_like(y)).double()
    return torch.where(possible, -negative_binomial_log_prob(y, log_mean, total_count), torch.inf)


@_nll.register(Independent)
def _(distribution: Independent[Distribution], y: Tensor) -> Tensor:
    value = _nll(distribution.base_dist, y)
    return value.flatten(-distribution.reinterpreted_batch_ndims).sum(-1)


@_nll.register
def _(distribution: MixtureSameFamily, y: Tensor) -> Tensor:
    mixing = distribution.mixture_distribution
    # torch lifts a weight of zero to the smallest positive step; a member without weight shall not speak
    log_weights = torch.where(mixing.probs > 0, mixing.logits.log_softmax(-1), -torch.inf)
    members = _nll(distribution.component_distribution, y.unsqueeze(-1 - len(distribution.event_shape)))
    return -(log_weights - members).logsumexp(-1)
