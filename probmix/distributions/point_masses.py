"""Point masses of distributions that are not discrete."""

from functools import singledispatch

import torch
from torch import Tensor
from torch.distributions import Distribution

from .._shapes import broadcast_shapes
from .parts import device_of, is_discrete


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
    ([-1.0, 0.0, 2.0], [0.1, 0.0, 0.1])
    """
    shape = distribution.batch_shape + distribution.event_shape
    empty = torch.empty((0, *shape), dtype=torch.float64, device=device_of(distribution))
    return empty, empty


def mass_at(distribution: Distribution, y: Tensor) -> Tensor:
    """P(Y = y) where a distribution that is not discrete has point masses, else zero; float64, y is (..., *B, *E)."""
    shape = distribution.batch_shape + distribution.event_shape
    y = y.expand(broadcast_shapes(y.shape, shape))
    ahead = (1,) * (y.ndim - len(shape))
    places, probabilities = (t.reshape(len(t), *ahead, *shape) for t in atoms(distribution))
    return torch.where(places == y, probabilities, 0.0).sum(0)


def has_atoms(distribution: Distribution) -> bool:
    """Whether single values have a probability: the whole numbers of a discrete distribution, or point masses."""
    return is_discrete(distribution) or len(atoms(distribution)[0]) > 0
