"""Partners whose features are close: local mixup."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy import sparse
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from ..pairs import take_rows
from ..random import Uniform, fine
from .partners import PreparedPartners, flat_rows, stack_filled
from .registry import register_law
from .row_graph import RowGraph

# Pairs of rows that a graph may have: 0.8 GB.
_MOST_PAIRS = 50_000_000
# Rows of which the neighbours are found at once, and numbers that are in memory at once.
_ROWS = 1024
_BLOCK = 2**22


@register_law
@dataclass(frozen=True)
class DistanceKernel:
    r"""Rows whose features are close, by a kernel of their distance: local mixup.

    .. math:: P(j \mid i) \propto \exp(-d_{ij} / h)

    over the row itself and the `k` nearest other rows by Euclidean distance; all further ones have probability zero.
    Estimators standardise the features first; in a training loop of your own that is up to you.

    Parameters
    ----------
    bandwidth : float, positive
        h, in standard deviations of the features; distances grow with the root of their number.
    k : int
        Where the kernel is cut off. More than there are other rows are all of them.

    References
    ----------
    Baena, Drumetz & Gripon (2022), Preventing Manifold Intrusion with Locality: Local Mixup.

    Examples
    --------
    >>> import torch
    >>> from probmix.mixup import DistanceKernel
    >>> from probmix.random import KeyedRandom, member_keys
    >>> x = torch.tensor([[0.0], [1.0], [9.0]])
    >>> partners = DistanceKernel(1.0, k=1).prepare([x], [x[:, 0]])
    >>> drawn = partners.draw(torch.tensor([[0]]), KeyedRandom(member_keys(0, 1)).uniform, 10_000)
    >>> (drawn.flatten().bincount() / 10_000).round(decimals=2)  # 1 and exp(-1), of their sum
    tensor([0.7300, 0.2700])
    """

    bandwidth: float = 1.0
    k: int = 50

    def __post_init__(self) -> None:
        if not (math.isfinite(self.bandwidth) and self.bandwidth > 0):
            raise ValueError(
                f"`bandwidth` of DistanceKernel must be positive and finite; got {self.bandwidth}. Use "
                "NearestNeighbours(k) for equal probabilities."
            )
        if self.k < 1:
            raise ValueError(f"`k` of DistanceKernel must be at least 1; got {self.k}.")

    def prepare(self, x: Sequence[Tensor], y: Sequence[Tensor]) -> PreparedPartners:
        """Find the neighbours of all rows of each member."""
        return RowGraph.of([self._graph(one) for one in x], x[0].device)

    def _graph(self, x: Tensor) -> sparse.csr_array:
        n, rows = len(x), flat_rows(x).cpu().numpy()
        own = sparse.csr_array(sparse.eye_array(n))
        k = min(self.k, n - 1)
        if not k:
            return own
        distance, index = NearestNeighbors(n_neighbors=k).fit(rows).kneighbors()
        weight = np.exp(-distance / self.bandwidth).ravel()
        others = sparse.csr_array((weight, index.ravel(), np.arange(0, n * k + 1, k)), shape=(n, n))
        return sparse.csr_array(own + others)


@register_law
@dataclass(frozen=True)
class WithinDistance:
    """Any row within a Euclidean distance, itself included, with equal probability: local mixup by a threshold.

    Estimators standardise the features first; in a training loop of your own that is up to you.

    Parameters
    ----------
    radius : float, non-negative
        In standard deviations of the features; distances grow with the root of their number.

    References
    ----------
    Baena, Drumetz & Gripon (2022), Preventing Manifold Intrusion with Locality: Local Mixup.

    Examples
    --------
    >>> import torch
    >>> from probmix.mixup import WithinDistance
    >>> from probmix.random import KeyedRandom, member_keys
    >>> x = torch.tensor([[0.0], [1.0], [9.0]])
    >>> partners = WithinDistance(2.0).prepare([x], [x[:, 0]])
    >>> drawn = partners.draw(torch.tensor([[0, 1, 2]]), KeyedRandom(member_keys(0, 1)).uniform, 100)
    >>> [sorted(set(one.tolist())) for one in drawn[0]]
    [[0, 1], [0, 1], [2]]
    """

    radius: float

    def __post_init__(self) -> None:
        _check_radius("WithinDistance", self.radius)

    def prepare(self, x: Sequence[Tensor], y: Sequence[Tensor]) -> PreparedPartners:
        """Find the rows within the distance of each row of each member.

        Raises
        ------
        ValueError
            If these are more than 50 million pairs.
        """
        return RowGraph.of([self._graph(one) for one in x], x[0].device)

    def _graph(self, x: Tensor) -> sparse.csr_array:
        n, rows = len(x), flat_rows(x).cpu().numpy()
        near = NearestNeighbors(radius=self.radius).fit(rows)
        blocks: list[Any] = []
        pairs = 0
        for start in range(0, n, _ROWS):
            blocks.append(near.radius_neighbors_graph(rows[start : start + _ROWS]))
            pairs += blocks[-1].nnz
            if pairs > _MOST_PAIRS:
                raise ValueError(
                    f"WithinDistance(radius={self.radius:g}) must leave at most {_MOST_PAIRS:,} pairs of rows; the "
                    f"first {min(n, start + _ROWS):,} of {n:,} rows have {pairs:,}. Use a smaller radius, "
                    "DistanceKernel, or BatchNeighbours."
                )
        # rounding may put a row beyond a small distance to itself
        graph = sparse.csr_array(sparse.vstack(blocks))
        return sparse.csr_array(graph.maximum(sparse.csr_array(sparse.eye_array(n))))


@register_law
@dataclass(frozen=True)
class BatchNeighbours:
    """Close rows of the same batch, with equal probability: local mixup within the batch.

    The `k` nearest other rows of the batch, or its rows within a distance, the row itself included. At the output this
    costs one forward pass, as with any partners of the batch; distances are those of all pairs of a batch.

    Parameters
    ----------
    k : int, optional
        More than there are other rows in a batch are all of them.
    radius : float, optional
        In standard deviations of the features. Pass one of both.

    References
    ----------
    Baena, Drumetz & Gripon (2022), Preventing Manifold Intrusion with Locality: Local Mixup.

    Examples
    --------
    >>> import torch
    >>> from probmix.mixup import BatchNeighbours
    >>> from probmix.random import KeyedRandom, member_keys
    >>> x = torch.tensor([[0.0], [1.0], [2.0], [9.0]])
    >>> partners = BatchNeighbours(k=1).prepare([x], [x[:, 0]])
    >>> partners.draw(torch.tensor([[3, 2, 0]]), KeyedRandom(member_keys(0, 1)).uniform, 1)
    tensor([[[1],
             [2],
             [1]]])
    """

    k: int | None = None
    radius: float | None = None

    def __post_init__(self) -> None:
        if (self.k is None) == (self.radius is None):
            raise ValueError(
                f"BatchNeighbours takes `k`, a number of neighbours, or `radius`, a distance: one of both; got "
                f"k={self.k} and radius={self.radius}."
            )
        if self.k is not None and self.k < 1:
            raise ValueError(f"`k` of BatchNeighbours must be at least 1; got {self.k}.")
        if self.radius is not None:
            _check_radius("BatchNeighbours", self.radius)

    def prepare(self, x: Sequence[Tensor], y: Sequence[Tensor]) -> PreparedPartners:
        """Keep the features of each member."""
        last = torch.tensor([[len(one) - 1] for one in x], device=x[0].device)
        return _OfBatch(stack_filled([flat_rows(one).float() for one in x], 0.0), last, self.k, self.radius)


@dataclass(frozen=True)
class _OfBatch:
    """Close rows of a batch.

    Attributes
    ----------
    x : Tensor, (M, n, F)
    last : Tensor, (M, 1)
        The last row that a member has.
    """

    x: Tensor
    last: Tensor
    k: int | None
    radius: float | None
    in_batch: bool = True

    def members(self, positions: Tensor) -> "_OfBatch":
        return _OfBatch(self.x[positions], self.last[positions], self.k, self.radius)

    def draw(self, rows: Tensor, uniform: Uniform, count: int) -> Tensor:
        batch = take_rows(self.x, rows.minimum(self.last))
        size = rows.shape[1]
        numbers = fine(uniform, (size, count))
        drawn = []
        step = max(1, _BLOCK // (len(batch) * size))
        for start in range(0, size, step):
            block = slice(start, start + step)
            # not by products: these do not know when two rows are equal
            distance = torch.cdist(batch[:, block], batch, compute_mode="donot_use_mm_for_euclid_dist")
            drawn.append(self._choose(distance, numbers[:, block], start))
        return torch.cat(drawn, 1)

    def _choose(self, distance: Tensor, numbers: Tensor, start: int) -> Tensor:
        """Partners of the rows from `start` on, by their distances to all: (M, b, B), (M, b, C) -> (M, b, C)."""
        size = distance.shape[-1]
        if self.radius is not None:
            reached = (distance <= self.radius).long().cumsum(-1)
            place = (numbers * reached[..., -1:]).long()
            return torch.searchsorted(reached, place, right=True)
        if size == 1:
            return torch.zeros_like(numbers, dtype=torch.int64)
        assert self.k is not None
        own = torch.arange(distance.shape[1], device=distance.device)
        distance[:, own, start + own] = torch.inf
        nearest = distance.topk(min(self.k, size - 1), largest=False).indices
        return nearest.gather(-1, (numbers * nearest.shape[-1]).long())


def _check_radius(law: str, radius: float) -> None:
    if not (math.isfinite(radius) and radius >= 0):
        raise ValueError(f"`radius` of {law} must be non-negative and finite; got {radius}.")
