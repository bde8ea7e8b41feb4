"""Rows of one coordinate each, out of the marginals of a distribution."""

from functools import singledispatch

from torch import Tensor
from torch.distributions import Categorical, Distribution, Independent, MixtureSameFamily

from .mixture import Mixture
from .mixture_quantiles import components_of, coordinates
from .nesting import flattened
from .selection import select


@singledispatch
def single_rows(distribution: Distribution, rows: Tensor) -> Distribution | None:
    """Marginals of batch shape ``rows.shape``, or None where `select` does not know the class.

    Parameters
    ----------
    distribution : torch or Pyro distribution
    rows : Tensor of int, (n,)
        In ``batch_shape + event_shape`` as if it were one axis.

    Examples
    --------
    >>> import torch
    >>> from probmix.distributions import Poisson
    >>> pairs = Poisson(torch.tensor([[1.0, 2.0], [3.0, 4.0]])).to_event(1)
    >>> single_rows(pairs, torch.tensor([3, 0])).rate
    tensor([4., 1.])
    """
    one = coordinates(distribution)
    return None if one is None else select(one, rows, len(one.batch_shape))


@single_rows.register(Independent)
def _(distribution: Independent[Distribution], rows: Tensor) -> Distribution | None:
    return single_rows(distribution.base_dist, rows)


@single_rows.register
def _(distribution: MixtureSameFamily, rows: Tensor) -> Distribution | None:
    distribution = flattened(distribution)
    members = coordinates(distribution.component_distribution)
    if members is None:
        return None
    weights, components = components_of(distribution, members, rows)
    return Mixture(Categorical(probs=weights, validate_args=False), components, validate_args=False)
