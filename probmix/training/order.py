"""Random orders of training rows, also of members that have not equally many."""

import copy
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from ..pairs import take_rows
from ..random import KeyedRandom


class Order:
    """Random orders of the training rows of members, who all see as many in an epoch.

    Parameters
    ----------
    counts : sequence of int
        How many training rows each member has.
    epoch_rows : int or None
        How many of them it sees in an epoch, where these are all but one at most; None for all of equally many.
    device : torch.device

    Attributes
    ----------
    length : int
        How many rows of a member an epoch has.
    is_of_all : bool
        Whether no member has more.
    """

    def __init__(self, counts: Sequence[int], epoch_rows: int | None, device: torch.device) -> None:
        self.is_of_all = epoch_rows is None
        self.length = counts[0] if epoch_rows is None else epoch_rows
        # also for members that are trained apart from longer ones, so that they draw the same numbers
        self._width = self.length + (not self.is_of_all)
        self._counts = torch.tensor(counts, device=device)

    def members(self, positions: Tensor) -> "Order":
        """That of the members at some positions."""
        part = copy.copy(self)
        part._counts = self._counts[positions]
        return part

    def shuffled(self, rows: Tensor, random: KeyedRandom) -> Tensor:
        """The rows of each member in a random order, (M, width): behind its own is one that is there to fill."""
        return take_rows(rows, self._permutations(random).clamp(max=rows.shape[1] - 1))

    def with_mean_one(self, weights: Tensor) -> Tensor:
        """Weights of shuffled rows, (M, width), that have mean one in each member."""
        if self.is_of_all:
            return weights / weights.mean(1, keepdim=True)
        own = weights.masked_fill(self._is_beyond(), 0.0)
        return weights * (self._counts / own.sum(1)).unsqueeze(1)

    def draw(self, random: KeyedRandom) -> Tensor:
        """Places of the rows of an epoch, (M, length)."""
        return self._permutations(random)[:, : self.length]

    def cut(self, values: Tensor) -> Iterable[Tensor]:
        """Values of the shuffled rows of each member, without what is there to fill."""
        if self.is_of_all:
            return values
        return [own[:count] for own, count in zip(values, self._counts.tolist(), strict=True)]

    def _permutations(self, random: KeyedRandom) -> Tensor:
        if self.is_of_all:
            return random.permutations(self.length)
        keys = random.bits((self._width,))
        return keys.masked_fill(self._is_beyond(), torch.iinfo(keys.dtype).max).argsort(-1)

    def _is_beyond(self) -> Tensor:
        return torch.arange(self._width, device=self._counts.device) >= self._counts.unsqueeze(1)
