"""Some rows of a distribution of any class, by their place in its batch."""

import copy
from functools import singledispatch
from inspect import getattr_static

import torch
from torch import Tensor
from torch.distributions import Distribution, Transform, constraints
from torch.distributions.utils import lazy_property

from .._shapes import unravel_index

# Parameters that classes of torch keep under another name, and the axes of one row.
_KEPT_ASIDE = {"_unbroadcasted_scale_tril": 2}


@singledispatch
def select(distribution: Distribution, places: Tensor, dims: int) -> Distribution | None:
    """The distribution of some rows, or None where the class keeps what cannot be told apart from its parameters.

    Parameters
    ----------
    distribution : torch or Pyro distribution
        Its parameters are the tensors that `arg_constraints` of its class or a base class names, and those of the
        distributions that it is made of. A class that keeps anything else says here how its rows are taken.
    places : Tensor of int, of any shape
        In the first `dims` batch axes, as if they were one.
    dims : int

    Returns
    -------
    Distribution or None
        Of batch shape ``places.shape + batch_shape[dims:]``.

    Examples
    --------
    >>> import torch
    >>> from probmix.distributions import Poisson
    >>> select(Poisson(torch.tensor([[1.0, 2.0], [3.0, 4.0]])), torch.tensor([3, 0, 0]), 2).rate
    tensor([4., 1., 1.])
    """
    batch = torch.Size(distribution.batch_shape)
    if dims == 0:
        # there is one row alone
        repeated: Distribution = distribution.expand(places.shape + batch)
        return repeated
    index = unravel_index(places, batch[:dims])
    axes = _event_axes(type(distribution)) | _KEPT_ASIDE
    chosen = copy.copy(distribution)
    same: dict[int, Tensor] = {}
    for name, value in vars(distribution).items():
        if isinstance(value, Tensor):
            if name in axes:
                event = value.shape[value.ndim - axes[name] :]
                same[id(value)] = value.expand(*batch, *event)[index]
        elif isinstance(value, Distribution):
            if value.batch_shape[:dims] != batch[:dims]:
                return None
            part = select(value, places, dims)
            if part is None:
                return None
            vars(chosen)[name] = part
        elif not _is_plain(value):
            return None
    for name, value in vars(distribution).items():
        if isinstance(value, Tensor):
            # the same tensor may go by a second name, and what was found on demand is found again
            if id(value) in same:
                vars(chosen)[name] = same[id(value)]
            elif isinstance(getattr_static(type(distribution), name, None), lazy_property):
                del vars(chosen)[name]
            else:
                return None
    vars(chosen)["_batch_shape"] = places.shape + batch[dims:]
    return chosen


def _event_axes(kind: type) -> dict[str, int]:
    """Names of the parameters, and how many axes one row has of each."""
    axes: dict[str, int] = {}
    for base in reversed(kind.__mro__):
        declared = vars(base).get("arg_constraints")
        if isinstance(declared, dict):
            axes |= {name: constraint.event_dim for name, constraint in declared.items() if _is_settled(constraint)}
    return axes


def _is_settled(constraint: constraints.Constraint) -> bool:
    """Whether the axes of one row are known without a row."""
    try:
        constraint.event_dim  # noqa: B018
    except NotImplementedError:
        return False
    return True


def _is_plain(value: object) -> bool:
    """Whether it is the same for all rows."""
    if isinstance(value, list | tuple):
        return all(_is_plain(part) for part in value)
    if isinstance(value, Transform):
        return all(_is_plain(part) for name, part in vars(value).items() if name != "_inv")
    return value is None or isinstance(value, bool | int | float | str | constraints.Constraint)
