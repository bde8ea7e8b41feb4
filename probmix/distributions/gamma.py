"""The Gamma distribution."""

import pyro.distributions as dist
import torch
from torch import Tensor

from .._special import gamma_log_prob
from .inversion import invert_continuous, with_ends
from .marginals import Marginals, cdf, icdf


class Gamma(Marginals, dist.Gamma):
    """Pyro's Gamma with `icdf`, and a log-density that stays exact for large shapes."""

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        return gamma_log_prob(value.double(), self.concentration.double(), self.rate.double()).to(self.rate.dtype)


@cdf.register
def _(distribution: torch.distributions.Gamma, y: Tensor) -> Tensor:
    shape, rate = distribution.concentration.double(), distribution.rate.double()
    lower: Tensor = torch.special.gammainc(shape, rate * y.double().clamp(min=0))
    return lower.to(distribution.rate.dtype)


@icdf.register
def _(distribution: torch.distributions.Gamma, q: Tensor) -> Tensor:
    q, shape, rate = torch.broadcast_tensors(
        q.double(), distribution.concentration.double(), distribution.rate.double()
    )
    wide = Gamma(shape, rate, validate_args=False)
    # in log y: near zero F(y) ~ (b y)^a / (a Gamma(a)), so this point lies below the quantile
    low = ((q.log() + torch.lgamma(shape + 1)) / shape).clamp(min=-700) - rate.log() - 1
    high = torch.maximum(((shape + 10 * shape.sqrt() + 10) / rate).log(), low + 1)
    y = invert_continuous(lambda u: cdf(wide, u.exp()), q, low, high).exp()
    return with_ends(y, q, torch.zeros_like(y), torch.full_like(y, torch.inf)).to(distribution.rate.dtype)
