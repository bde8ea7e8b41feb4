"""Draws of counts above zero, as a hurdle needs them."""

from functools import singledispatch

import torch
from torch import Tensor
from torch.distributions import Distribution

from .marginals import icdf
from .parts import device_of


@singledispatch
def sample_positive(distribution: Distribution, shape: torch.Size) -> Tensor:
    """Draws of a float64 distribution of counts, given that they are not zero, of the shape (..., *batch_shape)."""
    zero = torch.zeros(distribution.batch_shape, dtype=torch.float64, device=device_of(distribution))
    positive = -torch.expm1(distribution.log_prob(zero))
    level = 1 - positive * torch.rand(shape, dtype=torch.float64, device=zero.device)
    return icdf(distribution, level.clamp(max=1 - 2.0**-53)).clamp(min=1)
