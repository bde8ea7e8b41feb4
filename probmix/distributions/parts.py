"""A distribution of any class: what it is made of, and its dtype and device."""

import copy
from collections.abc import Iterator
from functools import reduce

import torch
from torch import Tensor
from torch.distributions import Categorical, Distribution, Independent, MixtureSameFamily


def innermost(distribution: Distribution) -> Distribution:
    """The distribution of one coordinate of one component."""
    while isinstance(distribution, Independent | MixtureSameFamily):
        if isinstance(distribution, Independent):
            distribution = distribution.base_dist
        else:
            distribution = distribution.component_distribution
    return distribution


def is_discrete(distribution: Distribution) -> bool:
    """Whether the distribution lives on the integers."""
    if isinstance(distribution, MixtureSameFamily):
        return is_discrete(distribution.component_distribution)
    if isinstance(distribution, Independent):
        return is_discrete(distribution.base_dist)
    return bool(getattr(distribution.support, "is_discrete", False))


def widen(distribution: Distribution) -> Distribution:
    """The same distribution with its parameters in float64, for any class; gradients flow back."""
    if isinstance(distribution, Categorical):
        # anew, so that the probabilities sum to one in float64
        return Categorical(probs=distribution.probs.double(), validate_args=False)
    wide = copy.copy(distribution)
    for name, value in vars(distribution).items():
        if isinstance(value, Distribution):
            vars(wide)[name] = widen(value)
        elif isinstance(value, Tensor) and value.is_floating_point():
            vars(wide)[name] = value.double()
    return wide


def unchecked(distribution: Distribution) -> Distribution:
    """The same distribution without checks of the values that it is asked about, of itself and of what is in it."""
    plain = copy.copy(distribution)
    for name, value in vars(distribution).items():
        if isinstance(value, Distribution):
            vars(plain)[name] = unchecked(value)
    plain._validate_args = False
    return plain


def to_dtype_of(distribution: Distribution, values: Tensor) -> Tensor:
    """`values` in the dtype of the parameters of `distribution`."""
    return values.to(reduce(torch.promote_types, (p.dtype for p in tensors_of(distribution)), torch.float32))


def device_of(distribution: Distribution) -> torch.device:
    return next((p.device for p in tensors_of(distribution)), torch.device("cpu"))


def tensors_of(distribution: Distribution) -> Iterator[Tensor]:
    """Its parameters that are floats, and those of what is in it."""
    for value in vars(distribution).values():
        if isinstance(value, Distribution):
            yield from tensors_of(value)
        elif isinstance(value, Tensor) and value.is_floating_point():
            yield value
