"""Partners along the edges of a sparse graph of rows."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from ..random import Uniform, fine
from .partners import stack_filled

# Shares of the edges of a row add up to this: whole numbers, which no number of rows before it makes less exact.
_WHOLE = 2**32


@dataclass(frozen=True)
class RowGraph:
    """One of the rows to which a row has an edge, with probability proportional to its weight.

    Attributes
    ----------
    end : Tensor, (M, E)
        Rows to which the edges lead.
    bound : Tensor, (M, E), int64
        The edges of row r share the whole numbers from r * 2^32 to (r + 1) * 2^32, each those below its bound.
    last : Tensor, (M, 1)
        The last row that a member has.
    """

    end: Tensor
    bound: Tensor
    last: Tensor
    in_batch: bool = False

    @classmethod
    def of(cls, graphs: Sequence[sparse.csr_array], device: torch.device) -> "RowGraph":
        """From the weights of the edges of each member, (n_m, n_m), non-negative; rows without edges stay alone."""
        tensors = [_ends_and_bounds(graph) for graph in graphs]
        return cls(
            stack_filled([torch.from_numpy(end) for end, _ in tensors], 0).to(device),
            stack_filled([torch.from_numpy(bound) for _, bound in tensors], torch.iinfo(torch.int64).max).to(device),
            torch.tensor([[graph.shape[0] - 1] for graph in graphs], device=device),
        )

    def members(self, positions: Tensor) -> "RowGraph":
        return RowGraph(self.end[positions], self.bound[positions], self.last[positions])

    def draw(self, rows: Tensor, uniform: Uniform, count: int) -> Tensor:
        within = (fine(uniform, (rows.shape[1], count)) * _WHOLE).long()
        place = rows.minimum(self.last).unsqueeze(-1) * _WHOLE + within
        edge = torch.searchsorted(self.bound, place.flatten(1), right=True)
        return self.end.gather(1, edge).view(place.shape)


def _ends_and_bounds(graph: sparse.csr_array) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    graph = sparse.csr_array(graph, dtype=np.float64, copy=True)
    graph.eliminate_zeros()
    alone = sparse.dia_array(((np.diff(graph.indptr) == 0)[None].astype(np.float64), 0), shape=graph.shape)
    graph = sparse.csr_array(graph + alone)
    start, degree = graph.indptr[:-1], np.diff(graph.indptr)
    row = np.repeat(np.arange(len(degree)), degree)
    largest = np.maximum.reduceat(graph.data, start)
    weight = graph.data / largest[row]
    share = weight / np.add.reduceat(weight, start)[row]
    total = np.cumsum(share)
    before = np.concatenate([[0.0], total])[start]
    part = np.rint((total - before[row]) * _WHOLE).astype(np.int64).clip(0, _WHOLE)
    part[graph.indptr[1:] - 1] = _WHOLE
    return graph.indices.astype(np.int64), row * _WHOLE + part
