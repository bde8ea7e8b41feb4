"""The Poisson distribution."""

import pyro.distributions as dist
import torch
from torch import Tensor

from .._special import poisson_log_prob
from .inversion import invert_discrete, with_ends
from .marginals import Marginals, cdf, icdf


class Poisson(Marginals, dist.Poisson):
    """Pyro's Poisson with `cdf` and `icdf`, and a log-probability that stays exact for large rates."""

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        return poisson_log_prob(value.double(), self.rate.double().log()).to(self.rate.dtype)


@cdf.register
def _(distribution: torch.distributions.Poisson, y: Tensor) -> Tensor:
    # in float32 torch's incomplete gamma functions are off by 2e-5 at a rate of 1e6
    tail = torch.special.gammaincc(y.double().floor().clamp(min=0) + 1, distribution.rate.double())
    return torch.where(y < 0, torch.zeros_like(tail), tail).to(distribution.rate.dtype)


@icdf.register
def _(distribution: torch.distributions.Poisson, q: Tensor) -> Tensor:
    q, rate = torch.broadcast_tensors(q.double(), distribution.rate.double())
    wide = Poisson(rate, validate_args=False)
    high = rate + 10 * rate.sqrt() + 10
    y = invert_discrete(lambda y: cdf(wide, y), q, torch.full_like(rate, -1.0), high)
    return with_ends(y, q, torch.zeros_like(y), torch.full_like(y, torch.inf)).to(distribution.rate.dtype)
