"""Methods over many data sets: mean ranks, whether they differ at all, and which of them do."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats
from scipy.special import betainc

from ..summary import critical_difference

SET = ["folder", "dataset"]
# In place of an infinite loss, which ranks as it does.
_LARGEST = 1e9


def common_means(table: pd.DataFrame, score: str, methods: Sequence[str]) -> pd.DataFrame:
    """Means of a score by data set and method, over the splits that all methods have.

    Parameters
    ----------
    table : DataFrame
        A line for each result, with the columns folder, dataset, method, split and the score.
    score : str
    methods : sequence of str
        Those without any value of the score are left out; data sets on which one of the others has none, too.
    """
    if score not in table:
        return pd.DataFrame()
    wide = table.pivot(index=[*SET, "split"], columns="method", values=score)
    ranked = [method for method in methods if method in wide and wide[method].notna().any()]
    complete: pd.DataFrame = wide[ranked].dropna()
    return complete.groupby(level=SET, sort=False).mean()


@dataclass(frozen=True)
class Ranking:
    """Ranks of k methods on N data sets; 1 is the best.

    Attributes
    ----------
    ranks : Series, (k,)
        Mean ranks by method, the best first; ties have the mean of their ranks.
    wins : Series, (k,)
        Data sets on which a method is the best one; of m that share the first place each has 1/m.
    p_friedman : float
        That all methods are alike, by the test of Friedman in the form of Iman and Davenport.
    critical_difference : float
        Of mean ranks, by Nemenyi.
    p_baseline : Series, (k,)
        That a method and the baseline are alike, by Wilcoxon's signed ranks over data sets, adjusted by Holm for the
        number of methods; NaN for the baseline, and without one for all.
    sets : int
    """

    ranks: "pd.Series[float]"
    wins: "pd.Series[float]"
    p_friedman: float
    critical_difference: float
    p_baseline: "pd.Series[float]"
    sets: int


def ranking(means: pd.DataFrame, baseline: str | None = None) -> Ranking:
    r"""Rank methods by their losses, (data sets, methods), smaller is better; at least two of each.

    .. math:: \chi^2_F = \frac{12 N}{k (k + 1)} \Bigl(\sum_j R_j^2 - \frac{k (k + 1)^2}{4}\Bigr),\qquad
              F_F = \frac{(N - 1)\,\chi^2_F}{N (k - 1) - \chi^2_F}

    with k - 1 and (k - 1)(N - 1) degrees of freedom.

    References
    ----------
    Demšar (2006), Statistical Comparisons of Classifiers over Multiple Data Sets, JMLR 7, 1-30.
    """
    sets, methods = means.shape
    by_set = means.rank(axis=1)
    ranks = by_set.mean().sort_values(kind="stable")
    statistic = 12 * sets / (methods * (methods + 1)) * (float((ranks**2).sum()) - methods * (methods + 1) ** 2 / 4)
    free = sets * (methods - 1) - statistic
    p = 0.0
    if free > 1e-9 * sets:
        # the upper tail of an F variable
        share = (sets - 1) / ((sets - 1) + (sets - 1) * statistic / free)
        p = float(betainc((methods - 1) * (sets - 1) / 2, (methods - 1) / 2, share))
    first = means.eq(means.min(axis=1), axis=0)
    wins = first.div(first.sum(axis=1), axis=0).sum()
    return Ranking(
        ranks, wins[ranks.index], p, critical_difference(methods, sets), _against(means, baseline)[ranks.index], sets
    )


def _against(means: pd.DataFrame, baseline: str | None) -> "pd.Series[float]":
    found = pd.Series(np.nan, index=means.columns, dtype=float)
    if baseline not in means:
        return found
    others = [method for method in means.columns if method != baseline]
    # in units of the set, whose scores may be of any size
    sizes = means.replace([np.inf, -np.inf], np.nan).abs().mean(axis=1).fillna(1.0).replace(0.0, 1.0)
    scaled = means.div(sizes, axis=0).clip(-_LARGEST, _LARGEST)
    raw = np.array([_wilcoxon((scaled[method] - scaled[baseline]).to_numpy()) for method in others])
    found[others] = holm(raw)
    return found


def _wilcoxon(differences: NDArray[np.float64]) -> float:
    return 1.0 if not differences.any() else float(stats.wilcoxon(differences).pvalue)


def holm(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """P-values adjusted for their number by the step-down procedure of Holm (1979).

    Examples
    --------
    >>> import numpy as np
    >>> holm(np.array([0.01, 0.04, 0.03])).round(4)
    array([0.03, 0.06, 0.06])
    """
    order = np.argsort(p)
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)))
    return adjusted


def groups(ranks: "pd.Series[float]", difference: float) -> list[tuple[int, int]]:
    """Runs of methods, (first, last) in the order of their ranks, that do not differ; none that is part of another.

    Examples
    --------
    >>> import pandas as pd
    >>> groups(pd.Series([1.96, 2.0, 2.9, 3.9]), 1.25)
    [(0, 2), (2, 3)]
    """
    values = ranks.to_numpy()
    found: list[tuple[int, int]] = []
    for first in range(len(values)):
        last = int(np.searchsorted(values, values[first] + difference, side="right")) - 1
        if last > first and (not found or last > found[-1][1]):
            found.append((first, last))
    return found
