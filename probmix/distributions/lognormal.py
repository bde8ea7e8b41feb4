"""The log-normal distribution."""

import pyro.distributions as dist
import torch
from torch import Tensor

from .._special import HALF_LOG_2PI, ndtr
from .marginals import Marginals, cdf, icdf


class LogNormal(Marginals, dist.LogNormal):
    """Pyro's LogNormal with `cdf` and `icdf` down to zero, and a log-density that stays exact for small scales."""

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        log_value, scale = value.double().log(), self.scale.double()
        z = (log_value - self.loc.double()) / scale
        density = -HALF_LOG_2PI - scale.log() - 0.5 * z.square() - log_value
        return torch.where(value > 0, density, -torch.inf).to(self.loc.dtype)


@cdf.register
def _(distribution: torch.distributions.LogNormal, y: Tensor) -> Tensor:
    z = (y.double().clamp(min=0).log() - distribution.loc.double()) / distribution.scale.double()
    below = ndtr(z)
    return below.to(distribution.loc.dtype)


@icdf.register
def _(distribution: torch.distributions.LogNormal, q: Tensor) -> Tensor:
    # NaN outside [0, 1], and the ends of the support at 0 and 1
    z: Tensor = torch.special.ndtri(q.double())
    y = (distribution.loc.double() + distribution.scale.double() * z).exp()
    return y.to(distribution.loc.dtype)
