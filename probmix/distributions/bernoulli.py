"""The Bernoulli distribution."""

import torch
from pyro.distributions.torch_distribution import TorchDistributionMixin
from torch import Tensor

from .inversion import with_ends
from .marginals import Marginals, cdf, icdf


class Bernoulli(Marginals, torch.distributions.Bernoulli, TorchDistributionMixin):
    """Pyro's Bernoulli with `cdf` and `icdf`."""


@cdf.register
def _(distribution: torch.distributions.Bernoulli, y: Tensor) -> Tensor:
    zero, y = torch.broadcast_tensors((-distribution.logits).sigmoid(), y)
    return torch.where(y < 1, torch.where(y < 0, torch.zeros_like(zero), zero), torch.ones_like(zero))


@icdf.register
def _(distribution: torch.distributions.Bernoulli, q: Tensor) -> Tensor:
    q, zero = torch.broadcast_tensors(q, (-distribution.logits).sigmoid())
    y = (q > zero).to(zero.dtype)
    return with_ends(y, q, torch.zeros_like(y), torch.ones_like(y))
