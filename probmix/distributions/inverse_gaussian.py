"""The inverse Gaussian distribution, which torch lacks."""

import math
from typing import Any, ClassVar

import numpy as np
import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import constraints
from torch.distributions.utils import broadcast_all

from .._special import HALF_LOG_2PI, ndtr
from .inversion import invert_continuous, with_ends
from .marginals import cdf, icdf
from .origins import Parameters, parametrised, scipy_name, skpro_name

# Phi(-38) is below every positive float64 that is not subnormal.
_WIDEST = 38.0


class InverseGaussian(dist.TorchDistribution):
    r"""Inverse Gaussian (Wald) distribution of mean :math:`\mu` and shape :math:`\lambda`, on y > 0.

    .. math:: p(y) = \sqrt{\frac\lambda{2\pi y^3}}\,\exp\Big(-\frac{\lambda(y - \mu)^2}{2\mu^2 y}\Big)

    The time that a Brownian motion with drift takes to a level; its variance is :math:`\mu^3/\lambda`.

    Parameters
    ----------
    loc : Tensor
        The mean, positive.
    concentration : Tensor
        The shape, positive.

    References
    ----------
    Michael, Schucany and Haas (1976), Generating random variates using transformations with multiple roots, The
    American Statistician 30, 88-90 (sampling).

    Examples
    --------
    >>> import torch
    >>> from probmix.distributions import InverseGaussian
    >>> InverseGaussian(torch.tensor(1.0), torch.tensor(2.0)).cdf(torch.tensor(1.0))
    tensor(0.6277)
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {
        "loc": constraints.positive,
        "concentration": constraints.positive,
    }
    support = constraints.positive

    def __init__(self, loc: Tensor | float, concentration: Tensor | float, validate_args: bool | None = None) -> None:
        self.loc, self.concentration = broadcast_all(loc, concentration)
        super().__init__(self.loc.shape, validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        new = self._get_checked_instance(InverseGaussian, _instance)
        new.loc, new.concentration = self.loc.expand(batch_shape), self.concentration.expand(batch_shape)
        super(InverseGaussian, new).__init__(torch.Size(batch_shape), validate_args=False)
        new._validate_args = self._validate_args
        return new

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        return self.loc.pow(3) / self.concentration

    def sample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(torch.Size(sample_shape))
        with torch.no_grad():
            half_square = 0.5 * torch.randn(shape, dtype=self.loc.dtype, device=self.loc.device).square()
            r = half_square * self.loc / self.concentration
            # the smaller root of a quadratic equation relative to the mean; the larger one is its reciprocal
            t = 1 / (1 + r + (2 * r + r.square()).sqrt())
            return self.loc * torch.where(torch.rand_like(t) * (1 + t) <= 1, t, 1 / t)

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        log_prob = inverse_gaussian_log_prob(value.double(), self.loc.double(), self.concentration.double())
        return torch.where(value > 0, log_prob, -torch.inf).to(self.loc.dtype)

    def cdf(self, value: Tensor) -> Tensor:
        return cdf(self, value)

    def icdf(self, value: Tensor) -> Tensor:
        return icdf(self, value)


def inverse_gaussian_log_prob(y: Tensor, mean: Tensor, shape: Tensor) -> Tensor:
    """Log-density for y > 0."""
    z = (y - mean) / mean
    return 0.5 * shape.log() - HALF_LOG_2PI - 1.5 * y.log() - 0.5 * shape / y * z.square()


@cdf.register
def _(distribution: InverseGaussian, y: Tensor) -> Tensor:
    mean = distribution.loc.double()
    log_ratio = (y.double().clamp(min=0) / mean).log()
    return _cdf(log_ratio, distribution.concentration.double() / mean).to(distribution.loc.dtype)


@icdf.register
def _(distribution: InverseGaussian, q: Tensor) -> Tensor:
    mean = distribution.loc.double()
    q, relative_shape = torch.broadcast_tensors(q.double(), distribution.concentration.double() / mean)
    # between these points F runs from 0 to 1
    with torch.no_grad():
        bound = 2 * torch.asinh(0.5 * _WIDEST / relative_shape.sqrt())
        u = invert_continuous(lambda u: _cdf(u, relative_shape), q, -bound, bound)
    y = mean * u.exp()
    if torch.is_grad_enabled() and (q.requires_grad or relative_shape.requires_grad):
        # the implicit function theorem: F(y) - q stays zero, where u = log(y / mean) has the density y f(y)
        missing = q - _cdf(u, relative_shape)
        shape = distribution.concentration.detach().double()
        density = (inverse_gaussian_log_prob(y.detach(), mean.detach(), shape) + y.detach().log()).exp()
        y = y * (1 + (missing - missing.detach()) / torch.where(density > 0, density, 1.0))
    return with_ends(y, q, torch.zeros_like(y), torch.full_like(y, torch.inf)).to(distribution.loc.dtype)


@scipy_name("invgauss", loc=0.0)
@skpro_name("InverseGaussian")
def _(p: Parameters) -> InverseGaussian:
    # the mean is the product of both parameters
    return parametrised(InverseGaussian, loc=np.asarray(p["mu"]) * p["scale"], concentration=p["scale"])


def _cdf(log_ratio: Tensor, relative_shape: Tensor) -> Tensor:
    r"""F from :math:`u = \log(y/\mu)` and :math:`\varphi = \lambda/\mu`.

    .. math:: F = \Phi(v) + e^{2\varphi}\Phi(-w),\qquad
        v = 2\sqrt\varphi\sinh\tfrac u2,\quad w = 2\sqrt\varphi\cosh\tfrac u2

    Since :math:`w^2 - v^2 = 4\varphi`, the second term is :math:`\tfrac12 e^{-v^2/2}` times the scaled complementary
    error function at :math:`w/\sqrt2`: nothing overflows, and both terms are positive.
    """
    root = 2 * relative_shape.sqrt()
    # far out both terms are 0 or 1
    half = 0.5 * log_ratio.clamp(-1000, 1000)
    v, w = root * half.sinh(), root * half.cosh()
    second: Tensor = 0.5 * torch.exp(-0.5 * v.square()) * torch.special.erfcx(w / math.sqrt(2))
    first: Tensor = ndtr(v)
    return first + second
