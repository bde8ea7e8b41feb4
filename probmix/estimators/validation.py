"""Which rows train a member, and which judge it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from sklearn.model_selection import check_cv
from torch import Tensor

from .._names import unknown_name
from .._numbers import as_numpy
from ..random import KeyedRandom
from ..training import TrainingData
from .drawing import draw_groups, fold_of_groups, fold_of_rows, split_rows
from .rows import Array, Rows, canonical_rows, scaled, stacked
from .tables import counted_rows, written_out

Numbers = NDArray[np.intp]
# Classes of targets, (n,), of which each has its share in every part; None where there are none.
Strata = Callable[[Array], Tensor | None]

_NAMES = ("random", "folds", "last")
_TRAINS, _JUDGES = 1, 2


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
    """

    rows: Rows
    place: Numbers
    train: list[Tensor]
    validation: list[Tensor]
    is_out_of_fold: bool = False

    def data(self) -> TrainingData:
        """What training takes; both parts of a member tell its units."""
        units = [torch.cat(parts) for parts in zip(self.train, self.validation, strict=True)]
        return _data(self.rows, self.train, self.validation, units)


def check_validation(validation: Any, n_members: int) -> None:
    """Raise unless it says which rows judge a member."""
    if isinstance(validation, str):
        if validation not in _NAMES:
            raise unknown_name("validation", validation, _NAMES)
        if validation == "folds" and n_members < 2:
            raise ValueError(
                f"`validation` is 'folds', of which each member is judged by one and trained by the others; got "
                f"n_members={n_members}. Pass at least 2, or validation='random'."
            )
    elif not hasattr(validation, "split") and not isinstance(validation, Iterable):
        raise ValueError(
            "`validation` must be 'random', 'folds', 'last', a splitter such as GroupKFold(5), or a list of pairs of "
            f"row numbers; got {validation!r}. A splitter is not saved with an estimator: set it again."
        )


def check_groups(groups: Any, rows: int) -> Numbers | None:
    """Groups of rows by number, if there are any.

    Raises
    ------
    ValueError
        Unless there is one for each row, of one kind.
    """
    if groups is None:
        return None
    labels = np.asarray(as_numpy(groups))
    if labels.shape != (rows,):
        raise ValueError(f"`groups` must hold one label for each of the {rows} rows; got shape {labels.shape}.")
    missing = pd.isna(labels)
    if missing.any():
        row = int(missing.argmax())
        raise ValueError(f"`groups` must have a label in every row; got {labels[row]} at row {row}.")
    try:
        numbers: Numbers = np.unique(labels, return_inverse=True)[1]
    except TypeError as error:
        raise ValueError(f"`groups` must hold labels of one kind, which can be sorted: {error}.") from None
    return numbers


def judged_parts(given: Rows, validation: Any, share: float, keys: Tensor, strata: Strata) -> Parts:
    """Which rows train and judge each member.

    Parameters
    ----------
    given : Rows
        As the user has them, with groups as labels.
    validation : str or splitter
        One that `check_validation` lets pass.
    share : float
        Of the rows that judge a member, where it is not a matter of folds.
    keys : Tensor, (M,)
        Of the members.
    strata : callable

    Raises
    ------
    ValueError
        If a part is empty.
    """
    if not isinstance(validation, str):
        return splitter_parts(given, validation, len(keys), strata)
    if validation == "folds":
        return fold_parts(given, keys, strata)
    if validation == "last" and share > 0:
        return last_parts(given, share, len(keys), strata)
    return drawn_parts(given, share, keys, strata)


def held_out_data(given: Rows, held_out: Rows, n_members: int, strata: Strata) -> TrainingData:
    """Rows that all train every member, and others that the user holds out to judge it."""
    rows, _ = canonical_rows(given)
    strata(rows.y)
    n, rows = len(rows.x), stacked(rows, canonical_rows(held_out)[0])
    train, validation = ([part] * n_members for part in torch.arange(len(rows.x)).split([n, len(rows.x) - n]))
    return _data(rows, train, validation, train)


