"""The distribution that a model predicts on average over rows, all of which have one value of a column."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.distributions import Distribution

from .._answers import mean_of, quantiles_of
from ..distributions import cdf, icdf, is_discrete
from ..distributions.inversion import invert_continuous, invert_discrete
from ..distributions.parts import device_of, widen
from ..distributions.single_rows import single_rows
from ..pooling import linear_pool
from ._common import predicted_number

# Rows that a model is asked about at a time.
_BLOCK = 20_000


@dataclass(frozen=True)
class Rows:
    """Rows of a table, each with its exposure if there are exposures.

    Attributes
    ----------
    frame : DataFrame, (R, F)
    position : int
        The column that is set to one value after another.
    exposure : ndarray, (R,), or None
    named : bool
        Whether the model sees a frame, and not an array.
    """

    frame: pd.DataFrame
    position: int
    exposure: NDArray[np.float64] | None
    named: bool

    def with_values(self, cells: "pd.Series[Any]") -> tuple[Any, NDArray[np.float64] | None]:
        """A table, (G * R, F), of all rows with the first value, then all with the second; and the exposures."""
        n = len(self.frame)
        table = self.frame.iloc[np.tile(np.arange(n), len(cells))].reset_index(drop=True)
        table.isetitem(self.position, cells.iloc[np.repeat(np.arange(len(cells)), n)].array)
        exposure = None if self.exposure is None else np.tile(self.exposure, len(cells))
        return table if self.named else table.to_numpy(copy=True), exposure


def effects(
    estimator: Any, rows: Rows, cells: "pd.Series[Any]", levels: Sequence[float]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Quantiles, (G, Q), and means, (G,), of the average distribution at each of G values."""
    n = len(rows.frame)
    quantiles, means = [], []
    for start in range(0, len(cells), step := max(1, _BLOCK // n)):
        table, exposure = rows.with_values(cells.iloc[start : start + step])
        distribution = widen(predicted_number(estimator, table, exposure))
        quantiles.append(pooled_quantiles(distribution, n, levels))
        means.append(mean_of(distribution).reshape(-1, n).mean(1))
    return np.concatenate(quantiles), np.concatenate(means)


@torch.no_grad()
def pooled_quantiles(distribution: Distribution, n: int, levels: Sequence[float]) -> NDArray[np.float64]:
    """Quantiles, (G, Q), of the linear pools of n rows each of a distribution of batch shape (G * n,)."""
    shape = (distribution.batch_shape[0] // n, n)
    places = torch.arange(distribution.batch_shape[0], device=device_of(distribution)).reshape(shape)
    members = single_rows(distribution, places)
    if members is not None:
        return quantiles_of(linear_pool(members), levels)
    # of a class of which no rows can be taken, from the mean of the cdf
    found = [_quantile(distribution, shape, level) for level in levels]
    quantiles: NDArray[np.float64] = torch.stack(found, -1).cpu().numpy()
    return quantiles


def _quantile(distribution: Distribution, shape: tuple[int, int], level: float) -> Tensor:
    q = torch.full((shape[0],), level, dtype=torch.float64, device=device_of(distribution))
    each = icdf(distribution, q.new_full(distribution.batch_shape, level)).double().reshape(shape)
    low, high = each.amin(1), each.amax(1)

    def average(y: Tensor) -> Tensor:
        return cdf(distribution, y.repeat_interleave(shape[1])).double().reshape(shape).mean(1)

    return (
        invert_discrete(average, q, low - 1, high)
        if is_discrete(distribution)
        else torch.where(low < high, invert_continuous(average, q, low, high), high)
    )
