"""Partners by classes, or by targets that are whole numbers."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from ..random import Uniform, fine
from .partners import PreparedPartners, stack_filled
from .registry import register_law


@register_law
@dataclass(frozen=True)
class ClassBalanced:
    """A class with equal probability, and any row of it: the rare classes come as often as the frequent ones.

    Targets that are whole numbers, such as counts, are classes by their value; of several targets, by all values.

    Examples
    --------
    >>> import torch
    >>> from probmix.mixup import ClassBalanced
    >>> from probmix.random import KeyedRandom, member_keys
    >>> y = torch.tensor([0, 0, 0, 0, 0, 0, 0, 0, 0, 1])
    >>> partners = ClassBalanced().prepare([torch.zeros(10, 1)], [y])
    >>> drawn = partners.draw(torch.tensor([[0]]), KeyedRandom(member_keys(0, 1)).uniform, 10_000)
    >>> round((drawn == 9).double().mean().item(), 2)
    0.5
    """

    def prepare(self, x: Sequence[Tensor], y: Sequence[Tensor]) -> PreparedPartners:
        """Find the rows of each class.

        Raises
        ------
        ValueError
            If targets are no whole numbers.
        """
        for one in y:
            broken = (one != one.round()).reshape(len(one), -1).any(1) if one.is_floating_point() else one[:0]
            if bool(broken.any()):
                row = int(broken.long().argmax())
                raise ValueError(
                    f"ClassBalanced() needs classes or counts, targets that are whole numbers in training units; got "
                    f"{one[row].tolist()} among them. Use LabelKernel() or UniformPartners() for continuous targets."
                )
        return RowClasses.of(y, are_balanced=True)


@dataclass(frozen=True)
class RowClasses:
    """Rows of a class, each with equal probability: of the row's own class, or of any with equal probability.

    Attributes
    ----------
    position : Tensor, (M, n)
        The rows by their class.
    start, size : Tensor, (M, G)
        Of the classes.
    count : Tensor, (M, 1)
        How many classes there are.
    class_ : Tensor, (M, n)
        Of each row.
    are_balanced : bool
        Whether any class is drawn.
    """

    position: Tensor
    start: Tensor
    size: Tensor
    count: Tensor
    class_: Tensor
    are_balanced: bool
    in_batch: bool = False
    _OF_MEMBERS: ClassVar = ("position", "start", "size", "count", "class_")

    @classmethod
    def of(cls, y: Sequence[Tensor], are_balanced: bool) -> "RowClasses":
        """Rows of each member by their targets, (n_m,) or (n_m, d)."""
        found = [torch.unique(one, return_inverse=True, return_counts=True, dim=0)[1:] for one in y]
        counts = [len(sizes) for _, sizes in found]
        return cls(
            position=stack_filled([class_.argsort(stable=True) for class_, _ in found], 0),
            start=stack_filled([sizes.cumsum(0) - sizes for _, sizes in found], 0),
            size=stack_filled([sizes for _, sizes in found], 0),
            count=torch.tensor(counts, device=y[0].device).unsqueeze(1),
            class_=stack_filled([class_ for class_, _ in found], 0),
            are_balanced=are_balanced,
        )

    def members(self, positions: Tensor) -> "RowClasses":
        return replace(self, **{name: getattr(self, name)[positions] for name in self._OF_MEMBERS})

    def draw(self, rows: Tensor, uniform: Uniform, count: int) -> Tensor:
        which, where = fine(uniform, (rows.shape[1], count, 2)).flatten(1, 2).unbind(-1)
        if self.are_balanced:
            class_ = (which * self.count).long()
        else:
            own = self.class_.gather(1, rows.clamp(max=self.class_.shape[1] - 1))
            class_ = own.unsqueeze(-1).expand(-1, -1, count).flatten(1)
        place = self.start.gather(1, class_) + (where * self.size.gather(1, class_)).long()
        return self.position.gather(1, place).view(*rows.shape, count)
