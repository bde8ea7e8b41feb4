"""Several methods on toy, simulated and real data: one table of scores, and pictures.

python examples/demo.py --out out [--data DIR]
"""

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from sklearn.model_selection import KFold
from tqdm import tqdm

from probmix import DensityRegressor, datasets
from probmix.plots import PITHistogramDisplay, PredictiveBandDisplay
from probmix.scores import coverage, crps, nll, pit

METHODS = ("erm", "mixup", "probmix")
REPEATS = 5
# What is read from the folder of data sets, with its family.
FILES = {
    "count/doctor_visits_aus": "poisson",
    "positive/insurance_charges": "gamma",
    "uci/yacht": "gaussian",
    "uci/energy": "gaussian",
}
# Large sets take large batches, small ones more epochs.
SETTINGS = {"count/doctor_visits_aus": {"batch_size": 256}, "uci/yacht": {"max_epochs": 400, "patience": 60}}
TOY, TOY_OUTSIDE = "toy cubic, x in (-4, 4)", "toy cubic, x in (4, 6)"
COUNTS = "overdispersed counts"
SCORES = ("NLL", "CRPS", "RMSE", "90 % coverage", "seconds")

Rows = tuple[Any, Any]


@dataclass(frozen=True)
class Repeat:
    """Training rows, and the test rows of one or more lines of the table."""

    train: Rows
    tests: dict[str, Rows]


@dataclass(frozen=True)
class Problem:
    """A data set with a family: its repeats are the same for all methods."""

    family: str
    repeats: Callable[[], Iterator[Repeat]]
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Fit:
    """A fitted model with what it was trained and tested on."""

    model: DensityRegressor
    repeat: Repeat


def toy_repeats() -> Iterator[Repeat]:
    for seed in range(REPEATS):
        random = np.random.default_rng(seed)
        train = datasets.toy_cubic(100, random_state=random)
        inside = datasets.toy_cubic(1000, random_state=random)
        outside = datasets.toy_cubic(1000, 4, 6, random_state=random)
        yield Repeat(train, {TOY: inside, TOY_OUTSIDE: outside})


def count_repeats() -> Iterator[Repeat]:
    for seed in range(REPEATS):
        random = np.random.default_rng(seed)
        train = datasets.overdispersed_counts(500, random)
        yield Repeat(train, {COUNTS: datasets.overdispersed_counts(1000, random)})


def file_repeats(name: str, data: Path | None) -> Iterator[Repeat]:
    """The published splits of the UCI sets, folds of the others."""
    dataset = datasets.load(name, data)
    n = len(dataset.y)
    folds = KFold(REPEATS, shuffle=True, random_state=0).split(dataset.X)
    for train, test in datasets.uci_splits(n, REPEATS) if name.startswith("uci/") else folds:
        yield Repeat((dataset.X.iloc[train], dataset.y[train]), {name: (dataset.X.iloc[test], dataset.y[test])})


def problems(data: Path | None) -> list[Problem]:
    """All problems whose data are there; says which are not."""
    # full batches and many epochs on few rows, as in the paper
    toy = {"batch_size": None, "max_epochs": 500, "patience": None, "learning_rate": 0.01}
    found = [
        Problem("gaussian", toy_repeats, toy),
        Problem("gaussian", lambda: file_repeats("diabetes", data)),
        Problem("gamma", lambda: file_repeats("diabetes", data)),
        Problem("poisson", count_repeats),
    ]
    try:
        known, reason = datasets.names(data), "they are not in the folder of data sets"
        if known == ["diabetes"]:
            reason = "no data sets were found; name their folder with --data or PROBMIX_DATA"
    except FileNotFoundError as error:
        known, reason = [], str(error).rstrip(".")
    for name, family in FILES.items():
        if name in known:
            found.append(Problem(family, lambda name=name: file_repeats(name, data), SETTINGS.get(name, {})))
    missing = [name for name in FILES if name not in known]
    if missing:
        print(f"Skipped: {', '.join(missing)} ({reason}).")
    return found


def scores(model: DensityRegressor, X: Any, y: Any) -> dict[str, float]:
    """Mean scores over test rows, in the units of y."""
    distribution, target = model.predict_dist(X), torch.as_tensor(np.asarray(y, dtype=np.float64))
    target = target.to(distribution.mean.device)
    return {
        "NLL": nll(distribution, target).mean().item(),
        "CRPS": crps(distribution, target).mean().item(),
        "RMSE": (distribution.mean - target).square().mean().sqrt().item(),
        "90 % coverage": coverage(distribution, target, 0.9).mean().item(),
    }


def run(todo: list[Problem]) -> tuple[pd.DataFrame, dict[tuple[str, str, str], list[Fit]]]:
    """Fit every method to every repeat: a line per test set and repeat, and the fits by data, family and method."""
    lines, fits = [], {}
    with tqdm(total=len(todo) * REPEATS * len(METHODS), desc="fits", unit="fit") as progress:
        for problem in todo:
            for seed, repeat in enumerate(problem.repeats()):
                for method in METHODS:
                    progress.set_postfix_str(f"{next(iter(repeat.tests))}, {problem.family}, {method}")
                    model = DensityRegressor(
                        problem.family, mixup=method, random_state=seed, **problem.settings, preset="plain"
                    )
                    start = time.perf_counter()
                    model.fit(*repeat.train)
                    seconds = time.perf_counter() - start
                    for data, rows in repeat.tests.items():
                        key = (data, problem.family, method)
                        fits.setdefault(key, []).append(Fit(model, repeat))
                        line = dict(zip(("data", "family", "method"), key, strict=True))
                        lines.append(line | scores(model, *rows) | {"seconds": seconds})
                    progress.update()
    return pd.DataFrame(lines), fits


