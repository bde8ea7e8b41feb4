"""The support of a distribution of any class: its ends, and the map from the real line."""

from collections.abc import Sequence
from math import inf
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


def joint_support(parts: Sequence[Distribution]) -> constraints.Constraint:
    """All numbers, of counts all whole ones, between the least and the greatest of the supports of distributions.

    The ends are infinite where those of a part differ from row to row.
    """
    events = len(parts[0].event_shape)
    each = [_of_one_number(part) for part in parts]
    ends = [_plain_ends(support) for support in each]
    lower, upper = min(end for end, _ in ends), max(end for _, end in ends)
    if all(one == each[0] for one in each[1:]):
        support = each[0]
    elif is_discrete(parts[0]):
        not_negative = lower == 0 and upper == inf
        support = constraints.nonnegative_integer if not_negative else constraints.integer_interval(lower, upper)
    elif upper < inf:
        support = constraints.interval(lower, upper)
    else:
        support = constraints.real if lower == -inf else constraints.greater_than_eq(lower)
    return constraints.independent(support, events) if events else support


def _of_one_number(distribution: Distribution) -> Any:
    support: Any = innermost(distribution).support
    while isinstance(support, constraints.independent):
        support = support.base_constraint
    return support


def _plain_ends(support: Any) -> tuple[float, float]:
    if support is constraints.boolean:
        return 0, 1
    lower, upper = getattr(support, "lower_bound", -inf), getattr(support, "upper_bound", inf)
    return -inf if isinstance(lower, Tensor) else lower, inf if isinstance(upper, Tensor) else upper
