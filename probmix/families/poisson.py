"""The Poisson family."""

from dataclasses import dataclass

import torch
from torch import Tensor

from .._special import poisson_log_prob
from ..distributions import Poisson as PoissonDistribution
from .bounds import LEAST_SHARE, log_count_reach
from .counts import LOG_RATE_HIGH, LOG_RATE_LOW, CountFamily, check_counts
from .links import soft_clamp, soft_clamp_inverse
from .tools import check_kind, stretched, weighted_mean


@dataclass(frozen=True)
class Poisson(CountFamily):
    r"""Poisson family of rate r, :math:`\eta = \log r`, :math:`T(y) = y`.

    .. math:: A(\eta) = e^\eta,\qquad h(y) = 1/y!

    Log-linear pooling is the weighted geometric mean of the rates; for labels see `CountFamily`. The log-rate
    lies between -20 and 30.

    Examples
    --------
    >>> import torch
    >>> from probmix.families import Poisson
    >>> Poisson().distribution(torch.tensor([0.0])).rate
    tensor(1.)
    """

    @property
    def name(self) -> str:
        return "poisson"

    def constrain(self, raw: Tensor) -> Tensor:
        return soft_clamp(raw, LOG_RATE_LOW, LOG_RATE_HIGH)

    def unconstrain(self, eta: Tensor) -> Tensor:
        return soft_clamp_inverse(eta, LOG_RATE_LOW, LOG_RATE_HIGH)

    def distribution(self, eta: Tensor) -> PoissonDistribution:
        return PoissonDistribution(eta.squeeze(-1).exp())

    def natural_params(self, distribution: torch.distributions.Distribution) -> Tensor:
        return check_kind(distribution, torch.distributions.Poisson).mean.log().unsqueeze(-1)

    def log_base_measure(self, y: Tensor) -> Tensor:
        return -torch.lgamma(y + 1)

    def log_normalizer(self, eta: Tensor) -> Tensor:
        return eta.squeeze(-1).exp()

    def mean_params(self, eta: Tensor) -> Tensor:
        return eta.exp()

    def centre(self, eta: Tensor) -> Tensor:
        return eta.exp().squeeze(-1)

    def _log_prob(self, eta: Tensor, y: Tensor) -> Tensor:
        return poisson_log_prob(y, eta.squeeze(-1))

    def marginal_params(self, y: Tensor, weights: Tensor | None = None, dim: int = 0) -> Tensor:
        mean = weighted_mean(y.double(), weights, dim).clamp(min=1e-3)
        return mean.log().unsqueeze(-1)

    def raw_bounds(
        self, y: Tensor, weights: Tensor | None = None, dim: int = 0, least: float = LEAST_SHARE
    ) -> tuple[Tensor, Tensor]:
        y = y.double()
        low, high = log_count_reach(y, weighted_mean(y, weights, dim), dim)
        return self.unconstrain(low.unsqueeze(-1)), self.unconstrain(high.unsqueeze(-1))

    def stretch(self, eta: Tensor, marginal: Tensor, factor: float) -> Tensor:
        return stretched(eta, marginal, factor)

    def expose(self, eta: Tensor, log_exposure: Tensor) -> Tensor:
        return eta + log_exposure.unsqueeze(-1)

    def check_targets(self, y: Tensor) -> None:
        check_counts(y, "Poisson")
