"""The door of the scores: what every one does with its two arguments first, and with its values last."""

from typing import Any

import torch
from torch import Tensor
from torch.distributions import Categorical, Distribution

from .._given import as_tensor
from ..adapters import as_distribution
from ..distributions import is_discrete
from ..distributions.parts import device_of, innermost
from ..families.tools import check_support


def checked(distribution: Any, y: Any) -> tuple[Distribution, Tensor]:
    """A prediction and targets of any kind as a torch distribution and a tensor of its shape, on its device.

    Parameters
    ----------
    distribution : anything that `probmix.adapters.as_distribution` takes
    y : array-like, Tensor, Series or number

    Raises
    ------
    TypeError
        If the first is no prediction.
    ValueError
        As `checked_targets`, and if `y` holds what is no number.
    """
    distribution = as_distribution(distribution)
    targets = as_tensor(y, "y").to(device_of(distribution))
    # there are no differences of truth values
    targets = targets.long() if targets.dtype == torch.bool else targets
    return distribution, checked_targets(distribution, targets)


def checked_targets(distribution: Distribution, y: Tensor) -> Tensor:
    """`y` in the shape batch + event of the distribution.

    Raises
    ------
    ValueError
        If `y` does not broadcast to exactly that shape, is not finite, or is no count or class where it must be.
    """
    expected = distribution.batch_shape + distribution.event_shape
    if not broadcasts_to(y.shape, expected):
        mend = (
            f"Pass y.reshape({tuple(expected)})."
            if y.numel() == expected.numel()
            else "Pass one target for each row, or `expand` the distribution."
        )
        raise ValueError(
            "`y` must broadcast to batch shape + event shape of the distribution, "
            f"{tuple(expected)}; got shape {tuple(y.shape)}. {mend}"
        )
    check_finite("y", y)
    if is_discrete(distribution):
        base = innermost(distribution)
        if isinstance(base, Categorical):
            last = base.logits.shape[-1] - 1
            inside, rule = (y >= 0) & (y <= last) & (y == y.round()), f"`y` must be a class index 0 .. {last}"
            check_support(y, inside, rule, "Encode the classes first, for example with sklearn's LabelEncoder.")
        else:
            rule = "`y` must be a whole number for a discrete distribution"
            check_support(y, y == y.round(), rule, "Use counts, or a continuous distribution.")
    return y.expand(expected)


def check_finite(name: str, values: Tensor) -> None:
    """Raise a ValueError if any of the values is infinite or NaN."""
    # the extremes are found in one pass without a temporary, and are NaN where anything is; inf may be their difference
    if values.numel() and not bool(torch.stack(values.detach().aminmax()).isfinite().all()):
        check_support(values, values.isfinite(), f"`{name}` must be finite", "Drop or impute these rows.")


def mean_over_event(distribution: Distribution, values: Tensor) -> Tensor:
    """One value per row from one value per coordinate."""
    events = len(distribution.event_shape)
    return values.flatten(-events).mean(-1) if events else values


def broadcasts_to(shape: torch.Size, expected: torch.Size) -> bool:
    """Whether a shape broadcasts to exactly the expected one: (n, 1) against (n,) broadcasts too, but to (n, n)."""
    pairs = zip(reversed(shape), reversed(expected), strict=False)
    return len(shape) <= len(expected) and all(size in (1, length) for size, length in pairs)
