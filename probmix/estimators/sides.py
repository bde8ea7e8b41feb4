"""Parts by the order and the numbers of the user's rows: the last ones, and those of a splitter."""

from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.model_selection import check_cv
from torch import Tensor

from .._given import scaled
from ..training import Rows
from .parts import Numbers, Parts, Strata
from .rows import canonical_rows
from .tables import counted_rows

_TRAINS, _JUDGES = 1, 2


def last_parts(given: Rows, share: float, n_members: int, strata: Strata) -> Parts:
    """The last rows judge every member: as few as have at least a share of the weight of all.

    Copies of a row that judges do so as well, and the others of its group do not train.

    Raises
    ------
    ValueError
        If none are left for training.
    """
    weights = np.ones(len(given)) if given.weight is None else scaled(given.weight.numpy())
    behind = weights[::-1].cumsum()[::-1] - weights
    # rounding must not decide
    judges = behind < share * (1 - 1e-9) * weights.sum()
    plain, identity = canonical_rows(given)
    judges |= np.isin(identity, identity[judges]) & ~counted_rows(plain)[identity]
    side = np.where(judges, _JUDGES, _TRAINS)
    parts = _parts_of_sides(given, side[None], n_members, strata, groups_are_whole=True)
    if len(parts.train[0]) == 0:
        of_groups = "" if given.group is None else " that are of other groups"
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
    n = len(given)
    if given.group is None and _splits_groups(splitter):
        raise ValueError(
            f"`validation` is {splitter!r}, which splits groups, and there are none. Pass fit(..., groups=), in a "
            "search by metadata routing, set_fit_request(groups=True)."
        )
    found = islice(check_cv(splitter).split(*_arrays(given.x, given.y, given.group)), n_members)
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


def _splits_groups(splitter: Any) -> bool:
    """Whether a splitter of scikit-learn asks for groups."""
    routing = getattr(splitter, "get_metadata_routing", None)
    return routing is not None and routing().split.requests.get("groups") is True


def _parts_of_sides(
    given: Rows, sides: NDArray[Any], n_members: int, strata: Strata, groups_are_whole: bool = False
) -> Parts:
    """Parts from the side of every row in each split, (S, n)."""
    plain, identity = canonical_rows(given)
    strata(plain.y)
    free = counted_rows(plain)
    # copies of a row are one as long as no split tells them apart
    (group,) = _arrays(given.group)
    told_apart = np.zeros(len(given), dtype=np.intp) if group is None else group
    for side in sides:
        told_apart = np.unique(3 * told_apart + side, return_inverse=True)[1]
    rows, place = canonical_rows(replace(given, group=torch.from_numpy(told_apart)))
    kept = np.flatnonzero(place >= 0)
    first = np.empty(len(rows), dtype=np.intp)
    first[place[kept]] = kept
    train, validation = [], []
    for side in sides[:, first]:
        judges = side == _JUDGES
        is_shut_out = np.isin(identity[first], identity[first][judges]) & ~free[identity[first]]
        if groups_are_whole and group is not None:
            is_shut_out |= np.isin(group[first], group[first][judges])
        train.append(torch.from_numpy(np.flatnonzero((side == _TRAINS) & ~is_shut_out)))
        validation.append(torch.from_numpy(np.flatnonzero(judges)))
    cycle = [m % len(sides) for m in range(n_members)]
    return Parts(rows, place, [train[m] for m in cycle], [validation[m] for m in cycle])


def _arrays(*columns: Tensor | None) -> list[NDArray[Any] | None]:
    """Columns as arrays."""
    return [None if one is None else one.numpy() for one in columns]


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
