"""Negative binomial families: counts whose variance grows with the square of their mean."""

import math
from dataclasses import dataclass
from numbers import Real

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, softplus

from .._special import stirling_remainder
from ..distributions import NegativeBinomial as NegativeBinomialDistribution
from ..distributions.negative_binomial import negative_binomial_log_prob
from .bounds import LEAST_SHARE, log_count_reach
from .counts import LOG_RATE_HIGH, LOG_RATE_LOW, CountFamily, check_counts, outside_rates
from .family import Family
from .links import soft_clamp, soft_clamp_inverse
from .tools import check_kind, first, outside, stretched, weighted_mean

_LOG_DISPERSION_LOW, _LOG_DISPERSION_HIGH = -16.0, 8.0
# A head's dispersion is at most ten times that of all counts together, or ten.
_LOG_DISPERSION_REACH = math.log(10.0)


@dataclass(frozen=True)
class FixedNegativeBinomial(CountFamily):
    r"""Negative binomial family of mean :math:`\mu` and a known dispersion :math:`\alpha = 1/r`.

    .. math:: \eta = \log\frac{\mu}{r + \mu} < 0,\quad T(y) = y,\quad A(\eta) = -r\log(1 - e^\eta),\quad
        h(y) = \frac{\Gamma(y + r)}{\Gamma(r)\,y!}

    Its variance is :math:`\mu + \alpha\mu^2`. Log-linear pooling is the weighted geometric mean of :math:`\mu/(r +
    \mu)`, and stays in the family, which is exponential since the dispersion is known; for labels see `CountFamily`.
    The log-mean lies between -20 and 30.

    Parameters
    ----------
    dispersion : float
        Positive; 1 is the geometric distribution.

    Examples
    --------
    >>> import torch
    >>> from probmix.families import FixedNegativeBinomial
    >>> FixedNegativeBinomial(dispersion=0.5).distribution(torch.log(torch.tensor([0.5]))).mean
    tensor(2.)
    """

    dispersion: float = 1.0

    def __post_init__(self) -> None:
        if not isinstance(self.dispersion, Real) or not 0 < self.dispersion < math.inf:
            raise ValueError(
                f"`dispersion` must be positive and finite; got {self.dispersion!r}. For 0 use the family 'poisson'."
            )

    @property
    def name(self) -> str:
        return "fixed-negative-binomial"

    @property
    def _log_count(self) -> float:
        """The logarithm of r."""
        return -math.log(self.dispersion)

    def _from_log_mean(self, log_mean: Tensor) -> Tensor:
        return logsigmoid(log_mean - self._log_count).unsqueeze(-1)

    def _log_mean(self, eta: Tensor) -> Tensor:
        eta = eta.squeeze(-1)
        return eta - torch.log(-torch.expm1(eta)) + self._log_count

    def constrain(self, raw: Tensor) -> Tensor:
        return self._from_log_mean(soft_clamp(raw.squeeze(-1), LOG_RATE_LOW, LOG_RATE_HIGH))

    def unconstrain(self, eta: Tensor) -> Tensor:
        return soft_clamp_inverse(self._log_mean(eta), LOG_RATE_LOW, LOG_RATE_HIGH).unsqueeze(-1)

    def distribution(self, eta: Tensor) -> NegativeBinomialDistribution:
        log_mean = self._log_mean(eta)
        return NegativeBinomialDistribution(
            torch.full_like(log_mean, 1 / self.dispersion), logits=log_mean - self._log_count
        )

    def natural_params(self, distribution: torch.distributions.Distribution) -> Tensor:
        return logsigmoid(check_kind(distribution, torch.distributions.NegativeBinomial).logits).unsqueeze(-1)

    def log_base_measure(self, y: Tensor) -> Tensor:
        # log Gamma(y + r) - log Gamma(r) by Stirling's formula, lest large r cancel
        r = torch.full_like(y, 1 / self.dispersion)
        remainder = stirling_remainder(r + y) - stirling_remainder(r)
        rise = (r + y - 0.5) * torch.log1p(y / r) + y * (r.log() - 1) + remainder
        return rise - torch.lgamma(y + 1)

    def log_normalizer(self, eta: Tensor) -> Tensor:
        # 1 - e^eta = r / (r + mu)
        return softplus(self._log_mean(eta) - self._log_count) / self.dispersion

    def mean_params(self, eta: Tensor) -> Tensor:
        return 1 / (self.dispersion * torch.expm1(-eta))

    def _log_prob(self, eta: Tensor, y: Tensor) -> Tensor:
        log_mean = self._log_mean(eta)
        return negative_binomial_log_prob(y, log_mean, torch.full_like(log_mean, 1 / self.dispersion))

    def stretch(self, eta: Tensor, marginal: Tensor, factor: float) -> Tensor:
        log_mean, centre = self._log_mean(eta.double()), self._log_mean(marginal.double())
        return self._from_log_mean(stretched(log_mean, centre, factor))

    def expose(self, eta: Tensor, log_exposure: Tensor) -> Tensor:
        return self._from_log_mean(self._log_mean(eta) + log_exposure)

    def marginal_params(self, y: Tensor, weights: Tensor | None = None, dim: int = 0) -> Tensor:
        return self._from_log_mean(weighted_mean(y.double(), weights, dim).clamp(min=1e-3).log())

    def raw_bounds(
        self, y: Tensor, weights: Tensor | None = None, dim: int = 0, least: float = LEAST_SHARE
    ) -> tuple[Tensor, Tensor]:
        y = y.double()
        low, high = log_count_reach(y, weighted_mean(y, weights, dim), dim)
        return self.unconstrain(self._from_log_mean(low)), self.unconstrain(self._from_log_mean(high))

    def check_targets(self, y: Tensor) -> None:
        check_counts(y, "negative binomial")


