"""Distribution functions and quantiles of discrete distributions that have probabilities only."""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.distributions import Distribution

from .counts import masses
from .inversion import with_ends
from .panels import BLOCK
from .parts import device_of
from .supports import lacks, support_ends

# So many counts are added at most.
_MOST_COUNTS = 2**20
# How far the sum of all may be off from one.
_MASS = 1e-6


def cdf_from_masses(distribution: Distribution, y: Tensor) -> Tensor:
    """P(Y <= y) of a float64 distribution, (K, *batch_shape)."""
    total, whole = torch.zeros_like(y), y.floor()
    for k, cumulative in _counts(distribution):
        place = (whole - k[0]).clamp(-1, len(k) - 1).nan_to_num(nan=-1.0).long()
        total = torch.where(place >= 0, cumulative.gather(0, place.clamp(min=0)), total)
    return torch.where(y.isnan(), torch.nan, total.clamp(max=1))


def icdf_from_masses(distribution: Distribution, q: Tensor) -> Tensor:
    """The first count at which the sum of the probabilities is q or more, (K, *batch_shape)."""
    lower, upper = (end.to(q).expand(q.shape) for end in support_ends(distribution))
    level, y = torch.where((q > 0) & (q < 1), q, 0.5), lower.clone()
    sought = level.movedim(0, -1).contiguous()
    for _, cumulative in _counts(distribution):
        y = y + torch.searchsorted(cumulative.detach().movedim(0, -1).contiguous(), sought).movedim(-1, 0)
    return with_ends(torch.minimum(y, upper), q, lower, upper)


def _counts(distribution: Distribution) -> Iterator[tuple[Tensor, Tensor]]:
    """Counts (K, 1, ...) and the sums of their probabilities, (K, *batch_shape), in blocks, while there are any.

    Raises
    ------
    NotImplementedError
        If there are no probabilities, or they do not sum to one.
    """
    batch, (lower, upper) = torch.Size(distribution.batch_shape), support_ends(distribution)
    if not bool(lower.isfinite().all()):
        raise lacks(distribution, "cdf", "its support has no lowest integer")
    start, stop = float(lower.amin()), float(upper.amax())
    size = max(1, min(1024, BLOCK // max(1, batch.numel())))
    below = torch.zeros(batch, dtype=torch.float64, device=device_of(distribution))
    for first in range(_MOST_COUNTS // size):
        k = start + first * size + torch.arange(size, dtype=torch.float64, device=below.device)
        k = k[k <= stop].reshape(-1, *(1,) * len(batch))
        if len(k):
            inside = (k >= lower.to(k)) & (k <= upper.to(k))
            try:
                probabilities = torch.where(inside, masses(distribution, k).expand(-1, *batch), 0.0)
            except NotImplementedError as error:
                raise lacks(distribution, "cdf", "it has none either") from error
            cumulative = below + probabilities.cumsum(0)
            yield k, cumulative
            below = cumulative[-1]
            if not bool((((below - 1).abs() > 1e-10) | (probabilities.sum(0) > 1e-17)).any()):
                return
        if len(k) < size:
            break
    if not bool(((below - 1).abs() <= _MASS).all()):
        worst = below.flatten()[int((below - 1).abs().argmax())].item()
        raise lacks(distribution, "cdf", f"the sum of the probabilities is {worst:.6g} and not 1, as far as found")
