"""The door of the scores: what every one does with its two arguments first, and with its values last."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution

from .._given import as_tensor
from .._targets import checked_targets
from ..adapters import as_distribution
from ..distributions.parts import device_of


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


def mean_over_event(distribution: Distribution, values: Tensor) -> Tensor:
    """One value per row from one value per coordinate."""
    events = len(distribution.event_shape)
    return values.flatten(-events).mean(-1) if events else values
