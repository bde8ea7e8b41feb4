"""The log-normal family."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import softplus

from ..distributions import LogNormal as LogNormalDistribution
from .bounds import LEAST_SHARE, least_scale, log_reach
from .expected import positional
from .exponential_family import ExponentialFamily
from .gaussian import Gaussian
from .label import Label, TargetScaler
from .links import (
    BEYOND,
    in_forward_mode,
    inverse_square,
    inverse_square_inverse,
    soft_clamp,
    soft_clamp_inverse,
    softplus_inverse,
)
from .tools import check_kind, check_support, outside, side_by_side, weighted_mean

# log y is Gaussian with the same natural parameters
_LOG = Gaussian()
# With these limits the mean, exp(mu + sigma^2 / 2), stays finite in float32.
_LOG_MEDIAN_LOW, _LOG_MEDIAN_HIGH = -30.0, 30.0
_SD_FLOOR, _LEAST_PRECISION = 1e-3, 1e-2
# An output of zero shall be a standard deviation of log y of 0.31, for at 0.7 or more the mean hangs on rare draws.
_RAW_SHIFT = 1.0
# Up to here a head's standard deviation of log y goes if that of the targets is small, and if it is large.
_WIDE, _WIDEST = 1.0, 8.0
# How sharply the room between a median and its end, on a logarithmic scale, ends at zero.
_SHARPNESS = 2.0


@dataclass(frozen=True)
class LogNormal(ExponentialFamily):
    r"""Log-normal family, :math:`\log y \sim N(\mu, \sigma^2)`, :math:`\eta = (\mu/\sigma^2,\ -1/(2\sigma^2))`.

    .. math:: T(y) = (\log y, \log^2 y),\qquad A(\eta) = -\eta_1^2/(4\eta_2) - \tfrac12\log(-2\eta_2),\qquad
        h(y) = (2\pi)^{-1/2}/y,\qquad \eta_2 < 0

    The mean is :math:`\exp(\mu + \sigma^2/2)`, the median :math:`\exp\mu`. Log-linear pooling weights by precision, and
    the pool of labels is their weighted geometric mean. The label kernel is log-normal, :math:`LN(\log y, \beta)` with
    `spread` :math:`\beta`. Targets are divided by their geometric mean for training; the standard deviation of log y
    lies between 1e-3 and 10, the median within a factor of e^30 of that mean.

    Examples
    --------
    >>> import torch
    >>> from probmix.families import LogNormal
    >>> eta = LogNormal().natural_params(torch.distributions.LogNormal(torch.tensor(1.0), torch.tensor(2.0)))
    >>> eta
    tensor([ 0.2500, -0.1250])
    >>> LogNormal().distribution(eta).mean.log()
    tensor(3.)
    """

    @property
    def name(self) -> str:
        return "lognormal"

    @property
    def num_params(self) -> int:
        return 2

    def constrain(self, raw: Tensor) -> Tensor:
        raw_median, raw_sd = raw.unbind(-1)
        mean = soft_clamp(raw_median, _LOG_MEDIAN_LOW, _LOG_MEDIAN_HIGH)
        precision = inverse_square(raw_sd - _RAW_SHIFT, _SD_FLOOR, _LEAST_PRECISION)
        return side_by_side(mean * precision, -0.5 * precision)

    def unconstrain(self, eta: Tensor) -> Tensor:
        eta1, eta2 = eta.unbind(-1)
        raw_sd = inverse_square_inverse(-2 * eta2, _SD_FLOOR, _LEAST_PRECISION) + _RAW_SHIFT
        return torch.stack([soft_clamp_inverse(-0.5 * eta1 / eta2, _LOG_MEDIAN_LOW, _LOG_MEDIAN_HIGH), raw_sd], -1)

    def distribution(self, eta: Tensor) -> LogNormalDistribution:
        log_y = _LOG.distribution(eta)
        return LogNormalDistribution(log_y.mean, log_y.stddev)

    def natural_params(self, distribution: torch.distributions.Distribution) -> Tensor:
        return _LOG.natural_params(check_kind(distribution, torch.distributions.LogNormal).base_dist)

    def sufficient_statistics(self, y: Tensor) -> Tensor:
        return _LOG.sufficient_statistics(y.log())

    def log_base_measure(self, y: Tensor) -> Tensor:
        return _LOG.log_base_measure(y) - y.log()

    def log_normalizer(self, eta: Tensor) -> Tensor:
        return _LOG.log_normalizer(eta)

    def mean_params(self, eta: Tensor) -> Tensor:
        return _LOG.mean_params(eta)

    def _log_prob(self, eta: Tensor, y: Tensor) -> Tensor:
        log_y = y.log()
        return _LOG._log_prob(eta, log_y) - log_y

    def residual(self, eta: Tensor, y: Tensor) -> Tensor:
        return _LOG.residual(eta, y.log())

    def centre(self, eta: Tensor) -> Tensor:
        return _LOG.centre(eta).exp()

    def kernel_centre(self, y: Tensor, weights: Tensor) -> Tensor:
        return (weights * y.log()).sum(-1).exp()

    def kernel_excess(self, y: Tensor, spread: float) -> Tensor:
        return _LOG.kernel_excess(y, spread)

    def transported_residuals(self, y: Tensor, eta_points: Tensor, eta: Tensor) -> Tensor:
        return _LOG.transported_residuals(y.log(), eta_points, eta)

    def averaging_excess(self, eta: Tensor, concentration: Tensor) -> Tensor:
        r"""What averaging the logarithms takes away: :math:`E[T(y)] - E[T(\prod_k y_k^{w_k})]`, an exact form.

        For the arithmetic mean of log-normal labels there is none, so `calibrated_label` takes the geometric one.
        """
        return _LOG.averaging_excess(eta, concentration)

    def calibrated_label(
        self, y: Tensor, weights: Tensor, eta: Tensor, spread: float = 0.0, eta_points: Tensor | None = None
    ) -> Label:
        label = _LOG.calibrated_label(y.double().log(), weights, eta, spread, eta_points)
        return Label(label.value.exp(), label.excess)

    def scaler(self, y: Tensor, weights: Tensor | None = None, dim: int = 0) -> TargetScaler:
        log_mean = weighted_mean(y.double().log(), weights, dim)
        return TargetScaler(torch.zeros_like(log_mean), log_mean.exp())

    def rescale(self, eta: Tensor, scaler: TargetScaler) -> Tensor:
        log_scale = scaler.scale.log()
        return _LOG.rescale(eta, TargetScaler(log_scale, torch.ones_like(log_scale)))

    def stretch(self, eta: Tensor, marginal: Tensor, factor: float) -> Tensor:
        return _LOG.stretch(eta, marginal, factor)

    def marginal_params(self, y: Tensor, weights: Tensor | None = None, dim: int = 0) -> Tensor:
        return _LOG.marginal_params(y.double().log(), weights, dim)

    def beyond_bounds(self, y: Tensor, weights: Tensor | None = None) -> list[str]:
        log_y = y.double().log()
        square = weighted_mean((log_y - weighted_mean(log_y, weights, 0)).square(), weights, 0)
        return outside("a standard deviation of log y", square.sqrt(), _SD_FLOOR, _LEAST_PRECISION**-0.5)

    def raw_bounds(
        self, y: Tensor, weights: Tensor | None = None, dim: int = 0, least: float = LEAST_SHARE
    ) -> tuple[Tensor, Tensor]:
        y = y.double()
        low, high = log_reach(y, dim)
        log_y = y.log()
        sd = weighted_mean((log_y - weighted_mean(log_y, weights, dim)).square(), weights, dim).sqrt()
        floor = least_scale(y, least * sd, dim, unit=y.amax(dim, keepdim=True)).clamp(min=2 * _SD_FLOOR)
        return self._raw(low, floor), self._raw(high, (2 * sd).clamp(_WIDE, _WIDEST))

    def as_component(self, raw: Tensor, high: Tensor) -> Tensor:
        r"""With the root mean square of y, :math:`e^{\mu + \sigma^2}`, no further out than a median goes.

        That is e times the largest target, and fades out below four times. So the variance of log y is less than what
        is left of :math:`\mu` to there, on the scale of a softplus. A component of hardly any weight that is as wide as
        it likes costs no likelihood, and alone decides on the mean and the variance.
        """
        median, raw_sd = raw.unbind(-1)
        narrowed = _narrowed if in_forward_mode() else _Narrowed.apply
        return torch.stack([median, narrowed(raw_sd, median, high.select(-1, 0) + BEYOND)[0]], -1)

    def _raw(self, median: Tensor, sd: Tensor) -> Tensor:
        """Network output for a median and a standard deviation of log y: (*B,), (*B,) -> (*B, num_raw)."""
        precision = sd.pow(-2)
        return self.unconstrain(torch.stack([median * precision, -0.5 * precision], -1))

    def check_targets(self, y: Tensor) -> None:
        check_support(
            y,
            y.isfinite() & (y > 0),
            "Log-normal targets must be positive",
            "For targets with exact zeros take 'zero-adjusted-lognormal' or 'tweedie'.",
        )


class _Narrowed(torch.autograd.Function):
    """Output for a standard deviation of log y that is below the root of the room of the median, and its gradient.

    It fades out as `links.soft_bound` does, within half a unit, but ends where softplus is that root. With the gradient
    by theory it takes a fraction of the operations of autograd's, and it is differentiable itself in reverse.
    """

    generate_vmap_rule = True

    @staticmethod
    @positional
    def forward(raw_sd: Tensor, median: Tensor, end: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return _narrowed(raw_sd, median, end)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, ...]) -> None:
        ctx.mark_non_differentiable(*output[1:])
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*inputs, *output[1:])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        if gradients[0] is None:
            return None, None, None
        raw_sd, median, end, of_sd, of_median = ctx.saved_tensors
        if torch.is_grad_enabled():
            # it is to be differentiated further, for which what was found then is a constant
            _, of_sd, of_median = _narrowed(raw_sd, median, end)
        parts = ((of_sd, raw_sd.shape), (of_median, median.shape))
        return *((gradients[0] * slope).sum_to_size(shape) for slope, shape in parts), None


def _narrowed(raw_sd: Tensor, median: Tensor, end: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The output, and its slopes in the standard deviation's and the median's."""
    left = end - median
    root = softplus(left, beta=_SHARPNESS).sqrt()
    widest = root - _SD_FLOOR
    excess = (raw_sd - (softplus_inverse(widest) + (_RAW_SHIFT - BEYOND))).clamp(0, 1e15)
    beyond = excess / BEYOND
    scale = (1 + beyond.square()).rsqrt()
    slope = scale.pow(3)
    of_limit = torch.sigmoid(_SHARPNESS * left) / (2 * root * torch.expm1(-widest))
    return raw_sd - excess + BEYOND * beyond * scale, slope, (1 - slope) * of_limit
