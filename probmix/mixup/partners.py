"""Laws of the partners: who meets whom."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from sklearn.neighbors import NearestNeighbors
from torch import Tensor


@runtime_checkable
class PartnerLaw(Protocol):
    """Which rows a row may meet."""

    def neighbours(self, x: Tensor) -> Tensor | None:
        """Candidates of each row, (n, K) row numbers, one of which is drawn uniformly; None where all rows are."""
        ...


@dataclass(frozen=True)
class UniformPartners:
    """Any row, itself included, with equal probability: the full graph of the papers.

    Within a batch the partners are a random permutation of the rows.
    """

    def neighbours(self, x: Tensor) -> None:
        return None


@dataclass(frozen=True)
class NearestNeighbours:
    """One of the K nearest other rows by Euclidean distance, with equal probability.

    Estimators standardise the features first; in a training loop of your own that is up to you.

    Parameters
    ----------
    k : int
        Number of neighbours K.

    Examples
    --------
    >>> import torch
    >>> from probmix.mixup import NearestNeighbours
    >>> NearestNeighbours(k=1).neighbours(torch.tensor([[0.0], [1.0], [5.0]]))
    tensor([[1],
            [0],
            [1]])
    """

    k: int = 5

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ValueError(f"`k` of NearestNeighbours must be at least 1; got {self.k}.")

    def neighbours(self, x: Tensor) -> Tensor:
        """Row numbers of the K nearest other rows: (n, ...) -> (n, K), on the device of `x`.

        Raises
        ------
        ValueError
            If there are not more than K rows.
        """
        if len(x) <= self.k:
            raise ValueError(
                f"NearestNeighbours(k={self.k}) needs at least {self.k + 1} rows to find partners among; got {len(x)}. "
                "Use a smaller k, more rows, or UniformPartners()."
            )
        rows = x.detach().flatten(1).cpu().numpy()
        indices = NearestNeighbors(n_neighbors=self.k).fit(rows).kneighbors(return_distance=False)
        return torch.from_numpy(indices).to(x.device)
