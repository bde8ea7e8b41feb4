"""What torch's distributions lack: cdf and icdf on the device, and log-densities that do not cancel.

`cdf` and `icdf` accept any torch or Pyro distribution; the classes here are Pyro distributions that have both as
methods. Both work on marginals: for an `Independent` distribution or a mixture of such they act on each coordinate.
"""

from collections.abc import Callable
from functools import singledispatch

import pyro.distributions as dist
import torch
from pyro.distributions.torch_distribution import TorchDistributionMixin
from torch import Tensor
from torch.distributions import Distribution, MixtureSameFamily

from ._special import HALF_LOG_2PI, gamma_log_prob, poisson_log_prob

# Halving from any bracket that float64 can span to its last bit.
_BISECTIONS = 64


class _Marginals(Distribution):
    """The functions `cdf` and `icdf` as methods."""

    def cdf(self, value: Tensor) -> Tensor:
        return cdf(self, value)

    def icdf(self, value: Tensor) -> Tensor:
        return icdf(self, value)


class Poisson(_Marginals, dist.Poisson):
    """Pyro's Poisson with `cdf` and `icdf`, and a log-probability that stays exact for large rates."""

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        return poisson_log_prob(value.double(), self.rate.double().log()).to(self.rate.dtype)


class Gamma(_Marginals, dist.Gamma):
    """Pyro's Gamma with `icdf`, and a log-density that stays exact for large shapes."""

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        return gamma_log_prob(value.double(), self.concentration.double(), self.rate.double()).to(self.rate.dtype)


class Exponential(_Marginals, torch.distributions.Exponential, TorchDistributionMixin):
    """Pyro's Exponential with `cdf` and `icdf` that keep their digits near zero, and no density below it."""

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        wide, rate = value.double(), self.rate.double()
        return torch.where(wide >= 0, rate.log() - rate * wide, -torch.inf).to(self.rate.dtype)


class LogNormal(_Marginals, dist.LogNormal):
    """Pyro's LogNormal with `cdf` and `icdf` down to zero, and a log-density that stays exact for small scales."""

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        log_value, scale = value.double().log(), self.scale.double()
        z = (log_value - self.loc.double()) / scale
        density = -HALF_LOG_2PI - scale.log() - 0.5 * z.square() - log_value
        return torch.where(value > 0, density, -torch.inf).to(self.loc.dtype)


class Bernoulli(_Marginals, torch.distributions.Bernoulli, TorchDistributionMixin):
    """Pyro's Bernoulli with `cdf` and `icdf`."""


class Categorical(_Marginals, dist.Categorical):
    """Pyro's Categorical with `cdf` and `icdf`, for classes in their order."""


class Independent(dist.Independent):
    """Pyro's Independent with `cdf` and `icdf` of the coordinates."""

    def cdf(self, value: Tensor) -> Tensor:
        return cdf(self, value)

    def icdf(self, value: Tensor) -> Tensor:
        return icdf(self, value)


class Mixture(_Marginals, MixtureSameFamily, TorchDistributionMixin):
    """Pyro's mixture of one family with `cdf` and `icdf` for every component this package knows."""


def is_discrete(distribution: Distribution) -> bool:
    """Whether the distribution lives on the integers."""
    if isinstance(distribution, MixtureSameFamily):
        return is_discrete(distribution.component_distribution)
    if isinstance(distribution, torch.distributions.Independent):
        return is_discrete(distribution.base_dist)
    return bool(getattr(distribution.support, "is_discrete", False))


@singledispatch
def cdf(distribution: Distribution, y: Tensor) -> Tensor:
    """P(Y <= y), coordinate by coordinate.

    Parameters
    ----------
    distribution : torch or Pyro distribution
    y : Tensor, broadcastable to batch shape + event shape

    Returns
    -------
    Tensor of that shape

    Examples
    --------
    >>> import torch
    >>> from probmix.distributions import Poisson, cdf
    >>> cdf(Poisson(torch.tensor(2.0)), torch.tensor(1.0))  # 3 exp(-2)
    tensor(0.4060)
    """
    return torch.as_tensor(distribution.cdf(y))


@cdf.register
def _(distribution: torch.distributions.Poisson, y: Tensor) -> Tensor:
    # in float32 torch's incomplete gamma functions are off by 2e-5 at a rate of 1e6
    tail = torch.special.gammaincc(y.double().floor().clamp(min=0) + 1, distribution.rate.double())
    return torch.where(y < 0, torch.zeros_like(tail), tail).to(distribution.rate.dtype)


