"""The categorical distribution, for classes in their order."""

import pyro.distributions as dist
import torch
from torch import Tensor

from .marginals import Marginals, cdf, icdf


class Categorical(Marginals, dist.Categorical):
    """Pyro's Categorical with `cdf` and `icdf`, for classes in their order."""


@cdf.register
def _(distribution: torch.distributions.Categorical, y: Tensor) -> Tensor:
    cumulative = distribution.probs.cumsum(-1)
    last = cumulative.shape[-1] - 1
    index, _ = torch.broadcast_tensors(y.floor().clamp(-1, last).long(), cumulative[..., 0])
    cumulative = cumulative.expand(*index.shape, last + 1)
    value = cumulative.gather(-1, index.clamp(min=0).unsqueeze(-1)).squeeze(-1)
    value = torch.where(index == last, torch.ones_like(value), value)
    return torch.where(index < 0, torch.zeros_like(value), value)


@icdf.register
def _(distribution: torch.distributions.Categorical, q: Tensor) -> Tensor:
    cumulative = distribution.probs.cumsum(-1)[..., :-1]
    return (cumulative < q.to(cumulative.dtype).unsqueeze(-1)).sum(-1)
