"""Pictures that every experiment gets: means by data set, and average ranks."""

from collections.abc import Iterator, Sequence
from math import ceil
from textwrap import fill

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .base import Experiment, Picture
from .kinds import KINDS, ScoreKind
from .summary import IN_WORDS
from .tables import named

_COLUMNS = 4
# A panel whose means span more than this has a logarithmic axis.
_SPAN = 50.0
# Letters of a title in an inch, and in the shortest of its lines.
_LETTERS, _SHORTEST = 9.0, 20


def general_pictures(experiment: Experiment, summary: pd.DataFrame, ranks: pd.DataFrame) -> Iterator[Picture]:
    """Dots with error bars for every row of the tables, and average ranks where there are any.

    Parameters
    ----------
    experiment : Experiment
    summary, ranks : DataFrame
        From `summarise` and `average_ranks`.
    """
    if summary.empty:
        return
    for score, kind in KINDS.items():
        lines = summary[summary["score"].eq(score)]
        if not kind.compared or lines["mean"].isna().all():
            continue
        # a panel without a result would be empty
        lines = lines[lines.groupby(list(experiment.rows))["mean"].transform("count") > 0]
        if not ranks.empty and ranks["score"].eq(score).any():
            yield _rank_picture(experiment, score, kind, ranks[ranks["score"].eq(score)])
        # a picture for each group, as ranks have
        apart = [experiment.apart] if experiment.apart else []
        if experiment.ranked_over is not None:
            apart = [key for key in experiment.rows if key != experiment.ranked_over]
        if not apart:
            yield _dot_picture(experiment, score, kind, lines, experiment.rows, ())
            continue
        keys = [key for key in experiment.rows if key not in apart]
        for values, group in lines.groupby(apart, sort=False):
            yield _dot_picture(experiment, score, kind, group, keys, tuple(map(str, values)))


def _dot_picture(
    experiment: Experiment,
    score: str,
    kind: ScoreKind,
    lines: pd.DataFrame,
    keys: Sequence[str],
    group: tuple[str, ...],
) -> Picture:
    panels = list(lines.groupby(list(keys), sort=False))
    methods = [str(method) for method in lines["method"].unique()]
    rows, columns = ceil(len(panels) / _COLUMNS), min(_COLUMNS, len(panels))
    figure = Figure(
        figsize=(2.9 * columns + 1.7, rows * (0.24 * len(methods) + 1.0) + 0.5), dpi=120, layout="constrained"
    )
    axes = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel()
    for ax, (values, panel) in zip(axes, panels, strict=False):
        _dots(ax, panel.set_index("method").reindex(methods), experiment.baseline)
        names = map(named, values)
        # a number says little without its name
        several = [f"{key} {name}" for key, name in zip(keys, names, strict=True)] if len(keys) > 1 else names
        ax.set_title(", ".join(several), fontsize="medium")
        ax.set_xlabel(kind.axis)
    for ax in axes[len(panels) :]:
        ax.remove()
    # of the first column, which all others share
    axes[0].invert_yaxis()
    title = f"{experiment.title}: {kind.axis}" + (f" ({', '.join(group)})" if group else "")
    put_title(figure, title)
    caption = (
        f"{title}, mean and standard error over {experiment.repeat}s; "
        + (f"the dashed line is {experiment.baseline}. " if experiment.baseline in methods else "")
        + f"Panels: {', '.join(keys)}."
    )
    return Picture("__".join([score, *group]), caption, figure)


def put_title(figure: Figure, title: str) -> None:
    """A title above all panels, in as many lines as it takes to be no wider than they are."""
    figure.suptitle(fill(title, max(_SHORTEST, int(_LETTERS * figure.get_size_inches()[0]))))


def _dots(ax: Axes, panel: pd.DataFrame, baseline: str) -> None:
    """Methods from top to bottom, the baseline as a line."""
    places = range(len(panel))
    ax.errorbar(
        panel["mean"], places, xerr=panel["standard_error"].fillna(0.0), fmt="o", color="C0", markersize=4, capsize=2
    )
    ax.set_yticks(places, [str(method) for method in panel.index])
    if baseline in panel.index:
        ax.axvline(float(panel["mean"][baseline]), color="black", linewidth=0.9, linestyle="--", zorder=0)
    low, high = panel["mean"].min(), panel["mean"].max()
    if low > 0 and high > _SPAN * low:
        ax.set_xscale("log")
    else:
        # long labels must not run into each other
        ax.locator_params(axis="x", nbins=4)
    ax.grid(axis="y", linewidth=0.4, alpha=0.6)
    ax.tick_params(labelsize="small")


def _rank_picture(experiment: Experiment, score: str, kind: ScoreKind, ranks: pd.DataFrame) -> Picture:
    keys = [key for key in experiment.rows if key != experiment.ranked_over]
    panels = list(ranks.groupby([*keys, "score"], sort=False))
    methods = ranks["method"].nunique()
    figure = Figure(
        figsize=(3.6 * min(2, len(panels)) + 1.8, ceil(len(panels) / 2) * (0.26 * methods + 1.1) + 0.4),
        dpi=120,
        layout="constrained",
    )
    axes = figure.subplots(ceil(len(panels) / 2), min(2, len(panels)), squeeze=False).ravel()
    for ax, (values, panel) in zip(axes, panels, strict=False):
        group = ", ".join(map(str, values[:-1]))
        _rank_bars(ax, panel.sort_values("rank"))
        blocks = f"{int(panel['blocks'].iloc[0])} {experiment.ranked_over}s"
        ax.set_title(f"{group}: {blocks}" if group else blocks)
    for ax in axes[len(panels) :]:
        ax.remove()
    put_title(figure, f"{experiment.title}: average rank by {kind.axis}")
    caption = (
        f"Average rank by {kind.axis}; 1 is the best. Bars are as long as the critical difference (Nemenyi): methods "
        f"whose bars do not overlap differ {IN_WORDS}. Those whose bars reach into the grey "
        "are not told from the best."
    )
    return Picture(f"ranks__{score}", caption, figure)


def _rank_bars(ax: Axes, panel: pd.DataFrame) -> None:
    half = panel["critical_difference"] / 2
    places = range(len(panel))
    best, width = float(panel["rank"].iloc[0]), float(half.iloc[0])
    ax.axvspan(best - width, best + width, color="0.9", zorder=0)
    ax.errorbar(panel["rank"], places, xerr=half, fmt="o", color="C0", markersize=5, elinewidth=2)
    ax.set_yticks(places, [str(method) for method in panel["method"]])
    ax.invert_yaxis()
    ax.set_xticks(range(1, len(panel) + 1))
    ax.set_xlabel("average rank")
    ax.tick_params(labelsize="small")
