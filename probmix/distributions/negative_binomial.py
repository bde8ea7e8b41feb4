"""The negative binomial distribution with what torch lacks: cdf and quantiles, and a log-probability that is exact."""

import torch
from pyro.distributions.torch_distribution import TorchDistributionMixin
from torch import Tensor
from torch.nn.functional import logsigmoid

from .._special import HALF_LOG_2PI, stirling_remainder
from .beta import incomplete_beta
from .inversion import invert_discrete, with_ends
from .marginals import Marginals, cdf, icdf


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
        total_count, log_mean = count_and_log_mean(self)
        return negative_binomial_log_prob(value.double(), log_mean, total_count).to(self.logits.dtype)


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
    q, total_count, log_mean = torch.broadcast_tensors(q.double(), total_count, log_mean)
    mean = log_mean.exp()
    high = mean + 10 * (mean + mean.square() / total_count).sqrt() + 10

    def below(y: Tensor) -> Tensor:
        value = smooth_negative_binomial_cdf(y.clamp(min=0), log_mean, total_count)
        return torch.where(y < 0, torch.zeros_like(value), value)

    y = invert_discrete(below, q, torch.full_like(mean, -1.0), high)
    return with_ends(y, q, torch.zeros_like(y), torch.full_like(y, torch.inf)).to(distribution.logits.dtype)
