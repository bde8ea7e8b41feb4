"""Families that a user might add, written against the public contract only."""

from dataclasses import dataclass
from typing import Any, ClassVar

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import constraints
from torch.nn.functional import softplus

from probmix.families import ExponentialFamily, Family


def check(y: Tensor, inside: Tensor) -> None:
    if not bool(inside.all()):
        raise ValueError("targets outside the support")


@dataclass(frozen=True)
class Exponential(ExponentialFamily):
    """eta = -rate, T(y) = y, A = -log(-eta) on y >= 0; the network predicts the log-mean in (-20, 20)."""

    name = "exponential"
    num_params = 1

    def constrain(self, raw: Tensor) -> Tensor:
        return -torch.exp(20 * torch.tanh(raw / 20))

    def unconstrain(self, eta: Tensor) -> Tensor:
        return 20 * torch.atanh(torch.log(-eta) / 20)

    def distribution(self, eta: Tensor) -> dist.TorchDistribution:
        return dist.Exponential(-eta[..., 0])

    def natural_params(self, distribution: torch.distributions.Distribution) -> Tensor:
        return -1 / distribution.mean.unsqueeze(-1)

    def sufficient_statistics(self, y: Tensor) -> Tensor:
        return y.unsqueeze(-1)

    def log_base_measure(self, y: Tensor) -> Tensor:
        return torch.zeros_like(y)

    def log_normalizer(self, eta: Tensor) -> Tensor:
        return -torch.log(-eta[..., 0])

    def mean_params(self, eta: Tensor) -> Tensor:
        return -1 / eta

    def _log_prob(self, eta: Tensor, y: Tensor) -> Tensor:
        return eta[..., 0] * y + torch.log(-eta[..., 0])

    def marginal_params(self, y: Tensor, weights: Tensor | None = None, dim: int = 0) -> Tensor:
        return -1 / y.double().mean(dim, keepdim=True).unsqueeze(-1)

    def check_targets(self, y: Tensor) -> None:
        check(y, y >= 0)


@dataclass(frozen=True)
class Bernoulli(ExponentialFamily):
    """eta = logit p, T(y) = y, A = softplus(eta)."""

    name = "bernoulli"
    num_params = 1

    def constrain(self, raw: Tensor) -> Tensor:
        return 50 * torch.tanh(raw / 50)

    def unconstrain(self, eta: Tensor) -> Tensor:
        return 50 * torch.atanh(eta / 50)

    def distribution(self, eta: Tensor) -> dist.TorchDistribution:
        return dist.Bernoulli(logits=eta[..., 0])

    def natural_params(self, distribution: torch.distributions.Distribution) -> Tensor:
        return distribution.mean.logit().unsqueeze(-1)

    def sufficient_statistics(self, y: Tensor) -> Tensor:
        return y.unsqueeze(-1)

    def log_base_measure(self, y: Tensor) -> Tensor:
        return torch.zeros_like(y)

    def log_normalizer(self, eta: Tensor) -> Tensor:
        return softplus(eta[..., 0])

    def mean_params(self, eta: Tensor) -> Tensor:
        return eta.sigmoid()

    def _log_prob(self, eta: Tensor, y: Tensor) -> Tensor:
        return eta[..., 0] * y - softplus(eta[..., 0])

    def marginal_params(self, y: Tensor, weights: Tensor | None = None, dim: int = 0) -> Tensor:
        return y.double().mean(dim, keepdim=True).clamp(1e-3, 1 - 1e-3).logit().unsqueeze(-1)

    def check_targets(self, y: Tensor) -> None:
        check(y, (y == 0) | (y == 1))


