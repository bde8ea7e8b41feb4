"""Pictures of the board: critical differences, and ranks against time."""

from collections.abc import Mapping, Sequence
from math import ceil

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from numpy.typing import NDArray

from .ranks import Ranking, groups

_LINE, _GAP = 0.42, 0.12
# Of names beside points, in points of print: their size, the width of a letter, and where they may stand.
_FONT, _LETTER = 9, 5.2
_OFFSETS = [(7, 6), (7, -6), (-7, 6), (-7, -6), (7, 17), (7, -17), (-7, 17), (-7, -17)]


def difference_diagram(ranking: Ranking, title: str) -> Figure:
    """Mean ranks on a line, the best on the left; bars join methods that do not differ.

    References
    ----------
    Demšar (2006), Statistical Comparisons of Classifiers over Multiple Data Sets, JMLR 7, 1-30; figure 1.
    """
    ranks, methods = [float(rank) for rank in ranking.ranks], len(ranking.ranks)
    bars = groups(ranking.ranks, ranking.critical_difference)
    rows = ceil(methods / 2)
    depth = _GAP * len(bars) + 0.3
    height = depth + _LINE * rows
    figure = Figure(figsize=(8.5, 0.9 * height + 1.7), dpi=120, layout="constrained")
    ax = figure.subplots()
    ax.set_xlim(1 - 0.34 * methods, methods + 0.34 * methods)
    ax.set_ylim(-height - 0.15, 1.05)
    ax.axis("off")
    ax.plot([1, methods], [0, 0], color="black", linewidth=1.2)
    for tick in range(1, methods + 1):
        ax.plot([tick, tick], [0, 0.1], color="black", linewidth=1.2)
        ax.text(tick, 0.16, str(tick), ha="center", va="bottom", fontsize=9)
    width = ranking.critical_difference
    ax.plot([1, 1 + width], [0.75, 0.75], color="black", linewidth=2)
    for end in (1, 1 + width):
        ax.plot([end, end], [0.69, 0.81], color="black", linewidth=1.2)
    ax.text(1 + width / 2, 0.82, f"critical difference {width:.2f}", ha="center", va="bottom", fontsize=9)
    for place, (name, rank) in enumerate(zip(ranking.ranks.index, ranks, strict=True)):
        left = place < rows
        row = place if left else methods - 1 - place
        level, edge = -depth - _LINE * row, 0.9 if left else methods + 0.1
        ax.plot([rank, rank, edge], [0, level, level], color="C0" if place == 0 else "0.35", linewidth=1)
        ax.text(
            edge + (-0.05 if left else 0.05),
            level,
            f"{name}  {rank:.2f}" if left else f"{rank:.2f}  {name}",
            ha="right" if left else "left",
            va="center",
            fontsize=10,
        )
    for number, (first, last) in enumerate(bars):
        level = -0.15 - _GAP * number
        ax.plot([ranks[first] - 0.04, ranks[last] + 0.04], [level, level], color="C3", linewidth=3.5)
    ax.set_title(title, fontsize=11)
    return figure


def time_diagram(seconds: Mapping[str, float], ranks: "pd.Series[float]", score: str) -> Figure:
    """Mean ranks against the seconds of a fit; the best and the fastest are at the bottom left.

    Parameters
    ----------
    seconds : dict of str to float
    ranks : Series, by method
    score : str
        As the axis is called.
    """
    figure = Figure(figsize=(7.5, 4.6), dpi=120, layout="constrained")
    ax = figure.subplots()
    names: Sequence[str] = [str(name) for name in ranks.index]
    x: NDArray[np.float64] = np.array([seconds[name] for name in names], dtype=np.float64)
    y: NDArray[np.float64] = np.array(ranks, dtype=np.float64)
    best = _frontier(x, y)
    ax.plot(x[best], y[best], color="0.8", linewidth=1, zorder=0)
    ax.scatter(x, y, color=["C0" if place in best else "0.45" for place in range(len(x))], s=36)
    ax.set_xscale("log")
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    # room for names at the sides
    room = max(2.0, (x.max() / x.min()) ** 0.25)
    ax.set_xlim(x.min() / room, x.max() * room)
    ax.margins(y=0.12)
    across, along = ax.transData.transform(np.column_stack([x, y])).T * 72 / figure.dpi
    for name, place, rank, (right, up) in zip(names, x, y, _label_offsets(names, across, along), strict=True):
        ax.annotate(
            name, (place, rank), xytext=(right, up), textcoords="offset points", fontsize=_FONT,
            ha="left" if right > 0 else "right", va="center",
        )  # fmt: skip
    ax.set_xlabel("seconds of a fit, geometric mean over data sets")
    ax.set_ylabel(f"mean rank by {score}")
    ax.grid(linewidth=0.4, alpha=0.6)
    return figure


def _label_offsets(names: Sequence[str], x: NDArray[np.float64], y: NDArray[np.float64]) -> list[tuple[float, float]]:
    """Where names stand beside points at x and y, so that they cover neither each other nor a point."""
    taken = [(one - 4.0, one + 4.0, other - 4.0, other + 4.0) for one, other in zip(x, y, strict=True)]
    found: list[tuple[float, float]] = []
    for name, one, other in zip(names, x, y, strict=True):
        boxes = []
        for right, up in _OFFSETS:
            near, far = one + right, one + right + np.sign(right) * _LETTER * len(name)
            boxes.append((min(near, far), max(near, far), other + up - _FONT / 2, other + up + _FONT / 2))
        hits = [sum(a < d and c < b and e < h and g < f for c, d, g, h in taken) for a, b, e, f in boxes]
        best = int(np.argmin(hits))
        taken.append(boxes[best])
        found.append(_OFFSETS[best])
    return found


def _frontier(seconds: NDArray[np.float64], ranks: NDArray[np.float64]) -> list[int]:
    """Methods to which no other is superior in both, by their time."""
    found: list[int] = []
    for place in np.lexsort((ranks, seconds)):
        if not found or ranks[place] < ranks[found[-1]]:
            found.append(int(place))
    return found
