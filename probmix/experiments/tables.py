"""Tables for people: means with standard errors, differences, ranks; as cells, whatever they are then written in."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from math import isfinite, isnan
from typing import Any, Literal

import pandas as pd

from ..reports import Cell
from .base import Experiment
from .kinds import KINDS, ScoreKind
from .summary import IN_WORDS, SECONDS, SIGNIFICANCE

# From here on means are given in powers of ten.
_LARGE = 1e5
_HERE = "here"


@dataclass(frozen=True)
class Table:
    """A table with its heading and what must be known to read it."""

    heading: str
    note: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]


def all_tables(experiment: Experiment, summary: pd.DataFrame, ranks: pd.DataFrame) -> list[Table]:
    """What there is to be said about an experiment: for every score its means, then differences, ranks and times.

    Parameters
    ----------
    experiment : Experiment
    summary, ranks : DataFrame
        From `summarise` and `average_ranks`.
    """
    if summary.empty:
        return []
    if experiment.section is None:
        return _of_section(experiment, summary, ranks)
    tables = []
    for name, lines in summary.groupby(experiment.section, sort=False):
        # without the times at the end, which are of quite different work; results.csv has them
        own = _of_section(experiment, lines, ranks)[:-1]
        tables += [replace(one, heading=f"{name}: {one.heading}") for one in own]
    return tables


def _of_section(experiment: Experiment, summary: pd.DataFrame, ranks: pd.DataFrame) -> list[Table]:
    by_score = {str(score): lines for score, lines in summary.groupby("score", sort=False)}
    kinds = {score: kind for score, kind in KINDS.items() if score in by_score}
    tables = [_means(experiment, score, kind.heading, by_score[score]) for score, kind in kinds.items()]
    if summary["difference"].notna().any():
        compared = [(score, kind) for score, kind in kinds.items() if kind.compared]
        differences = [_differences(experiment, kind, by_score[score]) for score, kind in compared]
        # what is said of the first holds for all
        tables += [differences[0], *(replace(one, note="Read as the table before.") for one in differences[1:])]
    if not ranks.empty:
        tables.append(_ranks(experiment, ranks))
    times = _means(experiment, SECONDS, "Seconds", by_score[SECONDS])
    return [*tables, replace(times, note="The time of a job is shared equally among its results.")]


def _means(experiment: Experiment, score: str, heading: str, lines: pd.DataFrame) -> Table:
    published, kind = experiment.published.get(score), KINDS.get(score)
    source_name = "" if published is None else published.source
    keys, methods = list(experiment.rows), _methods(lines)
    rows = []
    for values, group in lines.groupby(keys, sort=False):
        names = [Cell(named(value)) for value in values]
        source = [Cell(_HERE)] if published else []
        rows.append([*names, *source, *_row_of_means(group.set_index("method").reindex(methods), kind)])
        paper = {} if published is None else published.row(values)
        if paper:
            # in italics, and never in the running for the best
            cells = [Cell(paper[method], "em") if method in paper else Cell("") for method in methods]
            rows.append([*[Cell(one.text, "em") for one in names], Cell(source_name, "em"), *cells])
    note = ""
    if published is not None:
        note = f"Rows in italics are the {source_name}'s figures ({published.note}), not made here."
    return Table(heading, note, [*keys, *(["source"] if published else []), *methods], rows)


def _row_of_means(group: pd.DataFrame, kind: ScoreKind | None) -> list[Cell]:
    """Cells of one row of a table; bold for the best of the complete ones, to the digits shown."""
    digits = 3 if kind is None else kind.digits(group["mean"].dropna().tolist())
    complete = group[group["n"].eq(group["wanted"])]
    losses: dict[Hashable, float] = {}
    if kind is not None and kind.judged:
        # what looks the same is the same
        losses = {method: round(kind.loss(round(mean, digits)), digits) for method, mean in complete["mean"].items()}
    best = min(losses.values(), default=None)
    cells = []
    for method, line in group.iterrows():
        text = _described(line["mean"], line["standard_error"], line["n"], line["wanted"], digits)
        cells.append(Cell(text, "strong" if method in losses and losses[method] == best else ""))
    return cells


def _differences(experiment: Experiment, kind: ScoreKind, lines: pd.DataFrame) -> Table:
    baseline = experiment.baseline
    keys, methods = list(experiment.rows), [method for method in _methods(lines) if method != baseline]
    rows = []
    for values, group in lines.groupby(keys, sort=False):
        of_methods = group.set_index("method").reindex(methods)
        digits = kind.digits(group["mean"].dropna().tolist())
        cells = []
        for _, line in of_methods.iterrows():
            text = _described(line["difference"], line["difference_error"], line["n"], line["wanted"], digits)
            if not isnan(line["p"]):
                text += f", p {_rounded_p(line['p'])}"
            cells.append(Cell(text, _verdict(kind, line["difference"], line["p_adjusted"])))
        rows.append([*(Cell(named(value)) for value in values), *cells])
    test = "the corrected resampled t-test" if experiment.test_to_train else "the paired t-test"
    note = (
        f"Mean of paired differences ± its standard error, by {test}. Bold is better than {baseline} and italic worse "
        f"{IN_WORDS}, adjusted for the number of methods in the row (Benjamini-Hochberg); p is not adjusted."
    )
    return Table(f"Difference to {baseline}: {kind.axis}", note, [*keys, *methods], rows)


def _verdict(kind: ScoreKind, difference: float, p: float) -> Literal["", "strong", "em"]:
    if isnan(p) or p >= SIGNIFICANCE:
        return ""
    return "strong" if (difference > 0) == kind.larger else "em"


def _rounded_p(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _ranks(experiment: Experiment, ranks: pd.DataFrame) -> Table:
    keys = [*(key for key in experiment.rows if key != experiment.ranked_over), "score"]
    methods = _methods(ranks)
    rows = []
    for values, group in ranks.groupby(keys, sort=False):
        by_method = group.set_index("method")["rank"].reindex(methods).round(2)
        best = by_method.min()
        cells = [Cell(f"{rank:.2f}", "strong" if rank == best else "") for rank in by_method]
        blocks, difference = int(group["blocks"].iloc[0]), float(group["critical_difference"].iloc[0])
        names = [Cell(named(value)) for value in values]
        rows.append([*names, Cell(str(blocks)), Cell(f"{difference:.2f}"), *cells])
    note = (
        f"1 is the best. Two methods differ {IN_WORDS} where their ranks do by more than the "
        f"critical difference (Nemenyi). Only a {experiment.ranked_over} with all results of all methods counts."
    )
    columns = [*keys, f"{experiment.ranked_over}s", "critical difference", *methods]
    return Table(f"Average ranks over {experiment.ranked_over}s", note, columns, rows)


def _methods(lines: pd.DataFrame) -> list[str]:
    return [str(method) for method in lines["method"].unique()]


def named(value: Any) -> str:
    """The value of a key as it is shown."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def _described(mean: float, error: float, n: float, wanted: float, digits: int) -> str:
    if isnan(mean):
        return "-"
    text = f"{mean:.{digits}f}" if abs(mean) < _LARGE else f"{mean:.4g}"
    if isfinite(error):
        text += f" ± {error:.{digits}f}" if error < _LARGE else f" ± {error:.2g}"
    return text if n == wanted else f"{text} ({n:.0f} of {wanted:.0f})"
