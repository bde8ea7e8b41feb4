"""Integrals over a distribution by its quantile function."""

from collections.abc import Callable
from functools import singledispatch

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Distribution, MixtureSameFamily

from .members import component_weights
from .normal_scores import from_normal_score, normal_score
from .parts import device_of

# Normal scores up to which is integrated, in so many panels of so many nodes.
_REACH, _PANELS, _NODES = 12.0, 48, 8


@singledispatch
def panels_over_scores(
    base: Distribution, function: Callable[[Tensor], Tensor], z_range: tuple[float, float]
) -> Tensor:
    """The integral of a function of Z over its range, in panels of equal length in the normal score: (panels, *B)."""
    zero = torch.zeros(base.batch_shape, dtype=torch.float64, device=device_of(base))
    low, high = (normal_score(base, zero + end).clamp(-_REACH, _REACH) for end in z_range)
    width = (high - low) / _PANELS
    nodes, rule = (torch.from_numpy(t).to(zero) for t in np.polynomial.legendre.leggauss(_NODES))
    panels = []
    for number in range(_PANELS):
        score = low + width * (number + 0.5 * (1 + nodes.reshape(-1, *(1,) * zero.ndim)))
        density = (-0.5 * score.square()).exp() / np.sqrt(2 * np.pi)
        values = function(from_normal_score(base, score)) * density
        panels.append(0.5 * width * torch.tensordot(rule, values, 1))
    return torch.stack(panels)


@panels_over_scores.register
def _(base: MixtureSameFamily, function: Callable[[Tensor], Tensor], z_range: tuple[float, float]) -> Tensor:
    weights, dim = component_weights(base)
    parts = panels_over_scores(
        base.component_distribution, lambda z: function(z.movedim(-1, 0)).movedim(0, -1), z_range
    )
    return (weights * parts).sum(dim)
