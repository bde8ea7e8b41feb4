"""What probmix does, in two minutes: frames, the default beside other ways, scores, pictures.

    python examples/demo.py --out out [--data DIR]

Houses and bicycles are real tables where `--data`, or the variable PROBMIX_DATA, names a folder that has them, and
simulated ones with the same columns elsewhere; diabetes comes with scikit-learn. Of each, some rows train and the
others are predicted. All scores are of these, smaller is better, and coverage should be 0.9.
"""

import argparse
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from ngboost import NGBRegressor
from ngboost.distns import Normal, Poisson
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.datasets import load_diabetes
from sklearn.impute import SimpleImputer
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from tqdm import tqdm

from probmix import DensityRegressor, datasets
from probmix.plots import DensityDisplay, EffectDisplay, IntervalDisplay
from probmix.scores import evaluate

SCORES = ["nll", "crps", "coverage90"]


@dataclass(frozen=True)
class Problem:
    """Rows to train on and rows to predict."""

    name: str
    X_train: Any
    X_test: Any
    y_train: Any
    y_test: Any
    counts: bool = False


def problems(data: Path | None) -> list[Problem]:
    """Houses and diabetes at random, of bicycles whole days."""
    houses, hours = datasets.example("houses", data), datasets.example("demand", data)
    print(f"houses: {houses.source}\nbicycles: {hours.source}\n")
    diabetes = load_diabetes(return_X_y=True, as_frame=True)
    # the hours of a day are alike: days train or are predicted
    days = hours.X["dteday"].dt.normalize()
    train_days, _ = train_test_split(days.unique(), train_size=60, random_state=0)
    train = days.isin(train_days).to_numpy()
    test = ~train & (np.random.default_rng(0).random(len(days)) < 0.25)
    return [
        Problem("houses", *train_test_split(houses.X, houses.y, random_state=0)),
        Problem("diabetes", *train_test_split(*diabetes, random_state=0)),
        Problem("bicycles", hours.X[train], hours.X[test], hours.y[train], hours.y[test], counts=True),
    ]


def boosted(counts: bool) -> Any:
    """NGBoost, with the encoding that its users write by hand."""
    text = make_column_selector(dtype_include=["object", "str", "category"])
    encoder = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore", min_frequency=10, sparse_output=False), text),
        (SimpleImputer(), make_column_selector(dtype_include="number")),
    )
    density = Poisson if counts else Normal
    return make_pipeline(encoder, NGBRegressor(Dist=density, n_estimators=300, verbose=False, random_state=0))


def models(problem: Problem) -> dict[str, Any]:
    """The default, which chooses the density; what it would be otherwise; and a peer."""
    if problem.counts:
        # of counts the default is most often a negative binomial, which cannot be mixed by ProbMix
        others = {"poisson": DensityRegressor("poisson", random_state=0)}
    else:
        others = {
            "default, erm": DensityRegressor(mixup="erm", random_state=0),
            "gaussian": DensityRegressor("gaussian", random_state=0),
        }
    return {"default": DensityRegressor(random_state=0), **others, "NGBoost": boosted(problem.counts)}


def run(todo: list[Problem]) -> tuple[pd.DataFrame, dict[tuple[str, str], Any]]:
    """Fit and score: a line for each model, and the models by problem and name."""
    lines, fitted = [], {}
    asked = [(problem, models(problem)) for problem in todo]
    with tqdm(total=sum(len(several) for _, several in asked), desc="fits", unit="fit") as progress:
        for problem, several in asked:
            seconds = {}
            for name, model in several.items():
                progress.set_postfix_str(f"{problem.name}, {name}")
                start = time.perf_counter()
                fitted[problem.name, name] = model.fit(problem.X_train, problem.y_train)
                seconds[name] = time.perf_counter() - start
                progress.update()
            of_problem = {name: fitted[problem.name, name] for name in seconds}
            table = evaluate(of_problem, problem.X_test, problem.y_test, scores=SCORES)
            means = table["mean"].unstack("score")[SCORES]
            for name in of_problem:
                lines.append({"data": problem.name, "model": name, **means.loc[name], "seconds": seconds[name]})
    return pd.DataFrame(lines), fitted


