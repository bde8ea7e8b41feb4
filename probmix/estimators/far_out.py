"""A word about rows for which nothing was there to learn from."""

import numpy as np
from numpy.typing import NDArray

from .._told import warn
from ..columns import Columns
from ..networks import MemberNetwork

# A row is far out if it leaves the training range of a column by more than its length, and is more than this many
# units from the median, each at least as long as the range between the quartiles: heavy tails have rows beyond the
# range in every split.
_BEYOND, _UNITS = 1.0, 10.0


def warn_far_out(x: NDArray[np.float64], network: MemberNetwork, columns: Columns | None) -> None:
    """Warn, once a call, if rows of a table have numbers far outside what the network was trained on.

    Parameters
    ----------
    x : ndarray, (n, F) or (n, ...)
        As it is stored.
    network : MemberNetwork
        Fitted.
    columns : Columns or None
        What the fit learned of the columns; None for rows that are no table.
    """
    if columns is None:
        return
    layout = columns.layout
    units = (network.low.amin(0), network.high.amax(0), network.loc[0], network.scale.amax(0))
    low, high, centre, scale = (unit.squeeze(0).cpu().numpy() for unit in units)
    reach = np.maximum(_BEYOND * (high - low), 0.0)
    candidates = ((x < low - reach) | (x > high + reach)).any(1).nonzero()[0]
    if not len(candidates):
        return
    z = np.abs(x[candidates] - centre) / scale
    outside = (x[candidates] < low - reach) | (x[candidates] > high + reach)
    z = np.where(outside, z, 0.0)
    far = z.max(1) > _UNITS
    if not far.any():
        return
    row, column = map(int, np.unravel_index(z.argmax(), z.shape))
    label = f"column {layout.sources[column]}" + (f", {layout.names[column]!r}," if columns.feature_names else "")
    place = candidates[row]
    value, least, largest = (columns.in_words(column, one) for one in (x[place, column], low[column], high[column]))
    warn(
        f"{far.sum()} of {len(x)} rows of X lie far outside the training range, which no network has learned anything "
        f"about; the farthest is row {place}: {label} has {value}, in training it was from "
        f"{least} to {largest}. Their predictions are those of rows at the edge of the training data. "
        "Check the units of these rows, or drop them."
    )