@dataclass(frozen=True)
class Beta(ExponentialFamily):
    """eta = (a - 1, b - 1), T(y) = (log y, log(1 - y)), A = log B(a, b), here with a and b in (1, 1001)."""

    name = "beta"
    num_params = 2

    def constrain(self, raw: Tensor) -> Tensor:
        return 1e-3 + 1e3 * torch.tanh(softplus(raw) / 1e3)

    def unconstrain(self, eta: Tensor) -> Tensor:
        rise = 1e3 * torch.atanh((eta - 1e-3) / 1e3)
        return rise + torch.log(-torch.expm1(-rise))

    def distribution(self, eta: Tensor) -> dist.TorchDistribution:
        return dist.Beta(*(eta + 1).unbind(-1))

    def natural_params(self, distribution: torch.distributions.Distribution) -> Tensor:
        mean = distribution.mean
        total = mean * (1 - mean) / distribution.variance - 1
        return torch.stack([mean * total, (1 - mean) * total], -1) - 1

    def sufficient_statistics(self, y: Tensor) -> Tensor:
        return torch.stack([y.log(), torch.log1p(-y)], -1)

    def log_base_measure(self, y: Tensor) -> Tensor:
        return torch.zeros_like(y)

    def log_normalizer(self, eta: Tensor) -> Tensor:
        return torch.lgamma(eta + 1).sum(-1) - torch.lgamma(eta.sum(-1) + 2)

    def mean_params(self, eta: Tensor) -> Tensor:
        return torch.digamma(eta + 1) - torch.digamma(eta.sum(-1, keepdim=True) + 2)

    def _log_prob(self, eta: Tensor, y: Tensor) -> Tensor:
        return (eta * self.sufficient_statistics(y)).sum(-1) - self.log_normalizer(eta)

    def marginal_params(self, y: Tensor, weights: Tensor | None = None, dim: int = 0) -> Tensor:
        mean, variance = y.double().mean(dim, keepdim=True), y.double().var(dim, keepdim=True)
        total = (mean * (1 - mean) / variance - 1).unsqueeze(-1)
        return torch.stack([mean, 1 - mean], -1) * total - 1

    def check_targets(self, y: Tensor) -> None:
        check(y, (y > 0) & (y < 1))


class GumbelDistribution(dist.TorchDistribution):
    """The distribution of maxima with a density and samples, but neither cdf nor quantiles."""

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {
        "loc": constraints.real,
        "scale": constraints.positive,
    }
    support = constraints.real

    def __init__(self, loc: Tensor, scale: Tensor, validate_args: bool | None = None) -> None:
        self.loc, self.scale = torch.broadcast_tensors(loc, scale)
        super().__init__(self.loc.shape, validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        return GumbelDistribution(self.loc.expand(batch_shape), self.scale.expand(batch_shape), validate_args=False)

    @property
    def mean(self) -> Tensor:
        return self.loc + 0.5772156649015329 * self.scale

    @property
    def variance(self) -> Tensor:
        return torch.pi**2 / 6 * self.scale.square()

    def log_prob(self, value: Tensor) -> Tensor:
        z = (value - self.loc) / self.scale
        return -z - torch.exp(-z) - self.scale.log()

    def sample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(torch.Size(sample_shape))
        return self.loc - self.scale * torch.empty(shape, dtype=self.loc.dtype).exponential_().log()


@dataclass(frozen=True)
class Gumbel(Family):
    """eta = (location, scale); no exponential family."""

    name = "gumbel"
    num_params = 2

    def constrain(self, raw: Tensor) -> Tensor:
        loc, scale = raw.unbind(-1)
        return torch.stack([1e4 * torch.tanh(loc / 1e4), 0.01 + 1e4 * torch.tanh(softplus(scale) / 1e4)], -1)

    def unconstrain(self, eta: Tensor) -> Tensor:
        loc, scale = eta.unbind(-1)
        rise = 1e4 * torch.atanh((scale - 0.01) / 1e4)
        return torch.stack([1e4 * torch.atanh(loc / 1e4), rise + torch.log(-torch.expm1(-rise))], -1)

    def distribution(self, eta: Tensor) -> dist.TorchDistribution:
        return GumbelDistribution(*eta.unbind(-1))

    def _log_prob(self, eta: Tensor, y: Tensor) -> Tensor:
        # far to the left the density is zero; its logarithm and gradient stay finite
        z = ((y - eta[..., 0]) / eta[..., 1]).clamp(min=-80)
        return -z - torch.exp(-z) - eta[..., 1].log()

    def marginal_params(self, y: Tensor, weights: Tensor | None = None, dim: int = 0) -> Tensor:
        scale = (y.double().var(dim, keepdim=True) * 6).sqrt() / torch.pi
        return torch.stack([y.double().mean(dim, keepdim=True) - 0.5772156649015329 * scale, scale], -1)

    def check_targets(self, y: Tensor) -> None:
        check(y, y.isfinite())
