"""How good predicted distributions are: tables of scores with their errors, and six pictures.

python examples/evaluation.py --out out [--data DIR] [--seed 0]
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from scipy import stats
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import BayesianRidge, LogisticRegression, PoissonRegressor
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch.distributions import Distribution

from probmix import ConformalRegressor, DensityClassifier, DensityRegressor, RecalibratedRegressor, datasets
from probmix.adapters import adapt, as_distribution
from probmix.distributions import icdf
from probmix.plots import (
    CoverageDisplay,
    FusionDisplay,
    PITHistogramDisplay,
    PredictiveBandDisplay,
    ReliabilityDisplay,
    ScoreComparisonDisplay,
)
from probmix.scores import (
    calibration_error,
    compare_rows,
    corp_decomposition,
    crps_with_bound,
    evaluate,
    expected_calibration_error,
    interval_score,
    score_rows,
    threshold_weighted_crps,
)

COUNTS = "count/aus_private_auto"
LEVEL, LARGE = 0.9, 200.0
# Rows of the file of claims that are used, and rows that the digits are learned from.
CLAIMS, DIGITS = 20_000, 300


@dataclass(frozen=True)
class Study:
    """Models of one kind of target, and what they predict for the test rows."""

    name: str
    models: dict[str, Any]
    predictions: dict[str, Distribution]
    X: Any
    y: torch.Tensor


def positive_target(epochs: int, seed: int) -> tuple[Study, ConformalRegressor]:
    """Diabetes progression, half of the rows for training: good models, and one of a family that is wrong."""
    X, y = load_diabetes(return_X_y=True, as_frame=True)
    X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.5, random_state=seed)

    def network(family: str, mixup: str = "erm") -> DensityRegressor:
        return DensityRegressor(family, mixup, max_epochs=epochs, device="cpu", random_state=seed, preset="plain")

    models: dict[str, Any] = {
        "gamma": network("gamma"),
        "gamma, probmix": network("gamma", "probmix"),
        # its standard deviation is its mean: far too wide here, whatever the network learns
        "exponential": network("exponential"),
        "exponential, recalibrated": RecalibratedRegressor(network("exponential"), random_state=seed),
        "BayesianRidge": BayesianRidge(),
    }
    for model in models.values():
        model.fit(X_train, y_train)
    conformal = ConformalRegressor(network("exponential"), random_state=seed).fit(X_train, y_train)
    if find_spec("ngboost"):
        models["NGBoost"] = boosted(X_train, y_train, seed)
    predictions = {name: adapt(model).predict_dist(X_test) for name, model in models.items()}
    return Study("diabetes", models, predictions, X_test, torch.tensor(y_test.to_numpy())), conformal


def boosted(X: pd.DataFrame, y: pd.Series, seed: int) -> Any:
    """NGBoost, stopped by a fifth of the rows as the networks are; with all of its 500 rounds it overfits badly."""
    from ngboost import NGBRegressor
    from ngboost.learners import default_tree_learner

    # its own seed does not reach its trees
    tree = clone(default_tree_learner).set_params(random_state=seed)
    X, X_val, y, y_val = train_test_split(X, y, test_size=0.2, random_state=seed)
    model = NGBRegressor(Base=tree, verbose=False, random_state=seed)
    return model.fit(X, y, X_val, y_val, early_stopping_rounds=10)


def interval_table(study: Study, conformal: ConformalRegressor) -> pd.DataFrame:
    """Coverage, width and interval score of the 90 % intervals; the conformal ones come without a distribution."""
    levels = torch.tensor([[(1 - LEVEL) / 2], [(1 + LEVEL) / 2]], dtype=torch.float64)
    ends = {name: icdf(distribution, levels) for name, distribution in study.predictions.items()}
    ends["exponential, conformal"] = torch.tensor(conformal.predict_interval(study.X, LEVEL)).T
    lines = {}
    for name, (low, high) in ends.items():
        lines[name] = {
            "coverage": ((low <= study.y) & (study.y <= high)).double().mean().item(),
            "mean width": (high - low).mean().item(),
            "interval score": interval_score(low, high, study.y, LEVEL).mean().item(),
        }
    return pd.DataFrame(lines).T


def simulated_claims(n: int, seed: int) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Policies with features, claims, and exposures in years; claims vary more than Poisson's."""
    random = np.random.default_rng(seed)
    X = random.uniform(-1, 1, (n, 3))
    rate = np.exp(-0.5 + X[:, 0] + 0.5 * np.sin(3 * X[:, 1]) + X[:, 0] * X[:, 2])
    exposure = random.uniform(0.05, 1, n)
    claims = random.poisson(exposure * rate * random.gamma(1.0, 1.0, n))
    return pd.DataFrame(X, columns=["x1", "x2", "x3"]), claims, exposure


