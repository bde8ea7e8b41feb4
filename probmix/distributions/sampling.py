"""Draws from mixtures: first which component, then from that one alone."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.distributions import Categorical, Distribution, MixtureSameFamily

from .parts import to_dtype_of
from .selection import select

# Numbers drawn at a time: 8 MiB of float64.
_BLOCK = 2**20


def sample_mixture(mixture: MixtureSameFamily, sample_shape: torch.Size) -> Tensor:
    """Draws of shape ``sample_shape + batch_shape + event_shape``.

    Of components that `select` does not know all are drawn, and the others thrown away, for a block of draws at a time.
    """
    batch, event = torch.Size(mixture.batch_shape), torch.Size(mixture.event_shape)
    component = mixture.component_distribution
    members, shape = component.batch_shape[-1], sample_shape + batch
    if shape.numel() == 0:
        return component.sample(sample_shape).sum(-1 - len(event))
    which = mixture.mixture_distribution.expand(batch).sample(sample_shape).reshape(-1, batch.numel())
    rows = torch.arange(batch.numel(), device=which.device) * members
    drawn = []
    # rows of the draws, and then parts of a row where even one is too long
    for draws in which.split(max(1, _BLOCK // max(1, batch.numel() * event.numel()))):
        for places in (draws + rows).flatten().split(max(1, _BLOCK // max(1, event.numel()))):
            chosen = select(component, places, len(batch) + 1)
            if chosen is None:
                return _sample_all(mixture, which).reshape(shape + event)
            drawn.append(chosen.sample())
    return torch.cat(drawn).reshape(shape + event)


def _sample_all(mixture: MixtureSameFamily, which: Tensor) -> Tensor:
    """Draws of the components `which`, (draws, rows), out of draws of all."""
    component, event = mixture.component_distribution, len(mixture.event_shape)
    dim = -1 - event
    drawn = []
    for part in which.split(max(1, _BLOCK // (component.batch_shape + component.event_shape).numel())):
        every: Tensor = component.sample(part.shape[:1])
        place = part.reshape(*part.shape[:1], *mixture.batch_shape, *(1,) * (event + 1))
        drawn.append(every.take_along_dim(place, dim).squeeze(dim))
    return torch.cat(drawn)


def sample_parts(
    distribution: Distribution, weights: Tensor, parts: Sequence[Distribution], sample_shape: torch.Size
) -> Tensor:
    """Draws of a mixture of `parts` with weights (*batch_shape, C), of such a shape as well: each of one part.

    Of parts that `select` does not know as many are drawn as of the mixture.
    """
    batch, event = torch.Size(distribution.batch_shape), torch.Size(distribution.event_shape)
    shape = sample_shape + batch
    which = Categorical(probs=weights).sample(sample_shape).flatten()
    drawn = to_dtype_of(distribution, torch.empty((len(which), *event), device=which.device))
    for number, part in enumerate(parts):
        places = (which == number).nonzero().squeeze(-1)
        known = select(part, places[:0], len(batch))
        every = torch.empty(0) if known is not None else part.sample(sample_shape).reshape(-1, *event)
        for some in places.split(max(1, _BLOCK // max(1, event.numel()))):
            chosen = None if known is None else select(part, some % batch.numel(), len(batch))
            values = every[some] if chosen is None else chosen.sample()
            drawn[some] = values.to(drawn.dtype)
    return drawn.reshape(shape + event)
