"""Distributions whose functions are NumPy's: on the host, in float64, without gradients."""

import copy
from abc import abstractmethod
from typing import Any, ClassVar

import numpy as np
import pyro.distributions as dist
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.distributions import constraints

from .._shapes import broadcast_shapes

Array = NDArray[np.float64]


class HostDistribution(dist.TorchDistribution):
    """A torch distribution of one number per row that asks NumPy functions for everything.

    Every call goes through the host, whatever the device of its argument, and no gradient flows. Subclasses say what
    the functions are; these get arrays of shape (..., *batch_shape).

    Parameters
    ----------
    low, high : ndarray, (*B,)
        Ends of the support, infinite where there are none.
    discrete : bool
        Whether the support is integers.
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}

    def __init__(self, low: Array, high: Array, discrete: bool) -> None:
        # as tensors they give the distribution its dtype
        self.low, self.high = torch.tensor(low), torch.tensor(high)
        self.discrete = discrete
        super().__init__(self.low.shape, validate_args=False)
        median = self._quantile(np.full(low.shape, 0.5))
        if np.isnan(median).any():
            place = tuple(int(i) for i in np.argwhere(np.isnan(median))[0])
            raise ValueError(
                f"a predicted distribution must have valid parameters; {self!r} has none at index {place}: its median "
                "is not a number. Look at the model's parameters for this row."
            )

    @abstractmethod
    def _cdf(self, y: Array) -> Array: ...

    @abstractmethod
    def _quantile(self, q: Array) -> Array: ...

    @abstractmethod
    def _log_density(self, y: Array) -> Array: ...

    @property
    def support(self) -> constraints.Constraint:
        bounds = (self.low, self.high)
        return constraints.integer_interval(*bounds) if self.discrete else constraints.interval(*bounds)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        new = copy.copy(self)
        new.low, new.high = self.low.expand(batch_shape), self.high.expand(batch_shape)
        super(HostDistribution, new).__init__(torch.Size(batch_shape), validate_args=False)
        return new

    def cdf(self, value: Tensor) -> Tensor:
        return torch.from_numpy(self._cdf(self._on_host(value))).to(value.device)

    def icdf(self, value: Tensor) -> Tensor:
        # a discrete quantile of SciPy at the level 0 lies one below the support
        quantile = np.maximum(self._quantile(self._on_host(value)), self.low.numpy())
        return torch.from_numpy(quantile).to(value.device)

    def log_prob(self, value: Tensor) -> Tensor:
        return torch.from_numpy(self._log_density(self._on_host(value))).to(value.device)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        # by torch's generator, as for other distributions, not by that of NumPy
        return self.icdf(torch.rand(self._extended_shape(torch.Size(sample_shape)), dtype=torch.float64))

    def _on_host(self, value: Tensor) -> Array:
        value = value.expand(broadcast_shapes(value.shape, self.batch_shape))
        array: Array = value.detach().cpu().double().numpy()
        return array
