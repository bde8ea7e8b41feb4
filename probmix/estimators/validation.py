"""Which rows train a member, and which judge it."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from .._names import unknown_name
from .._numbers import as_numpy
from ..training import Rows, TrainingData
from .drawing import drawn_parts, fold_parts
from .parts import Parts, Strata, parts_data
from .rows import canonical_rows
from .sides import last_parts, splitter_parts

_NAMES = ("random", "folds", "last")
# A splitter of an estimator that was saved, without it.
LOST_SPLITTER = "lost splitter"


def check_validation(validation: Any, n_members: int) -> None:
    """Raise unless it says which rows judge a member."""
    if isinstance(validation, str):
        if validation == LOST_SPLITTER:
            raise ValueError("`validation` was a splitter. A splitter is not saved with an estimator: set it again.")
        if validation not in _NAMES:
            raise unknown_name("validation", validation, _NAMES)
        if validation == "folds" and n_members < 2:
            raise ValueError(
                f"`validation` is 'folds', of which each member is judged by one and trained by the others; got "
                f"n_members={n_members}. Pass at least 2, or validation='random'."
            )
    elif isinstance(validation, Iterator):
        raise ValueError(
            f"`validation` must be there for more than one fit; got {validation!r}, which ends. Pass the splitter "
            "itself, or a list of its splits."
        )
    elif not hasattr(validation, "split") and not isinstance(validation, Iterable):
        raise ValueError(
            "`validation` must be 'random', 'folds', 'last', a splitter such as GroupKFold(5), or a list of pairs of "
            f"row numbers; got {validation!r}."
        )


def check_groups(groups: Any, rows: int) -> Tensor | None:
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
        numbers = np.unique(labels, return_inverse=True)[1]
    except TypeError as error:
        raise ValueError(f"`groups` must hold labels of one kind, which can be sorted: {error}.") from None
    return torch.from_numpy(numbers)


def judged_parts(given: Rows, validation: Any, share: float, keys: Tensor, strata: Strata) -> Parts:
    """Which rows train and judge each member.

    Parameters
    ----------
    given : Rows
        As the user has them, with their groups.
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
    n, rows = len(rows), Rows.joined([rows, canonical_rows(held_out)[0]])
    train, validation = ([part] * n_members for part in torch.arange(len(rows)).split([n, len(rows) - n]))
    return parts_data(rows, train, validation, train)
