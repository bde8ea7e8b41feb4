"""Scores of several models on the same rows: means, paired differences, and how sure they are."""

from __future__ import annotations

from dataclasses import dataclass
from math import nan, sqrt
from typing import Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtr

from .._given import checked_weights
from .._names import unknown_name
from .table import COLUMNS, ScoreTable

# Scores that differ by no more than this share of their size are equal but for rounding.
_ROUNDING = 1e-12


def compare_rows(
    rows: pd.DataFrame, *, baseline: str | None = None, sample_weight: ArrayLike | None = None
) -> ScoreTable:
    """Means over rows and paired differences to a baseline: the second half of `evaluate`.

    Parameters
    ----------
    rows : DataFrame, n rows
        From `score_rows`, or any table with columns ("score", "model"). Under the score "rmse" there are squared
        errors, and the mean is the root of theirs.
    baseline, sample_weight
        As in `evaluate`.

    Returns
    -------
    ScoreTable
        As `evaluate`.

    Raises
    ------
    ValueError
        If there are no rows or the columns have other levels, for an unknown baseline, and for weights that are
        negative or all zero.
    """
    if list(rows.columns.names) != ["score", "model"]:
        raise ValueError(
            f"`rows` must have columns with the levels 'score' and 'model', as from `score_rows`; got the levels "
            f"{list(rows.columns.names)}."
        )
    scores, models = (rows.columns.get_level_values(level) for level in ("score", "model"))
    names = list(dict.fromkeys(models))
    if baseline is None:
        baseline = names[0]
    if baseline not in names:
        raise unknown_name("baseline", baseline, names)
    weights = _weights(sample_weight, len(rows))
    counted = weights > 0
    weights, kept = weights[counted], rows.loc[counted]
    lines = [
        _line(str(score), kept[score, name], None if name == baseline else kept[score, baseline], weights)
        for score, name in zip(scores, models, strict=True)
    ]
    table = ScoreTable(lines, rows.columns, COLUMNS)
    table.attrs["baseline"] = baseline
    table.attrs["missing"] = _without_mean(kept, table) | rows.attrs.get("missing", {})
    return table


def _without_mean(rows: pd.DataFrame, table: ScoreTable) -> dict[tuple[str, str], str]:
    """Why means over rows are NaN, by score and model."""
    reasons = {}
    scores, models = (rows.columns.get_level_values(level) for level in ("score", "model"))
    means, blanks = table["mean"].to_numpy(), rows.isna().sum().to_numpy()
    for score, name, mean, blank in zip(scores, models, means, blanks, strict=True):
        if np.isnan(mean):
            reasons[str(score), str(name)] = (
                f"the score of {blank} of {len(rows)} rows is no number"
                if blank
                else "some rows score inf and others -inf, and their mean is no number"
            )
    return reasons


def _line(
    score: str, values: pd.Series[float], baseline: pd.Series[float] | None, weights: NDArray[np.float64]
) -> dict[str, float]:
    ours = _terms(score, values, weights)
    mean, difference = RowMean.of(ours, weights), RowMean(nan, nan, nan)
    if baseline is not None:
        difference = RowMean.of(_differences(ours, _terms(score, baseline, weights)), weights)
    return {
        "n": len(ours),
        "mean": mean.mean,
        "standard_error": mean.error,
        "difference": difference.mean,
        "difference_error": difference.error,
        # a coverage is best near its level: of two neither the smaller nor the larger is better
        "p": nan if score.startswith("coverage") else difference.p,
    }


def _terms(score: str, values: pd.Series[float], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """What a score is the mean of over rows; for a root of a mean its linear terms (delta method)."""
    terms: NDArray[np.float64] = np.asarray(values, dtype=np.float64)
    if score != "rmse":
        return terms
    square = np.average(terms, weights=weights)
    root = np.sqrt(square)
    return root + (terms - square) / (2 * root) if 0 < root < np.inf else np.full_like(terms, root)


def _differences(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Differences row by row; zero where they are rounding, next to the scores of the row or to most scores."""
    # the difference of two infinite scores is NaN
    with np.errstate(invalid="ignore"):
        difference = ours - theirs
    sizes = np.maximum(np.abs(ours), np.abs(theirs))
    finite = np.isfinite(difference)
    if finite.any():
        # a score near zero, such as an NLL, has the rounding errors of its larger terms
        rounding = _ROUNDING * np.maximum(sizes, np.median(sizes[finite]))
        difference[finite & (np.abs(difference) <= rounding)] = 0.0
    return difference


@dataclass(frozen=True)
class RowMean:
    r"""Weighted mean of n values, its standard error, and the p-value of a t-test that the mean is zero.

    .. math:: \bar d = \sum_i w_i d_i,\qquad
              s^2 = \frac n{n - 1}\sum_i w_i^2 (d_i - \bar d)^2,\qquad t = \bar d / s,\qquad \sum_i w_i = 1

    with n - 1 degrees of freedom; for equal weights :math:`s` is the usual standard error. NaN where there is none.

    >>> RowMean.of(np.array([1.0, 2.0, 6.0]), np.ones(3))
    RowMean(mean=3.0, error=1.527..., p=0.188...)
    """

    mean: float
    error: float
    p: float

    @classmethod
    def of(cls, values: NDArray[np.float64], weights: NDArray[np.float64]) -> Self:
        n, share = len(values), weights / weights.sum()
        # infinite scores are legitimate, and their sum or difference may be NaN
        with np.errstate(invalid="ignore"):
            mean = float((share * values).sum())
        if n < 2 or not np.isfinite(mean):
            return cls(mean, nan, nan)
        if (values == values[0]).all():
            mean = float(values[0])  # a sum of shares is a rounding off it, which would be shown as an error
        error = sqrt(n / (n - 1) * float(np.square(share * (values - mean)).sum()))
        if error == 0:
            return cls(mean, 0.0, 1.0 if mean == 0 else 0.0)
        return cls(mean, error, 2 * float(stdtr(n - 1, -abs(mean) / error)))


def _weights(sample_weight: ArrayLike | None, n: int) -> NDArray[np.float64]:
    if n == 0:
        raise ValueError("there must be at least one row to compare; got none.")
    return np.ones(n) if sample_weight is None else checked_weights(sample_weight, (n,)).cpu().numpy()
