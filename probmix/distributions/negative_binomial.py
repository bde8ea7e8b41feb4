"""The negative binomial distribution with what torch lacks: cdf and quantiles, and a log-probability that is exact."""

import math

import numpy as np
import torch
from pyro.distributions.torch_distribution import TorchDistributionMixin
from scipy.special import logit
from torch import Tensor
from torch.distributions import MixtureSameFamily
from torch.nn.functional import logsigmoid

from .._incomplete_beta import incomplete_beta
from .._special import HALF_LOG_2PI, stirling_remainder
from .count_mixtures import crps_of_counts
from .counts import masses, smooth_cdf, summed_counts
from .inversion import invert_discrete, with_ends
from .marginals import Marginals, cdf, icdf
from .members import members_last, weights_last
from .origins import Parameters, parametrised, scipy_name, skpro_name
from .scoring import (
    incomplete_gamma_error,
    marginal_crps,
    marginal_crps_with_bound,
    marginal_nll,
    mixture_crps,
)
from .truncated import sample_positive

# An integrand is cut off where it has fallen to exp(-40), and looked at more closely within its first scale.
_DROP, _FIRST = 40.0, 3.0
_NODES = 40
# Elements of one evaluation of the integrand: 8 MiB of float64.
_BLOCK = 2**20


class NegativeBinomial(Marginals, torch.distributions.NegativeBinomial, TorchDistributionMixin):
    r"""Pyro's NegativeBinomial with `cdf` and `icdf`, and a log-probability that stays exact up to the Poisson limit.

    Of mean :math:`\mu = r e^{\mathrm{logits}}` and dispersion :math:`\alpha = 1/r`, so that the variance is
    :math:`\mu + \alpha\mu^2`, where r is torch's `total_count`. See `from_mean`.

    Examples
    --------
    >>> import torch
    >>> from probmix.distributions import NegativeBinomial
    >>> claims = NegativeBinomial.from_mean(torch.tensor(2.0), torch.tensor(0.5))
    >>> claims.variance
    tensor(4.)
    >>> claims.cdf(torch.tensor(1.0))
    tensor(0.5000)
    """

    @classmethod
    def from_mean(cls, mean: Tensor, dispersion: Tensor) -> "NegativeBinomial":
        """The one of a mean and a dispersion, both positive."""
        return cls(1 / dispersion, logits=mean.log() + dispersion.log())

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        return (-marginal_nll(self, value)).to(self.logits.dtype)


def count_and_log_mean(distribution: torch.distributions.NegativeBinomial) -> tuple[Tensor, Tensor]:
    """Total count r and the logarithm of the mean, in float64."""
    total_count = torch.as_tensor(distribution.total_count).double()
    return total_count, distribution.logits.double() + total_count.log()


def negative_binomial_log_prob(y: Tensor, log_mean: Tensor, total_count: Tensor) -> Tensor:
    r"""Log-probability of any real y >= 0, in float64, by Loader's saddle-point form.

    .. math:: \log p = \log\frac{r}{r + y} + \tfrac12\log\frac{r + y}{2\pi r y} + S(r + y) - S(r) - S(y)
        - D(r, \tfrac{r + y}{r + \mu} r) - D(y, \tfrac{r + y}{r + \mu}\mu),\qquad D(x, m) = x\log\frac xm + m - x

    with S the remainder of Stirling's formula, and :math:`-r\log(1 + \mu/r)` at y = 0 (Loader 2000, "Fast and accurate
    computation of binomial probabilities"). The two deviances are small where y is near the mean, however large.
    """
    r = total_count
    log_odds = log_mean - r.log()
    positive = y > 0
    y_safe = torch.where(positive, y, torch.ones_like(y))
    total = r + y_safe
    # (y - mu) / (r + mu), and what y is above its share of r + y relative to that share
    share = (-log_odds).sigmoid() * (y_safe / r) - log_odds.sigmoid()
    above = share * r / (total * log_odds.sigmoid())
    first = r * _excess(share, total.log() - torch.logaddexp(r.log(), log_mean))
    near = (above > -0.5) & (above < 1)
    log_ratio = torch.where(
        near,
        torch.log1p(torch.where(near, above, torch.zeros_like(above))),
        y_safe.log() - total.log() - logsigmoid(log_odds),
    )
    second = y_safe * log_ratio - share * r
    remainder = stirling_remainder(total) - stirling_remainder(r) - stirling_remainder(y_safe)
    constant = 0.5 * (r.log() - total.log() - y_safe.log()) - HALF_LOG_2PI
    return torch.where(positive, constant + remainder - first - second, -r * _softplus(log_odds))


def _excess(x: Tensor, log: Tensor) -> Tensor:
    """The function x - log(1 + x); `log` is the logarithm, known otherwise, for x that are not small."""
    near = (x > -0.5) & (x < 1)
    x_near = torch.where(near, x, torch.zeros_like(x))
    return torch.where(near, x_near - torch.log1p(x_near), x - log)


