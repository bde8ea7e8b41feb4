"""Integrals over a distribution by its quantile function."""

from collections.abc import Callable
from functools import partial, singledispatch

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Distribution, MixtureSameFamily

from .._special import ndtr
from .marginals import cdf, cdf_below
from .members import component_weights
from .normal_scores import from_normal_score, from_probability, normal_score
from .parts import device_of
from .point_masses import atoms

# Normal scores up to which is integrated, in so many panels of so many nodes.
_REACH, _PANELS, _NODES = 12.0, 48, 8
# Of a sum of probabilities.
_ROUNDING = 1e-12


@singledispatch
def panels_over_scores(
    base: Distribution, function: Callable[[Tensor], Tensor], z_range: tuple[float, float]
) -> Tensor:
    """The integral of a function of Z over its range, in panels of equal length in a normal score: (panels, *B).

    It is the score of Z, or where Z has point masses at its ends that of what lies between them: the quantile of a
    probability jumps there, and would be no smooth function of the score. The masses are a panel in the middle.
    """
    zero = torch.zeros(base.batch_shape, dtype=torch.float64, device=device_of(base))
    ends = [normal_score(base, zero + end) for end in z_range]
    quantile: Callable[[Tensor], Tensor] = partial(from_normal_score, base)
    masses, share = zero, torch.ones_like(zero)
    places, probabilities = atoms(base)
    if len(places):
        held = (probabilities > 0) & (places > z_range[0]) & (places < z_range[1])
        if bool((probabilities.sum(0) > 1 - _ROUNDING).all()):
            # there is nothing else
            return torch.stack([zero, torch.where(held, probabilities * function(places), 0.0).sum(0), zero])
        least = torch.where(held, places, torch.inf).amin(0)
        greatest = torch.where(held, places, -torch.inf).amax(0)
        # what is held by the lowest place, and by the highest
        first = torch.where(cdf_below(base, least) < _ROUNDING, cdf(base, least), 0.0)
        last = torch.where(cdf(base, greatest) > 1 - _ROUNDING, 1 - cdf_below(base, greatest), 0.0)
        share = 1 - first - last
        masses = torch.where(first > 0, first * function(least), 0.0)
        masses = masses + torch.where(last > 0, last * function(greatest), 0.0)
        ends = [from_probability(((ndtr(end) - first) / share.clamp(min=1e-300)).clamp(0, 1)) for end in ends]

        def between(score: Tensor) -> Tensor:
            below, above = first + share * ndtr(score), last + share * ndtr(-score)
            # of the smaller tail, which keeps its digits
            return from_normal_score(base, torch.where(below < 0.5, from_probability(below), -from_probability(above)))

        quantile = between
    low, high = (end.clamp(-_REACH, _REACH) for end in ends)
    width = (high - low) / _PANELS
    nodes, rule = (torch.from_numpy(t).to(zero) for t in np.polynomial.legendre.leggauss(_NODES))
    panels = []
    for number in range(_PANELS):
        score = low + width * (number + 0.5 * (1 + nodes.reshape(-1, *(1,) * zero.ndim)))
        density = share * (-0.5 * score.square()).exp() / np.sqrt(2 * np.pi)
        # where the masses are all there is, what lies between them may be infinite
        values = torch.where(share > 0, function(quantile(score)) * density, 0.0)
        panels.append(0.5 * width * torch.tensordot(rule, values, 1))
    panels.insert(_PANELS // 2, masses)
    return torch.stack(panels)


@panels_over_scores.register
def _(base: MixtureSameFamily, function: Callable[[Tensor], Tensor], z_range: tuple[float, float]) -> Tensor:
    weights, dim = component_weights(base)
    parts = panels_over_scores(
        base.component_distribution, lambda z: function(z.movedim(-1, 0)).movedim(0, -1), z_range
    )
    return (weights * parts).sum(dim)
