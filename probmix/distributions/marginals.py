"""The dispatch: cdf and icdf of any distribution, coordinate by coordinate."""

from functools import singledispatch

import torch
from torch import Tensor
from torch.distributions import Distribution, MixtureSameFamily

from .parts import device_of


class Marginals(Distribution):
    """The functions `cdf` and `icdf` as methods."""

    def cdf(self, value: Tensor) -> Tensor:
        return cdf(self, value)

    def icdf(self, value: Tensor) -> Tensor:
        return icdf(self, value)


def is_discrete(distribution: Distribution) -> bool:
    """Whether the distribution lives on the integers."""
    if isinstance(distribution, MixtureSameFamily):
        return is_discrete(distribution.component_distribution)
    if isinstance(distribution, torch.distributions.Independent):
        return is_discrete(distribution.base_dist)
    return bool(getattr(distribution.support, "is_discrete", False))


@singledispatch
def cdf(distribution: Distribution, y: Tensor) -> Tensor:
    """P(Y <= y), coordinate by coordinate.

    Parameters
    ----------
    distribution : torch or Pyro distribution
    y : Tensor, broadcastable to batch shape + event shape

    Returns
    -------
    Tensor of that shape

    Examples
    --------
    >>> import torch
    >>> from probmix.distributions import Poisson, cdf
    >>> cdf(Poisson(torch.tensor(2.0)), torch.tensor(1.0))  # 3 exp(-2)
    tensor(0.4060)
    """
    return torch.as_tensor(distribution.cdf(y))


@singledispatch
def icdf(distribution: Distribution, q: Tensor) -> Tensor:
    """Quantiles: the smallest y with P(Y <= y) >= q, coordinate by coordinate.

    Parameters
    ----------
    distribution : torch or Pyro distribution
    q : Tensor of probabilities in [0, 1], broadcastable to batch shape + event shape

    Examples
    --------
    >>> import torch
    >>> from probmix.distributions import Poisson, icdf
    >>> icdf(Poisson(torch.tensor(4.0)), torch.tensor([0.1, 0.5, 0.9]))
    tensor([2., 4., 7.])
    """
    return distribution.icdf(q)


@singledispatch
def atoms(distribution: Distribution) -> tuple[Tensor, Tensor]:
    """Point masses of a distribution that is not discrete: their places and probabilities, coordinate by coordinate.

    Where a place is named more than once, its probabilities add up. A discrete distribution names none: all of it is.

    Parameters
    ----------
    distribution : torch or Pyro distribution

    Returns
    -------
    places, probabilities : Tensor, (A, *batch_shape, *event_shape), float64
        A is 0 by default.

    Examples
    --------
    >>> import torch
    >>> from probmix.distributions import QuantileFunction, atoms
    >>> places, probabilities = atoms(QuantileFunction(torch.tensor([[-1.0, 0.0, 2.0]]), [0.1, 0.5, 0.9]))
    >>> places.flatten().tolist(), [round(p, 3) for p in probabilities.flatten().tolist()]
    ([-1.0, 2.0], [0.1, 0.1])
    """
    shape = distribution.batch_shape + distribution.event_shape
    # on the device of the distribution, whatever its class calls its parameters
    empty = torch.empty((0, *shape), dtype=torch.float64, device=device_of(distribution))
    return empty, empty


def mass_at(distribution: Distribution, y: Tensor) -> Tensor:
    """P(Y = y) where a distribution that is not discrete has point masses, else zero; float64, y is (..., *B, *E)."""
    shape = distribution.batch_shape + distribution.event_shape
    y = y.expand(torch.broadcast_shapes(y.shape, shape))
    ahead = (1,) * (y.ndim - len(shape))
    places, probabilities = (t.reshape(len(t), *ahead, *shape) for t in atoms(distribution))
    return torch.where(places == y, probabilities, 0.0).sum(0)
