"""The Student t family, whose degrees of freedom are learned."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..distributions import StudentT as StudentTDistribution
from ..distributions.student_t import student_t_log_prob
from .bounds import LEAST_SHARE, least_scale, reach
from .family import Family
from .gaussian import Gaussian
from .label import TargetScaler
from .links import (
    inverse_square,
    inverse_square_inverse,
    soft_clamp,
    soft_clamp_inverse,
    soft_limit,
    soft_limit_inverse,
)
from .tools import check_support, counting, stretched, weighted_mean

_LOC_LIMIT, _FARTHEST = 1e6, 5e5
_SCALE_FLOOR, _LEAST_PRECISION = 1e-3, 1e-12
_LOG_DF_LOW, _LOG_DF_HIGH = math.log(1.05), math.log(1e3)
# An output of zero shall be about six degrees of freedom.
_RAW_SHIFT = math.log(6.0)
# The marginal fit: candidates for the degrees of freedom, and how often location and scale are improved.
_CANDIDATES = (1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 7.0, 10.0, 15.0, 25.0, 50.0, 100.0)
_STEPS, _FURTHER_STEPS = 40, 8
# Targets are scaled for training by a robust location and scale, but not by one of rows that are all but equal.
_ROBUST_DF, _LEAST_SCALE = 3.0, 1e-3
# Tails of so few degrees of freedom are told from the heaviest ones allowed.
_HEAVIER = 0.8


@dataclass(frozen=True)
class StudentT(Family):
    r"""Student t family of location :math:`\mu`, scale :math:`\sigma` and degrees of freedom :math:`\nu`, all learned.

    .. math:: p(y) = \frac{\Gamma(\frac{\nu + 1}2)}{\sigma\sqrt{\nu\pi}\,\Gamma(\frac\nu2)}
        \Bigl(1 + \frac{(y - \mu)^2}{\nu\sigma^2}\Bigr)^{-(\nu + 1)/2}

    For real targets with outliers: a few far rows make the tails heavy and leave location and scale where they were.
    Parameters are :math:`(\mu, \log\sigma, \log\nu)`. It is no exponential family and **pools linearly**; see `Family`.

    The degrees of freedom lie between 1.05 and 1,000, so that the mean, which `predict` returns, exists; the variance
    does from two on and is infinite below. With :math:`\nu` towards 1,000 the family is the Gaussian for all that data
    can tell. In training units, those of a robust location and scale of the targets, :math:`|\mu| < 10^6` and
    :math:`10^{-3} < \sigma < 10^6`.

    References
    ----------
    Lange, Little and Taylor (1989), Robust statistical modeling using the t distribution, JASA 84, 881-896.

    Examples
    --------
    >>> import torch
    >>> from probmix.families import StudentT
    >>> StudentT().distribution(torch.tensor([1.0, 0.0, 1.0986])).variance
    tensor(3.0001)
    """

    @property
    def name(self) -> str:
        return "student-t"

    @property
    def num_params(self) -> int:
        return 3

    def constrain(self, raw: Tensor) -> Tensor:
        raw_loc, raw_scale, raw_df = raw.unbind(-1)
        precision = inverse_square(raw_scale, _SCALE_FLOOR, _LEAST_PRECISION)
        log_df = soft_clamp(raw_df + _RAW_SHIFT, _LOG_DF_LOW, _LOG_DF_HIGH)
        return torch.stack([soft_limit(raw_loc, _LOC_LIMIT), -0.5 * precision.log(), log_df], -1)

    def unconstrain(self, eta: Tensor) -> Tensor:
        loc, log_scale, log_df = eta.unbind(-1)
        raw_scale = inverse_square_inverse((-2 * log_scale).exp(), _SCALE_FLOOR, _LEAST_PRECISION)
        raw_df = soft_clamp_inverse(log_df, _LOG_DF_LOW, _LOG_DF_HIGH) - _RAW_SHIFT
        return torch.stack([soft_limit_inverse(loc, _LOC_LIMIT), raw_scale, raw_df], -1)

    def distribution(self, eta: Tensor) -> StudentTDistribution:
        loc, log_scale, log_df = eta.unbind(-1)
        return StudentTDistribution(log_df.exp(), loc, log_scale.exp())

    def _log_prob(self, eta: Tensor, y: Tensor) -> Tensor:
        loc, log_scale, log_df = eta.unbind(-1)
        return student_t_log_prob(y, log_df.exp(), loc, log_scale)

    def scaler(self, y: Tensor, weights: Tensor | None = None, dim: int = 0) -> TargetScaler:
        # standard deviations of heavy tails grow with the number of rows
        standard = Gaussian().scaler(y, weights, dim)
        y = standard.transform(y)  # all but zero where all are equal
        start = torch.zeros_like(standard.loc), torch.ones_like(standard.scale)
        loc, scale = _location_and_scale(y, weights, dim, _ROBUST_DF, start, _STEPS, _LEAST_SCALE)
        scale = torch.where(counting(y, weights).abs().amax(dim, keepdim=True) > 0.1, scale, torch.ones_like(scale))
        return TargetScaler(standard.loc + standard.scale * loc, standard.scale * scale)

    def rescale(self, eta: Tensor, scaler: TargetScaler) -> Tensor:
        loc, log_scale, log_df = eta.double().unbind(-1)
        parts = scaler.loc + scaler.scale * loc, log_scale + scaler.scale.log(), log_df
        return torch.stack(torch.broadcast_tensors(*parts), -1)

    def stretch(self, eta: Tensor, marginal: Tensor, factor: float) -> Tensor:
        loc, log_scale, log_df = eta.double().unbind(-1)
        loc = stretched(loc, marginal[..., 0], factor)
        return torch.stack(torch.broadcast_tensors(loc, log_scale + math.log(factor), log_df), -1)

    def marginal_params(self, y: Tensor, weights: Tensor | None = None, dim: int = 0) -> Tensor:
        """Parameters of largest likelihood, the degrees of freedom among some candidates."""
        y = y.double()
        loc = weighted_mean(y, weights, dim)
        fit = loc, weighted_mean((y - loc).square(), weights, dim).sqrt()
        found, likelihoods = [], []
        for place, df in enumerate(_CANDIDATES):
            fit = _location_and_scale(y, weights, dim, df, fit, _FURTHER_STEPS if place else _STEPS, 10 * _SCALE_FLOOR)
            found.append(torch.stack([fit[0], fit[1].log(), torch.full_like(loc, math.log(df))], -1))
            likelihoods.append(weighted_mean(self._log_prob(found[-1], y), weights, dim))
        best = torch.stack(likelihoods).argmax(0, keepdim=True).unsqueeze(-1)
        return torch.stack(found).take_along_dim(best, 0).squeeze(0)

    def beyond_bounds(self, y: Tensor, weights: Tensor | None = None) -> list[str]:
        scaler = self.scaler(y, weights)
        y = scaler.transform(y)
        start = torch.zeros_like(scaler.loc), torch.ones_like(scaler.scale)
        likelihoods = []
        for df in (_HEAVIER, math.exp(_LOG_DF_LOW)):
            loc, scale = _location_and_scale(y, weights, 0, df, start, _STEPS, 10 * _SCALE_FLOOR)
            eta = torch.stack([loc, scale.log(), torch.full_like(loc, math.log(df))], -1)
            likelihoods.append(weighted_mean(self._log_prob(eta, y), weights, 0))
        heavier = bool((likelihoods[0] > likelihoods[1]).any())
        return ["tails heavier than those of 1.05 degrees of freedom, its fewest"] if heavier else []

    def raw_bounds(
        self, y: Tensor, weights: Tensor | None = None, dim: int = 0, least: float = LEAST_SHARE
    ) -> tuple[Tensor, Tensor]:
        y = y.double()
        low, high = (end.clamp(-_FARTHEST, _FARTHEST) for end in reach(y, dim))
        one, free = torch.ones_like(low), torch.full_like(low, math.inf)
        ends = []
        for loc, scale, df in (
            (low, least_scale(y, least * one, dim), -free),
            (high, ((high - low) / 4).clamp(min=1.0), free),
        ):
            raw = self.unconstrain(torch.stack([loc, scale.log(), one], -1))
            ends.append(torch.cat([raw[..., :2], df.unsqueeze(-1)], -1))
        return ends[0], ends[1]

    def check_targets(self, y: Tensor) -> None:
        check_support(y, y.isfinite(), "Student t targets must be finite", "Drop or impute these rows.")


def _location_and_scale(
    y: Tensor, weights: Tensor | None, dim: int, df: float, start: tuple[Tensor, Tensor], steps: int, least: float
) -> tuple[Tensor, Tensor]:
    """Of largest likelihood at given degrees of freedom, by the EM algorithm; the scale is no smaller than `least`."""
    loc, square = start[0], start[1].square().clamp(min=least**2)
    for _ in range(steps):
        share = (df + 1) / (df + (y - loc).square() / square)
        total = weighted_mean(share, weights, dim)
        loc = weighted_mean(share * y, weights, dim) / total
        # divided by the mean share, which is one in the end, it converges faster (Kent, Tyler and Vardi 1994)
        square = (weighted_mean(share * (y - loc).square(), weights, dim) / total).clamp(min=least**2)
    return loc, square.sqrt()
