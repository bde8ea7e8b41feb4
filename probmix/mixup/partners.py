"""Laws of the partners: with which rows a row is mixed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from .._precision import at_least_float32
from ..pairs import take_rows
from ..random import Uniform
from .registry import register_law


class PreparedPartners(Protocol):
    """A law of partners among the training rows of M members."""

    @property
    def in_batch(self) -> bool:
        """Whether partners are rows of the same batch; otherwise they are any rows that train the member."""
        ...

    def draw(self, rows: Tensor, uniform: Uniform, count: int) -> Tensor:
        r"""Partners of rows, each drawn independently: (M, B) -> (M, B, count), int64.

        Parameters
        ----------
        rows : Tensor, (M, B), int64
            Positions among the training rows of each member. If `in_batch`, the rows of one batch.
        uniform : callable
            Source of uniform numbers: ``uniform(shape)`` has shape (M, \*shape).
        count : int
            How many partners each row has.

        Returns
        -------
        Tensor, (M, B, count), int64
            Positions among the training rows; if `in_batch`, positions within the batch, 0 to B - 1.
        """
        ...

    def members(self, positions: Tensor) -> "PreparedPartners":
        """The same for the members at some positions."""
        ...


@runtime_checkable
class PartnerLaw(Protocol):
    """With which rows a row may be mixed, and how often with each."""

    def prepare(self, x: Sequence[Tensor], y: Sequence[Tensor]) -> PreparedPartners | None:
        """What there is to find out before any partner is drawn, for M members at once.

        Parameters
        ----------
        x : sequence of Tensor, (n_m, *F)
            Features of the rows that train member m. Estimators standardise them first; in a training loop of your own
            that is up to you.
        y : sequence of Tensor, (n_m,) or (n_m, d)
            Their targets in training units; classes are integers, and all other targets, also counts, floating-point
            numbers.

        Returns
        -------
        PreparedPartners, or None
            None: any row of the batch, the row itself included, with equal probability.
        """
        ...


@register_law
@dataclass(frozen=True)
class UniformPartners:
    """Any row, itself included, with equal probability: the full graph of the papers.

    Within a batch the partners are a random permutation of the rows.
    """

    def prepare(self, x: Sequence[Tensor], y: Sequence[Tensor]) -> None:
        """Nothing: partners are drawn within the batch."""


@register_law
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
    >>> NearestNeighbours(k=1).table(torch.tensor([[0.0], [1.0], [5.0]]))
    tensor([[1],
            [0],
            [1]])
    """

    k: int = 5

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ValueError(f"`k` of NearestNeighbours must be at least 1; got {self.k}.")

    def prepare(self, x: Sequence[Tensor], y: Sequence[Tensor]) -> PreparedPartners:
        """The table of each member.

        Raises
        ------
        ValueError
            If a member has not more than K rows.
        """
        last = torch.tensor([[len(one) - 1] for one in x], device=x[0].device)
        return _Table(stack_filled([self.table(one) for one in x], 0), last)

    def table(self, x: Tensor) -> Tensor:
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
        indices = NearestNeighbors(n_neighbors=self.k).fit(flat_rows(x).cpu().numpy()).kneighbors(return_distance=False)
        return torch.from_numpy(indices).to(x.device)


def flat_rows(x: Tensor) -> Tensor:
    """Features between which there are distances, (n, *F), as a table, (n, f), in float32 at least."""
    return at_least_float32(x.detach().unsqueeze(-1).flatten(1))


def stack_filled(values: Sequence[Tensor], filler: float) -> Tensor:
    """Values of the rows of each member, (n_m, *V), as (M, n, *V), with a filler where a member has fewer."""
    longest = max(len(one) for one in values)
    if len(values) == 1:
        return values[0].unsqueeze(0)  # which may be most of the memory
    filled = (torch.cat([one, one.new_full((longest - len(one), *one.shape[1:]), filler)]) for one in values)
    return torch.stack(list(filled))


@dataclass(frozen=True)
class _Table:
    """Partners from a table with equal probability.

    Attributes
    ----------
    candidates : Tensor, (M, n, K)
    last : Tensor, (M, 1)
        The last row that a member has: what lies behind it only fills tensors.
    """

    candidates: Tensor
    last: Tensor
    in_batch: bool = False

    def draw(self, rows: Tensor, uniform: Uniform, count: int) -> Tensor:
        k = self.candidates.shape[-1]
        choice = (uniform((rows.shape[-1], count)) * k).long().clamp(max=k - 1)
        return take_rows(self.candidates, rows.minimum(self.last)).gather(-1, choice)

    def members(self, positions: Tensor) -> "_Table":
        return _Table(self.candidates[positions], self.last[positions], self.in_batch)
