"""The bins of one target: their edges from targets, and what a target is in terms of them."""

import math
from dataclasses import dataclass

import torch
from scipy import special
from torch import Tensor
from torch.nn.functional import one_hot

from .._special import ndtr
from ..distributions.binned import TAIL_SHARE, bin_of, log_within
from .bounds import LEAST_SHARE, lattice_step

# A width that few targets have chosen is far off: that of a bin with k of them by a share of about 1 / sqrt(k).
_LEAST_ROWS = 5
# Bins are about targets that are all one number, so wide, relative to it.
_CONSTANT = 1e-3
_QUARTILES_TO_SD = 2 * float(special.ndtri(0.75))


@dataclass(frozen=True)
class Bins:
    """Bins of one target, with both tails: edges (n + 1), in order, and the scales of the tails, (2).

    A target has a coordinate on the line of bins: from k to k + 1 in bin k, below zero and above n in the tails, in
    units of their scales.
    """

    edges: tuple[float, ...]
    tails: tuple[float, ...]

    @property
    def count(self) -> int:
        return len(self.edges) - 1

    def table(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Edges and tails as tensors in float64."""
        edges, tails = (torch.tensor(t, dtype=torch.float64, device=like.device) for t in (self.edges, self.tails))
        return edges, tails

    def place(self, y: Tensor) -> Tensor:
        """The bin of each target, the outer ones with their tails: (*B,) -> (*B,), int."""
        return bin_of(self.table(y)[0], y.reshape(-1)).reshape(y.shape)

    def log_base(self, y: Tensor) -> Tensor:
        """The log-density of targets given their bin: (*B,) -> (*B,), float64."""
        return log_within(*self.table(y), y.double().reshape(-1)).reshape(y.shape)

    def mean_log_base(self, like: Tensor) -> Tensor:
        """The mean of `log_base` over each bin: (n,)."""
        edges, tails = self.table(like)
        found = -edges.diff().log()
        # the entropy of a half-normal distribution of scale 1
        beyond = math.log(TAIL_SHARE) - 0.5 * (math.log(math.pi / 2) + 1) - tails.log()
        outer = torch.stack([found.narrow(0, 0, 1), found.narrow(0, self.count - 1, 1)]).squeeze(-1)
        outer = (1 - TAIL_SHARE) * (outer + math.log1p(-TAIL_SHARE)) + TAIL_SHARE * beyond
        inner = found.narrow(0, 1, self.count - 2)
        return torch.cat([outer.narrow(0, 0, 1), inner, outer.narrow(0, 1, 1)])

    def coordinate(self, y: Tensor) -> Tensor:
        """Where targets are on the line of bins: (*B,) -> (*B,), float64."""
        edges, _ = self.table(y)
        y, place = y.double(), self.place(y)
        flat = place.flatten()
        low, width = (t.gather(0, flat).reshape(y.shape) for t in (edges.narrow(0, 0, self.count), edges.diff()))
        below = ((self.edges[0] - y) / self.tails[0]).clamp(min=0)
        above = ((y - self.edges[-1]) / self.tails[1]).clamp(min=0)
        return (place + (y - low) / width).clamp(0, self.count) - below + above

    def at_coordinate(self, u: Tensor) -> Tensor:
        """Targets from their coordinates."""
        edges, _ = self.table(u)
        inside = u.clamp(0, self.count)
        place = inside.floor().clamp(max=self.count - 1)
        flat = place.long().flatten()
        low, high = (edges.narrow(0, start, self.count).gather(0, flat).reshape(u.shape) for start in (0, 1))
        y = torch.lerp(low, high, inside - place)
        return y - self.tails[0] * (-u).clamp(min=0) + self.tails[1] * (u - self.count).clamp(min=0)

    def shares(self, y: Tensor, spread: float) -> Tensor:
        r"""Shares of the bins in a label, (*B, n), float64: that of a normal density around it on the line of bins.

        .. math:: \Phi\Bigl(\frac{k + 1 - u}s\Bigr) - \Phi\Bigl(\frac{k - u}s\Bigr)

        with the coordinate u of the label; what lies beyond the outer bins belongs to these, as the tails do. With a
        standard deviation s of zero all of it is in the bin of the label.
        """
        if not spread:
            return one_hot(self.place(y), self.count).double()
        inner = torch.arange(1, self.count, dtype=torch.float64, device=y.device)
        below = ndtr((inner - self.coordinate(y).unsqueeze(-1)) / spread)
        zero = torch.zeros_like(below.narrow(-1, 0, 1))
        return torch.cat([below, zero + 1], -1) - torch.cat([zero, below], -1)


def normal_bins(count: int) -> Bins:
    """Bins that are equally probable under a standard normal distribution, their tails included."""
    levels = [TAIL_SHARE / count, *(k / count for k in range(1, count)), 1 - TAIL_SHARE / count]
    return with_tails(tuple(float(special.ndtri(level)) for level in levels))


def with_tails(edges: tuple[float, ...]) -> Bins:
    """Bins with tails as wide as the outer ones of them."""
    return Bins(edges, (edges[1] - edges[0], edges[-1] - edges[-2]))


def bins_of_targets(y: Tensor, weights: Tensor | None, most: int) -> tuple[Bins, float]:
    """Bins between the quantiles of targets, at most so many, and of five targets or more; and how many targets.

    A target of weight two is two of weight one, in whatever unit. So it is different targets that count; on a lattice
    the lightest of them is one, and where these are most of its points, each may have a bin.

    Edges lie between targets. Where these are on a lattice, edges lie in the middle between two of its points, and no
    bin is narrower than its step; else none is narrower than a uniform density whose standard deviation is a thousandth
    of that of the targets, by their quartiles. So no bin is a spike on a target that comes up often.

    Parameters
    ----------
    y, weights : Tensor, (n,)
        Targets, and weights of theirs.
    most : int
    """
    y = y.double()
    weights = torch.ones_like(y) if weights is None else weights.double()
    values, place = y[weights > 0].unique(return_inverse=True)
    mass = torch.zeros_like(values).index_add_(0, place, weights[weights > 0])
    if len(values) == 1:
        centre = values.item()
        width = _CONSTANT * abs(centre) or _CONSTANT
        return with_tails(tuple(centre + width * step for step in (-1.5, -0.5, 0.5, 1.5))), 1.0
    # two values are a lattice of two points
    step = (lattice_step(values, 0) if len(values) > 2 else values.diff()).item()
    low, high = values[:-1], values[1:]
    # of a gap of several steps the middle may be a point of the lattice
    between = 0.5 * (low + high) if not step else low + step * (0.5 + ((high - low) / step - 1).div(2).round())
    ends = (values[0] - 0.5 * step).item(), (values[-1] + 0.5 * step).item()
    rows = (mass.sum() / mass.amin()).item() if step else float(len(values))
    is_dense = step > 0 and (ends[1] - ends[0]) / step < 2.5 * len(values)
    count = max(2, min(most, len(values) if is_dense else int(rows) // _LEAST_ROWS))
    share = mass.cumsum(0) / mass.sum()
    levels = torch.arange(1, count, dtype=torch.float64, device=y.device) / count
    if not step:
        # a level in the midst of a target that comes up often has no cut, lest there be a spike on it
        place = torch.searchsorted(share, levels).clamp(max=len(values) - 1)
        apart = mass[place] * count < mass.sum()
        levels = levels[apart] if bool(apart.any()) else levels
    after = torch.searchsorted(share[:-1], levels).clamp(max=len(values) - 2)
    before = (after - 1).clamp(min=0)
    chosen = torch.where(levels - share[before] <= share[after] - levels, before, after).unique()
    if is_dense and count == len(values):
        chosen = torch.arange(count - 1, device=y.device)
    least = max(step, math.sqrt(12) * LEAST_SHARE * _spread(values, mass, share))
    return with_tails(_apart(ends, between[chosen].tolist(), 0.999 * least)), rows


def _apart(ends: tuple[float, float], inner: list[float], least: float) -> tuple[float, ...]:
    """Edges that are so far from each other: an inner one too close to the one before, or to the last, is left out."""
    edges = [ends[0]]
    for edge in inner:
        if edge - edges[-1] >= least and ends[1] - edge >= least:
            edges.append(edge)
    if len(edges) == 1:
        edges.append(0.5 * ends[0] + 0.5 * ends[1])
    return (*edges, ends[1])


def _spread(values: Tensor, mass: Tensor, share: Tensor) -> float:
    """The standard deviation of targets by their quartiles, or where these are one number, as it is."""
    quartiles = torch.tensor([0.25, 0.75], dtype=torch.float64, device=values.device)
    low, high = values[torch.searchsorted(share, quartiles).clamp(max=len(values) - 1)].tolist()
    if high > low:
        return float(high - low) / _QUARTILES_TO_SD
    probability = mass / mass.sum()
    mean = (probability * values).sum()
    return float((probability * (values - mean).square()).sum().sqrt())
