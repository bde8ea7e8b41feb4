"""The Poisson distribution."""

import pyro.distributions as dist
import torch
from torch import Tensor

from .._incomplete_gamma import incomplete_gamma
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
    y = y.detach().double()
    inside = (y >= 0) & y.isfinite()
    _, upper = incomplete_gamma(torch.where(inside, y.floor(), 0.0) + 1, distribution.rate.double())
    return torch.where(inside, upper, (y > 0).double()).to(distribution.rate.dtype)


@icdf.register
def _(distribution: torch.distributions.Poisson, q: Tensor) -> Tensor:
    q, rate = torch.broadcast_tensors(q.detach().double(), distribution.rate.detach().double())
    wide = Poisson(rate, validate_args=False)
    # Cornish and Fisher's expansion; its next term goes with the cube of z
    z = torch.special.ndtri(torch.where((q > 0) & (q < 1), q, 0.5))
    centre = rate + rate.sqrt() * z + (z.square() - 1) / 6
    width = 2 + z.abs() ** 3 / (20 * (1 + rate.sqrt()))
    low = (centre - width).floor().clamp(min=-1)
    low = torch.where(cdf(wide, low) < q, low, -1.0)
    y = invert_discrete(lambda y: cdf(wide, y), q, low, torch.maximum(centre + width, low + 1))
    return with_ends(y, q, torch.zeros_like(y), torch.full_like(y, torch.inf)).to(distribution.rate.dtype)
