"""Tables of a few categories, in which equal rows are many observations."""

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from ..training import Rows
from .rows import Array, sort_keys, starts

# Rows of one X that a network may know by heart, since they say what is usual there: so many, or such a share of all.
_MANY, _LARGE = 30, 0.05
# Where each of them is a smaller share of those with its X, what is held out hardly changes what is left.
_HEAVY = 0.1
# What the share of such rows in all weight must be.
_MOST = 0.5
# They are written out up to so many rows in all, or up to so much more than there are: steps enough, and no slow fits.
_WRITTEN_OUT, _MORE = 1000, 0.25
# A unit of the weights is looked for down to such a part of the smallest.
_FINEST_UNIT = 1000


def counted_rows(rows: Rows) -> NDArray[np.bool_]:
    """Rows that stand for many observations of one X, as in a table of a few categories; (n,), bool.

    To hold out such a row, all its observations that is, would tell a network that its target does not occur at that X.
    They are found where an X (with its exposure) comes with several targets, one of which has a tenth of its weight or
    more, and has either 30 observations, as far as the weights have a common unit, or a twentieth of all weight; and
    where together they have half of all weight.

    Parameters
    ----------
    rows : Rows
        In canonical form. Without weights there are none: no row was there more often than others.
    """
    n = len(rows)
    if rows.weight is None:
        return np.zeros(n, dtype=bool)
    weights = rows.weight.numpy()
    columns = rows.telling_apart().items()
    keys = sort_keys(values for name, values in columns if name not in ("group", "y"))
    order = np.lexsort(keys)
    first = starts(keys, order)
    cell = np.empty(n, dtype=np.intp)
    cell[order] = np.cumsum(first) - 1
    totals, sizes = np.bincount(cell, weights), np.bincount(cell)
    heaviest = np.maximum.reduceat(weights[order], np.flatnonzero(first))
    is_large = (totals >= _LARGE * n) | (np.bincount(cell, _counts(weights)) >= _MANY)
    found: NDArray[np.bool_] = ((sizes > 1) & (heaviest >= _HEAVY * totals) & is_large)[cell]
    if weights[found].sum() < _MOST * n:
        # a few rows that share their X by chance make no such table
        found[:] = False
    return found


def written_out(rows: Rows, counted: NDArray[np.bool_]) -> tuple[Rows, NDArray[np.intp]]:
    """Rows in which a counted one stands several times, as observations do, with equal parts of its weight.

    Returns
    -------
    rows : Rows
        The given ones, with others under them.
    origin : ndarray of int
        Which of the given ones each of them is.
    """
    origin, which = np.arange(len(rows)), np.flatnonzero(counted)
    if len(which) == 0:
        return rows, origin
    assert rows.weight is not None  # without weights no row is counted
    weights = rows.weight.numpy().copy()
    counts, heavy = _counts(weights)[which], weights[which]
    room = max(_WRITTEN_OUT - len(rows), round(_MORE * len(rows)))
    # rounding must not decide
    times = 1 + np.floor(room * heavy / heavy.sum() + 1e-9)
    if counts.any():
        times = np.minimum(times, counts)
    weights[which] /= times
    further = np.repeat(which, times.astype(int) - 1)
    rows = replace(rows, weight=torch.from_numpy(weights))
    return Rows.joined([rows, rows.take(further)]), np.concatenate([origin, further])


def _counts(weights: Array) -> Array:
    """The smallest whole numbers in the proportions of weights; zeros where these have no common unit."""
    ratios = weights / weights.min()
    different = np.unique(ratios)
    for unit in range(1, _FINEST_UNIT + 1):
        # most units fail on a few
        if all(
            np.all(np.abs(some - some.round()) <= 1e-9 * some) for some in (unit * different[:50], unit * different)
        ):
            counts: Array = (unit * ratios).round()
            return counts
    return np.zeros_like(weights)
