"""The Poisson distribution."""

from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.distributions import MixtureSameFamily

from .._incomplete_gamma import incomplete_gamma, log_gamma_kernel
from .._special import poisson_log_prob
from .count_mixtures import crps_of_counts
from .counts import smooth_cdf
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

# Below this rate the Bessel functions are taken from one by their series, whose terms fall like 1 / k!.
_SMALL, _TERMS = 0.25, 18


class Poisson(Marginals, dist.Poisson):
    """Pyro's Poisson with `cdf` and `icdf`, and a log-probability that stays exact for large rates."""

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        return (-marginal_nll(self, value)).to(self.rate.dtype)


@cdf.register
def _(distribution: torch.distributions.Poisson, y: Tensor) -> Tensor:
    y = y.detach().double()
    inside = (y >= 0) & y.isfinite()
    _, upper = incomplete_gamma(torch.where(inside, y.floor(), 0.0) + 1, distribution.rate.double())
    return torch.where(inside, upper, (y > 0).double()).to(distribution.rate.dtype)


@icdf.register
def _(distribution: torch.distributions.Poisson, q: Tensor) -> Tensor:
    q, rate = torch.broadcast_tensors(q.detach().double(), distribution.rate.detach().double())
    wide = Poisson(rate, validate_args=False)
    # Cornish and Fisher's expansion; its next term goes with the cube of z
    z = torch.special.ndtri(torch.where((q > 0) & (q < 1), q, 0.5))
    centre = rate + rate.sqrt() * z + (z.square() - 1) / 6
    width = 2 + z.abs() ** 3 / (20 * (1 + rate.sqrt()))
    low = (centre - width).floor().clamp(min=-1)
    low = torch.where(cdf(wide, low) < q, low, -1.0)
    y = invert_discrete(lambda y: cdf(wide, y), q, low, torch.maximum(centre + width, low + 1))
    return with_ends(y, q, torch.zeros_like(y), torch.full_like(y, torch.inf)).to(distribution.rate.dtype)


@smooth_cdf.register
def _(distribution: torch.distributions.Poisson, y: Tensor) -> Tensor:
    return incomplete_gamma(y + 1, distribution.rate.double())[1]


@sample_positive.register
def _(distribution: torch.distributions.Poisson, shape: torch.Size) -> Tensor:
    # the first event of a process in [0, 1], given that there is one, and those after it
    rate = distribution.rate.expand(shape)
    first = -torch.log1p(torch.expm1(-rate) * torch.rand_like(rate))
    return 1 + torch.poisson((rate - first).clamp(min=0))


@marginal_nll.register
def _(distribution: torch.distributions.Poisson, y: Tensor) -> Tensor:
    possible = y >= 0
    y = torch.where(possible, y, torch.zeros_like(y)).double()
    return torch.where(possible, -poisson_log_prob(y, distribution.rate.double().log()), torch.inf)


@marginal_crps.register
def _(distribution: torch.distributions.Poisson, y: Tensor) -> Tensor:
    return poisson_crps(distribution.rate.double(), y)


@marginal_crps_with_bound.register
def _(distribution: torch.distributions.Poisson, y: Tensor) -> tuple[Tensor, Tensor]:
    return marginal_crps(distribution, y), incomplete_gamma_error(distribution, y)


@mixture_crps.register
def _(component: torch.distributions.Poisson, mixture: MixtureSameFamily, y: Tensor) -> Tensor:
    rate = members_last(mixture, component.rate)
    return crps_of_counts(mixture, weights_last(mixture), (-rate, rate, torch.zeros_like(rate)), y)


@scipy_name("poisson", loc=0.0)
def _(p: Parameters) -> Poisson:
    return parametrised(Poisson, rate=p["mu"])


@skpro_name("Poisson")
def _(p: Parameters) -> Poisson:
    return parametrised(Poisson, rate=p["mu"])


def poisson_crps(rate: Tensor, y: Tensor) -> Tensor:
    r"""CRPS in float64 for any whole number y.

    .. math:: (y - r)(2F(y) - 1) + 2 r f(y) - r e^{-2r}(I_0(2r) + I_1(2r)),\qquad
        \frac{d}{dr} = 1 - 2F(y - 1) - e^{-2r}I_0(2r)

    At y = 0 it is r times what the Bessel functions leave of one, a difference that is of the order of r.
    """
    value: Tensor = _PoissonCRPS.apply(rate, y)[0]
    return value


class _PoissonCRPS(torch.autograd.Function):
    """The CRPS and its derivative in the rate, where autograd would differentiate terms that cancel."""

    generate_vmap_rule = True

    @staticmethod
    def forward(rate: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        positive = y > 0
        count = torch.where(positive, y, 1.0)
        # the lower tail of the Gamma function is the upper one of the count
        above, below = incomplete_gamma(count + 1, rate)
        at_y = log_gamma_kernel(count, rate).exp()
        even, odd = torch.special.i0e(2 * rate), torch.special.i1e(2 * rate)
        value = (count - rate) * (below - above) + rate * (2 * at_y - even - odd)
        slope = above - below + 2 * at_y - even
        small = rate < _SMALL
        value = torch.where(positive, value, rate * torch.where(small, _missing(2, rate), 1 - even - odd) - y)
        slope = torch.where(positive, slope, torch.where(small, _missing(1, rate), 1 - even))
        return value, slope

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: tuple[Tensor, Tensor]) -> None:
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(inputs[0], output[1])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, _: Tensor) -> tuple[Tensor, None]:
        rate, slope = ctx.saved_tensors
        return (gradient * slope).sum_to_size(rate.shape), None


def _missing(b: int, rate: Tensor) -> Tensor:
    r"""What Kummer's function leaves of one, :math:`1 - M(\tfrac12, b, -4r)` (DLMF 13.6.9), for small rates.

    For b = 1 the function is :math:`e^{-2r}I_0(2r)`, for b = 2 it is :math:`e^{-2r}(I_0(2r) + I_1(2r))`.
    """
    x = -4 * rate.clamp(max=_SMALL)
    total = torch.zeros_like(x)
    for k in range(_TERMS, 0, -1):
        total = x * (k - 0.5) / (k * (b + k - 1)) * (1 + total)
    return -total
