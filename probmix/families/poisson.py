"""The Poisson family."""

from dataclasses import dataclass

import torch
from torch import Tensor

from .._special import poisson_log_prob
from ..distributions import Poisson as PoissonDistribution
from .exponential_family import ExponentialFamily
from .label import Label
from .links import soft_clamp, soft_clamp_inverse
from .tools import check_kind, check_support, weighted_mean

_LOG_RATE_LOW, _LOG_RATE_HIGH = -20.0, 30.0


@dataclass(frozen=True)
class Poisson(ExponentialFamily):
    r"""Poisson family of rate r, :math:`\eta = \log r`, :math:`T(y) = y`.

    .. math:: A(\eta) = e^\eta,\qquad h(y) = 1/y!

    Log-linear pooling is the weighted geometric mean of the rates. Since T is linear, log-linear and linear label
    pooling agree, and a label kernel that keeps the mean changes the loss by a constant only: `spread` has no effect.
    Targets are not scaled, for a scaled count is not Poisson; the head starts at the mean count instead.

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

    @property
    def num_params(self) -> int:
        return 1

    def constrain(self, raw: Tensor) -> Tensor:
        return soft_clamp(raw, _LOG_RATE_LOW, _LOG_RATE_HIGH)

    def unconstrain(self, eta: Tensor) -> Tensor:
        return soft_clamp_inverse(eta, _LOG_RATE_LOW, _LOG_RATE_HIGH)

    def distribution(self, eta: Tensor) -> PoissonDistribution:
        return PoissonDistribution(eta.squeeze(-1).exp())

    def natural_params(self, distribution: torch.distributions.Distribution) -> Tensor:
        return check_kind(distribution, torch.distributions.Poisson).mean.log().unsqueeze(-1)

    def sufficient_statistics(self, y: Tensor) -> Tensor:
        return y.unsqueeze(-1)

    def log_base_measure(self, y: Tensor) -> Tensor:
        return -torch.lgamma(y + 1)

    def log_normalizer(self, eta: Tensor) -> Tensor:
        return eta.squeeze(-1).exp()

    def mean_params(self, eta: Tensor) -> Tensor:
        return eta.exp()

    def _log_prob(self, eta: Tensor, y: Tensor) -> Tensor:
        return poisson_log_prob(y, eta.squeeze(-1))

    def pool_labels(self, y: Tensor, weights: Tensor, spread: float = 0.0, pool: str = "log-linear") -> Label:
        # the average of two counts need not be a count, so the log-linear pool takes its constant from the linear one
        return super().pool_labels(y, weights, spread, "linear" if pool == "log-linear" else pool)

    def kernel_excess(self, y: Tensor, spread: float) -> Tensor:
        return torch.zeros_like(y).unsqueeze(-1)

    def averaging_excess(self, eta: Tensor, concentration: Tensor) -> Tensor:
        return torch.zeros_like(eta)

    def marginal_params(self, y: Tensor, weights: Tensor | None = None, dim: int = 0) -> Tensor:
        mean = weighted_mean(y.double(), weights, dim).clamp(min=1e-3)
        return mean.log().unsqueeze(-1)

    def check_targets(self, y: Tensor) -> None:
        check_support(
            y,
            y.isfinite() & (y >= 0) & (y == y.round()),
            "Poisson targets must be non-negative integers",
            "Use counts, or a family for real targets such as 'gamma' or 'gaussian'.",
        )