@dataclass(frozen=True)
class NegativeBinomial(Family):
    r"""Negative binomial family of mean :math:`\mu` and a dispersion :math:`\alpha` that the network learns as well.

    Parameters are :math:`(\log\mu, \log\alpha)`; the variance is :math:`\mu + \alpha\mu^2`. With a dispersion that is
    free this is no exponential family, for :math:`\Gamma(y + 1/\alpha)` does not factor, and it **pools linearly**: see
    `Family`. With a dispersion that is known, `FixedNegativeBinomial`, it pools log-linearly. The
    log-mean lies between -20 and 30, the dispersion between e^-16 = 1e-7, which is all but Poisson, and e^8 = 3,000.

    Examples
    --------
    >>> import torch
    >>> from probmix.families import NegativeBinomial
    >>> NegativeBinomial().distribution(torch.tensor([0.0, 0.0])).variance
    tensor(2.)
    """

    @property
    def name(self) -> str:
        return "negative-binomial"

    @property
    def num_params(self) -> int:
        return 2

    def constrain(self, raw: Tensor) -> Tensor:
        return torch.stack(
            [
                soft_clamp(first(raw), LOG_RATE_LOW, LOG_RATE_HIGH),
                soft_clamp(raw.select(-1, 1), _LOG_DISPERSION_LOW, _LOG_DISPERSION_HIGH),
            ],
            -1,
        )

    def unconstrain(self, eta: Tensor) -> Tensor:
        return torch.stack(
            [
                soft_clamp_inverse(first(eta), LOG_RATE_LOW, LOG_RATE_HIGH),
                soft_clamp_inverse(eta.select(-1, 1), _LOG_DISPERSION_LOW, _LOG_DISPERSION_HIGH),
            ],
            -1,
        )

    def distribution(self, eta: Tensor) -> NegativeBinomialDistribution:
        log_mean, log_dispersion = eta.unbind(-1)
        return NegativeBinomialDistribution((-log_dispersion).exp(), logits=log_mean + log_dispersion)

    def _log_prob(self, eta: Tensor, y: Tensor) -> Tensor:
        log_mean, log_dispersion = eta.unbind(-1)
        return negative_binomial_log_prob(y, log_mean, (-log_dispersion).exp())

    def stretch(self, eta: Tensor, marginal: Tensor, factor: float) -> Tensor:
        # of large counts it is a Gamma distribution, whose coefficient of variation is the root of the dispersion
        log_mean = stretched(first(eta), first(marginal), factor)
        log_dispersion = eta.select(-1, 1).double() + 2 * math.log(factor)
        return torch.stack(torch.broadcast_tensors(log_mean, log_dispersion), -1)

    def expose(self, eta: Tensor, log_exposure: Tensor) -> Tensor:
        return torch.stack([first(eta) + log_exposure, eta.select(-1, 1)], -1)

    def marginal_params(self, y: Tensor, weights: Tensor | None = None, dim: int = 0) -> Tensor:
        y = y.double()
        mean = weighted_mean(y, weights, dim).clamp(min=1e-3)
        variance = weighted_mean((y - mean).square(), weights, dim)
        dispersion = ((variance - mean) / mean.square()).clamp(min=1e-2, max=1e2)
        return torch.stack([mean.log(), dispersion.log()], -1)

    def beyond_bounds(self, y: Tensor, weights: Tensor | None = None) -> list[str]:
        y = y.double()
        mean = weighted_mean(y, weights, 0)
        excess = weighted_mean((y - mean).square(), weights, 0) - mean
        dispersion = excess / mean.square().clamp(min=torch.finfo(mean.dtype).tiny)
        return outside_rates(y, weights) + outside("a dispersion", dispersion, high=math.exp(_LOG_DISPERSION_HIGH))

    def raw_bounds(
        self, y: Tensor, weights: Tensor | None = None, dim: int = 0, least: float = LEAST_SHARE
    ) -> tuple[Tensor, Tensor]:
        y = y.double()
        low, high = log_count_reach(y, weighted_mean(y, weights, dim), dim)
        dispersion = self.marginal_params(y, weights, dim)[..., 1]
        widest = dispersion.clamp(min=0.0) + _LOG_DISPERSION_REACH
        lowest = self.unconstrain(torch.stack([low, dispersion], -1))
        lowest[..., 1] = -math.inf
        return lowest, self.unconstrain(torch.stack([high, widest], -1))

    def check_targets(self, y: Tensor) -> None:
        check_counts(y, "negative binomial")
