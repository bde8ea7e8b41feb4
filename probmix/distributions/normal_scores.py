"""The normal score of a target under a distribution, and back: finer than a cdf, which float64 rounds to 1."""

from collections.abc import Callable
from functools import singledispatch

import torch
from scipy import special
from torch import Tensor
from torch.distributions import Distribution

from .._special import ndtr
from .marginals import cdf, icdf

# Not every quantile function tells levels closer to 0 or 1 apart from them, that of a mixture of Normals for one.
_LOWEST, _HIGHEST = 2.0**-53, 1 - 2.0**-53
# Normal score of the largest float64 number below one.
WIDEST = float(special.ndtri(_HIGHEST))
# How closely the last finite quantile is sought.
_HALVINGS = 50


def from_probability(p: Tensor) -> Tensor:
    r""":math:`\Phi^{-1}(p)`, infinite at 0 and 1, float64; gradients are finite."""
    p = p.double()
    inside = (p > 0) & (p < 1)
    score: Tensor = torch.special.ndtri(torch.where(inside, p, 0.5))
    return torch.where(inside, score, torch.special.ndtri(p.detach()))


@singledispatch
def normal_score(distribution: Distribution, y: Tensor) -> Tensor:
    r""":math:`\Phi^{-1}(F(y))` of a float64 distribution, target by target; infinite where F is 0 or 1."""
    # a cdf of others may be above 1 by rounding
    return from_probability(cdf(distribution, y).clamp(0, 1))


@singledispatch
def from_normal_score(distribution: Distribution, score: Tensor) -> Tensor:
    r""":math:`F^{-1}(\Phi(z))` of a float64 distribution; ends of the support for infinite scores only."""
    p = ndtr(score)
    return icdf(distribution, torch.where(score.isinf(), p, p.clamp(_LOWEST, _HIGHEST))).double()


def finite_quantile(quantile: Callable[[Tensor], Tensor], score: Tensor) -> Tensor:
    """That at a normal score; where it is infinite, as of a cdf that rounds to 1 before, the last one that is not.

    Parameters
    ----------
    quantile : callable
        From a normal score to the quantile, both (*B,); finite at 0.
    score : Tensor, (*B,)
    """
    y = quantile(score)
    if bool(y.isfinite().all()):
        return y
    inner, outer = torch.zeros_like(score), score
    for _ in range(_HALVINGS):
        middle = 0.5 * (inner + outer)
        finite = quantile(middle).isfinite()
        inner, outer = torch.where(finite, middle, inner), torch.where(finite, outer, middle)
    return torch.where(y.isfinite(), y, quantile(inner))
