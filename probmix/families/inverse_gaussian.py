"""The inverse Gaussian family."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .._special import HALF_LOG_2PI
from ..distributions import InverseGaussian as InverseGaussianDistribution
from ..distributions.inverse_gaussian import inverse_gaussian_log_prob
from .bounds import LEAST_SHARE, log_reach
from .exponential_family import ExponentialFamily
from .label import TargetScaler
from .links import inverse_square, inverse_square_inverse, soft_clamp, soft_clamp_inverse
from .tools import check_kind, check_support, outside, stretched, weighted_mean

_LOG_MEAN_LOW, _LOG_MEAN_HIGH = -30.0, 30.0
# The floor is one of the coefficient of variation, (mu / lambda)^(1/2), which lies between 1e-3 and 1e6.
_CV_FLOOR, _LEAST_RELATIVE_SHAPE = 1e-3, 1e-12


@dataclass(frozen=True)
class InverseGaussian(ExponentialFamily):
    r"""Inverse Gaussian family, :math:`\eta = (-\lambda/(2\mu^2),\ -\lambda/2)`, :math:`T(y) = (y, 1/y)`.

    .. math:: A(\eta) = -\tfrac12\log(-2\eta_2) - 2\sqrt{\eta_1\eta_2},\qquad h(y) = (2\pi y^3)^{-1/2}\text{ on }y > 0,
        \qquad \eta_1, \eta_2 < 0

    The mean is :math:`\mu`, the variance :math:`\mu^3/\lambda`. The network predicts the log-mean and the coefficient
    of variation. The label kernel is log-normal, :math:`LN(\log y, \beta)` with `spread` :math:`\beta`, and the
    log-linear pool of labels their weighted geometric mean. Targets are divided by their mean for training. The
    coefficient of variation lies between 1e-3 and 1e6, the mean within a factor of e^30 of that of the targets.

    Examples
    --------
    >>> import torch
    >>> from probmix.families import InverseGaussian
    >>> InverseGaussian().distribution(torch.tensor([-0.5, -2.0])).mean
    tensor(2.)
    """

    @property
    def name(self) -> str:
        return "inverse-gaussian"

    @property
    def num_params(self) -> int:
        return 2

    def constrain(self, raw: Tensor) -> Tensor:
        raw_mean, raw_cv = raw.unbind(-1)
        mean = soft_clamp(raw_mean, _LOG_MEAN_LOW, _LOG_MEAN_HIGH).exp()
        half = 0.5 * inverse_square(raw_cv, _CV_FLOOR, _LEAST_RELATIVE_SHAPE)
        return torch.stack([-half / mean, -half * mean], -1)

    def unconstrain(self, eta: Tensor) -> Tensor:
        mean, shape = _mean_shape(eta)
        return torch.stack(
            [
                soft_clamp_inverse(mean.log(), _LOG_MEAN_LOW, _LOG_MEAN_HIGH),
                inverse_square_inverse(shape / mean, _CV_FLOOR, _LEAST_RELATIVE_SHAPE),
            ],
            -1,
        )

    def distribution(self, eta: Tensor) -> InverseGaussianDistribution:
        return InverseGaussianDistribution(*_mean_shape(eta))

    def natural_params(self, distribution: torch.distributions.Distribution) -> Tensor:
        distribution = check_kind(distribution, InverseGaussianDistribution)
        mean, shape = distribution.loc, distribution.concentration
        return torch.stack([-0.5 * shape / mean.square(), -0.5 * shape], -1)

    def sufficient_statistics(self, y: Tensor) -> Tensor:
        return torch.stack([y, 1 / y], -1)

    def log_base_measure(self, y: Tensor) -> Tensor:
        return -HALF_LOG_2PI - 1.5 * y.log()

    def log_normalizer(self, eta: Tensor) -> Tensor:
        eta1, eta2 = eta.unbind(-1)
        return -0.5 * torch.log(-2 * eta2) - 2 * (eta1 * eta2).sqrt()

    def mean_params(self, eta: Tensor) -> Tensor:
        mean, shape = _mean_shape(eta)
        return torch.stack([mean, 1 / mean + 1 / shape], -1)

    def _log_prob(self, eta: Tensor, y: Tensor) -> Tensor:
        return inverse_gaussian_log_prob(y, *_mean_shape(eta))

    def residual(self, eta: Tensor, y: Tensor) -> Tensor:
        mean, shape = _mean_shape(eta)
        first = y - mean
        return torch.stack([first, -first / (y * mean) - 1 / shape], -1)

    def kernel_centre(self, y: Tensor, weights: Tensor) -> Tensor:
        return (weights * y.log()).sum(-1).exp()

    def kernel_excess(self, y: Tensor, spread: float) -> Tensor:
        # the mean of log y, and with it that of log h, stays
        return math.expm1(spread / 2) * self.sufficient_statistics(y)

    def transported_residuals(self, y: Tensor, eta_points: Tensor, eta: Tensor) -> Tensor:
        # y / mean has a law without scale; what is left depends on lambda / mean and is standardised
        mean_points, shape_points = _mean_shape(eta_points)
        mean, shape = (part.unsqueeze(-1) for part in _mean_shape(eta))
        square_points, square = mean_points / shape_points, mean / shape
        first = mean * (y - mean_points) / mean_points * (square / square_points).sqrt()
        second = (mean_points - y) / y - square_points
        spread = (square * (1 + 2 * square) / (square_points * (1 + 2 * square_points))).sqrt()
        return torch.stack([first, second * spread / mean], -1)

    def averaging_excess(self, eta: Tensor, concentration: Tensor) -> Tensor:
        # the mean of i.i.d. inverse Gaussian variables is one with their mean and the shape lambda / sum w^2
        _, shape = _mean_shape(eta)
        missing = (1 - concentration) / shape
        return torch.stack([torch.zeros_like(missing), missing], -1)

    def scaler(self, y: Tensor, weights: Tensor | None = None, dim: int = 0) -> TargetScaler:
        mean = weighted_mean(y.double(), weights, dim)
        return TargetScaler(torch.zeros_like(mean), mean)

    def rescale(self, eta: Tensor, scaler: TargetScaler) -> Tensor:
        eta1, eta2 = eta.double().unbind(-1)
        return torch.stack([eta1 / scaler.scale, eta2 * scaler.scale], -1)

    def stretch(self, eta: Tensor, marginal: Tensor, factor: float) -> Tensor:
        mean, shape = _mean_shape(eta.double())
        log_mean = stretched(mean.log(), _mean_shape(marginal.double())[0].log(), factor)
        # the coefficient of variation is the scale of log y
        half = 0.5 * (shape / mean) / factor**2
        return torch.stack([-half * (-log_mean).exp(), -half * log_mean.exp()], -1)

    def marginal_params(self, y: Tensor, weights: Tensor | None = None, dim: int = 0) -> Tensor:
        """Parameters of largest likelihood, the mean and that of the reciprocals: moments say little of heavy tails."""
        mean, square = _mean_and_square(y.double(), weights, dim)
        half = 0.5 / square.clamp(min=1e-4, max=1e11)
        return torch.stack([-half / mean, -half * mean], -1)

    def beyond_bounds(self, y: Tensor, weights: Tensor | None = None) -> list[str]:
        _, square = _mean_and_square(y.double(), weights, 0)
        return outside("a coefficient of variation", square.sqrt(), _CV_FLOOR, _LEAST_RELATIVE_SHAPE**-0.5)

    def raw_bounds(
        self, y: Tensor, weights: Tensor | None = None, dim: int = 0, least: float = LEAST_SHARE
    ) -> tuple[Tensor, Tensor]:
        low, high = (soft_clamp_inverse(end, _LOG_MEAN_LOW, _LOG_MEAN_HIGH) for end in log_reach(y.double(), dim))
        free = torch.full_like(low, torch.inf)
        return torch.stack([low, -free], -1), torch.stack([high, free], -1)

    def check_targets(self, y: Tensor) -> None:
        check_support(
            y,
            y.isfinite() & (y > 0),
            "Inverse Gaussian targets must be positive",
            "For targets with exact zeros take 'zero-adjusted-inverse-gaussian' or 'tweedie'.",
        )


def _mean_and_square(y: Tensor, weights: Tensor | None, dim: int) -> tuple[Tensor, Tensor]:
    """The mean, and the squared coefficient of variation of largest likelihood."""
    mean = weighted_mean(y, weights, dim)
    return mean, weighted_mean((y - mean).square() / (y * mean), weights, dim)


def _mean_shape(eta: Tensor) -> tuple[Tensor, Tensor]:
    eta1, eta2 = eta.unbind(-1)
    return (eta2 / eta1).sqrt(), -2 * eta2