def _softplus(x: Tensor) -> Tensor:
    return -logsigmoid(-x)


def smooth_negative_binomial_cdf(y: Tensor, log_mean: Tensor, total_count: Tensor) -> Tensor:
    """F(y) in float64, continued to real y >= -1 by the incomplete beta function."""
    log_odds = log_mean - total_count.log()
    return incomplete_beta(total_count, y + 1, (-log_odds).sigmoid(), log_odds.sigmoid())


@cdf.register
def _(distribution: torch.distributions.NegativeBinomial, y: Tensor) -> Tensor:
    total_count, log_mean = count_and_log_mean(distribution)
    inside = (y >= 0) & y.isfinite()
    value = smooth_negative_binomial_cdf(torch.where(inside, y.double().floor(), 0.0), log_mean, total_count)
    return torch.where(inside, value, (y > 0).double()).to(distribution.logits.dtype)


@icdf.register
def _(distribution: torch.distributions.NegativeBinomial, q: Tensor) -> Tensor:
    total_count, log_mean = count_and_log_mean(distribution)
    # a count has no gradient
    q, total_count, log_mean = (t.detach() for t in torch.broadcast_tensors(q.double(), total_count, log_mean))
    mean = log_mean.exp()
    high = mean + 10 * (mean + mean.square() / total_count).sqrt() + 10

    def below(y: Tensor) -> Tensor:
        value = smooth_negative_binomial_cdf(y.clamp(min=0), log_mean, total_count)
        return torch.where(y < 0, torch.zeros_like(value), value)

    y = invert_discrete(below, q, torch.full_like(mean, -1.0), high)
    return with_ends(y, q, torch.zeros_like(y), torch.full_like(y, torch.inf)).to(distribution.logits.dtype)


@masses.register
def _(distribution: torch.distributions.NegativeBinomial, k: Tensor) -> Tensor:
    # f(k + 1) / f(k) = q (r + k) / (k + 1): a logarithm each, where the log-probability takes a dozen
    total_count, log_mean = count_and_log_mean(distribution)
    first = negative_binomial_log_prob(k[:1], log_mean, total_count)
    rise = logsigmoid(log_mean - total_count.log()) + ((total_count + k[:-1]) / (k[:-1] + 1)).log()
    return torch.cat([first, rise.expand(-1, *first.shape[1:])]).cumsum(0).exp()


@smooth_cdf.register
def _(distribution: torch.distributions.NegativeBinomial, y: Tensor) -> Tensor:
    total_count, log_mean = count_and_log_mean(distribution)
    return smooth_negative_binomial_cdf(y, log_mean, total_count)


@summed_counts.register
def _(distribution: torch.distributions.NegativeBinomial) -> int:
    # the tail is long and the cdf dear, but probabilities are cheap
    return 2**14


@sample_positive.register
def _(distribution: torch.distributions.NegativeBinomial, shape: torch.Size) -> Tensor:
    # the first event of a Poisson process of a Gamma intensity in [0, 1], given that there is one, and those after it:
    # given the first, at t, the intensity is a Gamma of shape r + 1 and rate r / mu + t
    total_count, log_mean = count_and_log_mean(distribution)
    r, rate = total_count.expand(shape), (total_count.log() - log_mean).exp().expand(shape)
    none = -r * torch.log1p(1 / rate)
    later = torch.log1p(torch.expm1(none) * torch.rand_like(r))
    first = (rate * torch.expm1(-later / r)).clamp(max=1)
    intensity = torch.distributions.Gamma(r + 1, rate + first, validate_args=False).sample()
    return 1 + torch.poisson(intensity * (1 - first))


@marginal_nll.register
def _(distribution: torch.distributions.NegativeBinomial, y: Tensor) -> Tensor:
    total_count, log_mean = count_and_log_mean(distribution)
    possible = y >= 0
    y = torch.where(possible, y, torch.zeros_like(y)).double()
    return torch.where(possible, -negative_binomial_log_prob(y, log_mean, total_count), torch.inf)


@marginal_crps.register
def _(distribution: torch.distributions.NegativeBinomial, y: Tensor) -> Tensor:
    total_count, log_mean = count_and_log_mean(distribution)
    return negative_binomial_crps(log_mean, total_count, y)


@marginal_crps_with_bound.register
def _(distribution: torch.distributions.NegativeBinomial, y: Tensor) -> tuple[Tensor, Tensor]:
    return marginal_crps(distribution, y), incomplete_gamma_error(distribution, y)


@mixture_crps.register
def _(component: torch.distributions.NegativeBinomial, mixture: MixtureSameFamily, y: Tensor) -> Tensor:
    total_count, log_mean = (members_last(mixture, p) for p in count_and_log_mean(component))
    log_odds = log_mean - total_count.log()
    share = log_odds.sigmoid()
    steps = (-total_count * _softplus(log_odds), total_count * share, share)
    return crps_of_counts(mixture, weights_last(mixture), steps, y)


