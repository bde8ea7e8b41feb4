"""Rows and groups drawn at random."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..random import KeyedRandom

# Streams of the initial weights and of the epochs are numbered from 0.
_SPLIT_STREAM = -2


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


def draw_groups(group: NDArray[np.intp], n_validation: int, random: KeyedRandom) -> NDArray[np.bool_]:
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


def fold_of_rows(n: int, n_folds: int, random: KeyedRandom, classes: Tensor | None = None) -> NDArray[np.intp]:
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


def fold_of_groups(group: NDArray[np.intp], n_folds: int, random: KeyedRandom) -> NDArray[np.intp]:
    """The fold of each row, (n,), by its group: the largest groups first, each to the fold with the fewest rows."""
    sizes = np.bincount(group)
    order = random.stream(_SPLIT_STREAM).permutations(len(sizes))[0].numpy()
    fold, rows = np.empty(len(sizes), dtype=np.intp), np.zeros(n_folds)
    for one in order[np.argsort(-sizes[order], kind="stable")]:
        fold[one] = rows.argmin()
        rows[fold[one]] += sizes[one]
    of_rows: NDArray[np.intp] = fold[group]
    return of_rows


def _by_class(order: Tensor, classes: Tensor | None) -> Tensor:
    """Orders of rows, (M, n), with those of a class one after the other."""
    return order if classes is None else order.gather(1, classes[order].argsort(dim=1, stable=True))
