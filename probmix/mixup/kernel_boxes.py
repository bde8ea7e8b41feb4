"""Proposals in several dimensions: boxes of rows, by their distances from each other."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .kernel_draws import Propose
from .partners import stack_filled

# Rows that a box has at least, and pairs of boxes for each row at most: these are in memory.
_LEAST = 8
_PAIRS_PER_ROW = 32
# Shares of the boxes that are proposed to a box add up to this.
_BITS = 40
_BLOCK = 2**21


@dataclass(frozen=True)
class Boxes:
    """Rows in boxes that contain them, G for each member; a box proposes one by its rows and its nearest points.

    Attributes
    ----------
    position : Tensor, (M, n)
        The rows, box by box.
    box : Tensor, (M, n)
        Of each row.
    start, size : Tensor, (M, G)
        Of the boxes among the positions.
    corners : Tensor, (M, G, 2, d)
        Smallest and largest coordinates.
    bound : Tensor, (M, G * G), int64
        Boxes share the numbers from b * 2^40 to (b + 1) * 2^40 that are those of box b, each those below its bound; the
        boxes of all members are counted through.
    count : Tensor, (M,)
        How many boxes each member has.
    """

    position: Tensor
    box: Tensor
    start: Tensor
    size: Tensor
    corners: Tensor
    bound: Tensor
    count: Tensor

    @classmethod
    def of(cls, points: Sequence[Tensor]) -> "Boxes":
        """From the points of each member, (n_m, d)."""
        found = [_boxes(one) for one in points]
        boxes = max(len(one["size"]) for one in found)
        fillers = {"bound": boxes << _BITS}
        tensors = {name: stack_filled([one[name] for one in found], fillers.get(name, 0)) for name in found[0]}
        tensors["bound"] += _first_numbers(tensors["start"])
        return cls(**tensors, count=torch.tensor([len(one["size"]) for one in found], device=points[0].device))

    def members(self, positions: Tensor) -> "Boxes":
        tensors = (self.position, self.box, self.start, self.size, self.corners, self.bound, self.count)
        part = Boxes(*(one[positions] for one in tensors))
        part.bound.add_(_first_numbers(part.start) - _first_numbers(self.start)[positions])
        return part

    def among(self, rows: Tensor) -> Propose:
        members, boxes = self.start.shape
        own = (self.box.gather(1, rows) + torch.arange(members, device=rows.device).unsqueeze(1) * boxes).flatten()
        bound, start, size = self.bound.flatten(), self.start.flatten(), self.size.flatten()
        corners, position = self.corners.flatten(0, 1), self.position.flatten()

        def propose(which: Tensor, member: Tensor, numbers: Tensor) -> tuple[Tensor, Tensor]:
            box, first = own[which], member * boxes
            number = (box << _BITS) + (numbers[:, 0] * 2**_BITS).long()
            entry = torch.searchsorted(bound, number, right=True) - member * self.bound.shape[1]
            other = first + entry - (box - first) * self.count[member]
            place = start[other] + (numbers[:, 1] * size[other]).long()
            found = position[member * self.position.shape[1] + place]
            return found, -_gaps(corners[box], corners[other]) / 2

        return propose


def _first_numbers(boxes: Tensor) -> Tensor:
    """The numbers at which those of each member begin, (M, G) -> (M, 1)."""
    return (torch.arange(len(boxes), device=boxes.device).unsqueeze(1) * boxes.shape[1]) << _BITS


def _gaps(one: Tensor, other: Tensor) -> Tensor:
    """Squared distances of boxes, of the nearest points that they have: corners (*L, 2, d) twice -> (*L,)."""
    gap = torch.maximum(one[..., 0, :] - other[..., 1, :], other[..., 0, :] - one[..., 1, :])
    return gap.clamp(min=0).square().sum(-1)


def _boxes(points: Tensor) -> dict[str, Tensor]:
    """Halve the rows of a member along their longest side, and those of each half, and so on."""
    n = len(points)
    order, box = torch.arange(n, device=points.device), torch.zeros(n, dtype=torch.int64, device=points.device)
    halvings = 0
    while n >> (halvings + 1) >= _LEAST and 4 ** (halvings + 1) <= _PAIRS_PER_ROW * n:
        corners = _corners(points, box, 1 << halvings)
        side = (corners[:, 1] - corners[:, 0]).argmax(-1)
        along = points.gather(1, side[box].unsqueeze(1)).squeeze(1)
        order = along.argsort(stable=True)
        order = order[box[order].argsort(stable=True)]
        size = box.bincount(minlength=1 << halvings)
        rank = torch.arange(n, device=points.device) - (size.cumsum(0) - size)[box[order]]
        halved = 2 * box[order] + (2 * rank >= size[box[order]]).long()
        box = torch.empty_like(box).scatter_(0, order, halved)
        halvings += 1
    order = box.argsort(stable=True)
    size = box.bincount(minlength=1 << halvings)
    corners = _corners(points, box, len(size))
    bound = box.new_empty(len(size), len(size))
    for block in torch.arange(len(size), device=points.device).split(max(1, _BLOCK // corners[:, 0].numel())):
        mass = size * torch.exp(-_gaps(corners[block].unsqueeze(1), corners) / 2)
        share = mass.cumsum(-1)
        bound[block] = (block << _BITS).unsqueeze(-1) + (share / share[:, -1:] * 2**_BITS).round().long()
    return {
        "position": order,
        "box": box,
        "start": size.cumsum(0) - size,
        "size": size,
        "corners": corners,
        "bound": bound.flatten(),
    }


def _corners(points: Tensor, box: Tensor, boxes: int) -> Tensor:
    """Smallest and largest coordinates of the rows in each box, (G, 2, d)."""
    which = box.unsqueeze(1).expand_as(points)
    low = points.new_full((boxes, points.shape[1]), torch.inf).scatter_reduce(0, which, points, "amin")
    high = points.new_full((boxes, points.shape[1]), -torch.inf).scatter_reduce(0, which, points, "amax")
    return torch.stack([low, high], 1)
