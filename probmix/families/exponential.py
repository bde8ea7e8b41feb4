"""The exponential family of waiting times."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ..distributions import Exponential as ExponentialDistribution
from .bounds import LEAST_SHARE, log_count_reach
from .exponential_family import ExponentialFamily
from .label import TargetScaler
from .links import soft_clamp, soft_clamp_inverse
from .tools import check_kind, check_support, stretched, weighted_mean

_LOG_MEAN_LOW, _LOG_MEAN_HIGH = -30.0, 30.0
_LEAST_MEAN = 1e-6


@dataclass(frozen=True)
class Exponential(ExponentialFamily):
    r"""Exponential family of rate r, :math:`\eta = -r`, :math:`T(y) = y`, h = 1 on y >= 0.

    .. math:: A(\eta) = -\log(-\eta),\qquad \eta < 0

    Log-linear pooling is the weighted mean of the rates. The network predicts the log-mean. Since T is linear,
    log-linear and linear label pooling agree, and a label kernel that keeps the mean changes nothing: `spread` has no
    effect. Targets are divided by their mean for training, and predicted means lie within a factor of e^30 of it; exact
    zeros are targets like any other.

    Examples
    --------
    >>> import torch
    >>> from probmix.families import Exponential
    >>> Exponential().distribution(torch.tensor([-0.5])).mean
    tensor(2.)
    """

    @property
    def name(self) -> str:
        return "exponential"

    @property
    def num_params(self) -> int:
        return 1

    def constrain(self, raw: Tensor) -> Tensor:
        return -torch.exp(-soft_clamp(raw, _LOG_MEAN_LOW, _LOG_MEAN_HIGH))

    def unconstrain(self, eta: Tensor) -> Tensor:
        return soft_clamp_inverse(-(-eta).log(), _LOG_MEAN_LOW, _LOG_MEAN_HIGH)

    def distribution(self, eta: Tensor) -> ExponentialDistribution:
        return ExponentialDistribution(-eta.squeeze(-1))

    def natural_params(self, distribution: torch.distributions.Distribution) -> Tensor:
        return -check_kind(distribution, torch.distributions.Exponential).rate.unsqueeze(-1)

    def sufficient_statistics(self, y: Tensor) -> Tensor:
        return y.unsqueeze(-1)

    def log_base_measure(self, y: Tensor) -> Tensor:
        return torch.zeros_like(y)

    def log_normalizer(self, eta: Tensor) -> Tensor:
        return -(-eta.squeeze(-1)).log()

    def mean_params(self, eta: Tensor) -> Tensor:
        return -1 / eta

    def _log_prob(self, eta: Tensor, y: Tensor) -> Tensor:
        minus_rate = eta.squeeze(-1)
        return (-minus_rate).log() + minus_rate * y

    def kernel_excess(self, y: Tensor, spread: float) -> Tensor:
        return torch.zeros_like(y).unsqueeze(-1)

    def transported_residuals(self, y: Tensor, eta_points: Tensor, eta: Tensor) -> Tensor:
        # y / mean has a law without parameters
        return (1 + y.unsqueeze(-1) * eta_points) / eta.unsqueeze(-2)

    def averaging_excess(self, eta: Tensor, concentration: Tensor) -> Tensor:
        return torch.zeros_like(eta)

    def scaler(self, y: Tensor, weights: Tensor | None = None, dim: int = 0) -> TargetScaler:
        mean = weighted_mean(y.double(), weights, dim)
        # targets that are all zero have no unit
        return TargetScaler(torch.zeros_like(mean), torch.where(mean > 0, mean, torch.ones_like(mean)))

    def rescale(self, eta: Tensor, scaler: TargetScaler) -> Tensor:
        return eta.double() / scaler.scale.unsqueeze(-1)

    def stretch(self, eta: Tensor, marginal: Tensor, factor: float) -> Tensor:
        return -stretched((-eta).log(), (-marginal).log(), factor).exp()

    def marginal_params(self, y: Tensor, weights: Tensor | None = None, dim: int = 0) -> Tensor:
        return -1 / weighted_mean(y.double(), weights, dim).clamp(min=_LEAST_MEAN).unsqueeze(-1)

    def raw_bounds(
        self, y: Tensor, weights: Tensor | None = None, dim: int = 0, least: float = LEAST_SHARE
    ) -> tuple[Tensor, Tensor]:
        y = y.double()
        low, high = log_count_reach(y, weighted_mean(y, weights, dim), dim)
        return self.unconstrain(-(-low).exp().unsqueeze(-1)), self.unconstrain(-(-high).exp().unsqueeze(-1))

    def check_targets(self, y: Tensor) -> None:
        check_support(
            y,
            y.isfinite() & (y >= 0),
            "Exponential targets must be non-negative",
            "Use a family for real targets such as 'gaussian'.",
        )
