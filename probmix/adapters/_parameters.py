"""Distributions by their parameters, from arrays."""

from collections.abc import Callable

import numpy as np
import pyro.distributions as dist
import torch
from numpy.typing import ArrayLike

Kind = Callable[..., dist.TorchDistribution]


def parametrised(kind: Kind, **parameters: ArrayLike) -> dist.TorchDistribution:
    """A distribution of that kind in float64; targets outside its support have density zero, not an error.

    Raises
    ------
    ValueError
        By torch, if a parameter is outside its domain.
    """
    arrays = np.broadcast_arrays(*(np.asarray(value, dtype=np.float64) for value in parameters.values()))
    # copied: broadcast arrays are read-only views, of which torch warns
    tensors = {name: torch.tensor(array) for name, array in zip(parameters, arrays, strict=True)}
    kind(**tensors, validate_args=True)
    return kind(**tensors, validate_args=False)