def drawn_parts(given: Rows, share: float, keys: Tensor, strata: Strata) -> Parts:
    """A share of the rows, or of the groups that their labels are, judges each member: drawn for each of its own.

    Raises
    ------
    ValueError
        If there are too few to leave some for training.
    """
    rows, place = canonical_rows(given)
    classes, random, n = strata(rows.y), KeyedRandom(keys), len(rows.x)
    if share > 0 and rows.label is not None:
        chosen = draw_groups(_at_least(2, rows.label), round(share * n), random)
        return Parts(rows, place, *_sides(chosen))
    counted = counted_rows(rows) if share > 0 else np.zeros(n, dtype=bool)
    if not counted.any():
        parts = split_rows(n, _validation_size(n, share), random, classes)
        return Parts(rows, place, list(parts[0]), list(parts[1]))
    rest = torch.from_numpy(np.flatnonzero(~counted))
    parts = split_rows(len(rest), round(share * len(rest)), random, None if classes is None else classes[rest])
    # both sides have their share of the observations that a row stands for
    copies = rows.take(counted)
    rows, origin = written_out(rows, counted)
    is_copy = counted[origin]
    assert rows.sample_weight is not None  # without weights no row is counted
    assert copies.sample_weight is not None
    rows = replace(rows, sample_weight=np.where(is_copy, 1 - share, 1.0) * rows.sample_weight)
    first, rows = len(rows.x), stacked(rows, replace(copies, sample_weight=share * copies.sample_weight))
    both = torch.from_numpy(np.flatnonzero(is_copy)), torch.arange(first, len(rows.x))
    train, validation = (
        [torch.cat([rest[own], of_all]) for own in part] for part, of_all in zip(parts, both, strict=True)
    )
    return Parts(rows, place, train, validation)


def fold_parts(given: Rows, keys: Tensor, strata: Strata) -> Parts:
    """Member m is judged by fold m of the rows, or of the groups that their labels are, and trained by the others.

    Raises
    ------
    ValueError
        If there are fewer than members.
    """
    rows, place = canonical_rows(given)
    classes, random, n_folds = strata(rows.y), KeyedRandom(keys[:1]), len(keys)
    if rows.label is not None:
        fold = fold_of_groups(_at_least(n_folds, rows.label), n_folds, random)
    else:
        counted = counted_rows(rows)
        rows, origin = written_out(rows, counted)
        place = _among_copies(place, origin)
        if len(rows.x) < n_folds:
            raise ValueError(
                f"`validation` is 'folds', one for each of {n_folds} members; got {len(rows.x)} different sample(s) of "
                "positive weight. Pass more rows or fewer `n_members`."
            )
        if counted.any():
            # of the observations of a row, each fold has its share
            others = torch.zeros(len(counted), dtype=torch.int64) if classes is None else classes
            classes = torch.from_numpy(np.where(counted, -1 - np.arange(len(counted)), others))[origin]
        fold = fold_of_rows(len(rows.x), n_folds, random, classes)
    return Parts(rows, place, *_sides(fold == np.arange(n_folds)[:, None]), is_out_of_fold=True)


def last_parts(given: Rows, share: float, n_members: int, strata: Strata) -> Parts:
    """The last rows judge every member: as few as have at least a share of the weight of all.

    Copies of a row that judges do so as well, and the others of its group do not train.

    Raises
    ------
    ValueError
        If none are left for training.
    """
    weights = np.ones(len(given.x)) if given.sample_weight is None else scaled(given.sample_weight)
    behind = weights[::-1].cumsum()[::-1] - weights
    # rounding must not decide
    judges = behind < share * (1 - 1e-9) * weights.sum()
    plain, identity = canonical_rows(given)
    judges |= np.isin(identity, identity[judges]) & ~counted_rows(plain)[identity]
    side = np.where(judges, _JUDGES, _TRAINS)
    parts = _parts_of_sides(given, side[None], n_members, strata, groups_are_whole=True)
    if len(parts.train[0]) == 0:
        of_groups = "" if given.label is None else " that are of other groups"
        raise ValueError(
            f"`validation` is 'last', and no sample(s) of positive weight{of_groups} are left for training in front of "
            f"the share {share} that judges. Pass more rows or a smaller `validation_fraction`."
        )
    return parts


def splitter_parts(given: Rows, splitter: Any, n_members: int, strata: Strata) -> Parts:
    """Member m is trained and judged by the rows of split m, or of split m - k if there are only k.

    Of a row that judges a member, no copy trains it.

    Raises
    ------
    ValueError
        If a part is empty, or names a row that is not there or one twice.
    """
    n = len(given.x)
    found = islice(check_cv(splitter).split(given.x, given.y, given.label), n_members)
    sides = []
    for number, split in enumerate(found):
        side = np.zeros(n, dtype=np.int8)
        # a row that is in both is one that judges
        for code, part in zip((_TRAINS, _JUDGES), split, strict=True):
            side[_checked_numbers(part, n, number)] = code
        sides.append(side)
    if not sides:
        raise ValueError("`validation` gave no splits. Pass a splitter that gives at least one, or a list of them.")
    parts = _parts_of_sides(given, np.stack(sides), n_members, strata)
    for m in range(len(sides)):
        for rows, name in ((parts.train[m], "training"), (parts.validation[m], "validation")):
            if len(rows) == 0:
                raise ValueError(
                    f"split {m} of `validation` leaves no {name} rows of positive weight; rows that are equal to one "
                    "that judges do not train. Pass other splits."
                )
    return replace(parts, is_out_of_fold=True)


