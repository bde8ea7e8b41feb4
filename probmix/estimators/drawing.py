"""Parts that are drawn at random: a share of the rows or groups, or folds of them."""

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..random import KeyedRandom
from ..training import Rows
from .parts import Numbers, Parts, Strata
from .rows import canonical_rows
from .tables import counted_rows, written_out

# Streams of the initial weights and of the epochs are numbered from 0.
_SPLIT_STREAM = -2


def drawn_parts(given: Rows, share: float, keys: Tensor, strata: Strata) -> Parts:
    """A share of the rows, or of their groups, judges each member: drawn for each of its own.

    Raises
    ------
    ValueError
        If there are too few to leave some for training.
    """
    rows, place = canonical_rows(given)
    classes, random, n = strata(rows.y), KeyedRandom(keys), len(rows)
    if share > 0 and rows.group is not None:
        chosen = draw_groups(_at_least(2, rows.group.numpy()), round(share * n), random)
        return Parts(rows, place, *_sides(chosen))
    counted = counted_rows(rows) if share > 0 else np.zeros(n, dtype=bool)
    if not counted.any():
        parts = split_rows(n, _validation_size(n, share), random, classes)
        return Parts(rows, place, list(parts[0]), list(parts[1]), both_tell_units=True)
    rest = torch.from_numpy(np.flatnonzero(~counted))
    parts = split_rows(len(rest), round(share * len(rest)), random, None if classes is None else classes[rest])
    # both sides have their share of the observations that a row stands for
    copies = rows.take(counted)
    rows, origin = written_out(rows, counted)
    is_copy = counted[origin]
    assert rows.weight is not None  # without weights no row is counted
    assert copies.weight is not None
    rows = replace(rows, weight=torch.from_numpy(np.where(is_copy, 1 - share, 1.0)) * rows.weight)
    first, rows = len(rows), Rows.joined([rows, replace(copies, weight=share * copies.weight)])
    both = torch.from_numpy(np.flatnonzero(is_copy)), torch.arange(first, len(rows))
    train, validation = (
        [torch.cat([rest[own], of_all]) for own in part] for part, of_all in zip(parts, both, strict=True)
    )
    return Parts(rows, place, train, validation, both_tell_units=True)


def fold_parts(given: Rows, keys: Tensor, strata: Strata) -> Parts:
    """Member m is judged by fold m of the rows, or of their groups, and trained by the others.

    Raises
    ------
    ValueError
        If there are fewer than members.
    """
    rows, place = canonical_rows(given)
    classes, random, n_folds = strata(rows.y), KeyedRandom(keys[:1]), len(keys)
    if rows.group is not None:
        fold = fold_of_groups(_at_least(n_folds, rows.group.numpy()), n_folds, random)
    else:
        counted = counted_rows(rows)
        rows, origin = written_out(rows, counted)
        place = _among_copies(place, origin)
        if len(rows) < n_folds:
            raise ValueError(
                f"`validation` is 'folds', one for each of {n_folds} members; got {len(rows)} different sample(s) of "
                "positive weight. Pass more rows or fewer `n_members`."
            )
        if counted.any():
            # of the observations of a row, each fold has its share
            others = torch.zeros(len(counted), dtype=torch.int64) if classes is None else classes
            classes = torch.from_numpy(np.where(counted, -1 - np.arange(len(counted)), others))[origin]
        fold = fold_of_rows(len(rows), n_folds, random, classes)
    return Parts(rows, place, *_sides(fold == np.arange(n_folds)[:, None]), is_out_of_fold=True)


def split_rows(n: int, n_validation: int, random: KeyedRandom, classes: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Training and validation rows of each member, drawn at random: (M, n - n_validation) and (M, n_validation).

    With `classes`, (n,), every class has its share of the validation rows, as far as whole rows allow.
    """
    random = random.stream(_SPLIT_STREAM)
    order = _by_class(random.permutations(n), classes)
    # every so many places one row, from a random place on: proportional in any sorted order
    places = ((torch.arange(n_validation) + random.uniform((1,)).double()) * (n / max(1, n_validation))).long()
    chosen = torch.zeros_like(order, dtype=torch.bool).scatter_(1, places.clamp(max=n - 1), value=True)
    members = len(order)
    rows = [order[mask].view(members, -1).sort(1).values for mask in (~chosen, chosen)]
    return rows[0], rows[1]


def draw_groups(group: Numbers, n_validation: int, random: KeyedRandom) -> NDArray[np.bool_]:
    """Which rows are of the groups that judge each member, (M, n): groups in random order until they are enough.

    Parameters
    ----------
    group : ndarray, (n,)
        Of each row, from 0 to at least 1.
    n_validation : int
        How many rows there should be; the number of groups is that which comes nearest, at least one and not all.
    random : KeyedRandom
    """
    sizes = np.bincount(group)
    order = random.stream(_SPLIT_STREAM).permutations(len(sizes)).numpy()
    reached = np.cumsum(sizes[order], axis=1)[:, :-1]
    last = np.abs(reached - n_validation).argmin(1)
    judges = np.zeros(order.shape, dtype=bool)
    np.put_along_axis(judges, order, np.arange(len(sizes)) <= last[:, None], axis=1)
    chosen: NDArray[np.bool_] = judges[:, group]
    return chosen


def fold_of_rows(n: int, n_folds: int, random: KeyedRandom, classes: Tensor | None = None) -> Numbers:
    """The fold of each row, (n,): as many rows in each, up to one, and as many of each class.

    Parameters
    ----------
    n, n_folds : int
    random : KeyedRandom
        Of one key.
    classes : Tensor, (n,), optional
    """
    order = _by_class(random.stream(_SPLIT_STREAM).permutations(n), classes)[0].numpy()
    fold = np.empty(n, dtype=np.intp)
    fold[order] = np.arange(n) % n_folds
    return fold


def fold_of_groups(group: Numbers, n_folds: int, random: KeyedRandom) -> Numbers:
    """The fold of each row, (n,), by its group: the largest groups first, each to the fold with the fewest rows."""
    sizes = np.bincount(group)
    order = random.stream(_SPLIT_STREAM).permutations(len(sizes))[0].numpy()
    fold, rows = np.empty(len(sizes), dtype=np.intp), np.zeros(n_folds)
    for one in order[np.argsort(-sizes[order], kind="stable")]:
        fold[one] = rows.argmin()
        rows[fold[one]] += sizes[one]
    of_rows: Numbers = fold[group]
    return of_rows


def _by_class(order: Tensor, classes: Tensor | None) -> Tensor:
    """Orders of rows, (M, n), with those of a class one after the other."""
    return order if classes is None else order.gather(1, classes[order].argsort(dim=1, stable=True))


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
    if n == 1:
        raise ValueError(
            "rows must differ in X, y or exposure for some to train and others to judge; got 1 sample of positive "
            "weight, or several that are all equal. Pass rows that differ, or others that judge, `X_val` and `y_val`."
        )
    if size >= n:
        raise ValueError(
            f"validation_fraction={share} leaves no training row of {n} sample(s) that differ and have positive "
            "weight. Pass more rows or a smaller `validation_fraction`."
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
