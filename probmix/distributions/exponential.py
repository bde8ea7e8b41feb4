"""The exponential distribution."""

import torch
from pyro.distributions.torch_distribution import TorchDistributionMixin
from torch import Tensor

from .inversion import with_ends
from .marginals import Marginals, cdf, icdf


class Exponential(Marginals, torch.distributions.Exponential, TorchDistributionMixin):
    """Pyro's Exponential with `cdf` and `icdf` that keep their digits near zero, and no density below it."""

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        wide, rate = value.double(), self.rate.double()
        return torch.where(wide >= 0, rate.log() - rate * wide, -torch.inf).to(self.rate.dtype)


@cdf.register
def _(distribution: torch.distributions.Exponential, y: Tensor) -> Tensor:
    # 1 - exp(-r y) would lose its digits near zero
    rate: Tensor = distribution.rate
    return (-torch.expm1(-rate.double() * y.double().clamp(min=0))).to(rate.dtype)


@icdf.register
def _(distribution: torch.distributions.Exponential, q: Tensor) -> Tensor:
    q, rate = torch.broadcast_tensors(q.double(), distribution.rate.double())
    y = -torch.log1p(-q) / rate
    return with_ends(y, q, torch.zeros_like(y), torch.full_like(y, torch.inf)).to(distribution.rate.dtype)
