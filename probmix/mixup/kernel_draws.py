"""Exact draws of partners by a Gaussian kernel, from proposals that are accepted or not, without a table of pairs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from ..random import KeyedRandom, Uniform, fine, keys_of_draws

# Of so few rows the kernel is computed to all: this is quicker, and waits for nothing.
_FEW = 512
# How many proposals are as dear as the kernel to one row, and how many there are at most.
_PROPOSALS_PER_ROW = 1 / 64
_MOST_PROPOSALS = 1024
# Numbers that are in memory at once, where there are proposals, and of the kernel to all rows, which stay in the cache.
_BLOCK = 2**21
_KERNEL_BLOCK = 2**17

# Of D draws: positions among the M * B rows of a block, members and uniform numbers (D, 2) -> rows, (D,), and the
# logarithms of what each row was proposed with, which the kernel of the pair does not exceed.
Propose = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]


class Proposals(Protocol):
    """Where to look for partners."""

    def among(self, rows: Tensor) -> Propose:
        """Proposals for a block of rows, (M, B)."""
        ...

    def members(self, positions: Tensor) -> "Proposals":
        """The same for the members at some positions."""
        ...


@dataclass(frozen=True)
class KernelPartners:
    """Draws by a Gaussian kernel of unit bandwidth.

    Attributes
    ----------
    points : Tensor, (M, n, d)
        Infinite behind the last row of a member.
    count : Tensor, (M, 1)
        How many rows each member has.
    rounds : Tensor, (M,)
        How many proposals there are for a draw; see `most_proposals`.
    most_rounds : int
    proposals : Proposals
    """

    points: Tensor
    count: Tensor
    rounds: Tensor
    most_rounds: int
    proposals: Proposals
    in_batch: bool = False

    def members(self, positions: Tensor) -> "KernelPartners":
        points, count, rounds = (one[positions] for one in (self.points, self.count, self.rounds))
        return KernelPartners(points, count, rounds, self.most_rounds, self.proposals.members(positions))

    def draw(self, rows: Tensor, uniform: Uniform, count: int) -> Tensor:
        rows = rows.minimum(self.count - 1)
        keys = keys_of_draws(uniform, (rows.shape[1], count))
        # neighbours on the first axis one after the other: what is around them is then found several times as quickly
        order = self.points[..., 0].gather(1, rows).argsort(1)
        partners = torch.empty_like(keys)
        for block in order.split(max(1, _BLOCK // (16 * len(rows) * count)), 1):
            of_draws = block.unsqueeze(-1).expand(-1, -1, count)
            partners.scatter_(1, of_draws, self._draw(rows.gather(1, block), keys.gather(1, of_draws)))
        return partners

    def _draw(self, rows: Tensor, keys: Tensor) -> Tensor:
        """Partners of some rows, (M, B), by a key for each draw, (M, B, C)."""
        own = rows.unsqueeze(-1).expand(keys.shape).flatten(1)
        if not self.most_rounds:
            return self._among_all(own, keys.flatten(1)).view(keys.shape)
        members = torch.arange(len(rows), device=rows.device).unsqueeze(-1).expand(own.shape)
        row, member, key = own.flatten(), members.flatten(), keys.flatten()
        propose = self.proposals.among(rows)
        partners, done = torch.empty_like(key), torch.zeros_like(key, dtype=torch.bool)
        waiting = torch.arange(len(key), device=key.device)
        for number in range(self.most_rounds):
            waiting = waiting[~done[waiting] & (number < self.rounds[member[waiting]])]
            if not len(waiting):
                break
            numbers = fine(KeyedRandom(key[waiting]).stream(number).uniform, (3,))
            found, bound = propose(waiting // keys.shape[-1], member[waiting], numbers[:, :2])
            kernel = self._log_kernel(member[waiting], row[waiting], found)
            partners[waiting], done[waiting] = found, numbers[:, 2].log() <= kernel - bound
        partners, done = partners.view(own.shape), done.view(own.shape)
        # what is left, with as many draws of each member as any has
        left = done.long().argsort(dim=1, stable=True)[:, : int((~done).sum(1).max())]
        if left.shape[1]:
            found = self._among_all(own.gather(1, left), keys.flatten(1).gather(1, left))
            partners.scatter_(1, left, torch.where(done.gather(1, left), partners.gather(1, left), found))
        return partners.view(keys.shape)

    def _log_kernel(self, member: Tensor, row: Tensor, other: Tensor) -> Tensor:
        points, first = self.points.flatten(0, 1), member * self.points.shape[1]
        return -(points[first + row] - points[first + other]).square().sum(-1) / 2

    def _among_all(self, rows: Tensor, keys: Tensor) -> Tensor:
        """Partners of rows by the kernel to all rows of the member, by a key for each draw: (M, D) twice -> (M, D)."""
        chance = fine(KeyedRandom(keys.flatten()).stream(_MOST_PROPOSALS).uniform, (1,)).view(*keys.shape, 1)
        size = max(1, _KERNEL_BLOCK // self.points[..., 0].numel())
        found = []
        for own, number in zip(rows.split(size, 1), chance.split(size, 1), strict=True):
            # one target after the other: a tensor of all differences would have as many times the memory
            square = torch.zeros((), dtype=torch.float64, device=rows.device)
            for axis in self.points.unbind(-1):
                square = square + (axis.unsqueeze(1) - axis.gather(1, own).unsqueeze(-1)).square_()
            mass = square.mul_(-0.5).exp_().cumsum(-1)
            place = torch.searchsorted(mass, number * mass[..., -1:], right=True).squeeze(-1)
            found.append(place.minimum(self.count - 1))
        return torch.cat(found, 1)


def most_proposals(rows: int) -> int:
    """After how many proposals the kernel to all rows is the quicker way."""
    return 0 if rows <= _FEW else min(_MOST_PROPOSALS, int(rows * _PROPOSALS_PER_ROW))
