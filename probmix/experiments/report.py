"""Tables of results: one row per unit as CSV, means and standard errors in Markdown."""

from collections.abc import Callable, Sequence
from datetime import date

import pandas as pd
import torch

from .base import Experiment
from .store import Result

_DIGITS = 3

# Scores with a table of their own: heading, and how far from the best a mean is.
_TABLES: dict[str, tuple[str, Callable[[float], float]]] = {
    "nll": ("NLL (nats; smaller is better)", lambda mean: mean),
    "crps": ("CRPS (units of the target; smaller is better)", lambda mean: mean),
    "rmse": ("RMSE of the predictive mean (units of the target; smaller is better)", lambda mean: mean),
    "coverage90": ("Coverage of the central 90 % interval (0.9 is best)", lambda mean: round(abs(mean - 0.9), _DIGITS)),
}


def results_table(results: Sequence[Result]) -> pd.DataFrame:
    """One row per result: the keys of its unit, its scores, and the seconds it took."""
    return pd.DataFrame([{**result.unit, **result.scores, "seconds": result.seconds} for result in results])


def report(experiment: Experiment, results: Sequence[Result], command: str = "") -> str:
    """The tables of an experiment in Markdown, with all that is needed to make them again."""
    units = pd.DataFrame(list(experiment.units()))
    repeats = units[experiment.repeat].nunique()
    spread = f"± standard error over {repeats} {experiment.repeat}s" if repeats > 1 else f"over one {experiment.repeat}"
    machines = "; ".join(sorted({result.machine for result in results})) or "no results"
    head = [
        f"# {experiment.title}",
        f"    {command}" if command else "",
        f"{date.today().isoformat()}; {machines}; torch {torch.__version__}.",
        f"Mean {spread}; bold is the best mean of a row. A cell says how many {experiment.repeat}s it has if not all.",
        experiment.protocol,
        "Settings: " + ", ".join(f"{name} = {value}" for name, value in experiment.settings.items()) + ".",
    ]
    body = []
    table = results_table(results)
    for score, (heading, distance) in _TABLES.items():
        if score in table:
            cells = _cells(table, units, score, experiment.rows, distance)
            body += [f"## {heading}", _markdown(cells)]
    if len(table):
        body += ["## Seconds per fit", _markdown(_cells(table, units, "seconds", experiment.rows))]
    return "\n\n".join(part for part in [*head, *body] if part) + "\n"


def _cells(
    table: pd.DataFrame,
    units: pd.DataFrame,
    score: str,
    rows: Sequence[str],
    distance: Callable[[float], float] | None = None,
) -> pd.DataFrame:
    """Means with standard errors as text: rows by columns of methods, both in the order of the units."""
    lines = []
    for key, wanted in units.groupby(list(rows), sort=False):
        line = dict(zip(rows, map(str, key), strict=True))
        distances: dict[str, float] = {}
        for method, repeats in wanted.groupby("method", sort=False):
            values = table.merge(repeats)[score]
            line[str(method)] = _described(values, len(repeats))
            if distance is not None and len(values) == len(repeats):
                # to the digits shown: what looks the same is the same
                distances[str(method)] = distance(round(float(values.mean()), _DIGITS))
        for method, value in distances.items():
            if value == min(distances.values()):
                line[method] = f"**{line[method]}**"
        lines.append(line)
    return pd.DataFrame(lines)


def _described(values: "pd.Series[float]", wanted: int) -> str:
    if len(values) == 0:
        return "-"
    mean = float(values.mean())
    text = f"{mean:.{_DIGITS}f}" if abs(mean) < 1e5 else f"{mean:.4g}"
    if len(values) > 1:
        error = float(values.std(ddof=1)) / len(values) ** 0.5
        text += f" ± {error:.{_DIGITS}f}" if error < 1e5 else f" ± {error:.2g}"
    return text if len(values) == wanted else f"{text} ({len(values)} of {wanted})"


def _markdown(cells: pd.DataFrame) -> str:
    names = [str(name) for name in cells.columns]
    lines = [names, ["---"] * len(names), *cells.to_numpy().tolist()]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
