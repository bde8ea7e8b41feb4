"""Counts with a zero of their own: zero-inflated and hurdle distributions."""

from typing import Any, ClassVar

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import Distribution, constraints
from torch.nn.functional import logsigmoid

from .._shapes import broadcast_shapes
from .counts import counted, masses, smooth_cdf
from .inversion import with_ends
from .marginals import Marginals, cdf, icdf
from .parts import widen
from .scoring import ROUNDING, marginal_crps, marginal_crps_with_bound, marginal_nll, validate
from .truncated import sample_positive


class ZeroInflated(Marginals, dist.ZeroInflatedDistribution):
    r"""A zero with probability :math:`\pi`, else a count, which may be zero as well.

    .. math:: P(Y = 0) = \pi + (1 - \pi) f(0),\qquad P(Y = k) = (1 - \pi) f(k)

    Pyro's ZeroInflatedDistribution with `cdf` and `icdf`, and a log-probability that keeps its digits.

    Parameters
    ----------
    base_dist : Distribution
        Of counts, with a cdf and quantiles.
    gate, gate_logits : Tensor
        The probability :math:`\pi`, or its logit.

    Examples
    --------
    >>> import torch
    >>> from probmix.distributions import Poisson, ZeroInflated
    >>> ZeroInflated(Poisson(torch.tensor(2.0)), gate=torch.tensor(0.25)).mean
    tensor(1.5000)
    """

    @property
    def batch_shape(self) -> torch.Size:
        """Pyro's is a mere tuple."""
        return torch.Size(self._batch_shape)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        # Pyro's trips over a gate that is known in both forms
        new = self._get_checked_instance(ZeroInflated, _instance)
        base, gate_logits = self.base_dist.expand(batch_shape), self.gate_logits.expand(batch_shape)
        dist.ZeroInflatedDistribution.__init__(new, base, gate_logits=gate_logits, validate_args=False)
        new._validate_args = self._validate_args
        return new

    @property
    def variance(self) -> Tensor:
        # Pyro's is the difference of the second moment and the squared mean, which large counts nearly share
        gate, base = self.gate_logits.double(), widen(self.base_dist)
        variance: Tensor = (-gate).sigmoid() * (base.variance + gate.sigmoid() * base.mean.square())
        return variance.to(self.gate_logits.dtype)

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        return (-marginal_nll(self, value)).to(self.gate_logits.dtype)


def zero_inflated_log_prob(counted: Tensor, gate_logits: Tensor, y: Tensor) -> Tensor:
    """Log-probability of y from that of the base distribution."""
    from_base = logsigmoid(-gate_logits) + counted
    return torch.where(y == 0, torch.logaddexp(logsigmoid(gate_logits), from_base), from_base)


