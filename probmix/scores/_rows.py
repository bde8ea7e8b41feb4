"""Rows of a summary: their weights, and the probabilities that they predict."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.distributions import Bernoulli, Categorical, Distribution

from .._given import checked_weights
from ..distributions.members import class_probs
from ..distributions.parts import device_of, innermost, widen
from ..families.tools import check_support
from ._inputs import checked


def row_weights(distribution: Distribution, sample_weight: Any) -> Tensor:
    """Weights of the rows, (n,), in float64 on the device of the distribution; ones without any.

    Raises
    ------
    ValueError
        If there are no rows, the weights have another shape than the batch, one of them is negative or not finite, or
        all are zero.
    """
    shape = distribution.batch_shape
    if shape.numel() == 0:
        raise ValueError(f"the distribution must have at least one row; got batch shape {tuple(shape)}.")
    if sample_weight is None:
        return torch.ones(shape.numel(), dtype=torch.float64, device=device_of(distribution))
    return checked_weights(sample_weight, shape).to(device_of(distribution)).reshape(-1)


def class_probabilities(distribution: Distribution, y: Any) -> tuple[Tensor, Tensor]:
    """Probabilities (n, K) in float64 and indices (n,) of the observed classes; of a Bernoulli the classes are 0 and 1.

    Raises
    ------
    TypeError
        If the distribution is neither Categorical nor Bernoulli.
    ValueError
        If `y` has another shape or is no class index.
    """
    distribution, y = checked(distribution, y)
    y = y.double().reshape(-1)
    wide = widen(distribution)
    if isinstance(innermost(wide), Categorical) and not wide.event_shape:
        return class_probs(wide).reshape(len(y), -1), y.long()
    if isinstance(wide, Bernoulli):
        check_support(y, (y == 0) | (y == 1), "`y` must be 0 or 1", "Encode the two classes first.")
        one = wide.probs.reshape(-1)
        return torch.stack([1 - one, one], -1), y.long()
    raise TypeError(
        "classes or events need a Categorical or a Bernoulli distribution with one target per row, "
        f"got {type(distribution).__name__}."
    )


def event_probabilities(distribution: Distribution, y: Any, event: int | None = None) -> tuple[Tensor, Tensor]:
    """Probability, (n,), of an event in each row, and whether it came about; see `reliability_curve` for `event`."""
    probs, y = class_probabilities(distribution, y)
    last = probs.shape[-1] - 1
    if event is None and last > 1:
        confidence, top = probs.max(-1)
        return confidence, top == y
    index = 1 if event is None else event
    if not 0 <= index <= last:
        raise ValueError(f"`event` must be a class index 0 .. {last}, got {index}.")
    return probs[:, index], y == index
