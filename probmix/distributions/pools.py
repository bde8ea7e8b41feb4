"""Mixtures over an axis of members, of the class that they are, and the weights of such."""

from functools import singledispatch

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import Distribution

from .categorical import Categorical
from .mixture import Independent, Mixture
from .nesting import flattened

# Weights are usually a float32 softmax; anything further off the simplex is a mistake of the caller.
_SIMPLEX_TOLERANCE = 1e-4


def check_weights(weights: Tensor) -> None:
    """Raise unless `weights` lie on the simplex over the last axis.

    Examples
    --------
    >>> import torch
    >>> check_weights(torch.tensor([0.5, 0.7]))
    Traceback (most recent call last):
    ...
    ValueError: `weights` must sum to 1 over dim -1; largest |sum - 1| was 0.2. Pass softmax(w).
    """
    lowest = weights.min().item() if weights.numel() else 0.0
    if not lowest >= 0:
        raise ValueError(f"`weights` must be non-negative; smallest was {lowest:.3g}. Pass softmax(w).")
    off = (weights.sum(-1) - 1).abs().max().item() if weights.numel() else 0.0
    rounding = torch.finfo(weights.dtype).eps if weights.is_floating_point() else 0.0
    if not off <= max(_SIMPLEX_TOLERANCE, 2 * rounding):
        raise ValueError(f"`weights` must sum to 1 over dim -1; largest |sum - 1| was {off:.3g}. Pass softmax(w).")


@singledispatch
def pooled(distribution: Distribution, weights: Tensor) -> dist.TorchDistribution:
    """The mixture over the last batch axis, (*B, M), with weights that broadcast against it.

    By default a `Mixture`, of mixtures one of all their components. A class whose mixtures are of the class again says
    so here.
    """
    return mixture_over_members(distribution, weights)


def mixture_over_members(distribution: Distribution, weights: Tensor) -> dist.TorchDistribution:
    """The `Mixture` that a class has as its pool by default."""
    mixing = dist.Categorical(probs=weights.expand(distribution.batch_shape))
    mixture: dist.TorchDistribution = Mixture(mixing, distribution, validate_args=False)
    # with several targets it is the members that are mixed
    return flattened(mixture) if not distribution.event_shape else mixture


@pooled.register
def _(distribution: torch.distributions.Categorical, weights: Tensor) -> dist.TorchDistribution:
    return Categorical(logits=(weights.log().unsqueeze(-1) + distribution.logits).logsumexp(-2))


@pooled.register(torch.distributions.Independent)
def _(distribution: torch.distributions.Independent[Distribution], weights: Tensor) -> dist.TorchDistribution:
    members = distribution.base_dist
    if not isinstance(members, torch.distributions.Categorical):
        return mixture_over_members(distribution, weights)
    logits = (weights.log().reshape((*weights.shape, 1, 1)) + members.logits).logsumexp(-3)
    return Independent(Categorical(logits=logits), distribution.reinterpreted_batch_ndims)
