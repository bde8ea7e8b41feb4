"""What exponential families of counts with T(y) = y have in common, and the checks of any counts."""

import math
from abc import ABC

import torch
from torch import Tensor

from .exponential_family import ExponentialFamily
from .label import Label
from .tools import check_support, outside, weighted_mean

# Of all families of counts.
LOG_RATE_LOW, LOG_RATE_HIGH = -20.0, 30.0


def check_counts(y: Tensor, name: str) -> None:
    """Raise a ValueError that names the first target that is no count."""
    check_support(
        y,
        y.isfinite() & (y >= 0) & (y == y.round()),
        f"{name} targets must be non-negative integers",
        "Use counts, or a family for real targets such as 'gamma' or 'gaussian'.",
    )


def outside_rates(y: Tensor, weights: Tensor | None) -> list[str]:
    """What the mean count is beyond the bounds of log-rates."""
    return outside("a mean", weighted_mean(y.double(), weights, 0), math.exp(LOG_RATE_LOW), math.exp(LOG_RATE_HIGH))


class CountFamily(ExponentialFamily, ABC):
    """An exponential family of counts whose one natural parameter goes with T(y) = y.

    Since T is linear, log-linear and linear label pooling agree, and a label kernel that keeps the mean changes the
    loss by a constant only: `spread` has no effect. Targets are not scaled, for a scaled count is none; the head starts
    at the mean count instead.
    """

    @property
    def num_params(self) -> int:
        return 1

    def beyond_bounds(self, y: Tensor, weights: Tensor | None = None) -> list[str]:
        return outside_rates(y, weights)

    def sufficient_statistics(self, y: Tensor) -> Tensor:
        return y.unsqueeze(-1)

    def pool_labels(self, y: Tensor, weights: Tensor, spread: float = 0.0, pool: str = "log-linear") -> Label:
        # the average of two counts need not be a count, so the log-linear pool takes its constant from the linear one
        return super().pool_labels(y, weights, spread, "linear" if pool == "log-linear" else pool)

    def kernel_excess(self, y: Tensor, spread: float) -> Tensor:
        return torch.zeros_like(y).unsqueeze(-1)

    def averaging_excess(self, eta: Tensor, concentration: Tensor) -> Tensor:
        return torch.zeros_like(eta)