@cdf.register
def _(distribution: torch.distributions.Gamma, y: Tensor) -> Tensor:
    shape, rate = distribution.concentration.double(), distribution.rate.double()
    lower: Tensor = torch.special.gammainc(shape, rate * y.double().clamp(min=0))
    return lower.to(distribution.rate.dtype)


@cdf.register
def _(distribution: torch.distributions.Exponential, y: Tensor) -> Tensor:
    # 1 - exp(-r y) would lose its digits near zero
    rate: Tensor = distribution.rate
    return (-torch.expm1(-rate.double() * y.double().clamp(min=0))).to(rate.dtype)


@cdf.register
def _(distribution: torch.distributions.LogNormal, y: Tensor) -> Tensor:
    z = (y.double().clamp(min=0).log() - distribution.loc.double()) / distribution.scale.double()
    below: Tensor = torch.special.ndtr(z)
    return below.to(distribution.loc.dtype)


@cdf.register
def _(distribution: torch.distributions.Bernoulli, y: Tensor) -> Tensor:
    zero, y = torch.broadcast_tensors((-distribution.logits).sigmoid(), y)
    return torch.where(y < 1, torch.where(y < 0, torch.zeros_like(zero), zero), torch.ones_like(zero))


@cdf.register
def _(distribution: torch.distributions.Categorical, y: Tensor) -> Tensor:
    cumulative = distribution.probs.cumsum(-1)
    last = cumulative.shape[-1] - 1
    index, _ = torch.broadcast_tensors(y.floor().clamp(-1, last).long(), cumulative[..., 0])
    cumulative = cumulative.expand(*index.shape, last + 1)
    value = cumulative.gather(-1, index.clamp(min=0).unsqueeze(-1)).squeeze(-1)
    value = torch.where(index == last, torch.ones_like(value), value)
    return torch.where(index < 0, torch.zeros_like(value), value)


@cdf.register(torch.distributions.Independent)
def _(distribution: torch.distributions.Independent[Distribution], y: Tensor) -> Tensor:
    return cdf(distribution.base_dist, y)


@cdf.register
def _(distribution: MixtureSameFamily, y: Tensor) -> Tensor:
    weights, dim = _mixture_weights(distribution)
    y = y.expand(torch.broadcast_shapes(y.shape, distribution.batch_shape + distribution.event_shape))
    return torch.sum(weights * cdf(distribution.component_distribution, y.unsqueeze(dim)), dim)


@singledispatch
def icdf(distribution: Distribution, q: Tensor) -> Tensor:
    """Quantiles: the smallest y with P(Y <= y) >= q, coordinate by coordinate.

    Parameters
    ----------
    distribution : torch or Pyro distribution
    q : Tensor of probabilities in [0, 1], broadcastable to batch shape + event shape

    Examples
    --------
    >>> import torch
    >>> from probmix.distributions import Poisson, icdf
    >>> icdf(Poisson(torch.tensor(4.0)), torch.tensor([0.1, 0.5, 0.9]))
    tensor([2., 4., 7.])
    """
    return distribution.icdf(q)


@icdf.register
def _(distribution: torch.distributions.Poisson, q: Tensor) -> Tensor:
    q, rate = torch.broadcast_tensors(q.double(), distribution.rate.double())
    wide = Poisson(rate, validate_args=False)
    high = rate + 10 * rate.sqrt() + 10
    y = _invert_discrete(lambda y: cdf(wide, y), q, torch.full_like(rate, -1.0), high)
    return _with_ends(y, q, torch.zeros_like(y), torch.full_like(y, torch.inf)).to(distribution.rate.dtype)


@icdf.register
def _(distribution: torch.distributions.Gamma, q: Tensor) -> Tensor:
    q, shape, rate = torch.broadcast_tensors(
        q.double(), distribution.concentration.double(), distribution.rate.double()
    )
    wide = Gamma(shape, rate, validate_args=False)
    # in log y: near zero F(y) ~ (b y)^a / (a Gamma(a)), so this point lies below the quantile
    low = ((q.log() + torch.lgamma(shape + 1)) / shape).clamp(min=-700) - rate.log() - 1
    high = torch.maximum(((shape + 10 * shape.sqrt() + 10) / rate).log(), low + 1)
    y = _invert_continuous(lambda u: cdf(wide, u.exp()), q, low, high).exp()
    return _with_ends(y, q, torch.zeros_like(y), torch.full_like(y, torch.inf)).to(distribution.rate.dtype)


