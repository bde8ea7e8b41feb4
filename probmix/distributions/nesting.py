"""Mixtures of mixtures as one mixture of all components."""

from typing import TypeVar

import torch
from torch.distributions import Categorical, Independent, MixtureSameFamily

from .selection import select

_Mixture = TypeVar("_Mixture", bound=MixtureSameFamily)


def flattened(mixture: _Mixture) -> _Mixture:
    r"""A mixture of mixtures as the mixture of all their components, with the same marginals; any other as it is.

    .. math:: \sum_m w_m \sum_k v_{mk}\,p_{mk} = \sum_{m, k} w_m v_{mk}\,p_{mk}

    Parameters
    ----------
    mixture : MixtureSameFamily
        Of batch shape \*B and M components, which may be mixtures of K, also of several independent coordinates.

    Returns
    -------
    MixtureSameFamily
        Of M K components, batch shape \*B, or \*B and the shape of the coordinates, whose joint law is then lost.

    Examples
    --------
    >>> import torch
    >>> from probmix.distributions import Mixture, Poisson
    >>> inner = torch.distributions.Categorical(torch.tensor([[0.5, 0.5], [0.25, 0.75]]))
    >>> members = Mixture(inner, Poisson(torch.tensor([[1.0, 2.0], [3.0, 4.0]])))
    >>> outer = torch.distributions.Categorical(torch.tensor([0.5, 0.5]))
    >>> flattened(Mixture(outer, members)).mixture_distribution.probs
    tensor([0.2500, 0.2500, 0.1250, 0.3750])
    """
    component, coordinates = mixture.component_distribution, 0
    while isinstance(component, Independent):
        coordinates += component.reinterpreted_batch_ndims
        component = component.base_dist
    if not isinstance(component, MixtureSameFamily):
        return mixture
    component = flattened(component)
    inner, outer = component.mixture_distribution, mixture.mixture_distribution
    # an axis of members, (*B, M, *coordinates, K), goes to that of components
    members = -2 - coordinates
    places = torch.arange(inner.batch_shape.numel() * inner.probs.shape[-1], device=inner.probs.device)
    places = places.reshape(*inner.batch_shape, inner.probs.shape[-1]).movedim(members, -2).flatten(-2)
    parts = select(component.component_distribution, places, len(inner.batch_shape) + 1)
    if parts is None:
        return mixture
    weights = outer.probs.reshape(*outer.probs.shape, *(1,) * (coordinates + 1)) * inner.probs
    weights = weights.expand(*inner.batch_shape, inner.probs.shape[-1]).movedim(members, -2).flatten(-2)
    return type(mixture)(Categorical(probs=weights, validate_args=False), parts, validate_args=False)
