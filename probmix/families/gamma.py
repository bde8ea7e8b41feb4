"""The Gamma family."""

from dataclasses import dataclass

import torch
from torch import Tensor

from .._special import gamma_log_prob
from ..distributions import Gamma as GammaDistribution
from .bounds import LEAST_SHARE, least_scale, log_reach
from .exponential_family import ExponentialFamily
from .label import TargetScaler
from .links import inverse_square, inverse_square_inverse, soft_clamp, soft_clamp_inverse
from .tools import check_kind, check_support, outside, side_by_side, stretched, weighted_mean

_LOG_MEAN_LOW, _LOG_MEAN_HIGH = -30.0, 30.0
# The floor is one of the coefficient of variation, 1 / sqrt(shape): shapes go from 1e-2 to 1e6.
_CV_FLOOR, _LEAST_SHAPE = 1e-3, 1e-2
# Up to here a head's coefficient of variation goes if that of the targets is small, and if it is large.
_WIDE, _WIDEST = 2.0, 8.0


@dataclass(frozen=True)
class Gamma(ExponentialFamily):
    r"""Gamma family with shape a and rate b, :math:`\eta = (a - 1, -b)`, :math:`T(y) = (\log y, y)`, h = 1 on y > 0.

    .. math:: A(\eta) = \log\Gamma(\eta_1 + 1) - (\eta_1 + 1)\log(-\eta_2),\qquad \eta_1 > -1,\ \eta_2 < 0

    Log-linear pooling is the weighted mean of shape and of rate. The network predicts the log-mean and the coefficient
    of variation, which are orthogonal parameters. The label kernel is log-normal, :math:`LN(\log y, \beta)` with
    `spread` :math:`\beta`. Targets are divided by their mean for training. The coefficient of variation lies between
    1e-3 and 10 (shapes between 0.01 and 1e6), the mean within a factor of e^30 of that of the targets.

    Examples
    --------
    >>> import torch
    >>> from probmix.families import Gamma
    >>> Gamma().distribution(torch.tensor([2.0, -1.5])).mean
    tensor(2.)
    """

    @property
    def name(self) -> str:
        return "gamma"

    @property
    def num_params(self) -> int:
        return 2

    def constrain(self, raw: Tensor) -> Tensor:
        raw_mean, raw_cv = raw.unbind(-1)
        mean = soft_clamp(raw_mean, _LOG_MEAN_LOW, _LOG_MEAN_HIGH).exp()
        shape = inverse_square(raw_cv, _CV_FLOOR, _LEAST_SHAPE)
        return side_by_side(shape - 1, -shape / mean)

    def unconstrain(self, eta: Tensor) -> Tensor:
        shape, rate = _shape_rate(eta)
        return torch.stack(
            [
                soft_clamp_inverse((shape / rate).log(), _LOG_MEAN_LOW, _LOG_MEAN_HIGH),
                inverse_square_inverse(shape, _CV_FLOOR, _LEAST_SHAPE),
            ],
            -1,
        )

    def distribution(self, eta: Tensor) -> GammaDistribution:
        return GammaDistribution(*_shape_rate(eta))

    def natural_params(self, distribution: torch.distributions.Distribution) -> Tensor:
        distribution = check_kind(distribution, torch.distributions.Gamma)
        rate = distribution.mean / distribution.variance
        return torch.stack([distribution.mean * rate - 1, -rate], -1)

    def sufficient_statistics(self, y: Tensor) -> Tensor:
        return side_by_side(y.log(), y)

    def log_base_measure(self, y: Tensor) -> Tensor:
        return torch.zeros_like(y)

    def log_normalizer(self, eta: Tensor) -> Tensor:
        shape, rate = _shape_rate(eta)
        return torch.lgamma(shape) - shape * rate.log()

    def mean_params(self, eta: Tensor) -> Tensor:
        shape, rate = _shape_rate(eta)
        return side_by_side(torch.digamma(shape) - rate.log(), shape / rate)

    def centre(self, eta: Tensor) -> Tensor:
        shape, rate = _shape_rate(eta)
        return shape / rate

    def _log_prob(self, eta: Tensor, y: Tensor) -> Tensor:
        return gamma_log_prob(y, *_shape_rate(eta))

    def kernel_centre(self, y: Tensor, weights: Tensor) -> Tensor:
        return (weights * y.log()).sum(-1).exp()

    def kernel_excess(self, y: Tensor, spread: float) -> Tensor:
        return torch.stack([torch.zeros_like(y), y * torch.expm1(torch.tensor(spread / 2, dtype=y.dtype)).item()], -1)

    def transported_residuals(self, y: Tensor, eta_points: Tensor, eta: Tensor) -> Tensor:
        # y / mean has a law without scale; what is left depends on the shape and is standardised
        shape_points, rate_points = _shape_rate(eta_points)
        shape, rate = (part.unsqueeze(-1) for part in _shape_rate(eta))
        relative = (y * rate_points - shape_points) / shape_points * (shape_points * shape).sqrt() / rate
        log_scale = (torch.polygamma(1, shape) / torch.polygamma(1, shape_points)).sqrt()
        log_residual = y.log() - (torch.digamma(shape_points) - rate_points.log())
        return torch.stack([log_scale * log_residual, relative], -1)

    def averaging_excess(self, eta: Tensor, concentration: Tensor) -> Tensor:
        # the weighted mean of i.i.d. Gamma variables is matched by a Gamma of the same mean and shape a / sum w^2
        shape, _ = _shape_rate(eta)
        averaged = shape / concentration
        missing = (torch.digamma(shape) - shape.log()) - (torch.digamma(averaged) - averaged.log())
        return torch.stack([missing, torch.zeros_like(missing)], -1)

    def scaler(self, y: Tensor, weights: Tensor | None = None, dim: int = 0) -> TargetScaler:
        mean = weighted_mean(y.double(), weights, dim)
        return TargetScaler(torch.zeros_like(mean), mean)

    def rescale(self, eta: Tensor, scaler: TargetScaler) -> Tensor:
        shape_less_one, minus_rate = eta.double().unbind(-1)
        return torch.stack(torch.broadcast_tensors(shape_less_one, minus_rate / scaler.scale), -1)

    def stretch(self, eta: Tensor, marginal: Tensor, factor: float) -> Tensor:
        (shape, rate), (marginal_shape, marginal_rate) = _shape_rate(eta.double()), _shape_rate(marginal.double())
        log_mean = stretched((shape / rate).log(), (marginal_shape / marginal_rate).log(), factor)
        # the coefficient of variation is the scale of log y
        shape = shape.expand_as(log_mean) / factor**2
        return torch.stack([shape - 1, -shape * (-log_mean).exp()], -1)

    def marginal_params(self, y: Tensor, weights: Tensor | None = None, dim: int = 0) -> Tensor:
        mean = weighted_mean(y.double(), weights, dim)
        variance = weighted_mean((y.double() - mean).square(), weights, dim)
        shape = (mean.square() / variance).clamp(min=0.1, max=1e4)
        return torch.stack([shape - 1, -shape / mean], -1)

    def beyond_bounds(self, y: Tensor, weights: Tensor | None = None) -> list[str]:
        # the shape of largest likelihood (Minka 2002), good to 1.5 %
        y = y.double()
        mean = weighted_mean(y, weights, 0)
        relative = (y - mean) / mean
        # the logarithm of the mean less the mean logarithm
        gap = weighted_mean(relative - (y / mean).log(), weights, 0)
        gap = torch.where(
            relative.abs().amax(0) < 0.5, weighted_mean(relative - torch.log1p(relative), weights, 0), gap
        )
        gap = gap.clamp(min=1e-30)
        shape = (3 - gap + ((gap - 3).square() + 24 * gap).sqrt()) / (12 * gap)
        return outside("a coefficient of variation", shape.pow(-0.5), _CV_FLOOR, _LEAST_SHAPE**-0.5)

    def raw_bounds(
        self, y: Tensor, weights: Tensor | None = None, dim: int = 0, least: float = LEAST_SHARE
    ) -> tuple[Tensor, Tensor]:
        y = y.double()
        low, high = log_reach(y, dim)
        mean = weighted_mean(y, weights, dim)
        cv = weighted_mean((y / mean - 1).square(), weights, dim).sqrt()
        floor = least_scale(y, least * cv, dim, unit=y.amax(dim, keepdim=True)).clamp(min=2 * _CV_FLOOR)
        return self._raw(low, floor), self._raw(high, (2 * cv).clamp(_WIDE, _WIDEST))

    def _raw(self, log_mean: Tensor, cv: Tensor) -> Tensor:
        """Network output for a log-mean and a coefficient of variation: (*B,), (*B,) -> (*B, num_raw)."""
        shape = cv.pow(-2)
        return self.unconstrain(torch.stack([shape - 1, -shape * (-log_mean).exp()], -1))

    def check_targets(self, y: Tensor) -> None:
        check_support(
            y,
            y.isfinite() & (y > 0),
            "Gamma targets must be positive",
            "For targets with exact zeros take 'zero-adjusted-gamma' or 'tweedie'.",
        )


def _shape_rate(eta: Tensor) -> tuple[Tensor, Tensor]:
    shape_less_one, minus_rate = eta.unbind(-1)
    return shape_less_one + 1, -minus_rate
