"""The Tweedie family between Poisson and Gamma."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .._tweedie import tweedie_log_prob
from ..distributions import Tweedie as TweedieDistribution
from ..distributions.tweedie import check_power
from .bounds import LEAST_SHARE, log_count_reach
from .family import Family
from .label import TargetScaler
from .links import soft_clamp, soft_clamp_inverse
from .tools import check_support, outside, stretched, weighted_mean

_LOG_MEAN_LOW, _LOG_MEAN_HIGH = -30.0, 30.0
_LEAST, _LARGEST = 1e-6, 1e6


@dataclass(frozen=True)
class Tweedie(Family):
    r"""Tweedie family of mean :math:`\mu` and dispersion :math:`\phi`, with zeros among positive targets.

    .. math:: \mathrm{Var}(Y) = \phi\mu^p,\qquad P(Y = 0) = \exp\Bigl(-\frac{\mu^{2 - p}}{\phi(2 - p)}\Bigr)

    For totals: of the claims of a policy, of the rain of a day. They are sums of a Poisson number of Gamma variables,
    so that one mean governs zeros and amounts; `ZeroAdjusted` has a part of its own for each. Parameters are
    :math:`(\log\mu, \log\phi)`, both learned, and the power p is given. With :math:`\phi` free this is no exponential
    family, and it **pools linearly**; see `Family`. `log_prob` is the logarithm of a probability at zero and of a
    density above.

    Under an exposure e the total is that of e units: :math:`\mu e` and :math:`\phi e^{1 - p}`, which multiplies the
    number of summands and leaves each as it is. Targets are divided by their mean for training; in these units
    :math:`\log\mu` lies between -30 and 30 and :math:`\phi` between 1e-6 and 1e6.

    Parameters
    ----------
    power : float
        p, between 1.01 and 1.99: towards 1 the amounts of a summand vary little, towards 2 much. Compare some by
        their validation scores; 1.5 to 1.7 is usual for claims.

    References
    ----------
    Jørgensen and Paes de Souza (1994), Fitting Tweedie's compound Poisson model to insurance claims data, Scand.
    Actuarial J. 1994, 69-93.

    Examples
    --------
    >>> import torch
    >>> from probmix.families import Tweedie
    >>> Tweedie(power=1.6).distribution(torch.tensor([0.6931, 1.0986])).variance
    tensor(9.0935)
    """

    power: float = 1.5

    @property
    def has_second_derivatives(self) -> bool:
        return False

    def __post_init__(self) -> None:
        check_power(self.power)

    @property
    def name(self) -> str:
        return "tweedie"

    @property
    def num_params(self) -> int:
        return 2

    def constrain(self, raw: Tensor) -> Tensor:
        return torch.stack(
            [
                soft_clamp(raw[..., 0], _LOG_MEAN_LOW, _LOG_MEAN_HIGH),
                soft_clamp(raw[..., 1], math.log(_LEAST), math.log(_LARGEST)),
            ],
            -1,
        )

    def unconstrain(self, eta: Tensor) -> Tensor:
        return torch.stack(
            [
                soft_clamp_inverse(eta[..., 0], _LOG_MEAN_LOW, _LOG_MEAN_HIGH),
                soft_clamp_inverse(eta[..., 1], math.log(_LEAST), math.log(_LARGEST)),
            ],
            -1,
        )

    def distribution(self, eta: Tensor) -> TweedieDistribution:
        log_mean, log_dispersion = eta.unbind(-1)
        return TweedieDistribution(log_mean.exp(), log_dispersion.exp(), self.power)

    def _log_prob(self, eta: Tensor, y: Tensor) -> Tensor:
        log_mean, log_dispersion = eta.unbind(-1)
        return tweedie_log_prob(y, log_mean, log_dispersion, self.power)

    def scaler(self, y: Tensor, weights: Tensor | None = None, dim: int = 0) -> TargetScaler:
        mean = weighted_mean(y.double(), weights, dim)
        return TargetScaler(torch.zeros_like(mean), torch.where(mean > 0, mean, torch.ones_like(mean)))

    def rescale(self, eta: Tensor, scaler: TargetScaler) -> Tensor:
        log_mean, log_dispersion = eta.double().unbind(-1)
        log_scale = scaler.scale.log()
        parts = log_mean + log_scale, log_dispersion + (2 - self.power) * log_scale
        return torch.stack(torch.broadcast_tensors(*parts), -1)

    def expose(self, eta: Tensor, log_exposure: Tensor) -> Tensor:
        return torch.stack([eta[..., 0] + log_exposure, eta[..., 1] + (1 - self.power) * log_exposure], -1)

    def stretch(self, eta: Tensor, marginal: Tensor, factor: float) -> Tensor:
        # the dispersion is left alone, for it would move the share of the zeros
        log_mean = stretched(eta[..., 0], marginal[..., 0], factor)
        return torch.stack(torch.broadcast_tensors(log_mean, eta[..., 1].double()), -1)

    def marginal_params(self, y: Tensor, weights: Tensor | None = None, dim: int = 0) -> Tensor:
        y = y.double()
        mean = weighted_mean(y, weights, dim).clamp(min=1e-6)
        variance = weighted_mean((y - mean).square(), weights, dim)
        dispersion = (variance / mean.pow(self.power)).clamp(min=10 * _LEAST, max=0.1 * _LARGEST)
        return torch.stack([mean.log(), dispersion.log()], -1)

    def raw_bounds(
        self, y: Tensor, weights: Tensor | None = None, dim: int = 0, least: float = LEAST_SHARE
    ) -> tuple[Tensor, Tensor]:
        y = y.double()
        ends = log_count_reach(y, weighted_mean(y, weights, dim), dim)
        low, high = (soft_clamp_inverse(end, _LOG_MEAN_LOW, _LOG_MEAN_HIGH) for end in ends)
        free = torch.full_like(low, torch.inf)
        return torch.stack([low, -free], -1), torch.stack([high, free], -1)

    def beyond_bounds(self, y: Tensor, weights: Tensor | None = None) -> list[str]:
        y = y.double()
        mean = weighted_mean(y, weights, 0)
        square = weighted_mean((y - mean).square(), weights, 0) / mean.square().clamp(min=torch.finfo(mean.dtype).tiny)
        return outside("a dispersion, in units of the mean,", square, _LEAST, _LARGEST)

    def check_targets(self, y: Tensor) -> None:
        check_support(
            y,
            y.isfinite() & (y >= 0),
            "Tweedie targets must be zero or positive",
            "Use a family for real targets such as 'gaussian' or 'student-t'.",
        )
