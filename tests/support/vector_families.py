"""Families of vectors that a user might add: two independent targets of one family."""

from dataclasses import dataclass, field

import pyro.distributions as dist
from torch import Tensor

from probmix.families import ExponentialFamily, Family, Gaussian, StudentT


def _split(params: Tensor) -> Tensor:
    return params.unflatten(-1, (2, -1))


class _Two:
    """What both kinds have."""

    event_dim = 1

    @property
    def num_params(self) -> int:
        return 2 * self.base.num_params

    def constrain(self, raw: Tensor) -> Tensor:
        return self.base.constrain(_split(raw)).flatten(-2)

    def unconstrain(self, eta: Tensor) -> Tensor:
        return self.base.unconstrain(_split(eta)).flatten(-2)

    def distribution(self, eta: Tensor) -> dist.TorchDistribution:
        return dist.Independent(self.base.distribution(_split(eta)), 1)

    def _log_prob(self, eta: Tensor, y: Tensor) -> Tensor:
        return self.base._log_prob(_split(eta), y).sum(-1)

    def marginal_params(self, y: Tensor, weights: Tensor | None = None, dim: int = 0) -> Tensor:
        return self.base.marginal_params(y, weights, dim).flatten(-2)

    def check_targets(self, y: Tensor) -> None:
        self.base.check_targets(y)


@dataclass(frozen=True)
class TwoT(_Two, Family):
    """Pools linearly."""

    name = "two-student-t"
    base: Family = field(default_factory=StudentT)


@dataclass(frozen=True)
class Two(_Two, ExponentialFamily):
    """Of an exponential family, with no more than is asked of one, and kernels."""

    name = "two"
    base: ExponentialFamily = field(default_factory=Gaussian)

    def natural_params(self, distribution: dist.Independent) -> Tensor:
        return self.base.natural_params(distribution.base_dist).flatten(-2)

    def sufficient_statistics(self, y: Tensor) -> Tensor:
        return self.base.sufficient_statistics(y).flatten(-2)

    def log_base_measure(self, y: Tensor) -> Tensor:
        return self.base.log_base_measure(y).sum(-1)

    def log_normalizer(self, eta: Tensor) -> Tensor:
        return self.base.log_normalizer(_split(eta)).sum(-1)

    def mean_params(self, eta: Tensor) -> Tensor:
        return self.base.mean_params(_split(eta)).flatten(-2)

    def kernel_centre(self, y: Tensor, weights: Tensor) -> Tensor:
        return self.base.kernel_centre(y, weights)

    def kernel_excess(self, y: Tensor, spread: float) -> Tensor:
        return self.base.kernel_excess(y, spread).flatten(-2)

    def averaging_excess(self, eta: Tensor, concentration: Tensor) -> Tensor:
        return self.base.averaging_excess(_split(eta), concentration.unsqueeze(-1)).flatten(-2)
