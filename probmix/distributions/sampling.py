"""Draws from mixtures: first which component, then from that one alone."""

import torch
from torch import Tensor
from torch.distributions import MixtureSameFamily

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
