"""The categorical distribution, for classes in their order."""

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import MixtureSameFamily

from .marginals import Marginals, cdf, icdf
from .members import class_probs
from .scoring import (
    ROUNDING,
    marginal_crps,
    marginal_crps_with_bound,
    marginal_nll,
    marginal_window_crps,
    mixture_crps,
    mixture_crps_with_bound,
    mixture_window_crps,
)
from .sums import overlap


class Categorical(Marginals, dist.Categorical):
    """Pyro's Categorical with `cdf` and `icdf`, for classes in their order."""


@cdf.register
def _(distribution: torch.distributions.Categorical, y: Tensor) -> Tensor:
    cumulative = distribution.probs.cumsum(-1)
    last = cumulative.shape[-1] - 1
    index, _ = torch.broadcast_tensors(y.floor().clamp(-1, last).long(), cumulative[..., 0])
    cumulative = cumulative.expand(*index.shape, last + 1)
    value = cumulative.gather(-1, index.clamp(min=0).unsqueeze(-1)).squeeze(-1)
    value = torch.where(index == last, torch.ones_like(value), value)
    return torch.where(index < 0, torch.zeros_like(value), value)


@icdf.register
def _(distribution: torch.distributions.Categorical, q: Tensor) -> Tensor:
    cumulative = distribution.probs.cumsum(-1)[..., :-1]
    return (cumulative < q.to(cumulative.dtype).unsqueeze(-1)).sum(-1)


@marginal_nll.register
def _(distribution: torch.distributions.Categorical, y: Tensor) -> Tensor:
    # from the logits as they are: in probabilities small ones vanish
    log_prob: Tensor = distribution.log_prob(y)
    return -log_prob


@marginal_crps.register
def _(distribution: torch.distributions.Categorical, y: Tensor) -> Tensor:
    return categorical_crps(distribution.probs.double(), y)


@marginal_crps_with_bound.register
def _(distribution: torch.distributions.Categorical, y: Tensor) -> tuple[Tensor, Tensor]:
    value = marginal_crps(distribution, y)
    return value, ROUNDING * distribution.probs.shape[-1] * value


@marginal_window_crps.register
def _(distribution: torch.distributions.Categorical, y: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    return _window_crps(distribution.probs.double(), y, lower, upper)


@mixture_crps.register
def _(component: torch.distributions.Categorical, mixture: MixtureSameFamily, y: Tensor) -> Tensor:
    return categorical_crps(class_probs(mixture), y)


@mixture_crps_with_bound.register
def _(component: torch.distributions.Categorical, mixture: MixtureSameFamily, y: Tensor) -> tuple[Tensor, Tensor]:
    value = mixture_crps(component, mixture, y)
    return value, ROUNDING * component.probs.shape[-1] * value


@mixture_window_crps.register
def _(
    component: torch.distributions.Categorical, mixture: MixtureSameFamily, y: Tensor, lower: Tensor, upper: Tensor
) -> Tensor:
    return _window_crps(class_probs(mixture), y, lower, upper)


def _window_crps(probs: Tensor, y: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    classes = torch.arange(probs.shape[-1] - 1, dtype=y.dtype, device=y.device)
    return categorical_crps(probs, y, overlap(classes, lower.unsqueeze(-1), upper.unsqueeze(-1)))


def categorical_crps(probs: Tensor, y: Tensor, lengths: Tensor | None = None) -> Tensor:
    """Squares of the probabilities up to a class below y, or above a class from y on.

    `lengths`, (*B, classes - 1), are what a window leaves of the unit intervals between the classes.
    """
    below = probs.cumsum(-1)[..., :-1]
    # 1 - F as a sum of its own keeps its digits where F is nearly one
    above = probs.flip(-1).cumsum(-1).flip(-1)[..., 1:]
    classes = torch.arange(below.shape[-1], device=y.device)
    squares = torch.where(classes < y.unsqueeze(-1), below, above).square()
    return (squares if lengths is None else squares * lengths).sum(-1)
