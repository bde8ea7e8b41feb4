"""Partners along the edges of a graph of the user's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from torch import Tensor

from .partners import PreparedPartners
from .registry import register_law
from .row_graph import RowGraph


@register_law
@dataclass(frozen=True, eq=False, repr=False)
class GraphPartners:
    """Rows to which a row has an edge in a sparse graph of your own, with probability proportional to its weight.

    The graph is over the rows of X as they are passed to `fit`, or over those of the batch in `mixup_loss`. An edge
    leads from a row to its partner; edges need not go both ways, and a row may have one to itself. Rows that are equal
    in X, y and exposure are one row, as everywhere, which has the edges of all of them; edges of rows that have no
    weight, or that do not train a member, are dropped for it. A row that has none left is its own partner, which trains
    it as it is.

    Parameters
    ----------
    indptr, indices : array-like of int, (n + 1,) and (E,)
        Row i has edges to ``indices[indptr[i]:indptr[i + 1]]``: compressed sparse rows.
    weights : array-like, (E,), optional
        Non-negative; without them all edges count the same.

    Notes
    -----
    Saved with an estimator as numbers in the header of its file, in which there is room for about a million edges with
    weights.

    Examples
    --------
    >>> import torch
    >>> from scipy.sparse import csr_array
    >>> from probmix.mixup import GraphPartners
    >>> graph = GraphPartners.from_sparse(csr_array([[0, 4, 1], [1, 0, 0], [0, 0, 0]]))
    >>> graph
    GraphPartners(3 rows, 3 edges)
    >>> from probmix.random import KeyedRandom, member_keys
    >>> partners = graph.prepare([torch.zeros(3, 1)], [torch.zeros(3)])
    >>> drawn = partners.draw(torch.tensor([[0, 1, 2]]), KeyedRandom(member_keys(0, 1)).uniform, 10_000)[0]
    >>> (drawn[0].bincount() / 10_000).round(decimals=1), drawn[1].unique(), drawn[2].unique()
    (tensor([0.0000, 0.8000, 0.2000]), tensor([0]), tensor([2]))
    """

    indptr: NDArray[np.int64]
    indices: NDArray[np.int64]
    weights: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        indptr, indices = _integers(self.indptr, "indptr"), _integers(self.indices, "indices")
        if len(indptr) < 2 or indptr[0] != 0 or (np.diff(indptr) < 0).any() or indptr[-1] != len(indices):
            raise ValueError(
                "`indptr` of GraphPartners must go from 0 to the number of edges and never down, one number more than "
                f"there are rows; got {len(indptr)} numbers from {indptr[:1]} to {indptr[-1:]} for {len(indices)} "
                "edges. GraphPartners.from_sparse takes a matrix of SciPy."
            )
        n = len(indptr) - 1
        beyond = np.flatnonzero((indices < 0) | (indices >= n))
        if len(beyond):
            raise ValueError(
                f"`indices` of GraphPartners must be row numbers from 0 to {n - 1}; got {indices[beyond[0]]} at edge "
                f"{beyond[0]}."
            )
        self._set("indptr", indptr)
        self._set("indices", indices)
        if self.weights is not None:
            weights = np.array(self.weights, dtype=np.float64)
            if weights.shape != indices.shape:
                raise ValueError(
                    f"`weights` of GraphPartners must be one for each of the {len(indices)} edges; got shape "
                    f"{weights.shape}."
                )
            wrong = np.flatnonzero(~((weights >= 0) & np.isfinite(weights)))
            if len(wrong):
                raise ValueError(
                    f"`weights` of GraphPartners must be non-negative and finite; got {weights[wrong[0]]} at edge "
                    f"{wrong[0]}."
                )
            self._set("weights", weights)

    def _set(self, name: str, values: NDArray[Any]) -> None:
        values.flags.writeable = False
        object.__setattr__(self, name, values)

    @classmethod
    def from_sparse(cls, matrix: Any) -> GraphPartners:
        """From a square sparse matrix or array of SciPy, (n, n), whose entries are the weights of the edges.

        Raises
        ------
        ValueError
            If it is not square, or a weight is negative or not finite.
        TypeError
            If it is not sparse.
        """
        if not sparse.issparse(matrix):
            raise TypeError(f"GraphPartners.from_sparse takes a sparse matrix of SciPy; got {type(matrix).__name__}.")
        if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
            raise ValueError(f"a graph of rows is a square matrix; got shape {matrix.shape}.")
        graph = sparse.csr_array(matrix, dtype=np.float64)
        return cls(graph.indptr, graph.indices, graph.data)

    def __repr__(self) -> str:
        return f"GraphPartners({len(self.indptr) - 1} rows, {len(self.indices)} edges)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, GraphPartners) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple[bytes | None, ...]:
        parts = (self.indptr, self.indices, self.weights)
        return tuple(None if part is None else part.tobytes() for part in parts)

    def matrix(self) -> sparse.csr_array:
        """The weights of the edges, (n, n)."""
        weights = np.ones(len(self.indices)) if self.weights is None else self.weights
        n = len(self.indptr) - 1
        return sparse.csr_array((weights, self.indices, self.indptr), shape=(n, n), copy=True)

    def check_rows(self, rows: int) -> None:
        """Raise unless the graph is over so many rows."""
        if rows != len(self.indptr) - 1:
            raise ValueError(
                f"the graph of GraphPartners must be over the rows that are passed; it has {len(self.indptr) - 1}, and "
                f"there are {rows}. Make one for these rows."
            )

    def prepare(
        self, x: Sequence[Tensor], y: Sequence[Tensor], rows: Sequence[Tensor] | None = None
    ) -> PreparedPartners:
        """The graph among the rows of each member.

        Parameters
        ----------
        x, y : sequence of Tensor
            Of the members; see `PartnerLaw.prepare`.
        rows : sequence of Tensor, (n_m,), int64, optional
            Their numbers in the graph; by default each member has all.

        Raises
        ------
        ValueError
            If there are no `rows` and members have not as many rows as the graph.
        """
        graph, device = self.matrix(), x[0].device
        if rows is not None:
            return RowGraph.of([_among(graph, own.cpu().numpy()) for own in rows], device)
        for one in x:
            self.check_rows(len(one))
        return RowGraph.of([graph] * len(x), device)

    def of_other_rows(self, identity: ArrayLike, others: ArrayLike) -> GraphPartners:
        """The graph of other rows, which are those of this one, merged or several times.

        Parameters
        ----------
        identity : array-like of int, (n,)
            What each row is; rows of one identity are merged, those of -1 are dropped.
        others : array-like of int, (N,)
            What each of the other rows is; those of -1 have no edges.
        """
        identity, others = _integers(identity, "identity"), _integers(others, "others")
        kept = np.flatnonzero(identity >= 0)
        # one more, without edges, for rows that the graph does not have
        size = int(max(identity.max(), others.max())) + 2
        merge = sparse.csr_array((np.ones(len(kept)), (identity[kept], kept)), shape=(size, len(identity)))
        return GraphPartners.from_sparse(_among(sparse.csr_array(merge @ self.matrix() @ merge.T), others))


def _among(graph: sparse.csr_array, rows: NDArray[np.int64]) -> sparse.csr_array:
    return sparse.csr_array(sparse.csr_array(graph[rows])[:, rows])


def _integers(values: ArrayLike, name: str) -> NDArray[np.int64]:
    array = np.asarray(values)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise ValueError(
            f"`{name}` of GraphPartners must be a vector of whole numbers; got {array.dtype} of shape {array.shape}."
        )
    return array.astype(np.int64)
