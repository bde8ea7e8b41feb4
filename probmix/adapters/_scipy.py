"""Frozen distributions of SciPy."""

from typing import Any

import numpy as np
import pyro.distributions as dist
import torch
from torch import Tensor

from ..distributions.origins import SCIPY
from ._host import Array, HostDistribution


class SciPyDistribution(HostDistribution):
    """A frozen distribution of SciPy by its own functions."""

    def __init__(self, frozen: Any) -> None:
        self.frozen = frozen
        low, high = (np.asarray(end, dtype=np.float64) for end in frozen.support())
        shape = np.shape(frozen.cdf(0.0))
        super().__init__(np.broadcast_to(low, shape), np.broadcast_to(high, shape), hasattr(frozen, "pmf"))

    def __repr__(self) -> str:
        return f"SciPyDistribution({self.frozen.dist.name}, batch_shape={tuple(self.batch_shape)})"

    @property
    def mean(self) -> Tensor:
        return self._moment(self.frozen.mean())

    @property
    def variance(self) -> Tensor:
        return self._moment(self.frozen.var())

    def _moment(self, value: Any) -> Tensor:
        return torch.tensor(np.asarray(value, dtype=np.float64)).expand(self.batch_shape)

    def _cdf(self, y: Array) -> Array:
        return np.asarray(self.frozen.cdf(y), dtype=np.float64)

    def _quantile(self, q: Array) -> Array:
        return np.asarray(self.frozen.ppf(q), dtype=np.float64)

    def _log_density(self, y: Array) -> Array:
        log_density = self.frozen.logpmf if self.discrete else self.frozen.logpdf
        return np.asarray(log_density(y), dtype=np.float64)


def from_scipy(frozen: Any) -> dist.TorchDistribution:
    """A frozen distribution by its parameters where this package has its class, else by SciPy's functions."""
    shapes = frozen.dist.shapes.split(", ") if frozen.dist.shapes else []
    parameters = {"loc": 0.0, "scale": 1.0, **dict(zip([*shapes, "loc", "scale"], frozen.args, strict=False))}
    parameters |= frozen.kwds
    origin = SCIPY.get(frozen.dist.name)
    return origin.translate(parameters) if origin and origin.fits(parameters) else SciPyDistribution(frozen)
