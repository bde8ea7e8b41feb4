"""A law of partners that knows rows by their numbers, for the rows that training has."""

from dataclasses import replace

import numpy as np
from torch import Tensor

from ..mixup import GraphPartners, Mixup
from ..training import Rows
from .rows import sort_keys, starts


def over_training_rows(mixup: Mixup, given: Rows, rows: Rows) -> Mixup:
    """The mixup with its graph, if it has one, over the rows of training in place of those that were given.

    Training merges rows that are equal, sorts them, and may have some of them several times: a row of training is all
    given ones that say the same.

    Raises
    ------
    ValueError
        If the graph has not as many rows as were given.
    """
    law = mixup.partners
    if not isinstance(law, GraphPartners):
        return mixup
    law.check_rows(len(given))
    columns = [_columns(table) for table in (given, rows)]
    keys = [np.concatenate(pair) for pair in zip(*(sort_keys(of_table) for of_table in columns), strict=True)]
    order = np.lexsort(keys)
    identity = np.empty(len(order), dtype=np.int64)
    identity[order] = np.cumsum(starts(keys, order)) - 1
    own = identity[: len(given)]
    if given.weight is not None:
        own = np.where(given.weight.numpy() > 0, own, -1)
    return replace(mixup, partners=law.of_other_rows(own, identity[len(given) :]))


def _columns(rows: Rows) -> list[Tensor]:
    """What makes rows the same, whatever their groups."""
    return [values for name, values in rows.telling_apart().items() if name != "group"]