def claims(data: Path | None, epochs: int, seed: int) -> Study:
    """Counts with an exposure: with and without it, of two families, and a model of scikit-learn by way of SciPy."""
    if COUNTS in datasets.names(data):
        found = datasets.load(COUNTS, data)
        rows = np.random.default_rng(seed).permutation(len(found.y))[:CLAIMS]
        X, y, exposure = found.X.iloc[rows], found.y[rows], found.left_out["Exposure"].to_numpy()[rows]
        name = COUNTS
    else:
        (X, y, exposure), name = simulated_claims(4000, seed), "simulated claims"
    X_train, X_test, y_train, y_test, e_train, e_test = train_test_split(
        X, y, exposure, test_size=0.5, random_state=seed
    )

    def network(family: str) -> DensityRegressor:
        return DensityRegressor(
            family,
            "erm",
            max_epochs=min(epochs, 60),
            batch_size=256,
            patience=10,
            device="cpu",
            random_state=seed,
            preset="plain",
        )

    blind = network("poisson").fit(X_train, y_train)
    models = {f: network(f).fit(X_train, y_train, exposure=e_train) for f in ("poisson", "negative-binomial")}
    linear = make_pipeline(StandardScaler(), PoissonRegressor())
    linear.fit(X_train, y_train / e_train, poissonregressor__sample_weight=e_train)
    predictions = {"poisson, no exposure": blind.predict_dist(X_test)}
    predictions |= {name: model.predict_dist(X_test, exposure=e_test) for name, model in models.items()}
    predictions["PoissonRegressor"] = as_distribution(stats.poisson(e_test * linear.predict(X_test)))
    models = {"poisson, no exposure": blind, **models, "PoissonRegressor": linear}
    return Study(name, models, predictions, X_test, torch.tensor(y_test, dtype=torch.float64))


def digits(epochs: int, seed: int) -> Study:
    """Handwritten digits, learned from few of them."""
    X, y = load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X, y, train_size=DIGITS, random_state=seed, stratify=y)
    settings = {"max_epochs": epochs, "device": "cpu", "random_state": seed}
    models = {
        "erm": DensityClassifier("erm", **settings, preset="plain"),
        "probmix": DensityClassifier("probmix", **settings, preset="plain"),
        "logistic": make_pipeline(StandardScaler(), LogisticRegression()),
        "forest": RandomForestClassifier(random_state=seed),
    }
    for model in models.values():
        model.fit(X_train, y_train)
    predictions = {name: adapt(model).predict_dist(X_test) for name, model in models.items()}
    return Study("digits", models, predictions, X_test, torch.tensor(y_test))


def tail_rows(study: Study) -> pd.DataFrame:
    """A score of one's own for the table of `evaluate`: the CRPS of what lies above a threshold."""
    scores = {
        ("crps above 200", name): threshold_weighted_crps(distribution, study.y, lower=LARGE).numpy()
        for name, distribution in study.predictions.items()
    }
    rows = pd.DataFrame(scores)
    return rows.rename_axis(columns=["score", "model"])


def decompositions(study: Study, score: str) -> pd.DataFrame:
    parts = [corp_decomposition(distribution, study.y, score) for distribution in study.predictions.values()]
    return pd.DataFrame(parts, index=list(study.predictions))


def as_text(table: pd.DataFrame, digits: int = 3) -> str:
    return table.to_string(float_format=f"{{:.{digits}f}}".format, na_rep="")


def heading(study: Study) -> str:
    return f"{study.name}: {len(study.y)} test rows"


def calibration(study: Study) -> str:
    errors = {name: calibration_error(d, study.y).item() for name, d in study.predictions.items()}
    limit = 0.58 / len(study.y) ** 0.5
    words = "\n".join(f"    {name:<27}{error:.3f}" for name, error in errors.items())
    return f"Calibration error, below {limit:.3f} in 95 % of all calibrated cases\n{words}"


def plot_scores(table: pd.DataFrame, path: Path) -> None:
    """Differences to the first model, and coverages."""
    figure = Figure(figsize=(13, 3.8), layout="constrained")
    axes = figure.subplots(1, 3, sharey=True)
    for ax, score in zip(axes, ("nll", "crps", "coverage90"), strict=True):
        ScoreComparisonDisplay(table, score, difference=score != "coverage90").plot(ax)
    figure.savefig(path, dpi=130)


def plot_coverage(study: Study, path: Path) -> None:
    figure = Figure(figsize=(7.5, 4.8), layout="constrained")
    ax = figure.subplots()
    for name in ("gamma", "exponential", "exponential, recalibrated"):
        CoverageDisplay.from_predictions(study.predictions[name], study.y, name=name, ax=ax)
    figure.savefig(path, dpi=130)