@icdf.register
def _(distribution: torch.distributions.Exponential, q: Tensor) -> Tensor:
    q, rate = torch.broadcast_tensors(q.double(), distribution.rate.double())
    y = -torch.log1p(-q) / rate
    return _with_ends(y, q, torch.zeros_like(y), torch.full_like(y, torch.inf)).to(distribution.rate.dtype)


@icdf.register
def _(distribution: torch.distributions.LogNormal, q: Tensor) -> Tensor:
    # NaN outside [0, 1], and the ends of the support at 0 and 1
    z: Tensor = torch.special.ndtri(q.double())
    y = (distribution.loc.double() + distribution.scale.double() * z).exp()
    return y.to(distribution.loc.dtype)


@icdf.register
def _(distribution: torch.distributions.Bernoulli, q: Tensor) -> Tensor:
    q, zero = torch.broadcast_tensors(q, (-distribution.logits).sigmoid())
    y = (q > zero).to(zero.dtype)
    return _with_ends(y, q, torch.zeros_like(y), torch.ones_like(y))


@icdf.register
def _(distribution: torch.distributions.Categorical, q: Tensor) -> Tensor:
    cumulative = distribution.probs.cumsum(-1)[..., :-1]
    return (cumulative < q.to(cumulative.dtype).unsqueeze(-1)).sum(-1)


@icdf.register(torch.distributions.Independent)
def _(distribution: torch.distributions.Independent[Distribution], q: Tensor) -> Tensor:
    return icdf(distribution.base_dist, q)


@icdf.register
def _(distribution: MixtureSameFamily, q: Tensor) -> Tensor:
    _, dim = _mixture_weights(distribution)
    shape = torch.broadcast_shapes(q.shape, distribution.batch_shape + distribution.event_shape)
    q = q.expand(shape)
    components = icdf(distribution.component_distribution, q.unsqueeze(dim))
    low, high = components.amin(dim), components.amax(dim)
    if is_discrete(distribution):
        y = _invert_discrete(lambda y: cdf(distribution, y), q, low - 1, high)
    else:
        y = _invert_continuous(lambda y: cdf(distribution, y), q, low, high)
    return _with_ends(y, q, low, high)


def _mixture_weights(mixture: MixtureSameFamily) -> tuple[Tensor, int]:
    """Weights that broadcast against batch, component and event axes, and the component axis."""
    events = len(mixture.event_shape)
    weights = mixture.mixture_distribution.probs
    return weights.reshape(weights.shape + (1,) * events), -1 - events


def _with_ends(y: Tensor, q: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """The quantiles `y`, with the ends of the support at the levels 0 and 1, and NaN where there is no level."""
    y = torch.where(q <= 0, low, torch.where(q >= 1, high, y))
    return torch.where((q >= 0) & (q <= 1), y, torch.full_like(y, torch.nan))


def _invert_continuous(function: Callable[[Tensor], Tensor], q: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Solve an increasing function(y) = q by bisection; the upper end of the bracket grows as needed."""
    low, high = _grow(function, q, low, high)
    for _ in range(_BISECTIONS):
        middle = 0.5 * (low + high)
        below = function(middle) < q
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return 0.5 * (low + high)


def _invert_discrete(function: Callable[[Tensor], Tensor], q: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """The smallest integer y in (low, high] with function(y) >= q."""
    low, high = _grow(function, q, low.floor(), high.ceil())
    while True:
        middle = ((low + high) / 2).floor()
        # where floating-point numbers lie more than 1 apart, nothing is left between neighbours
        if not bool(((low < middle) & (middle < high)).any()):
            return high
        below = function(middle) < q
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)


def _grow(function: Callable[[Tensor], Tensor], q: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """Double the bracket upwards until its end is not below any quantile."""
    for _ in range(_BISECTIONS):
        below = function(high) < q
        if not bool(below.any()):
            break
        low, high = torch.where(below, high, low), torch.where(below, high + 2 * (high - low).clamp(min=1e-300), high)
    return low, high
