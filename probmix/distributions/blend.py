"""The door to mixtures of different kinds: parts of one kind are one part."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import Distribution, MixtureSameFamily

from .blended import Blend as Blend
from .blended import check_blend
from .concatenation import joined_along
from .nesting import flattened
from .parts import device_of, unchecked
from .pools import pooled
from .selection import select
from .zero_adjusted import ZeroAdjusted


def blend(weights: Tensor, parts: Sequence[Distribution]) -> Distribution:
    r"""The mixture :math:`\sum_c w_c\,p_c` of distributions of any kinds, with parts of one kind merged.

    A part may be a mixture, of which each component counts by itself: Normals and mixtures of Normals become one
    `Mixture`, and so do all others of which single rows can be taken. Distributions whose mixtures are of their kind,
    as of classes, are pooled to one.

    Parameters
    ----------
    weights : Tensor, (C,) or (*B, C)
        On the simplex over the last axis.
    parts : sequence of C torch or Pyro distributions
        Of one batch shape B and one event shape, all of counts or none.

    Returns
    -------
    Distribution
        Where one kind is left its mixture, such as a `Mixture`, else a `Blend` of one part of each kind; a single part
        as it is.

    Raises
    ------
    TypeError, ValueError
        As by `Blend`.

    Examples
    --------
    >>> import torch
    >>> from probmix.distributions import LogNormal, blend
    >>> normal = torch.distributions.Normal(torch.zeros(2), 1.0)
    >>> even = torch.tensor([0.5, 0.5])
    >>> blend(even, [normal, torch.distributions.Normal(torch.ones(2), 2.0)]).mixture_distribution.probs
    tensor([[0.5000, 0.5000],
            [0.5000, 0.5000]])
    >>> blend(even, [normal, LogNormal(torch.zeros(2), torch.ones(2))])
    Blend(Normal, LogNormal; batch_shape=(2,), event_shape=())
    """
    check_blend(weights, parts)
    batch = torch.Size(parts[0].batch_shape)
    if len(parts) == 1:
        return parts[0]
    kinds: list[_Kind] = []
    for weight, part in _simple(weights.expand(*batch, len(parts)), parts):
        _add(kinds, _kind_of(weight, part))
    merged = [kind.merged() for kind in kinds]
    if len(kinds) == 1:
        return merged[0]
    totals = torch.stack([kind.weights.sum(-1) for kind in kinds], -1)
    return Blend(totals, merged)


def _simple(weights: Tensor, parts: Sequence[Distribution]) -> list[tuple[Tensor, Distribution]]:
    """The parts, (*B,) of weight each, where blends among them are taken apart."""
    found = []
    for weight, part in zip(weights.unbind(-1), parts, strict=True):
        if isinstance(part, Blend):
            found += _simple(weight.unsqueeze(-1) * part.weights.to(weight), part.parts)
        else:
            found.append((weight, part))
    return found


@dataclass
class _Kind:
    """Members of one kind, (*B, M), or a single distribution of which no rows can be taken."""

    weights: Tensor
    members: Distribution | None
    single: Distribution | None

    def merged(self) -> Distribution:
        """The mixture of the members, (*B)."""
        if self.members is None or self.single is not None:
            assert self.single is not None
            return self.single
        total = self.weights.sum(-1, keepdim=True)
        even = torch.full_like(self.weights, 1 / self.weights.shape[-1])
        # in rows where the kind has no weight any mixture of it will do
        return pooled(self.members, torch.where(total > 0, self.weights / total, even))


def _kind_of(weight: Tensor, part: Distribution) -> _Kind:
    members = _members(part)
    if members is None:
        return _Kind(weight.unsqueeze(-1), None, part)
    within, components = members
    whole = weight.unsqueeze(-1) * within.to(weight)
    return _Kind(whole, unchecked(components), part if whole.shape[-1] == 1 else None)


def _members(part: Distribution) -> tuple[Tensor, Distribution] | None:
    """Weights and members, (*B, M), of what may be a mixture, or None where rows cannot be taken."""
    batch = torch.Size(part.batch_shape)
    if isinstance(part, MixtureSameFamily):
        if isinstance(part.component_distribution, MixtureSameFamily):
            part = flattened(part)
        probs = part.mixture_distribution.probs
        return probs.expand(*batch, probs.shape[-1]), part.component_distribution
    if isinstance(part, ZeroAdjusted) and isinstance(part.base_dist, MixtureSameFamily):
        inner = _members(part.base_dist)
        return None if inner is None else (inner[0], ZeroAdjusted(inner[1], part.gate_logits.unsqueeze(-1)))
    rows = torch.arange(batch.numel(), device=device_of(part)).reshape(*batch, 1)
    one = select(part, rows, len(batch))
    return None if one is None else (torch.ones(*batch, 1, device=rows.device), one)


def _add(kinds: list[_Kind], kind: _Kind) -> None:
    """To the members of that kind, or as one of its own."""
    for known in kinds:
        if known.members is not None and kind.members is not None:
            both = joined_along([known.members, kind.members], kind.weights.ndim - 1)
            if both is not None:
                known.weights, known.members, known.single = torch.cat([known.weights, kind.weights], -1), both, None
                return
    kinds.append(kind)
