"""The components of a mixture: their weights, their parameters along the last axis, and sums over pairs of them."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.distributions import Categorical, Distribution, Independent, MixtureSameFamily

from .._shapes import broadcast_shapes

# Elements of one block of pairs of members: 32 MiB of float64.
_BLOCK = 2**22


def component_weights(mixture: MixtureSameFamily) -> tuple[Tensor, int]:
    """Weights that broadcast against batch, component and event axes, and the component axis."""
    events = len(mixture.event_shape)
    weights = mixture.mixture_distribution.probs
    return weights.reshape(weights.shape + (1,) * events), -1 - events


def weights_last(mixture: MixtureSameFamily) -> Tensor:
    """Weights in float64, broadcastable to batch + event + (M,)."""
    probs = mixture.mixture_distribution.probs.double()
    probs = probs / probs.sum(-1, keepdim=True)
    return probs.reshape(probs.shape[:-1] + (1,) * len(mixture.event_shape) + probs.shape[-1:])


def members_last(mixture: MixtureSameFamily, parameter: Tensor) -> Tensor:
    """A parameter of the components, (*batch, M, *event), in float64 and the shape (*batch, *event, M)."""
    return parameter.double().movedim(-1 - len(mixture.event_shape), -1)


def class_probs(distribution: Distribution) -> Tensor:
    """Probabilities of classes, (*batch, *event, K), in float64: of a Categorical, independent ones, or a mixture."""
    if isinstance(distribution, Independent):
        return class_probs(distribution.base_dist)
    if isinstance(distribution, MixtureSameFamily):
        probs = class_probs(distribution.component_distribution).movedim(-2 - len(distribution.event_shape), -2)
        return (weights_last(distribution).unsqueeze(-1) * probs).sum(-2)
    assert isinstance(distribution, Categorical)  # by its caller
    return distribution.probs.double()


def sum_over_pairs(function: Callable[..., Tensor], rows: torch.Size, weights: Tensor, *parameters: Tensor) -> Tensor:
    """Sum of w_i w_j function(i, j) over all ordered pairs of members, for a block of rows at a time.

    Parameters
    ----------
    function : callable
        Takes the parameters of the first members, (n, M, 1), then those of the second, (n, 1, M), to (n, M, M).
    rows : torch.Size
    weights, parameters : Tensor, broadcastable to ``rows + (M,)``

    Returns
    -------
    Tensor of shape `rows`
    """
    members = (*rows, broadcast_shapes(*(p.shape for p in (weights, *parameters)))[-1])
    flat = [p.expand(members).reshape(-1, members[-1]) for p in (weights, *parameters)]
    size = max(1, _BLOCK // members[-1] ** 2)

    def block(weights: Tensor, *parameters: Tensor) -> Tensor:
        first, second = ([p.unsqueeze(dim) for p in parameters] for dim in (-1, -2))
        pairs = weights.unsqueeze(-1) * weights.unsqueeze(-2)
        return (pairs * function(*first, *second)).sum((-2, -1))

    blocks = zip(*(p.split(size) for p in flat), strict=True)
    return torch.cat([block(*parts) for parts in blocks]).reshape(rows)
