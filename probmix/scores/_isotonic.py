"""Recalibration: the best increasing function of a forecast, for means and for quantiles."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.isotonic import isotonic_regression

Array = NDArray[np.float64]


def isotonic_mean(forecast: Array, y: Array, weights: Array) -> Array:
    """Means of y that increase with the forecast, least squares; (n,) each, weights positive."""
    distinct, ties = np.unique(forecast, return_inverse=True)
    total = np.bincount(ties, weights, len(distinct))
    mean = np.bincount(ties, weights * y, len(distinct)) / total
    # bounds, for rounding may lift a mean of ones above one
    fitted: Array = isotonic_regression(mean, sample_weight=total, y_min=y.min(), y_max=y.max())
    return fitted[ties]


def isotonic_quantile(forecast: Array, y: Array, weights: Array, level: float) -> Array:
    r"""Quantiles of y that increase with the forecast, least quantile score; (n,) each, weights positive.

    The rows of a fit at most t are those before the smallest sum of :math:`w_i(\alpha - 1[y_i \le t])` over the first
    rows, in the order of the forecast; halving the range of t in all parts at once, as in Stout (2013), Isotonic
    regression via partitioning, Algorithmica 66, 93-112, takes O(n log n). Of several minima it takes the lowest fit.
    """
    n = len(y)
    order = np.argsort(forecast, kind="stable")
    values, rank = np.unique(y[order], return_inverse=True)
    weights = weights[order]
    # equal forecasts have equal quantiles
    splits = np.append(True, np.diff(forecast[order]) > 0)
    rows = np.arange(n)
    low, high = np.zeros(n, dtype=np.int64), np.full(n, len(values) - 1)
    while (low < high).any():
        starts = np.flatnonzero(np.diff(low, prepend=-1))
        ends = np.append(starts[1:], n)
        part = np.repeat(np.arange(len(starts)), ends - starts)
        middle = (low + high) // 2
        before = np.append(0.0, np.cumsum(weights * (level - (rank <= middle))))
        candidates = np.where(splits, before[:-1], np.inf)
        smallest = np.minimum.reduceat(candidates, starts)
        last = np.maximum.reduceat(np.where(candidates == smallest[part], rows, -1), starts)
        split = np.where(before[ends] <= smallest, ends, last)
        below = (rows < split[part]) | (low == high)
        low, high = np.where(below, low, middle + 1), np.where(below, np.minimum(middle, high), high)
    recalibrated = np.empty_like(y)
    recalibrated[order] = values[low]
    return recalibrated
