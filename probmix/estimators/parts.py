"""The rows of a fit, and the part of them that each member has."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..training import Rows, TrainingData

Numbers = NDArray[np.intp]
# Classes of targets, (n,), of which each has its share in every part; None where there are none.
Strata = Callable[[Tensor], Tensor | None]


@dataclass(frozen=True)
class Parts:
    """Rows in canonical form, and which of them train and judge each member.

    Attributes
    ----------
    rows : Rows
    place : ndarray of int, (n,)
        The row that each of the user's became, -1 for those of weight zero.
    train, validation : list of Tensor
        For each member.
    is_out_of_fold : bool
        Whether it is for members to say together what they think of rows that they have not seen.
    both_tell_units : bool
        Whether the rows that judge a member have a say in its units, its start and its bounds, as they may where they
        are a random part of all. Otherwise these are of other groups or times, or are to be predicted out of fold, and
        a member knows nothing of them.
    """

    rows: Rows
    place: Numbers
    train: list[Tensor]
    validation: list[Tensor]
    is_out_of_fold: bool = False
    both_tell_units: bool = False

    def data(self) -> TrainingData:
        """What training takes."""
        units = self.train
        if self.both_tell_units:
            units = [torch.cat(parts) for parts in zip(self.train, self.validation, strict=True)]
        return parts_data(self.rows, self.train, self.validation, units)


def parts_data(rows: Rows, train: list[Tensor], validation: list[Tensor], units: list[Tensor]) -> TrainingData:
    """What training takes: the parts of all members, of which some may be longer than others."""
    parts = (train, validation, units)
    sizes: Iterable[tuple[int, int, int]] = zip(*([len(own) for own in part] for part in parts), strict=True)
    different = tuple(sizes)
    trains, judges = [len(own) for own in train], [len(own) for own in validation]
    differ_by_one = max(trains) - min(trains) == 1 and max(judges) - min(judges) <= 1
    return TrainingData(
        rows.for_training(),
        _filled(train),
        _filled(validation),
        _filled(units),
        different if len(set(different)) > 1 else None,
        min(trains) if differ_by_one else None,
    )


def _filled(parts: list[Tensor]) -> Tensor:
    """Rows of the members, one under the other; what is missing in a shorter part is its last row again."""
    longest = max(len(own) for own in parts)
    return torch.stack([torch.cat([own, own[-1:].expand(longest - len(own))]) for own in parts])
