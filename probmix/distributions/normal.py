"""Normal distributions: quantiles and tails in float64, and the marginals of several coordinates."""

import torch
from torch import Tensor
from torch.distributions import MultivariateNormal, Normal

from .._special import ndtr
from .marginals import cdf, icdf


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


def _cdf(loc: Tensor, scale: Tensor, y: Tensor) -> Tensor:
    # torch's own is rounded to 0 eight standard deviations below the mean
    return ndtr((y.double() - loc.double()) / scale.double()).to(loc.dtype)


def _icdf(loc: Tensor, scale: Tensor, q: Tensor) -> Tensor:
    # NaN outside [0, 1], and infinite at 0 and 1
    quantile: Tensor = loc.double() + scale.double() * torch.special.ndtri(q.double())
    return quantile.to(loc.dtype)
