"""Proposals on a line: windows around a row, each wider than the one before."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .kernel_draws import Propose
from .partners import stack_filled

# From one window to the next the kernel falls by exp(-2), so that at least exp(-2) of the proposals in it are accepted.
# The last window has all rows: of n they are proposed n exp(-22) times as often as the row itself.
_STEP = 2.0
_WINDOWS = 12


@dataclass(frozen=True)
class Windows:
    """Rows by their place on a line.

    Attributes
    ----------
    line : Tensor, (M, n)
        Points in ascending order, infinite behind the last one of a member.
    position : Tensor, (M, n)
        Of which rows these are.
    points : Tensor, (M, n)
        Of the rows.
    count : Tensor, (M, 1)
        How many rows each member has.
    """

    line: Tensor
    position: Tensor
    points: Tensor
    count: Tensor

    @classmethod
    def of(cls, points: Sequence[Tensor]) -> "Windows":
        """From the points of each member, (n_m, 1)."""
        lines = [one[:, 0].sort() for one in points]
        return cls(
            stack_filled([one.values for one in lines], math.inf),
            stack_filled([one.indices for one in lines], 0),
            stack_filled([one[:, 0] for one in points], math.inf),
            torch.tensor([[len(one)] for one in points], device=points[0].device),
        )

    def members(self, positions: Tensor) -> "Windows":
        return Windows(*(one[positions] for one in (self.line, self.position, self.points, self.count)))

    def among(self, rows: Tensor) -> Propose:
        low, high = self._bounds(rows)
        fall = torch.exp(-_STEP * torch.arange(_WINDOWS, device=rows.device).double())
        # where a row is in all windows but the first b, it is proposed with exp(-2 b)
        fall[:-1] *= -math.expm1(-_STEP)
        position, width = self.position.flatten(), self.position.shape[1]

        def propose(which: Tensor, member: Tensor, numbers: Tensor) -> tuple[Tensor, Tensor]:
            starts, stops = low[which], high[which]
            mass = ((stops - starts) * fall).cumsum(-1)
            window = torch.searchsorted(mass, numbers[:, :1] * mass[:, -1:], right=True).clamp(max=_WINDOWS - 1)
            start, stop = starts.gather(1, window), stops.gather(1, window)
            place = (start + (numbers[:, 1:] * (stop - start)).long()).minimum(stop - 1)
            steps = ((place < starts) | (place >= stops)).sum(-1)
            return position[member * width + place.squeeze(1)], -_STEP * steps

        return propose

    def _bounds(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """First place of each window around some rows, and the one behind its last: (M, B) -> two of (M * B, W)."""
        radii = (2 * _STEP * torch.arange(1, _WINDOWS, device=rows.device).double()).sqrt().unsqueeze(1)
        centre = self.points.gather(1, rows).unsqueeze(1)
        shape = (len(rows), _WINDOWS - 1, rows.shape[1])
        low = torch.searchsorted(self.line, (centre - radii).flatten(1)).view(shape)
        high = torch.searchsorted(self.line, (centre + radii).flatten(1), right=True).view(shape)
        last = self.count.unsqueeze(-1).expand(-1, 1, rows.shape[1])
        low, high = torch.cat([low, torch.zeros_like(last)], 1), torch.cat([high.minimum(last), last], 1)
        return low.transpose(1, 2).flatten(0, 1), high.transpose(1, 2).flatten(0, 1)
