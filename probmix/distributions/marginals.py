"""The dispatch: cdf and icdf of any distribution, coordinate by coordinate."""

from functools import singledispatch

import torch
from torch import Tensor
from torch.distributions import Distribution


class Marginals(Distribution):
    """The functions `cdf` and `icdf` as methods."""

    def cdf(self, value: Tensor) -> Tensor:
        return cdf(self, value)

    def icdf(self, value: Tensor) -> Tensor:
        return icdf(self, value)


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