@scipy_name("nbinom", loc=0.0)
def _(p: Parameters) -> NegativeBinomial:
    return parametrised(NegativeBinomial, total_count=p["n"], logits=-logit(p["p"]))


@skpro_name("NegativeBinomial")
def _(p: Parameters) -> NegativeBinomial:
    # what is called dispersion there is its inverse, the total count
    return parametrised(NegativeBinomial, total_count=p["alpha"], logits=np.log(p["mu"]) - np.log(p["alpha"]))


def negative_binomial_crps(log_mean: Tensor, total_count: Tensor, y: Tensor) -> Tensor:
    r"""CRPS in float64 for whole numbers y of any sign, of mean :math:`\mu` and dispersion :math:`\alpha = 1/r`.

    .. math:: (y - \mu)(2F(y) - 1) + 2\mu(1 + \alpha y) f(y) - \tfrac12 E|Y - Y'|

    The published form holds F of r + 1 as well, whose difference to F is a multiple of f.
    """
    mean = log_mean.exp()
    y_inside = y.clamp(min=0)
    below = smooth_negative_binomial_cdf(y_inside, log_mean, total_count)
    density = negative_binomial_log_prob(y_inside, log_mean, total_count).exp()
    distance = (y_inside - mean) * (2 * below - 1) + 2 * mean * (1 + y_inside / total_count) * density
    return distance - half_mean_distance(log_mean, total_count) + (y_inside - y)


def half_mean_distance(log_mean: Tensor, total_count: Tensor) -> Tensor:
    r"""Half of E|Y - Y'| of two independent draws.

    .. math:: \mu(1 + m)\,{}_2F_1(\tfrac12, r + 1; 2; -4m(1 + m))
        = \tfrac2\pi\sqrt{\mu r(1 + m)} \int_0^U \sqrt{1 - (\sinh u/\sinh U)^2}\,(\cosh u)^{-2r - 1}\,du

    with :math:`m = \mu/r` and :math:`\sinh(U/2) = \sqrt m`: Euler's integral of the hypergeometric function, after
    :math:`\sinh u = s\sinh U`. The integrand has one scale, and a root at U that vanishes in the square of the
    distance to it.
    """
    log_mean, total_count = torch.broadcast_tensors(log_mean, total_count)
    log_odds = log_mean - total_count.log()
    whole = 2 * torch.asinh((0.5 * log_odds).exp())
    power = 2 * total_count + 1
    with torch.no_grad():
        # cosh u = exp(c) at log(1 + t + sqrt(t (2 + t))), with t = exp(c) - 1
        cut = _DROP / power
        rise = torch.expm1(cut.clamp(max=_DROP))
        cut = torch.log1p(rise + (rise * (2 + rise)).sqrt())
        scale = torch.minimum(cut, _FIRST * torch.ones_like(cut))
    end = torch.minimum(whole, cut)
    middle = torch.minimum(end, scale)
    area = _integral(torch.zeros_like(end), middle, whole, power) + _integral(middle, end, whole, power)
    # mu r (1 + m), its logarithm without overflow
    log_factor = log_mean + total_count.log() + torch.logaddexp(torch.zeros_like(log_odds), log_odds)
    return 2 / math.pi * (0.5 * log_factor).exp() * area


def _integral(low: Tensor, high: Tensor, whole: Tensor, power: Tensor) -> Tensor:
    """Gauss-Legendre quadrature in x, where the distance to the upper end is (1 - x)^2 of the range."""
    width = high - low
    column = (-1,) + (1,) * low.ndim
    value = torch.zeros_like(low)
    step = max(1, _BLOCK // max(1, low.numel()))
    for nodes, rule in zip(torch.from_numpy(_X).split(step), torch.from_numpy(_RULE).split(step), strict=True):
        rest = (1 - nodes.to(low)).reshape(column)
        u = high - width * rest.square()
        log_cosh = torch.log1p(2 * (0.5 * u).sinh().square())
        # 1 - (sinh u / sinh U)^2 = sinh(U - u) sinh(U + u) / sinh(U)^2, where U - u is known without cancellation
        left = (whole - high) + width * rest.square()
        # where the range is empty the root of zero would have no gradient
        product = torch.where(width > 0, left.sinh() * (whole + u).sinh(), torch.ones_like(u))
        root = product.sqrt() / whole.sinh()
        terms = root * torch.exp(-power * log_cosh) * rest
        value = value + (2 * rule.to(low).reshape(column) * terms).sum(0)
    return width * value


def _gauss() -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights on [0, 1]."""
    x, weights = np.polynomial.legendre.leggauss(_NODES)
    return (x + 1) / 2, weights / 2


_X, _RULE = _gauss()
