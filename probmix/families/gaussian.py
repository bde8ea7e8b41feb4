"""The Gaussian family with unknown mean and variance."""

from dataclasses import dataclass

import pyro.distributions as dist
import torch
from torch import Tensor

from .._special import HALF_LOG_2PI
from .bounds import LEAST_SHARE, least_scale, reach
from .exponential_family import ExponentialFamily
from .label import TargetScaler
from .links import inverse_square, inverse_square_inverse, soft_limit, soft_limit_inverse
from .tools import check_kind, check_support, counting, side_by_side, stretched, weighted_mean

_MEAN_LIMIT = 1e6
# The floor keeps one nearly exact row from buying an unbounded likelihood: 0.1 % of the standard deviation of y.
_SD_FLOOR, _LEAST_PRECISION = 1e-3, 1e-12


@dataclass(frozen=True)
class Gaussian(ExponentialFamily):
    r"""Gaussian family, :math:`\eta = (\mu/\sigma^2,\ -1/(2\sigma^2))`, :math:`T(y) = (y, y^2)`.

    .. math:: A(\eta) = -\eta_1^2/(4\eta_2) - \tfrac12\log(-2\eta_2),\qquad h(y) = (2\pi)^{-1/2},\qquad \eta_2 < 0

    Log-linear pooling weights by precision. The label kernel is :math:`N(y, \beta)` with `spread` :math:`\beta`.
    Targets are standardised for training; in these units the standard deviation lies between 1e-3 and 1e6, the mean
    within 1e6 of zero.

    Examples
    --------
    >>> import torch
    >>> from probmix.families import Gaussian
    >>> eta = Gaussian().natural_params(torch.distributions.Normal(torch.tensor(3.0), torch.tensor(2.0)))
    >>> eta
    tensor([ 0.7500, -0.1250])
    >>> Gaussian().distribution(eta).scale
    tensor(2.)
    """

    @property
    def name(self) -> str:
        return "gaussian"

    @property
    def num_params(self) -> int:
        return 2

    def constrain(self, raw: Tensor) -> Tensor:
        raw_mean, raw_sd = raw.unbind(-1)
        mean = soft_limit(raw_mean, _MEAN_LIMIT)
        precision = inverse_square(raw_sd, _SD_FLOOR, _LEAST_PRECISION)
        return side_by_side(mean * precision, -0.5 * precision)

    def unconstrain(self, eta: Tensor) -> Tensor:
        mean, variance = _moments(eta)
        raw_sd = inverse_square_inverse(1 / variance, _SD_FLOOR, _LEAST_PRECISION)
        return torch.stack([soft_limit_inverse(mean, _MEAN_LIMIT), raw_sd], -1)

    def distribution(self, eta: Tensor) -> dist.TorchDistribution:
        mean, variance = _moments(eta)
        return dist.Normal(mean, variance.sqrt())

    def natural_params(self, distribution: torch.distributions.Distribution) -> Tensor:
        distribution = check_kind(distribution, torch.distributions.Normal)
        mean, precision = torch.broadcast_tensors(distribution.mean, 1 / distribution.variance)
        return torch.stack([mean * precision, -0.5 * precision], -1)

    def sufficient_statistics(self, y: Tensor) -> Tensor:
        return torch.stack([y, y.square()], -1)

    def log_base_measure(self, y: Tensor) -> Tensor:
        return torch.full_like(y, -HALF_LOG_2PI)

    def log_normalizer(self, eta: Tensor) -> Tensor:
        eta1, eta2 = eta.unbind(-1)
        return -eta1.square() / (4 * eta2) - 0.5 * torch.log(-2 * eta2)

    def mean_params(self, eta: Tensor) -> Tensor:
        mean, variance = _moments(eta)
        return torch.stack([mean, mean.square() + variance], -1)

    def _log_prob(self, eta: Tensor, y: Tensor) -> Tensor:
        mean, variance = _moments(eta)
        # as few steps as there can be: this is half of what a small step of training takes
        peak = torch.rsub(variance.log(), -HALF_LOG_2PI, alpha=0.5)
        return torch.addcdiv(peak, (y - mean).square(), variance, value=-0.5)

    def residual(self, eta: Tensor, y: Tensor) -> Tensor:
        mean, variance = _moments(eta)
        first = y - mean
        return side_by_side(first, first * (2 * mean + first) - variance)

    def centre(self, eta: Tensor) -> Tensor:
        return _moments(eta)[0]

    def kernel_excess(self, y: Tensor, spread: float) -> Tensor:
        return torch.stack([torch.zeros_like(y), torch.full_like(y, spread)], -1)

    def transported_residuals(self, y: Tensor, eta_points: Tensor, eta: Tensor) -> Tensor:
        # standardised residuals z keep their law in every location and scale
        mean_points, variance_points = _moments(eta_points)
        mean, variance = (moment.unsqueeze(-1) for moment in _moments(eta))
        z = (y - mean_points) / variance_points.sqrt()
        first = variance.sqrt() * z
        return torch.stack([first, 2 * mean * first + variance * (z.square() - 1)], -1)

    def averaging_excess(self, eta: Tensor, concentration: Tensor) -> Tensor:
        _, variance = _moments(eta)
        missing = (1 - concentration) * variance
        return torch.stack([torch.zeros_like(missing), missing], -1)

    def scaler(self, y: Tensor, weights: Tensor | None = None, dim: int = 0) -> TargetScaler:
        y = y.double()
        loc = weighted_mean(y, weights, dim)
        widest = (y - loc).abs().amax(dim, keepdim=True)
        scale = widest * weighted_mean(((y - loc) / widest).square(), weights, dim).sqrt()
        # constant targets have no spread: their unit is their own size, and that of zeros is one
        size = torch.where(loc == 0, torch.ones_like(loc), loc.abs())
        spread = counting(y - loc, weights).abs().amax(dim, keepdim=True)
        return TargetScaler(loc, torch.where(spread > 1e-12 * loc.abs(), scale, size))

    def rescale(self, eta: Tensor, scaler: TargetScaler) -> Tensor:
        mean, variance = _moments(eta.double())
        precision = 1 / (variance * scaler.scale.square())
        return torch.stack([(scaler.loc + scaler.scale * mean) * precision, -0.5 * precision], -1)

    def stretch(self, eta: Tensor, marginal: Tensor, factor: float) -> Tensor:
        mean, variance = _moments(eta.double())
        precision = 1 / (factor**2 * variance)
        mean = stretched(mean, _moments(marginal.double())[0], factor)
        return torch.stack([mean * precision, -0.5 * precision.expand_as(mean)], -1)

    def marginal_params(self, y: Tensor, weights: Tensor | None = None, dim: int = 0) -> Tensor:
        mean = weighted_mean(y.double(), weights, dim)
        variance = weighted_mean((y.double() - mean).square(), weights, dim).clamp(min=(10 * _SD_FLOOR) ** 2)
        return torch.stack([mean / variance, -0.5 / variance], -1)

    def raw_bounds(
        self, y: Tensor, weights: Tensor | None = None, dim: int = 0, least: float = LEAST_SHARE
    ) -> tuple[Tensor, Tensor]:
        y = y.double()
        low, high = reach(y, dim)
        one = torch.ones_like(low)
        # the range is twice as long, and no sample has a larger standard deviation than half of its own
        widest = torch.maximum((high - low) / 4, one)
        return self.raw(low, least_scale(y, least * one, dim)), self.raw(high, widest)

    def raw(self, mean: Tensor, sd: Tensor) -> Tensor:
        """Network output for a mean and a standard deviation: (*B,), (*B,) -> (*B, num_raw)."""
        precision = sd.pow(-2)
        return self.unconstrain(torch.stack([mean * precision, -0.5 * precision], -1))

    def check_targets(self, y: Tensor) -> None:
        check_support(y, y.isfinite(), "Gaussian targets must be finite", "Drop or impute these rows.")


def _moments(eta: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance."""
    eta1, eta2 = eta.unbind(-1)
    variance = -0.5 / eta2
    return eta1 * variance, variance