def _parts_of_sides(
    given: Rows, sides: NDArray[Any], n_members: int, strata: Strata, groups_are_whole: bool = False
) -> Parts:
    """Parts from the side of every row in each split, (S, n)."""
    plain, identity = canonical_rows(given)
    strata(plain.y)
    free = counted_rows(plain)
    # copies of a row are one as long as no split tells them apart
    label = np.zeros(len(given.x), dtype=np.intp) if given.label is None else given.label
    for side in sides:
        label = np.unique(3 * label + side, return_inverse=True)[1]
    rows, place = canonical_rows(replace(given, label=label))
    kept = np.flatnonzero(place >= 0)
    first = np.empty(len(rows.x), dtype=np.intp)
    first[place[kept]] = kept
    train, validation = [], []
    for side in sides[:, first]:
        judges = side == _JUDGES
        is_shut_out = np.isin(identity[first], identity[first][judges]) & ~free[identity[first]]
        if groups_are_whole and given.label is not None:
            is_shut_out |= np.isin(given.label[first], given.label[first][judges])
        train.append(torch.from_numpy(np.flatnonzero((side == _TRAINS) & ~is_shut_out)))
        validation.append(torch.from_numpy(np.flatnonzero(judges)))
    cycle = [m % len(sides) for m in range(n_members)]
    return Parts(rows, place, [train[m] for m in cycle], [validation[m] for m in cycle])


def _checked_numbers(part: Any, n: int, split: int) -> Numbers:
    """Row numbers from numbers or a mask."""
    numbers = np.asarray(part)
    if numbers.dtype == bool and numbers.shape == (n,):
        return np.flatnonzero(numbers)
    if numbers.size and (
        numbers.ndim != 1 or numbers.dtype.kind not in "iu" or numbers.min() < 0 or numbers.max() >= n
    ):
        raise ValueError(f"split {split} of `validation` must hold two vectors of row numbers below {n}; got {part!r}.")
    values, counts = np.unique(numbers.astype(np.intp), return_counts=True)
    if (counts > 1).any():
        raise ValueError(
            f"split {split} of `validation` names row {values[counts > 1][0]} more than once. Name it once, and give "
            "it its weight by `sample_weight`."
        )
    return values


def _sides(judges: NDArray[np.bool_]) -> tuple[list[Tensor], list[Tensor]]:
    """Training and validation rows of the members from which rows judge them, (M, n)."""
    sides = ([torch.from_numpy(np.flatnonzero(own)) for own in part] for part in (~judges, judges))
    train, validation = sides
    return train, validation


def _at_least(least: int, group: Numbers) -> Numbers:
    """The groups of rows, numbered without gaps; raises if they are too few."""
    different, numbers = np.unique(group, return_inverse=True)
    if len(different) < least:
        raise ValueError(
            f"`groups` must name at least {least} different groups among the rows of positive weight, of which some "
            f"train a member and others judge it; got {len(different)}. Pass more groups, or fewer `n_members`."
        )
    return numbers


def _validation_size(n: int, share: float) -> int:
    """How many rows to draw."""
    if share == 0:
        return 0
    size = max(1, round(share * n))
    if size >= n:
        raise ValueError(
            f"validation_fraction={share} leaves no training row of {n} sample(s) of positive weight. "
            "Pass more rows or a smaller `validation_fraction`."
        )
    return size


def _among_copies(place: Numbers, origin: Numbers) -> Numbers:
    """Rows of the user at the copies of what they have become: one after the other, as often as there are copies."""
    by_origin = np.argsort(origin, kind="stable")
    times = np.bincount(origin)
    start = np.cumsum(times) - times
    kept = np.flatnonzero(place >= 0)
    order = kept[np.argsort(place[kept], kind="stable")]
    rows = np.bincount(place[kept], minlength=len(times))
    rank = np.arange(len(order)) - np.repeat(np.cumsum(rows) - rows, rows)
    result = place.copy()
    result[order] = by_origin[start[place[order]] + rank % times[place[order]]]
    return result


def _data(rows: Rows, train: list[Tensor], validation: list[Tensor], units: list[Tensor]) -> TrainingData:
    parts = (train, validation, units)
    sizes: Iterable[tuple[int, int, int]] = zip(*([len(own) for own in part] for part in parts), strict=True)
    different = tuple(sizes)
    weights, exposures = (
        None if one is None else torch.from_numpy(one) for one in (rows.sample_weight, rows.log_exposure)
    )
    return TrainingData(
        torch.from_numpy(rows.x),
        torch.from_numpy(rows.y),
        weights,
        _filled(train),
        _filled(validation),
        _filled(units),
        exposures,
        different if len(set(different)) > 1 else None,
    )


def _filled(parts: list[Tensor]) -> Tensor:
    """Rows of the members, one under the other; what is missing in a shorter part is its last row again."""
    longest = max(len(own) for own in parts)
    return torch.stack([torch.cat([own, own[-1:].expand(longest - len(own))]) for own in parts])
