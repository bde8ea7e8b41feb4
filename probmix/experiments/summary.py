"""What results say over repeats and over data sets: means, paired differences and average ranks."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf, isfinite, nan, sqrt

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats
from scipy.special import stdtr

from .base import Experiment
from .kinds import KINDS
from .store import Result

# Of all tests and of the critical difference.
SIGNIFICANCE = 0.05
IN_WORDS = f"at the level of {100 * SIGNIFICANCE:g} %"


# The column of the time that a result took.
SECONDS = "seconds"


def results_table(results: Sequence[Result]) -> pd.DataFrame:
    """One row per result: the keys of its unit, its scores, and the seconds it took."""
    return pd.DataFrame([{**result.unit, **result.scores, SECONDS: result.seconds} for result in results])


@dataclass(frozen=True)
class Difference:
    """Mean of paired differences, its standard error, and the p-value of no difference; NaN where there is none."""

    mean: float
    error: float
    p: float


def paired_difference(
    ours: NDArray[np.float64], baseline: NDArray[np.float64], test_to_train: float = 0.0
) -> Difference:
    r"""Mean difference over repeats, with the corrected resampled t-test of Nadeau and Bengio.

    .. math:: t = \bar d \Big/ \sqrt{\bigl(\tfrac1J + \tfrac{n_\mathrm{test}}{n_\mathrm{train}}\bigr)\,s_d^2}

    with J differences of variance :math:`s_d^2` and J - 1 degrees of freedom.

    Random splits of one data set share most of their training rows, so the differences are correlated and the usual
    paired t-test, which takes the standard error to be :math:`s_d/\sqrt J`, finds far too many differences, the
    more the more splits there are. The correction estimates the correlation by the share of test rows. A paired
    test it must be, since splits differ more than methods do; a test of ranks such as Wilcoxon's would need independent
    differences as much. Where repeats share no rows (`test_to_train` is 0) this is the usual paired t-test,
    `scipy.stats.ttest_rel`.

    Parameters
    ----------
    ours, baseline : ndarray, (J,)
        Scores of the same repeats.
    test_to_train : float
        Test rows for each training row.

    References
    ----------
    Nadeau and Bengio (2003), Inference for the Generalization Error, Machine Learning 52, 239-281.

    Examples
    --------
    >>> import numpy as np
    >>> paired_difference(np.array([1.0, 2.0, 2.5]), np.array([1.5, 2.75, 2.75]))
    Difference(mean=-0.5, error=0.1443..., p=0.0741...)
    """
    differences = ours - baseline
    n = len(differences)
    if n == 0 or not np.isfinite(differences).all():
        return Difference(nan, nan, nan)
    mean = float(differences.mean())
    if n == 1:
        return Difference(mean, nan, nan)
    error = sqrt((1 / n + test_to_train) * float(differences.var(ddof=1)))
    if error == 0:
        return Difference(mean, 0.0, 1.0 if mean == 0 else 0.0)
    return Difference(mean, error, 2 * float(stdtr(n - 1, -abs(mean) / error)))


def summarise(experiment: Experiment, results: Sequence[Result]) -> pd.DataFrame:
    """One line for each row of the tables, score and method, in the order of the units.

    Columns are the keys of the row, ``score``, ``method``, ``wanted`` and ``n`` repeats, ``mean``, ``median`` and
    ``standard_error`` over repeats, and the paired difference to the baseline: ``difference``,
    ``difference_error``, ``p``, and ``p_adjusted``, the p-value adjusted for the number of methods in the row by the
    procedure of Benjamini and Hochberg. Standard errors of means are those over repeats as they are; those of
    differences are corrected as `paired_difference` says. Times have none.
    """
    units, table = pd.DataFrame(list(experiment.units())), results_table(results)
    scores = [score for score in [*KINDS, SECONDS] if score in table]
    lines: list[dict[str, object]] = []
    for key, wanted in units.groupby(list(experiment.rows), sort=False):
        row = dict(zip(experiment.rows, key, strict=True))
        # the same repeats in the same order for all methods; NaN where one is missing
        found = wanted.merge(table, how="left") if scores else wanted
        # an experiment of several sections has other scores in each
        for score in scores:
            if found[scores].notna().any(axis=None) and found[score].isna().all():
                continue
            by_method = found.pivot(index=experiment.repeat, columns="method", values=score)
            units_of = wanted["method"].value_counts(sort=False)
            lines += _row(experiment, row, score, by_method[list(units_of.index)], units_of)
    return pd.DataFrame(lines)


def _row(
    experiment: Experiment, row: dict[str, object], score: str, by_method: pd.DataFrame, units_of: "pd.Series[int]"
) -> Iterator[dict[str, object]]:
    kind, baseline = KINDS.get(score), experiment.baseline
    differences: dict[str, Difference] = {}
    if kind is not None and kind.compared and baseline in by_method:
        for method in by_method.columns.drop(baseline):
            pairs = by_method[[method, baseline]].dropna()
            differences[method] = paired_difference(
                pairs[method].to_numpy(dtype=np.float64),
                pairs[baseline].to_numpy(dtype=np.float64),
                experiment.test_to_train_of(row),
            )
    adjusted = _adjusted({method: difference.p for method, difference in differences.items()})
    for method in by_method.columns:
        values = by_method[method].dropna().to_numpy(dtype=np.float64)
        n = len(values)
        difference = differences.get(method, Difference(nan, nan, nan))
        yield {
            **row,
            "score": score,
            "method": method,
            "wanted": int(units_of[method]),
            "n": n,
            "mean": float(values.mean()) if n else nan,
            "median": float(np.median(values)) if n else nan,
            "standard_error": _standard_error(values) if kind is not None else nan,
            "difference": difference.mean,
            "difference_error": difference.error,
            "p": difference.p,
            "p_adjusted": adjusted.get(method, nan),
        }


def _standard_error(values: NDArray[np.float64]) -> float:
    n = len(values)
    return float(values.std(ddof=1)) / sqrt(n) if n > 1 and np.isfinite(values).all() else nan


def _adjusted(p_values: dict[str, float]) -> dict[str, float]:
    known = {method: p for method, p in p_values.items() if isfinite(p)}
    return dict(zip(known, map(float, stats.false_discovery_control(list(known.values()))), strict=True))


def average_ranks(experiment: Experiment, summary: pd.DataFrame) -> pd.DataFrame:
    """Ranks of methods by their means, 1 for the best and the mean rank for ties, averaged over data sets.

    Only data sets on which every method has all its repeats count. One line for each group (the keys of a row but
    `ranked_over`), score and method: the keys, ``score``, ``method``, ``rank``, ``blocks`` (the number of data sets)
    and ``critical_difference``. Empty for an experiment without `ranked_over`, and where there are no two data sets or
    no two methods.

    Notes
    -----
    Two methods differ at the level of 5 % where their average ranks do by more than the critical difference of Nemenyi,
    :func:`critical_difference`, which allows for all pairs of methods being compared.

    References
    ----------
    Demšar (2006), Statistical Comparisons of Classifiers over Multiple Data Sets, JMLR 7, 1-30.
    """
    if experiment.ranked_over is None or summary.empty:
        return pd.DataFrame()
    keys = [key for key in experiment.rows if key != experiment.ranked_over]
    lines = []
    for values, group in summary.groupby([*keys, "score"], sort=False):
        kind = KINDS.get(str(values[-1]))
        if kind is None or not kind.compared:
            continue
        means = group.pivot(index=experiment.ranked_over, columns="method", values="mean")
        complete = group["n"].eq(group["wanted"]).groupby(group[experiment.ranked_over]).all()
        means = means.loc[complete[complete].index, list(group["method"].unique())]
        blocks, methods = means.shape
        if blocks < 2 or methods < 2:
            continue
        losses = means.map(kind.loss).fillna(inf)
        ranks = losses.rank(axis=1).mean()
        for method in means.columns:
            lines.append(
                {
                    **dict(zip([*keys, "score"], values, strict=True)),
                    "method": method,
                    "rank": float(ranks[method]),
                    "blocks": blocks,
                    "critical_difference": critical_difference(methods, blocks),
                }
            )
    return pd.DataFrame(lines)


def critical_difference(methods: int, blocks: int) -> float:
    r"""Nemenyi's critical difference of average ranks, :math:`q\sqrt{k(k + 1)/(6N)}` for k methods on N data sets.

    q is the quantile of the studentised range, for k groups and infinitely many degrees of freedom, divided by
    :math:`\sqrt2`.

    Examples
    --------
    >>> round(critical_difference(4, 14), 2)  # q = 2.569 in table 5 of Demšar (2006)
    1.25
    """
    # SciPy makes its distributions at run time, where a type checker does not see them
    studentised_range = vars(stats)["studentized_range"]
    q = float(studentised_range.ppf(1 - SIGNIFICANCE, methods, inf)) / sqrt(2)
    return q * sqrt(methods * (methods + 1) / (6 * blocks))