def plot_pit(study: Study, path: Path) -> None:
    figure = Figure(figsize=(13, 4), layout="constrained")
    figure.suptitle(study.name)
    names = ("poisson, no exposure", "poisson", "negative-binomial")
    for ax, name in zip(figure.subplots(1, len(names), sharey=True), names, strict=True):
        PITHistogramDisplay.from_predictions(study.predictions[name], study.y, ax=ax)
        ax.set_title(name)
        if name != names[0]:
            ax.get_legend().remove()
            ax.set_ylabel("")
    figure.savefig(path, dpi=130)


def plot_reliability(study: Study, path: Path) -> None:
    figure = Figure(figsize=(16, 4.2), layout="constrained")
    names = ("erm", "probmix", "forest")
    for ax, name in zip(figure.subplots(1, len(names)), names, strict=True):
        ReliabilityDisplay.from_predictions(study.predictions[name], study.y, ax=ax)
        # over the square, which is the left of the axes
        ax.set_title(name, loc="left")
    figure.savefig(path, dpi=130)


def plot_fusion(study: Study, path: Path) -> None:
    """The two rows with the least and the largest predicted mean."""
    model = study.models["gamma"]
    mean = model.predict(study.X)
    figure = Figure(figsize=(7.5, 4.5), layout="constrained")
    rows = study.X.iloc[[mean.argmin(), mean.argmax()]]
    FusionDisplay.from_estimator(model, rows, weight=0.5, target_name="progression", ax=figure.subplots())
    figure.savefig(path, dpi=130)


def plot_bands(study: Study, path: Path) -> None:
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    for ax, name in zip(figure.subplots(1, 2, sharey=True), ("gamma", "exponential"), strict=True):
        PredictiveBandDisplay.from_estimator(
            study.models[name], study.X, study.y, feature="bmi", target_name="progression", ax=ax
        )
        ax.set_title(name)
        ax.label_outer()
    figure.savefig(path, dpi=130)


def report_positive(options: argparse.Namespace) -> dict[str, pd.DataFrame]:
    study, conformal = positive_target(options.epochs, options.seed)
    # the table of `evaluate`, with a score of one's own in it
    table = compare_rows(pd.concat([score_rows(study.predictions, None, study.y), tail_rows(study)], axis=1))
    parts, intervals = decompositions(study, "crps"), interval_table(study, conformal)
    bound = max(crps_with_bound(d, study.y)[1].max().item() for d in study.predictions.values())
    print(f"{heading(study)}\n{as_text(table)}\n\n{calibration(study)}")
    print(f"No CRPS of a row is off by more than {bound:.1e}.\n")
    print(f"CORP decomposition of the CRPS\n{as_text(parts, 2)}\n\n90 % intervals\n{as_text(intervals, 2)}\n")
    plot_scores(table, options.out / "evaluation_scores.png")
    plot_coverage(study, options.out / "evaluation_coverage.png")
    plot_fusion(study, options.out / "evaluation_fusion.png")
    plot_bands(study, options.out / "evaluation_bands.png")
    return {"positive": table, "positive parts": parts, "intervals": intervals}


def report_counts(options: argparse.Namespace) -> dict[str, pd.DataFrame]:
    study = claims(options.data, options.epochs, options.seed)
    # the exposure is a matter of the predictions, which is why these are compared and not the models
    table = evaluate(study.predictions, None, study.y, baseline="poisson")
    print(f"{heading(study)}\n{as_text(table, 4)}\n\n{calibration(study)}\n")
    plot_pit(study, options.out / "evaluation_pit.png")
    return {"counts": table}


def report_classes(options: argparse.Namespace) -> dict[str, pd.DataFrame]:
    study = digits(options.epochs, options.seed)
    table = evaluate(study.models, study.X, study.y, scores=["nll", "brier", "accuracy"])
    parts = decompositions(study, "brier")
    parts["ECE"] = [expected_calibration_error(d, study.y).item() for d in study.predictions.values()]
    print(f"{heading(study)}\n{as_text(table)}\n\nCORP decomposition of the Brier score\n{as_text(parts)}\n")
    plot_reliability(study, options.out / "evaluation_reliability.png")
    return {"classes": table, "class parts": parts}


def main(arguments: Sequence[str] | None = None) -> dict[str, pd.DataFrame]:
    parser = argparse.ArgumentParser(description="Scores, calibration and pictures of predicted distributions.")
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder to write to (default: out)")
    parser.add_argument("--data", type=Path, help="folder of data sets (default: the variable PROBMIX_DATA)")
    parser.add_argument("--epochs", type=int, default=200, help="of a fit, at most (default: 200)")
    parser.add_argument("--seed", type=int, default=0, help="of splits and fits (default: 0)")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)

    tables = report_positive(options) | report_counts(options) | report_classes(options)
    print("Differences are to the first model of the table, or to `poisson`; their errors are those of paired rows.")
    for path in sorted(options.out.glob("evaluation_*.png")):
        print(f"wrote {path}")
    return tables


if __name__ == "__main__":
    # these small networks gain nothing from more threads, and lose much where the cores are busy
    torch.set_num_threads(1)
    main()
