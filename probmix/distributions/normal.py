"""Normal distributions: tails in float64, the CRPS in closed form, and the marginals of several coordinates."""

import math

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import MixtureSameFamily, MultivariateNormal, Normal

from .._blocks import in_blocks
from .._shapes import broadcast_shapes
from .._special import ndtr
from .marginals import cdf, icdf
from .members import members_last, sum_over_pairs, weights_last
from .normal_scores import from_normal_score, normal_score
from .origins import Parameters, parametrised, scipy_name, skpro_name
from .panels import gauss_legendre
from .scoring import (
    marginal_crps,
    marginal_crps_with_bound,
    marginal_window_crps,
    mixture_crps,
    mixture_crps_with_bound,
    rounding_error,
)

_WIDEST = 40.0
# Of an interval shorter than one standard deviation.
_NODES, _RULE = gauss_legendre(16)


@cdf.register
def _(distribution: Normal, y: Tensor) -> Tensor:
    return _cdf(distribution.loc, distribution.scale, y)


@icdf.register
def _(distribution: Normal, q: Tensor) -> Tensor:
    return _icdf(distribution.loc, distribution.scale, q)


@cdf.register
def _(distribution: MultivariateNormal, y: Tensor) -> Tensor:
    return _cdf(distribution.loc, distribution.variance.sqrt(), y)


@icdf.register
def _(distribution: MultivariateNormal, q: Tensor) -> Tensor:
    return _icdf(distribution.loc, distribution.variance.sqrt(), q)


@normal_score.register(Normal)
@normal_score.register(MultivariateNormal)
def _(distribution: Normal | MultivariateNormal, y: Tensor) -> Tensor:
    return (y - distribution.mean) / distribution.stddev


@from_normal_score.register(Normal)
@from_normal_score.register(MultivariateNormal)
def _(distribution: Normal | MultivariateNormal, score: Tensor) -> Tensor:
    return distribution.mean + distribution.stddev * score


@marginal_crps.register
def _(distribution: Normal, y: Tensor) -> Tensor:
    return normal_crps(distribution.loc, distribution.scale, y)


@marginal_crps.register
def _(distribution: MultivariateNormal, y: Tensor) -> Tensor:
    return normal_crps(distribution.loc.double(), distribution.variance.double().sqrt(), y)


@marginal_crps_with_bound.register(Normal)
@marginal_crps_with_bound.register(MultivariateNormal)
def _(distribution: Normal | MultivariateNormal, y: Tensor) -> tuple[Tensor, Tensor]:
    return marginal_crps(distribution, y), rounding_error(distribution, y)


