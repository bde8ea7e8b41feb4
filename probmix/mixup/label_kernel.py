"""Partners whose targets are close: C-Mixup."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from ..random import KeyedRandom, Uniform, fine, keys_of_draws
from .classes import RowClasses
from .partners import PreparedPartners, stack_filled
from .registry import register_law

# From one window to the next wider one the kernel falls by exp(-2), so that at least exp(-2) of the proposals in it are
# accepted. The last window has all rows: of n they are proposed n exp(-22) times as often as the row itself.
_STEP = 2.0
_WINDOWS = 12
# Of so few rows the kernel is computed to all: this is quicker, and waits for nothing.
_FEW = 512
# How many proposals are as dear as the kernel to one row and target, and how many there are at most.
_PROPOSALS_PER_ROW = 1 / 64
_MOST_PROPOSALS = 1024
# Numbers that are in memory at once.
_BLOCK = 2**21


@register_law
@dataclass(frozen=True)
class LabelKernel:
    r"""Rows whose targets are close, by a Gaussian kernel: C-Mixup.

    .. math:: P(j \mid i) \propto \exp\!\big(-\lVert y_i - y_j \rVert^2 / (2 h^2)\big)

    over all rows j that train the member, i itself included, as in the paper. Targets are in units of their standard
    deviation among these rows, each of several for itself. Classes have no distance: partners are then of the same
    class, with equal probability.

    Parameters
    ----------
    bandwidth : float, positive
        h in standard deviations. Towards 0 the partner is the row itself, or one of equal targets; towards infinity any
        row. Among Gaussian targets of unit variance that of a partner is Gaussian with mean :math:`y_i / (1 + h^2)` and
        variance :math:`h^2 / (1 + h^2)`. The default, 0.5, keeps 0.8 of the target: partners differ by 0.49 standard
        deviations (root mean square), and rows at random by 1.41.

    Notes
    -----
    The law is exact, for outliers, ties and constant targets too, and there is no n x n table. The targets are sorted.
    Windows around a row, of radii :math:`2h, \sqrt 8 h, \sqrt{12} h, \ldots` and in the end of all rows, are found by
    bisection; a window is drawn with probability proportional to its rows times the fall of the kernel to the next, a
    row of it uniformly, and this is accepted with the ratio of the kernel to the step function that the windows make,
    0.59 on average: time n log n, memory n. Several targets are turned onto their principal axes, proposals come from
    the first, and what the others add to the distance is part of the ratio; it takes longer the more targets there are.
    Where very many proposals were rejected, and of 512 rows or fewer, the kernel is computed to all rows.

    References
    ----------
    Yao et al. (2022), C-Mixup: Improving Generalization in Regression, NeurIPS.

    Examples
    --------
    >>> import torch
    >>> from probmix.mixup import LabelKernel
    >>> from probmix.random import KeyedRandom, member_keys
    >>> y = torch.tensor([0.0, 0.1, 5.0, 5.1])
    >>> partners = LabelKernel(0.1).prepare([y.unsqueeze(-1)], [y])
    >>> rows = torch.tensor([[0, 1, 2, 3]])
    >>> drawn = partners.draw(rows, KeyedRandom(member_keys(0, 1)).uniform, 100)
    >>> [sorted(set(one.tolist())) for one in drawn[0]]
    [[0, 1], [0, 1], [2, 3], [2, 3]]
    """

    bandwidth: float = 0.5

    def __post_init__(self) -> None:
        if not (math.isfinite(self.bandwidth) and self.bandwidth > 0):
            raise ValueError(
                f"`bandwidth` of LabelKernel must be positive and finite, in standard deviations of the targets; got "
                f"{self.bandwidth}. Use UniformPartners() for any row."
            )

    def prepare(self, x: Sequence[Tensor], y: Sequence[Tensor]) -> PreparedPartners:
        """Sort the targets of each member; integers are classes."""
        if not y[0].is_floating_point():
            return RowClasses.of(y, are_balanced=False)
        points = [self._points(one.detach()) for one in y]
        lines = [one[:, 0].sort() for one in points]
        rounds = [_most_proposals(*one.shape) for one in points]
        return _KernelPartners(
            points=stack_filled(points, math.inf),
            line=stack_filled([one.values for one in lines], math.inf),
            position=stack_filled([one.indices for one in lines], 0),
            count=torch.tensor([len(one) for one in points], device=y[0].device).unsqueeze(1),
            rounds=torch.tensor(rounds, device=y[0].device),
            most_rounds=max(rounds),
        )

    def _points(self, y: Tensor) -> Tensor:
        """Targets in bandwidths on their principal axes, (n[, d]) -> (n, d), float64."""
        values = y.double().reshape(len(y), -1)
        centred = values - values.mean(0)
        # in a unit in which no square overflows; targets that are all equal have none
        widest = centred.abs().amax(0)
        relative = centred / torch.where(widest > 0, widest, torch.ones_like(widest))
        spread = relative.square().mean(0).sqrt()
        points = relative / (torch.where(spread > 0, spread, torch.ones_like(spread)) * self.bandwidth)
        if points.shape[1] == 1:
            return points
        axes: Tensor = torch.linalg.eigh(points.T @ points).eigenvectors
        return points @ axes.flip(1)


def _most_proposals(rows: int, targets: int) -> int:
    """After how many proposals the kernel to all rows is the quicker way."""
    return 0 if rows <= _FEW else min(_MOST_PROPOSALS, int(rows * targets * _PROPOSALS_PER_ROW))


@dataclass(frozen=True)
class _KernelPartners:
    """Draws by a Gaussian kernel of unit bandwidth.

    Attributes
    ----------
    points : Tensor, (M, n, d)
        Infinite behind the last row of a member.
    line : Tensor, (M, n)
        Their first coordinates in ascending order.
    position : Tensor, (M, n)
        Of which rows these are.
    count : Tensor, (M, 1)
        How many rows each member has.
    rounds : Tensor, (M,)
        How many proposals there are for a draw.
    most_rounds : int
    """

    points: Tensor
    line: Tensor
    position: Tensor
    count: Tensor
    rounds: Tensor
    most_rounds: int
    in_batch: bool = False
    _OF_MEMBERS: ClassVar = ("points", "line", "position", "count", "rounds")

    def members(self, positions: Tensor) -> "_KernelPartners":
        return replace(self, **{name: getattr(self, name)[positions] for name in self._OF_MEMBERS})

    def draw(self, rows: Tensor, uniform: Uniform, count: int) -> Tensor:
        rows = rows.minimum(self.count - 1)
        keys = keys_of_draws(uniform, (rows.shape[1], count))
        # neighbours on the line one after the other: bisections are then several times as quick
        order = self.points[..., 0].gather(1, rows).argsort(1)
        partners = torch.empty_like(keys)
        for block in order.split(max(1, _BLOCK // (len(rows) * count * _WINDOWS)), 1):
            of_draws = block.unsqueeze(-1).expand(-1, -1, count)
            partners.scatter_(1, of_draws, self._draw(rows.gather(1, block), keys.gather(1, of_draws)))
        return partners

    def _draw(self, rows: Tensor, keys: Tensor) -> Tensor:
        """Partners of some rows, (M, B), by a key for each draw, (M, B, C)."""
        members = torch.arange(len(rows), device=rows.device).view(-1, 1, 1).expand(keys.shape)
        own, member, key = rows.unsqueeze(-1).expand(keys.shape).flatten(), members.flatten(), keys.flatten()
        partners = torch.empty_like(key)
        if not self.most_rounds:
            partners = self._among_all(member, own, key)
            return partners.view(keys.shape)
        low, high = self._windows(rows)
        open_ = torch.arange(len(key), device=key.device)
        done = torch.zeros_like(key, dtype=torch.bool)
        for number in range(self.most_rounds):
            open_ = open_[~done[open_] & (number < self.rounds[member[open_]])]
            if not len(open_):
                break
            window = open_ // keys.shape[-1]
            found, done[open_] = self._propose(member[open_], own[open_], key[open_], number, low[window], high[window])
            partners[open_] = found
        left = (~done).nonzero().squeeze(1)
        partners[left] = self._among_all(member[left], own[left], key[left])
        return partners.view(keys.shape)

    def _windows(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """First row on the line of each window, and the one behind its last, around some rows: (M, B) -> (M * B, W)."""
        radii = (2 * _STEP * torch.arange(1, _WINDOWS, device=rows.device).double()).sqrt().unsqueeze(1)
        centre = self.points[..., 0].gather(1, rows).unsqueeze(1)
        shape = (len(rows), _WINDOWS - 1, rows.shape[1])
        low = torch.searchsorted(self.line, (centre - radii).flatten(1)).view(shape)
        high = torch.searchsorted(self.line, (centre + radii).flatten(1), right=True).view(shape)
        last = self.count.unsqueeze(-1).expand(-1, 1, rows.shape[1])
        low, high = torch.cat([low, torch.zeros_like(last)], 1), torch.cat([high.minimum(last), last], 1)
        return low.transpose(1, 2).flatten(0, 1), high.transpose(1, 2).flatten(0, 1)

    def _propose(
        self, member: Tensor, row: Tensor, key: Tensor, number: int, low: Tensor, high: Tensor
    ) -> tuple[Tensor, Tensor]:
        """A row for each of D draws and whether it is accepted, from their windows, (D, W)."""
        which, where, chance = fine(KeyedRandom(key).stream(number).uniform, (3,)).unbind(-1)
        fall = torch.exp(-_STEP * torch.arange(_WINDOWS, device=key.device).double())
        fall[:-1] *= -math.expm1(-_STEP)
        mass = ((high - low) * fall).cumsum(-1)
        window = torch.searchsorted(mass, (which * mass[:, -1]).unsqueeze(-1), right=True).clamp(max=_WINDOWS - 1)
        start, stop = low.gather(1, window).squeeze(1), high.gather(1, window).squeeze(1)
        place = (start + (where * (stop - start)).long()).minimum(stop - 1)
        # the kernel is exp(-2) at least for each window in which a row is not
        steps = ((place.unsqueeze(-1) < low) | (place.unsqueeze(-1) >= high)).sum(-1)
        found = self.position.flatten()[member * self.line.shape[1] + place]
        return found, chance.log() <= _STEP * steps - self._half_square(member, row, found)

    def _half_square(self, member: Tensor, row: Tensor, other: Tensor) -> Tensor:
        points, first = self.points.flatten(0, 1), member * self.points.shape[1]
        return (points[first + row] - points[first + other]).square().sum(-1) / 2

    def _among_all(self, member: Tensor, row: Tensor, key: Tensor) -> Tensor:
        """Partners of D rows by the kernel to all rows of the member."""
        chance = fine(KeyedRandom(key).stream(_MOST_PROPOSALS).uniform, (1,))
        found = []
        size = max(1, _BLOCK // self.points[0].numel())
        for own, one, number in zip(member.split(size), row.split(size), chance.split(size), strict=True):
            points = self.points[own]
            centre = points.gather(1, one.view(-1, 1, 1).expand(-1, 1, points.shape[-1]))
            mass = torch.exp(-(points - centre).square().sum(-1) / 2).cumsum(-1)
            place = torch.searchsorted(mass, number * mass[:, -1:], right=True)
            found.append(place.minimum(self.count[own] - 1).squeeze(1))
        return torch.cat(found)
