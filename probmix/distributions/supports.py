"""The support of a distribution of any class: its ends, and the map from the real line."""

from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution, biject_to, constraints

from .parts import innermost, is_discrete


def support_of(distribution: Distribution) -> Any:
    try:
        support = distribution.support
    except NotImplementedError:
        support = None
    if support is None:
        raise lacks(distribution, "cdf", "that needs its `support` as well")
    if distribution.event_shape:
        raise lacks(distribution, "cdf", f"it is one of vectors, of event shape {tuple(distribution.event_shape)}")
    return support


def on_integers(distribution: Distribution) -> bool:
    support_of(distribution)
    return is_discrete(distribution)


def coordinate_of(distribution: Distribution) -> Any:
    """The map from the real line to the support."""
    support = support_of(distribution)
    try:
        return biject_to(support)
    except NotImplementedError as error:
        raise lacks(distribution, "cdf", f"torch does not know its support, {support}") from error


def support_ends(distribution: Distribution) -> tuple[Tensor, Tensor]:
    """Both ends of the support in float64, infinite where there are none; they broadcast against the batch shape."""
    support = support_of(distribution)
    ends = (getattr(support, "lower_bound", -torch.inf), getattr(support, "upper_bound", torch.inf))
    lower, upper = (0, 1) if support is constraints.boolean else ends
    return torch.as_tensor(lower).double(), torch.as_tensor(upper).double()


def lacks(distribution: Distribution, what: str, why: str) -> NotImplementedError:
    """The error of a distribution that lacks its `what`, and that nothing can be made from."""
    name = type(innermost(distribution)).__name__
    return NotImplementedError(
        f"{name} has no {what}, and none can be made from its `log_prob`: {why}. Give the class methods `cdf` and "
        f"`icdf`, or register them with `probmix.distributions.cdf.register({name})` and `icdf.register({name})`."
    )