@marginal_window_crps.register
def _(distribution: Normal, y: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    return normal_window_crps(distribution.loc.double(), distribution.scale.double(), y, lower, upper)


@marginal_window_crps.register
def _(distribution: MultivariateNormal, y: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    return normal_window_crps(distribution.loc.double(), distribution.variance.double().sqrt(), y, lower, upper)


@mixture_crps.register(Normal)
@mixture_crps.register(MultivariateNormal)
def _(component: Normal | MultivariateNormal, mixture: MixtureSameFamily, y: Tensor) -> Tensor:
    loc, scale = (members_last(mixture, p) for p in (component.mean, component.stddev))
    return normal_mixture_crps(weights_last(mixture), loc, scale, y)


@mixture_crps_with_bound.register(Normal)
@mixture_crps_with_bound.register(MultivariateNormal)
def _(component: Normal | MultivariateNormal, mixture: MixtureSameFamily, y: Tensor) -> tuple[Tensor, Tensor]:
    return mixture_crps(component, mixture, y), rounding_error(mixture, y)


@scipy_name("norm")
def _(p: Parameters) -> dist.Normal:
    return parametrised(dist.Normal, loc=p["loc"], scale=p["scale"])


@skpro_name("Normal")
def _(p: Parameters) -> dist.Normal:
    return parametrised(dist.Normal, loc=p["mu"], scale=p["sigma"])


def _cdf(loc: Tensor, scale: Tensor, y: Tensor) -> Tensor:
    # torch's own is rounded to 0 eight standard deviations below the mean
    return ndtr((y.double() - loc.double()) / scale.double()).to(loc.dtype)


def _icdf(loc: Tensor, scale: Tensor, q: Tensor) -> Tensor:
    # NaN outside [0, 1], and infinite at 0 and 1
    quantile: Tensor = loc.double() + scale.double() * torch.special.ndtri(q.double())
    return quantile.to(loc.dtype)


def normal_crps(loc: Tensor, scale: Tensor, y: Tensor) -> Tensor:
    """In float64, which is made block by block from parameters of another dtype."""
    flat = (t.reshape(-1) for t in torch.broadcast_tensors(loc, scale, y))
    return in_blocks(_normal_crps, *flat).reshape(broadcast_shapes(loc.shape, scale.shape, y.shape))


def _normal_crps(loc: Tensor, scale: Tensor, y: Tensor) -> Tensor:
    loc, scale, y = (t.double() for t in (loc, scale, y))
    return _mean_absolute(y - loc, scale) - scale / math.sqrt(math.pi)


def normal_mixture_crps(weights: Tensor, loc: Tensor, scale: Tensor, y: Tensor) -> Tensor:
    """Parameters are broadcastable to ``y.shape + (M,)``; memory is bounded by blocks of rows."""
    to_y = (weights * _mean_absolute(y.unsqueeze(-1) - loc, scale)).sum(-1)
    return to_y - 0.5 * sum_over_pairs(_mean_distance, y.shape, weights, loc, scale)


def normal_window_crps(loc: Tensor, scale: Tensor, y: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    r"""The integral of :math:`(F(x) - 1[x \ge y])^2` from `lower` to `upper`.

    With :math:`J(z) = \int_{-\infty}^z \Phi^2 = z\Phi(z)^2 + 2\varphi(z)\Phi(z) - \Phi(\sqrt2 z)/\sqrt\pi` and m the
    point of the window next to y, in standard units, it is
    :math:`\sigma [J(m) - J(l) + J(-m) - J(-u)]`. Where the difference would cancel, quadrature takes its place.
    """
    low, high = ((end - loc) / scale for end in (lower, upper))
    at_y = torch.minimum(torch.maximum((y - loc) / scale, low), high)
    return scale * (square_below(low, at_y) + square_below(-high, -at_y))


def square_below(low: Tensor, high: Tensor) -> Tensor:
    r"""The integral of :math:`\Phi^2` over an interval that may start at minus infinity."""
    # below -40 the square of Phi is 0 in float64
    low, high = low.clamp(min=-_WIDEST), high.clamp(min=-_WIDEST)
    width = high - low
    near = width < 1
    apart = _square_from_below(high) - _square_from_below(low)
    nodes, rule = (torch.from_numpy(t).to(low) for t in (_NODES, _RULE[0]))
    start, step = torch.where(near, low, 0.0), torch.where(near, width, 0.0)
    inside = _below(start.unsqueeze(-1) + step.unsqueeze(-1) * nodes).square()
    return torch.where(near, step * (rule * inside).sum(-1), apart)


def _square_from_below(z: Tensor) -> Tensor:
    below = _below(z)
    density = torch.exp(-0.5 * z.square()) / math.sqrt(2 * math.pi)
    return below * (z * below + 2 * density) - _below(math.sqrt(2) * z) / math.sqrt(math.pi)


def _below(z: Tensor) -> Tensor:
    """Phi, which torch's ndtr takes from one in the lower tail."""
    return 0.5 * torch.erfc(-z / math.sqrt(2))


def _mean_distance(loc: Tensor, scale: Tensor, other_loc: Tensor, other_scale: Tensor) -> Tensor:
    """E|Y - Y'| of two independent Normals."""
    return _mean_absolute(loc - other_loc, torch.hypot(scale, other_scale))


def _mean_absolute(mean: Tensor, scale: Tensor) -> Tensor:
    r"""E|Z| of a Normal, :math:`2 s\varphi(m/s) + m(2\Phi(m/s) - 1)`."""
    z = mean / scale
    return scale * math.sqrt(2 / math.pi) * torch.exp(-0.5 * z.square()) + mean * torch.erf(z / math.sqrt(2))
