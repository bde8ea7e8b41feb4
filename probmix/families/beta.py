"""The beta family, for shares and rates."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .._incomplete_beta import log_kernel
from ..distributions import Beta as BetaDistribution
from .bounds import LEAST_SHARE, logit_reach
from .exponential_family import ExponentialFamily
from .label import Label
from .links import inverse_square, inverse_square_inverse, soft_clamp, soft_clamp_inverse
from .tools import check_kind, check_support, first, outside, stretched, weighted_mean

_LOGIT_LIMIT, _FARTHEST = 15.0, 14.0
# The sum of the concentrations lies between 0.1 and 1e6. Below, a float can hardly tell most draws from 0 or 1; above,
# the standard deviation is 0.1 % of its largest value at that mean.
_SD_FLOOR, _LEAST_SUM = 1e-3, 0.1
# An output of zero shall be a standard deviation of 0.05 of its largest value: the link is all but exponential there.
_RAW_SHIFT = 3.0
_LEAST_MEAN = 1e-4


@dataclass(frozen=True)
class Beta(ExponentialFamily):
    r"""Beta family with concentrations a and b, :math:`\eta = (a, b)`, :math:`T(y) = (\log y, \log(1 - y))`.

    .. math:: A(\eta) = \log B(\eta_1, \eta_2),\qquad h(y) = \frac1{y(1 - y)}\text{ on }0 < y < 1,\qquad
        \eta_1, \eta_2 > 0

    With the base measure in this form small concentrations keep their digits. Log-linear pooling is the weighted mean
    of both concentrations. The network predicts the logit of the mean, and the standard deviation relative to its
    largest value at that mean, :math:`(a + b)^{-1/2}`. The label kernel is
    :math:`\mathrm{Beta}(y/\beta, (1 - y)/\beta)` of mean y, whose variance is :math:`y(1 - y)\beta/(1 + \beta)`, with
    `spread` :math:`\beta`; the log-linear pool of such kernels is one around the mean label.
    Targets are not scaled. The sum of the concentrations lies between 0.1 and 1e6, the logit of the mean between -15
    and 15.

    Examples
    --------
    >>> import torch
    >>> from probmix.families import Beta
    >>> Beta().distribution(torch.tensor([3.0, 1.0])).mean
    tensor(0.7500)
    """

    @property
    def name(self) -> str:
        return "beta"

    @property
    def num_params(self) -> int:
        return 2

    def constrain(self, raw: Tensor) -> Tensor:
        raw_mean, raw_sd = raw.unbind(-1)
        logit = soft_clamp(raw_mean, -_LOGIT_LIMIT, _LOGIT_LIMIT)
        total = inverse_square(raw_sd - _RAW_SHIFT, _SD_FLOOR, _LEAST_SUM)
        return torch.stack([total * logit.sigmoid(), total * (-logit).sigmoid()], -1)

    def unconstrain(self, eta: Tensor) -> Tensor:
        a, b = eta.unbind(-1)
        return torch.stack(
            [
                soft_clamp_inverse(a.log() - b.log(), -_LOGIT_LIMIT, _LOGIT_LIMIT),
                inverse_square_inverse(a + b, _SD_FLOOR, _LEAST_SUM) + _RAW_SHIFT,
            ],
            -1,
        )

    def distribution(self, eta: Tensor) -> BetaDistribution:
        a, b = eta.unbind(-1)
        return BetaDistribution(a, b)

    def natural_params(self, distribution: torch.distributions.Distribution) -> Tensor:
        beta = check_kind(distribution, torch.distributions.Beta)
        return torch.stack([torch.as_tensor(beta.concentration1), torch.as_tensor(beta.concentration0)], -1)

    def sufficient_statistics(self, y: Tensor) -> Tensor:
        return torch.stack([y.log(), torch.log1p(-y)], -1)

    def log_base_measure(self, y: Tensor) -> Tensor:
        return -y.log() - torch.log1p(-y)

    def log_normalizer(self, eta: Tensor) -> Tensor:
        return torch.lgamma(eta).sum(-1) - torch.lgamma(eta.sum(-1))

    def mean_params(self, eta: Tensor) -> Tensor:
        return torch.digamma(eta) - torch.digamma(eta.sum(-1, keepdim=True))

    def centre(self, eta: Tensor) -> Tensor:
        return first(eta) / eta.sum(-1)

    def _log_prob(self, eta: Tensor, y: Tensor) -> Tensor:
        return log_kernel(y, *eta.unbind(-1)) + self.log_base_measure(y)

    def pool_labels(self, y: Tensor, weights: Tensor, spread: float = 0.0, pool: str = "log-linear") -> Label:
        label = super().pool_labels(y, weights, spread, pool)
        # log h is -T_1 - T_2, under the kernel as well
        return label if label.excess is None else Label(label.value, label.excess, -label.excess.sum(-1))

    def kernel_excess(self, y: Tensor, spread: float) -> Tensor:
        if not spread:
            return torch.zeros_like(self.sufficient_statistics(y))
        eta = torch.stack([y, 1 - y], -1) / spread
        return self.mean_params(eta) - self.sufficient_statistics(y)

    def transported_residuals(self, y: Tensor, eta_points: Tensor, eta: Tensor) -> Tensor:
        return self.residual(eta_points, y) * (_variances(eta).unsqueeze(-2) / _variances(eta_points)).sqrt()

    def averaging_excess(self, eta: Tensor, concentration: Tensor) -> Tensor:
        r"""Of the beta distribution with the mean and the variance of the weighted mean of i.i.d. draws.

        An approximation, for the mean of beta variables is not one: for two draws at equal weights it is off by 0.001
        at concentrations 2 and 5, by 0.004 in the uniform distribution, and by 0.03 at concentrations of one half.
        """
        total = eta.sum(-1)
        averaged = (total + 1) / concentration - 1
        return self.mean_params(eta) - self.mean_params(eta * (averaged / total).unsqueeze(-1))

    def stretch(self, eta: Tensor, marginal: Tensor, factor: float) -> Tensor:
        log_a, log_b = eta.double().log().unbind(-1)
        marginal_a, marginal_b = marginal.double().log().unbind(-1)
        logit = stretched(log_a - log_b, marginal_a - marginal_b, factor)
        total = eta.double().sum(-1) / factor**2
        return torch.stack([total * logit.sigmoid(), total * (-logit).sigmoid()], -1)

    def marginal_params(self, y: Tensor, weights: Tensor | None = None, dim: int = 0) -> Tensor:
        y = y.double()
        mean = weighted_mean(y, weights, dim)
        variance = weighted_mean((y - mean).square(), weights, dim)
        mean = mean.clamp(_LEAST_MEAN, 1 - _LEAST_MEAN)
        total = (mean * (1 - mean) / variance - 1).clamp(min=2 * _LEAST_SUM, max=1e4)
        return torch.stack([mean * total, (1 - mean) * total], -1)

    def beyond_bounds(self, y: Tensor, weights: Tensor | None = None) -> list[str]:
        y = y.double()
        mean = weighted_mean(y, weights, 0)
        share = weighted_mean((y - mean).square(), weights, 0) / (mean * (1 - mean))
        sds = "a standard deviation, relative to the largest at its mean,"
        found = outside(sds, share.sqrt(), _SD_FLOOR, (1 + _LEAST_SUM) ** -0.5)
        return (
            found
            + outside("a mean", mean, math.exp(-_LOGIT_LIMIT), nothing=0.0)
            + outside("a mean of 1 - y", 1 - mean, math.exp(-_LOGIT_LIMIT), nothing=0.0)
        )

    def raw_bounds(
        self, y: Tensor, weights: Tensor | None = None, dim: int = 0, least: float = LEAST_SHARE
    ) -> tuple[Tensor, Tensor]:
        low, high = logit_reach(y.double(), dim)
        inside = [
            soft_clamp_inverse(end.clamp(-_FARTHEST, _FARTHEST), -_LOGIT_LIMIT, _LOGIT_LIMIT) for end in (low, high)
        ]
        free = torch.full_like(low, torch.inf)
        return torch.stack([inside[0], -free], -1), torch.stack([inside[1], free], -1)

    def check_targets(self, y: Tensor) -> None:
        check_support(
            y,
            (y > 0) & (y < 1),
            "Beta targets must lie between 0 and 1, both excluded",
            "Divide percentages by 100; model exact zeros and ones separately.",
        )


def _variances(eta: Tensor) -> Tensor:
    """Of log y and log(1 - y)."""
    own = torch.polygamma(1, eta)
    # a difference that rounding could turn negative
    return torch.maximum(own - torch.polygamma(1, eta.sum(-1, keepdim=True)), 1e-15 * own)