class Gated(Marginals, dist.TorchDistribution):
    """A zero by a gate, else what a base distribution has above zero: `Hurdle` and `ZeroAdjusted`."""

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {"gate_logits": constraints.real}

    def __init__(self, base_dist: Distribution, gate_logits: Tensor, validate_args: bool | None = None) -> None:
        shape = broadcast_shapes(base_dist.batch_shape, gate_logits.shape)
        self.base_dist = base_dist.expand(shape)
        self.gate_logits = gate_logits.expand(shape)
        super().__init__(shape, validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        new = self._get_checked_instance(type(self), _instance)
        new.base_dist, new.gate_logits = self.base_dist.expand(batch_shape), self.gate_logits.expand(batch_shape)
        super(Gated, new).__init__(torch.Size(batch_shape), validate_args=False)
        new._validate_args = self._validate_args
        return new


class Hurdle(Gated):
    r"""A zero with probability :math:`\pi`, else a count above zero.

    .. math:: P(Y = 0) = \pi,\qquad P(Y = k) = (1 - \pi)\frac{f(k)}{1 - f(0)},\quad k \ge 1

    Parameters
    ----------
    base_dist : Distribution
        Of counts, with a cdf and quantiles; f is its probability.
    gate_logits : Tensor
        The logit of :math:`\pi`.

    References
    ----------
    Mullahy (1986), Specification and testing of some modified count data models, J. Econometrics 33, 341-365.

    Examples
    --------
    >>> import torch
    >>> from probmix.distributions import Hurdle, Poisson
    >>> Hurdle(Poisson(torch.tensor(2.0)), gate_logits=torch.tensor(0.0)).log_prob(torch.tensor(0.0)).exp()
    tensor(0.5000)
    """

    support = constraints.nonnegative_integer

    @property
    def mean(self) -> Tensor:
        mean: Tensor = hurdle_excess(self) * self.base_dist.mean
        return mean.to(self.gate_logits.dtype)

    @property
    def variance(self) -> Tensor:
        # not the difference of the second moment and the squared mean, which large counts nearly share
        base = widen(self.base_dist)
        zero = base.log_prob(torch.zeros_like(self.gate_logits, dtype=torch.float64))
        # no square, which underflows where the mean does not
        at_least_one = base.mean / log_positive(zero).exp()
        more_zeros = self.gate_logits.double().sigmoid() - zero.exp()
        variance: Tensor = hurdle_excess(self) * (base.variance + base.mean * at_least_one * more_zeros)
        return variance.to(self.gate_logits.dtype)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(torch.Size(sample_shape))
        with torch.no_grad():
            zero = torch.rand(shape, dtype=torch.float64, device=self.gate_logits.device)
            counts = sample_positive(widen(self.base_dist), shape)
            counts = torch.where(zero < self.gate_logits.double().sigmoid(), torch.zeros_like(counts), counts)
            return counts.to(self.gate_logits.dtype)

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        return (-marginal_nll(self, value)).to(self.gate_logits.dtype)


def hurdle_excess(distribution: Hurdle) -> Tensor:
    r"""The factor :math:`(1 - \pi)/(1 - f(0))` of the probabilities of counts above zero, in float64."""
    return (logsigmoid(-distribution.gate_logits.double()) - _base_log_positive(distribution)).exp()


def _base_log_positive(distribution: Hurdle) -> Tensor:
    """The logarithm of 1 - f(0), in float64."""
    none = distribution.base_dist.log_prob(torch.zeros_like(distribution.gate_logits))
    return log_positive(none.double())


def log_positive(log_zero: Tensor) -> Tensor:
    """The logarithm of 1 - f(0) from that of f(0)."""
    return torch.log(-torch.expm1(log_zero))


def hurdle_log_prob(counted: Tensor, log_zero: Tensor, gate_logits: Tensor, y: Tensor) -> Tensor:
    """Log-probability of y from those of y and of zero under the base distribution."""
    above = logsigmoid(-gate_logits) + counted - log_positive(log_zero)
    return torch.where(y == 0, logsigmoid(gate_logits), above)


@cdf.register
def _(distribution: dist.ZeroInflatedDistribution, y: Tensor) -> Tensor:
    gate = distribution.gate_logits.double().sigmoid()
    below = torch.lerp(cdf(distribution.base_dist, y).double(), torch.ones_like(gate), gate)
    return torch.where(y < 0, torch.zeros_like(below), below).to(distribution.gate_logits.dtype)


@cdf.register
def _(distribution: Hurdle, y: Tensor) -> Tensor:
    gate = distribution.gate_logits.double().sigmoid()
    # 1 - c (1 - F(y)), with the tail as a difference of two cdfs that is exact at zero
    excess, base = hurdle_excess(distribution), widen(distribution.base_dist)
    zero = cdf(base, torch.zeros_like(gate))
    below = gate + excess * (cdf(base, y.double()) - zero)
    return torch.where(y < 0, torch.zeros_like(below), below.clamp(max=1)).to(distribution.gate_logits.dtype)


@icdf.register
def _(distribution: dist.ZeroInflatedDistribution, q: Tensor) -> Tensor:
    gate = distribution.gate_logits.double().sigmoid()
    level = (q.double() - gate) / (1 - gate)
    return _count_quantile(distribution, distribution.base_dist, q, level)


@icdf.register
def _(distribution: Hurdle, q: Tensor) -> Tensor:
    gate = distribution.gate_logits.double().sigmoid()
    base = widen(distribution.base_dist)
    level = cdf(base, torch.zeros_like(gate)) + (q.double() - gate) / hurdle_excess(distribution)
    return _count_quantile(distribution, base, q, level)


def _count_quantile(distribution: Distribution, base: Distribution, q: Tensor, level: Tensor) -> Tensor:
    """The quantile of the base at the level to which q belongs, corrected where rounding moved it over a step."""
    dtype = cdf(distribution, torch.zeros_like(level)).dtype
    y = icdf(base, level.clamp(0, 1 - 2.0**-53)).double().clamp(min=0)
    y = torch.where(cdf(distribution, y - 1) >= q, y - 1, y).clamp(min=0)
    y = torch.where(cdf(distribution, y) < q, y + 1, y)
    return with_ends(y, q.expand_as(y), torch.zeros_like(y), torch.full_like(y, torch.inf)).to(dtype)


@counted.register(dist.ZeroInflatedDistribution)
@counted.register(Hurdle)
def _(distribution: Any) -> Distribution:
    return counted(distribution.base_dist)


@masses.register
def _(distribution: dist.ZeroInflatedDistribution, k: Tensor) -> Tensor:
    gate = distribution.gate_logits.double()
    base: Tensor = (-gate).sigmoid() * masses(distribution.base_dist, k)
    return base + torch.where(k == 0, gate.sigmoid(), 0.0)


@masses.register
def _(distribution: Hurdle, k: Tensor) -> Tensor:
    above = hurdle_excess(distribution) * masses(distribution.base_dist, k)
    return torch.where(k == 0, distribution.gate_logits.double().sigmoid(), above)


@smooth_cdf.register
def _(distribution: dist.ZeroInflatedDistribution, y: Tensor) -> Tensor:
    gate = distribution.gate_logits.double()
    smooth: Tensor = gate.sigmoid() + (-gate).sigmoid() * smooth_cdf(distribution.base_dist, y)
    return smooth


@smooth_cdf.register
def _(distribution: Hurdle, y: Tensor) -> Tensor:
    gate, base = distribution.gate_logits.double(), distribution.base_dist
    above = smooth_cdf(base, y) - smooth_cdf(base, torch.zeros_like(gate))
    return gate.sigmoid() + hurdle_excess(distribution) * above


@marginal_nll.register
def _(distribution: dist.ZeroInflatedDistribution, y: Tensor) -> Tensor:
    validate(distribution, y)
    # widened first: Pyro's takes the logit of the gate when it is asked for, and keeps it
    wide: Any = widen(distribution)
    counted = -marginal_nll(distribution.base_dist, y)
    return -zero_inflated_log_prob(counted.double(), wide.gate_logits, y)


@marginal_nll.register
def _(distribution: Hurdle, y: Tensor) -> Tensor:
    validate(distribution, y)
    counted, none = (-marginal_nll(distribution.base_dist, k) for k in (y, torch.zeros_like(y)))
    return -hurdle_log_prob(counted.double(), none.double(), distribution.gate_logits.double(), y)


@marginal_crps.register(dist.ZeroInflatedDistribution)
@marginal_crps.register(Hurdle)
def _(distribution: Any, y: Tensor) -> Tensor:
    return crps_with_zeros(distribution.base_dist, *_gate(distribution), y)


@marginal_crps_with_bound.register(dist.ZeroInflatedDistribution)
@marginal_crps_with_bound.register(Hurdle)
def _(distribution: Any, y: Tensor) -> tuple[Tensor, Tensor]:
    return crps_with_zeros_and_bound(distribution.base_dist, *_gate(distribution), y)


def crps_with_zeros(base_dist: Distribution, gate: Tensor, rest: Tensor, y: Tensor) -> Tensor:
    """CRPS of the distribution function `gate` + `rest` F from zero on, with F of the base; the two sum to one."""
    inside = y.clamp(min=0)
    base, none = (marginal_crps(base_dist, value) for value in (inside, torch.zeros_like(y)))
    return gate * inside + rest * (base - gate * none) + (inside - y)


def crps_with_zeros_and_bound(base_dist: Distribution, gate: Tensor, rest: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """The same and a bound of its error."""
    inside = y.clamp(min=0)
    base, error = marginal_crps_with_bound(base_dist, inside)
    none, error_none = marginal_crps_with_bound(base_dist, torch.zeros_like(y))
    value = gate * inside + rest * (base - gate * none) + (inside - y)
    terms = gate.abs() * inside + rest * (base + gate.abs() * none) + (inside - y)
    return value, rest * (error + gate.abs() * error_none) + ROUNDING * terms


def _gate(distribution: Any) -> tuple[Tensor, Tensor]:
    """The distribution function for counts is `gate` + `rest` F with the F of the base; the two sum to one."""
    if isinstance(distribution, Hurdle):
        # 1 - c (1 - F): an inflation by 1 - c, which may be negative
        excess = hurdle_excess(distribution)
        return 1 - excess, excess
    return distribution.gate_logits.double().sigmoid(), (-distribution.gate_logits.double()).sigmoid()
