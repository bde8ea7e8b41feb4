"""Partners whose targets are close: C-Mixup."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .classes import RowClasses
from .kernel_boxes import Boxes
from .kernel_draws import KernelPartners, most_proposals
from .kernel_windows import Windows
from .partners import PreparedPartners, stack_filled
from .registry import register_law


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
    0.59 on average: time n log n, memory n. Rows of several targets are in boxes, of which there are 32 pairs for each
    row at most; a box is drawn by its rows and the kernel at its distance from the box of the row, a row of it
    uniformly, and this is accepted with the ratio of the kernels: the more rarely, the more targets
    there are and the smaller the bandwidth is. Where very many proposals were rejected, and of 512 rows or fewer, the
    kernel is computed to all rows: with eight targets, that is most of the work.

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
        rounds = [most_proposals(len(one)) for one in points]
        return KernelPartners(
            points=stack_filled(points, math.inf),
            count=torch.tensor([[len(one)] for one in points], device=y[0].device),
            rounds=torch.tensor(rounds, device=y[0].device),
            most_rounds=max(rounds),
            proposals=(Windows if points[0].shape[1] == 1 else Boxes).of(points),
        )

    def _points(self, y: Tensor) -> Tensor:
        """Targets in bandwidths, (n[, d]) -> (n, d), float64."""
        values = y.double().reshape(len(y), -1)
        centred = values - values.mean(0)
        # in a unit in which no square overflows; targets that are all equal have none
        widest = centred.abs().amax(0)
        relative = centred / torch.where(widest > 0, widest, torch.ones_like(widest))
        spread = relative.square().mean(0).sqrt()
        return relative / (torch.where(spread > 0, spread, torch.ones_like(spread)) * self.bandwidth)
