"""The Gamma distribution."""

import pyro.distributions as dist
import torch
from torch import Tensor

from .._incomplete_gamma import incomplete_gamma, log_gamma_kernel
from .._special import gamma_log_prob
from .inversion import with_ends
from .marginals import Marginals, cdf, icdf

# Newton's method for quantiles: rounds at most, and the relative step that ends it, for its square is below rounding.
_ROUNDS, _STEP = 40, 1e-10
# Below the exponential of this, the first term of the power series is the whole lower tail, to the last digit.
_LOG_TINY = -600.0


class Gamma(Marginals, dist.Gamma):
    """Pyro's Gamma with `icdf`, both differentiable in the shape, and a log-density that stays exact for large shapes.

    Examples
    --------
    >>> import torch
    >>> from probmix.distributions import Gamma
    >>> gamma = Gamma(torch.tensor(2.0, requires_grad=True), torch.tensor(1.0))
    >>> torch.autograd.grad(gamma.cdf(torch.tensor(2.0)), gamma.concentration)
    (tensor(-0.2940),)
    """

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        return gamma_log_prob(value.double(), self.concentration.double(), self.rate.double()).to(self.rate.dtype)


@cdf.register
def _(distribution: torch.distributions.Gamma, y: Tensor) -> Tensor:
    shape, rate = distribution.concentration.double(), distribution.rate.double()
    lower, _ = incomplete_gamma(shape, rate * y.double())
    return lower.to(distribution.rate.dtype)


@icdf.register
def _(distribution: torch.distributions.Gamma, q: Tensor) -> Tensor:
    shape, rate = distribution.concentration.double(), distribution.rate.double()
    y = _quantile(*torch.broadcast_tensors(shape, q.double())) / rate
    q = q.double().expand_as(y)
    return with_ends(y, q, torch.zeros_like(y), torch.full_like(y, torch.inf)).to(distribution.rate.dtype)


def _quantile(a: Tensor, q: Tensor) -> Tensor:
    """The quantile at rate one, differentiable in both arguments."""
    x = _newton(a.detach(), q.detach())
    if not (torch.is_grad_enabled() and (a.requires_grad or q.requires_grad)):
        return x
    # the implicit function theorem: P(a, x) - q stays zero
    lower, _ = incomplete_gamma(a, x)
    missing = q - lower
    density = (log_gamma_kernel(a.detach(), x) + a.detach().log() - x.log()).exp()
    return x + (missing - missing.detach()) / density


def _newton(a: Tensor, q: Tensor) -> Tensor:
    """Newton's method on the logarithm of the smaller tail, a concave function of log x, which needs no bracket.

    Each step from anywhere ends on the side where the tail is too small, and all further ones stay there.
    """
    inside = (q > 0) & (q < 1)
    q = torch.where(inside, q, 0.5)
    right = q > 0.5
    level = torch.where(right, 1 - q, q)
    # the first term of the power series of P: near zero it is all of P, elsewhere it gives a lower bound
    log_power = (q.log() + torch.lgamma(a + 1)) / a
    tiny = log_power < _LOG_TINY
    x = _start(a, q, right, log_power)
    for _ in range(_ROUNDS):
        lower, upper = incomplete_gamma(a, x)
        tail = torch.where(right, upper, lower)
        step = (level / tail).log() * tail / (log_gamma_kernel(a, x) + a.log()).exp()
        step = torch.where(tiny, 0.0, torch.where(right, -step, step))
        x = x * step.exp()
        if not bool((step.abs() > _STEP).any()):
            break
    return torch.where(tiny, log_power.exp(), x)


def _start(a: Tensor, q: Tensor, right: Tensor, log_power: Tensor) -> Tensor:
    """The larger of the lower bound and Wilson and Hilferty's approximation; up to a shape of one other bounds."""
    root = 1 - 1 / (9 * a) + torch.special.ndtri(q) / (3 * a.sqrt())
    power = log_power.clamp(min=_LOG_TINY).exp()
    # for shapes up to one an exponential variable is larger
    bound = torch.where(right & (log_power > -1), -torch.log1p(-q), power)
    return torch.where(a <= 1, bound, torch.maximum(a * root.clamp(min=0) ** 3, power))
