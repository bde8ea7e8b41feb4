"""The tables and pictures that the board has besides those of every experiment."""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from ...reports import Cell
from ..base import Picture
from ..summary import IN_WORDS
from ..tables import Table
from .diagrams import difference_diagram, time_diagram
from .ranks import SET, Ranking, common_means, ranking

# From here on numbers are given in powers of ten.
_LARGE = 1e5
# No time is shorter.
_TICK = 1e-6
SCORES = {"nll": "NLL", "crps": "CRPS"}


def rankings(results: pd.DataFrame, methods: Sequence[str], baseline: str) -> dict[str, Ranking]:
    """Rankings by score, of those with two methods and two data sets at least."""
    found = {}
    for score in SCORES:
        means = common_means(results, score, methods)
        if min(means.shape) >= 2:
            found[score] = ranking(means, baseline)
    return found


def rank_tables(results: pd.DataFrame, methods: Sequence[str], baseline: str) -> Iterator[Table]:
    """Mean ranks by each score."""
    for score, found in rankings(results, methods, baseline).items():
        means = common_means(results, score, methods)
        rows = []
        for method, rank, wins, p in zip(found.ranks.index, found.ranks, found.wins, found.p_baseline, strict=True):
            ahead = "" if baseline not in means else str(int((means[method] < means[baseline]).sum()))
            rows.append(
                [
                    Cell(str(method)),
                    Cell(f"{rank:.2f}", "strong" if rank == found.ranks.min() else ""),
                    Cell(f"{wins:.1f}"),
                    Cell("-" if method == baseline else ahead),
                    Cell("-" if np.isnan(p) else _rounded(p)),
                ]
            )
        note = (
            f"Over {found.sets} data sets, by means over the splits that all of these methods have; 1 is the best. "
            f"Ties of the first place share the win. Methods differ at all: p {_rounded(found.p_friedman)} (Friedman, "
            f"Iman and Davenport); two of them do {IN_WORDS} where their ranks do by more than the critical "
            f"difference {found.critical_difference:.2f} (Nemenyi). The last columns: data sets on which a method is "
            f"ahead of {baseline}, and p that the two are alike (Wilcoxon's signed ranks, adjusted by Holm)."
        )
        columns = ["method", "mean rank", "wins", f"ahead of {baseline}", "p"]
        yield Table(f"Mean ranks by {SCORES[score]}", note, columns, rows)


def conduct_table(results: pd.DataFrame, methods: Sequence[str]) -> Table:
    """How each method behaves over all results: coverage, worst rows, time and memory."""
    rows = []
    for method in methods:
        lines = results[results["method"].eq(method)]
        if lines.empty:
            continue
        covered = lines.groupby(SET)["coverage90"].mean()
        claimed = float(lines.groupby(SET)["claimed90"].mean().mean()) if "claimed90" in lines else np.nan
        worst = float(lines["worst_nll"].max()) if "worst_nll" in lines else np.nan
        memory = float(lines["memory"].max()) if "memory" in lines else np.nan
        rows.append(
            [
                Cell(method),
                Cell(str(len(covered))),
                Cell(str(len(lines))),
                Cell(f"{100 * covered.mean():.1f}"),
                Cell("-" if np.isnan(claimed) else f"{100 * claimed:.1f}"),
                Cell(f"{100 * covered.min():.1f} ({_lowest(covered)})"),
                Cell(_number(worst)),
                Cell(_number(float(lines["mean_ratio"].max()))),
                Cell(_number(typical_seconds(lines, "fit_seconds"))),
                Cell(_number(float(lines["fit_seconds"].max()))),
                Cell(_number(float(lines["fit_seconds"].sum() / 3600))),
                Cell(_number(typical_seconds(lines, "predict_seconds"))),
                Cell(_number(memory)),
            ]
        )
    note = (
        "Coverage of central 90 % intervals in per cent: mean over data sets, the mean probability that they have "
        "as predicted, and the lowest coverage of a data set: intervals over counts hold whole numbers, and so more "
        "than their level. The worst NLL is that of a single test row, the largest mean in largest training targets, "
        "both over all results. Seconds: geometric means over data sets, and the longest fit; hours: of all fits."
    )
    columns = [
        "method",
        "sets",
        "results",
        "coverage",
        "claimed",
        "lowest coverage",
        "worst NLL",
        "largest mean",
        "fit, s",
        "longest, s",
        "hours",
        "predict, s",
        "peak memory, MiB",
    ]
    return Table("Coverage, worst rows, time and memory", note, columns, rows)


def rank_pictures(results: pd.DataFrame, methods: Sequence[str], baseline: str) -> Iterator[Picture]:
    """Critical differences, and ranks against time, by each score."""
    for score, found in rankings(results, methods, baseline).items():
        name = SCORES[score]
        title = f"Mean ranks by {name}, {found.sets} data sets"
        caption = (
            f"{title}; 1 is the best. Bars join methods that do not differ {IN_WORDS} by the critical difference of "
            "Nemenyi."
        )
        yield Picture(f"critical-difference__{score}", caption, difference_diagram(found, title))
        seconds = {
            str(method): typical_seconds(lines, "fit_seconds")
            for method, lines in results.groupby("method", sort=False)
        }
        caption = (
            f"Mean rank by {name} against the seconds of a fit, geometric mean over data sets. The line "
            "joins methods to which none is superior in both."
        )
        yield Picture(f"time__{score}", caption, time_diagram(seconds, found.ranks, name))


def typical_seconds(lines: pd.DataFrame, column: str) -> float:
    """The geometric mean over data sets of means over splits."""
    return float(np.exp(np.log(lines.groupby(SET)[column].mean().clip(lower=_TICK)).mean()))


def _lowest(covered: "pd.Series[float]") -> str:
    folder, dataset = covered.index[int(covered.to_numpy().argmin())]
    return f"{folder}/{dataset}"


def _number(value: float) -> str:
    if np.isnan(value):
        return "-"
    return f"{value:.0f}" if 1000 <= abs(value) < _LARGE else f"{value:.3g}"


def _rounded(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"