def summarise(lines: pd.DataFrame) -> pd.DataFrame:
    """Mean and standard error over repeats, by data, family and method."""
    groups = lines.groupby(["data", "family", "method"], sort=False)[list(SCORES)]
    # two lines of one problem are fitted together: put each one's methods under each other
    order = lines[["data", "family"]].drop_duplicates().merge(pd.DataFrame({"method": METHODS}), how="cross")
    return groups.agg(["mean", "sem"]).reindex(pd.MultiIndex.from_frame(order))


def as_text(summary: pd.DataFrame) -> str:
    """The table for people: mean ± standard error, the smallest mean NLL of each problem marked."""
    table = summary.index.to_frame(index=False)
    problem = summary.groupby(level=["data", "family"], sort=False)
    for score in SCORES:
        # four digits of the largest mean of the problem, no more than three after the point
        largest = problem[[(score, "mean")]].transform("max").squeeze(axis=1)
        digits = (3 - np.floor(np.log10(largest.abs()))).clip(0, 3).astype(int)
        table[score] = [
            f"{mean:.{places}f} ± {error:.{places}f}"
            for mean, error, places in zip(summary[score, "mean"], summary[score, "sem"], digits, strict=True)
        ]
    best = problem[[("NLL", "mean")]].transform("min").squeeze(axis=1) == summary["NLL", "mean"]
    table["NLL"] = [text + (" *" if mark else "  ") for text, mark in zip(table["NLL"], best, strict=True)]
    table.loc[table.duplicated(["data", "family"]), ["data", "family"]] = ""
    for column in ("data", "family", "method"):
        width = table[column].str.len().max()
        table = table.assign(**{column: table[column].str.ljust(width)}).rename(columns={column: column.ljust(width)})
    return table.to_string(index=False)


def plot_toy(fits: dict[tuple[str, str, str], list[Fit]], path: Path) -> None:
    """Bands of the methods side by side, the test range hatched; below, the same less the true curve."""
    figure = Figure(figsize=(12, 7), layout="constrained")
    x = np.linspace(-5, 6, 300)
    rows = figure.subplots(2, len(METHODS), sharex=True, sharey="row")
    for upper, lower, method in zip(*rows, METHODS, strict=True):
        fit = fits[TOY, "gaussian", method][0]
        X, y = fit.repeat.train
        for ax in (upper, lower):
            ax.axvspan(
                4, 6, facecolor="none", edgecolor="0.8", hatch="//", linewidth=0, zorder=0, label="test range, x > 4"
            )
        upper.plot(x, x**3, color="black", linestyle="--", linewidth=1, label="truth, $x^3$")
        lower.axhline(0, color="black", linestyle="--", linewidth=1)
        PredictiveBandDisplay.from_estimator(fit.model, X, y, limits=(-5, 6), ax=upper)
        PredictiveBandDisplay.from_predictions(
            x,
            fit.model.predict(x[:, None]) - x**3,
            {c: fit.model.predict_interval(x[:, None], c) - x[:, None] ** 3 for c in (0.5, 0.9)},
            x_data=X[:, 0],
            y_data=y - X[:, 0] ** 3,
            target_name="y less the truth",
            ax=lower,
        )
        upper.set(title=method, xlabel="", xlim=(-5, 6), ylim=(-130, 220))
        lower.set(ylim=(-20, 20))
        lower.get_legend().remove()
        if method != METHODS[0]:
            upper.get_legend().remove()
            upper.set_ylabel("")
            lower.set_ylabel("")
    figure.savefig(path, dpi=130)


def plot_pit(fits: dict[tuple[str, str, str], list[Fit]], data: str, family: str, path: Path) -> None:
    """PIT histograms of the methods side by side, over the test rows of all repeats."""
    figure = Figure(figsize=(12, 4), layout="constrained")
    figure.suptitle(f"{data}, {family} head")
    for ax, method in zip(figure.subplots(1, len(METHODS), sharey=True), METHODS, strict=True):
        values = []
        for fit in fits[data, family, method]:
            X, y = fit.repeat.tests[data]
            values.append(pit(fit.model.predict_dist(X), torch.as_tensor(np.asarray(y, dtype=np.float64))))
        PITHistogramDisplay(torch.cat(values).numpy()).plot(ax)
        ax.set_title(method)
        if method != METHODS[0]:
            ax.get_legend().remove()
            ax.set_ylabel("")
    figure.savefig(path, dpi=130)


def main() -> None:
    parser = argparse.ArgumentParser(description="Scores and pictures of several methods.")
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder to write to (default: out)")
    parser.add_argument("--data", type=Path, help="folder of data sets (default: the variable PROBMIX_DATA)")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    # these small networks gain nothing from more threads, and lose much where the cores are busy
    torch.set_num_threads(1)

    lines, fits = run(problems(arguments.data))
    summary = summarise(lines)
    print(as_text(summary))
    print(f"± is the standard error over {REPEATS} repeats; * marks the smallest mean NLL of each problem.")

    written = [arguments.out / name for name in ("demo.csv", "toy_bands.png", "pit_diabetes.png", "pit_counts.png")]
    columns = [score if kind == "mean" else f"{score} standard error" for score, kind in summary.columns]
    summary.set_axis(columns, axis=1).reset_index().assign(repeats=REPEATS).to_csv(written[0], index=False)
    plot_toy(fits, written[1])
    plot_pit(fits, "diabetes", "gaussian", written[2])
    plot_pit(fits, COUNTS, "poisson", written[3])
    for path in written:
        print(f"wrote {path}")


if __name__ == "__main__":
    main()