def as_text(lines: pd.DataFrame) -> str:
    """The table for people: the smallest NLL and CRPS of each problem are marked."""
    table = lines.copy()
    for score in ("nll", "crps"):
        best = lines.groupby("data")[score].transform("min") == lines[score]
        table[score] = [f"{value:.4g}{' *' if mark else '  '}" for value, mark in zip(lines[score], best, strict=True)]
    table["coverage90"] = lines["coverage90"].map("{:.2f}".format)
    table["seconds"] = lines["seconds"].map("{:.0f}".format)
    table.loc[table.duplicated("data"), "data"] = ""
    return table.to_string(index=False)


def picture_of(problem: Problem, model: Any, feature: str, rows: Any, target: str) -> Figure:
    """The densities of some rows, intervals beside all targets, and how the density changes with a feature."""
    figure = Figure(figsize=(14, 4.2), layout="constrained")
    left, middle, right = figure.subplots(1, 3, width_ratios=(1, 1.2, 1))
    X, y = problem.X_test, np.asarray(problem.y_test)
    DensityDisplay.from_estimator(model, X, y, rows=rows, target_name=target, ax=left)
    IntervalDisplay.from_estimator(model, X, y, target_name=target, ax=middle)
    EffectDisplay.from_estimator(model, X, feature=feature, target_name=target, ax=right)
    return figure


def picture_of_humps() -> Figure:
    """Two humps that become one, and noise that grows: what a mixture follows and one Gaussian cannot."""
    random = np.random.default_rng(0)
    x = random.uniform(-3, 3, 1500)
    upper = random.random(len(x)) < 0.5
    gap, noise = np.maximum(0, 2.5 - np.abs(x + 0.5)), 0.25 + 0.15 * (x > 1) * (x - 1) ** 2
    y = np.sin(2 * x) + np.where(upper, gap, -gap) + noise * random.normal(size=len(x))
    grid, values = np.linspace(-3, 3, 200), np.linspace(y.min() - 0.5, y.max() + 0.5, 200)
    figure = Figure(figsize=(12, 4.5), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    for ax, (title, family) in zip(axes, {"default": None, "one Gaussian": "gaussian"}.items(), strict=True):
        model = DensityRegressor(family, random_state=0).fit(x[:1000, None], y[:1000])
        density = model.predict_dist(grid[:, None]).log_prob(torch.tensor(values)[:, None]).exp()
        shades = ax.pcolormesh(grid, values, density, cmap="Blues", vmax=1.0, shading="nearest", rasterized=True)
        ax.plot(x[:250], y[:250], "k.", markersize=3, label="rows")
        lower, upper_end = model.predict_interval(grid[:, None], coverage=0.9).T
        for end in (lower, upper_end):
            ax.plot(grid, end, color="C1", linewidth=1.2, label="90 % interval" if end is lower else None)
        score = model.score(x[1000:, None], y[1000:])
        ax.set(
            title=f"{title}: mean log-likelihood of new rows {score:.2f}", xlabel="x", ylabel="y", ylim=values[[0, -1]]
        )
        ax.legend(loc="lower right")
    figure.colorbar(shades, ax=axes, label="predicted density")
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder to write to (default: out)")
    parser.add_argument("--data", type=Path, help="folder of data sets (default: the variable PROBMIX_DATA)")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    # these small networks gain nothing from more threads, and lose much where the cores are busy
    torch.set_num_threads(1)

    todo = problems(arguments.data)
    lines, fitted = run(todo)
    print(as_text(lines))
    print("* marks the smallest of each problem; standard errors and paired differences: probmix.scores.evaluate.\n")
    print("What the default of the houses has chosen, and of the bicycles:")
    print(fitted["houses", "default"].stack_, "\n")
    print(fitted["bicycles", "default"].stack_, "\n")

    lines.to_csv(arguments.out / "demo.csv", index=False)
    houses, _, bicycles = todo
    best = {one.name: fitted[one.name, "default"] for one in todo}
    pictures = {
        "demo_houses": picture_of(houses, best["houses"], "Gr_Liv_Area", [3, 11, 30, 63], "price in dollars"),
        "demo_bicycles": picture_of(bicycles, best["bicycles"], "hr", [0, 8, 17, 42], "bicycles an hour"),
        "demo_humps": picture_of_humps(),
    }
    for name, figure in pictures.items():
        figure.savefig(arguments.out / f"{name}.png", dpi=130)
    for name in ["demo.csv", *(f"{name}.png" for name in pictures)]:
        print(f"wrote {arguments.out / name}")


if __name__ == "__main__":
    main()
