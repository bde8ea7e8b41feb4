"""What the families share: weighted means, and checks of targets and distributions."""

from typing import TypeVar

import torch
from torch import Tensor

_Kind = TypeVar("_Kind", bound=torch.distributions.Distribution)


def in_planes(values: Tensor) -> Tensor:
    """The same parameters, (*B, K), all first ones together in memory, and so on: torch is several times as quick."""
    # not `contiguous`, which fake tensors lack where there is no GPU
    return values.movedim(-1, 0).clone(memory_format=torch.contiguous_format).movedim(0, -1)


def side_by_side(*parameters: Tensor) -> Tensor:
    """Parameters of one shape, K times (*B,), as (*B, K), `in_planes`."""
    return torch.stack(parameters).movedim(0, -1)


def first(params: Tensor) -> Tensor:
    """The first parameter: (*B, K) -> (*B,); not by an index, which fake tensors lack where there is no GPU."""
    return params.select(-1, 0)


def rest(params: Tensor) -> Tensor:
    """All parameters but the first: (*B, K) -> (*B, K - 1)."""
    return params.narrow(-1, 1, params.shape[-1] - 1)


def stretched(values: Tensor, centre: Tensor, factor: float) -> Tensor:
    """Values further from a centre by a factor, float64."""
    centre = centre.double()
    return centre + factor * (values.double() - centre)


def weighted_mean(values: Tensor, weights: Tensor | None, dim: int) -> Tensor:
    """Mean of `values` over `dim`, which is kept; `weights` broadcast against `values`."""
    if weights is None:
        return values.mean(dim, keepdim=True)
    weights = weights.to(values).expand_as(values)
    return (weights * values).sum(dim, keepdim=True) / weights.sum(dim, keepdim=True)


def counting(values: Tensor, weights: Tensor | None) -> Tensor:
    """`values`, zero where the weight is; `weights` broadcast against `values`."""
    return values if weights is None else torch.where(weights > 0, values, torch.zeros_like(values))


def outside(what: str, value: Tensor, low: float = 0.0, high: float = torch.inf, nothing: float = 1e-12) -> list[str]:
    """In words, what targets show of a parameter beyond its bounds; a spread of nothing but rounding is none."""
    found = []
    largest, positive = value.amax().item(), value[value > nothing]
    if largest > high:
        found.append(f"{what} of {largest:.3g}, above its largest, {high:.3g}")
    if positive.numel() and positive.amin().item() < low:
        found.append(f"{what} of {positive.amin().item():.3g}, below its smallest, {low:.3g}")
    return found


def check_kind(distribution: torch.distributions.Distribution, kind: type[_Kind]) -> _Kind:
    """The distribution, if it is of that kind; another with the same moments is not."""
    if not isinstance(distribution, kind):
        raise TypeError(f"`distribution` must be a {kind.__name__}, got {type(distribution).__name__}.")
    return distribution


def check_support(y: Tensor, inside: Tensor, rule: str, mend: str) -> None:
    """Raise if any target is outside the support: rule, first offender with its place, how to mend it."""
    if bool(inside.all()):
        return
    place = tuple(int(i) for i in (~inside).nonzero()[0])
    where = f"row {place[0]}" if len(place) == 1 else f"index {place}"
    raise ValueError(f"{rule}; got {y[place].item():g} at {where}. {mend}")
