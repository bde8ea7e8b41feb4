"""The Tweedie distribution between Poisson and Gamma: sums of a Poisson number of Gamma variables."""

from numbers import Real
from typing import Any, ClassVar

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import MixtureSameFamily, constraints

from .._tweedie import bound_of_quantile, parameters, tweedie_cdf, tweedie_log_prob
from .inversion import invert_continuous, with_ends
from .marginals import Marginals, cdf, icdf
from .panel_crps import crps_by_panels, crps_by_panels_with_bound, window_by_panels
from .point_masses import atoms
from .quadrature import CUTS, cuts
from .scoring import (
    marginal_nll,
    mixture_crps,
    mixture_crps_with_bound,
    mixture_window_crps,
)

LEAST_POWER, LARGEST_POWER = 1.01, 1.99
# Quantiles are sought in the logarithm, from the smallest numbers on.
_LOG_LOW = -740.0


class Tweedie(Marginals, dist.TorchDistribution):
    r"""Zero with a probability, else positive with a density: a Poisson number of Gamma variables, summed.

    .. math:: E(Y) = \mu,\qquad \mathrm{Var}(Y) = \phi\mu^p,\qquad
        P(Y = 0) = e^{-\lambda},\quad \lambda = \frac{\mu^{2 - p}}{\phi(2 - p)}

    with the mean, `loc`, the dispersion :math:`\phi` and the power p between 1 (Poisson) and 2 (Gamma). `log_prob` is
    the logarithm of a **probability at zero** and of a **density above**; see `ZeroAdjusted`.

    Parameters
    ----------
    loc, dispersion : Tensor
        Positive.
    power : float
        Between 1.01 and 1.99.

    References
    ----------
    Jørgensen (1987), Exponential dispersion models, JRSS B 49, 127-162.
    Dunn and Smyth (2005), Series evaluation of Tweedie exponential dispersion model densities, Stat. Comput. 15,
    267-280.

    Examples
    --------
    >>> import torch
    >>> from probmix.distributions import Tweedie
    >>> rain = Tweedie(torch.tensor(2.0), torch.tensor(3.0), power=1.6)
    >>> rain.variance, rain.cdf(torch.tensor(0.0)), rain.icdf(torch.tensor([0.1, 0.5, 0.9]))
    (tensor(9.0943), tensor(0.3330), tensor([0.0000, 0.6570, 5.9404]))
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {
        "loc": constraints.positive,
        "dispersion": constraints.positive,
    }
    support = constraints.nonnegative

    def __init__(self, loc: Tensor, dispersion: Tensor, power: float = 1.5, validate_args: bool | None = None) -> None:
        check_power(power)
        self.loc, self.dispersion = torch.broadcast_tensors(loc, dispersion)
        self.power = float(power)
        super().__init__(self.loc.shape, validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        new = self._get_checked_instance(Tweedie, _instance)
        new.loc, new.dispersion, new.power = (
            self.loc.expand(batch_shape),
            self.dispersion.expand(batch_shape),
            self.power,
        )
        super(Tweedie, new).__init__(torch.Size(batch_shape), validate_args=False)
        new._validate_args = self._validate_args
        return new

    @property
    def mean(self) -> Tensor:
        mean: Tensor = self.loc
        return mean

    @property
    def variance(self) -> Tensor:
        variance: Tensor = self.dispersion * self.loc.pow(self.power)
        return variance

    def sample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(torch.Size(sample_shape))
        with torch.no_grad():
            log_rate, log_scale = parameters(*_logarithms(self), self.power)
            jumps = torch.poisson(log_rate.exp().expand(shape))
            some = jumps > 0
            gamma_shape = torch.where(some, jumps, 1.0) * (2 - self.power) / (self.power - 1)
            sums = (torch._standard_gamma(gamma_shape).log() + log_scale).exp().to(self.loc.dtype)
            # a sum that underflows is small, but no exact zero
            return torch.where(some, sums.clamp(min=torch.finfo(sums.dtype).tiny), torch.zeros_like(sums))

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        return -marginal_nll(self, value).to(self.loc.dtype)


def check_power(power: object) -> None:
    """Raise unless the power lies between that of Poisson and that of Gamma variables."""
    if not isinstance(power, Real) or isinstance(power, bool) or not LEAST_POWER <= float(power) <= LARGEST_POWER:
        raise ValueError(
            f"`power` must lie between {LEAST_POWER} and {LARGEST_POWER}; got {power!r}. For 1 use 'poisson', for 2 "
            "'gamma', for 3 'inverse-gaussian'."
        )


def _logarithms(distribution: Tweedie) -> tuple[Tensor, Tensor]:
    """Of the mean and the dispersion, in float64."""
    return distribution.loc.double().log(), distribution.dispersion.double().log()


@atoms.register
def _(distribution: Tweedie) -> tuple[Tensor, Tensor]:
    log_rate, _ = parameters(*_logarithms(distribution), distribution.power)
    probability = (-log_rate.exp()).exp().unsqueeze(0)
    return torch.zeros_like(probability), probability


@cuts.register
def _(distribution: Tweedie, levels: tuple[float, ...] = CUTS) -> Tensor:
    log_mean, log_dispersion = (t.detach() for t in _logarithms(distribution))
    log_square = log_dispersion - (2 - distribution.power) * log_mean
    ratios = [bound_of_quantile(level, log_square, distribution.power) for level in levels]
    return torch.stack(ratios) * log_mean.exp()


@mixture_crps.register
def _(component: Tweedie, mixture: MixtureSameFamily, y: Tensor) -> Tensor:
    return crps_by_panels(mixture, y)


@mixture_crps_with_bound.register
def _(component: Tweedie, mixture: MixtureSameFamily, y: Tensor) -> tuple[Tensor, Tensor]:
    return crps_by_panels_with_bound(mixture, y)


@mixture_window_crps.register
def _(component: Tweedie, mixture: MixtureSameFamily, y: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    return window_by_panels(mixture, y, lower, upper)


@marginal_nll.register
def _(distribution: Tweedie, y: Tensor) -> Tensor:
    return -tweedie_log_prob(y.double(), *_logarithms(distribution), distribution.power)


@cdf.register
def _(distribution: Tweedie, y: Tensor) -> Tensor:
    return tweedie_cdf(y.double(), *_logarithms(distribution), distribution.power).to(distribution.loc.dtype)


@icdf.register
def _(distribution: Tweedie, q: Tensor) -> Tensor:
    power = distribution.power
    q, log_mean, log_dispersion = torch.broadcast_tensors(q.double(), *_logarithms(distribution))
    log_rate, _ = parameters(log_mean, log_dispersion, power)
    positive = (q > (-log_rate.exp()).exp()) & (q < 1)
    level = torch.where(positive, q, 0.5)
    with torch.no_grad():
        square = log_dispersion - (2 - power) * log_mean

        def below(u: Tensor) -> Tensor:
            return tweedie_cdf(u.exp(), torch.zeros_like(u), square, power)

        # ten standard deviations up, and the tail of the single Gamma variables
        high = torch.log1p(10 * (0.5 * square).exp() + 40 * square.exp())
        u = invert_continuous(below, level, torch.full_like(high, _LOG_LOW), high)
        y = torch.where(positive, (u + log_mean).exp(), 1.0)
    if torch.is_grad_enabled() and (q.requires_grad or log_mean.requires_grad or log_dispersion.requires_grad):
        # the implicit function theorem: F(y) - q stays zero
        missing = level - tweedie_cdf(y, log_mean, log_dispersion, power)
        y = y + (missing - missing.detach()) / tweedie_log_prob(y, log_mean, log_dispersion, power).detach().exp()
    y = torch.where(positive, y, 0.0)
    return with_ends(y, q, torch.zeros_like(y), torch.full_like(y, torch.inf)).to(distribution.loc.dtype)
