"""The static pictures of the guide, drawn when the documentation is built.

python docs/pictures.py FOLDER

Each function makes one picture, registered by the name of its file. Nothing is fitted and no data are read, so that
all of them together take a few seconds.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from scipy import stats
from torch import Tensor
from torch.distributions import LogNormal, Normal, Poisson

from probmix.mixup import BetaWeights, strength
from probmix.plots import (
    CoverageDisplay,
    DensityDisplay,
    EffectDisplay,
    FusionDisplay,
    ImportanceDisplay,
    IntervalDisplay,
    PITHistogramDisplay,
)
from probmix.scores import crps, nll

Drawing = Callable[[], Figure]

PICTURES: dict[str, Drawing] = {}

# Told apart without colour too.
_STYLES: tuple[dict[str, Any], ...] = (
    {"color": "C0", "linestyle": "-"},
    {"color": "C1", "linestyle": "--"},
    {"color": "C2", "linestyle": "-."},
    {"color": "C3", "linestyle": ":"},
)


def picture(name: str) -> Callable[[Drawing], Drawing]:
    """Register what draws the picture of that file name."""

    def register(draw: Drawing) -> Drawing:
        PICTURES[name] = draw
        return draw

    return register


def draw_all(folder: str | Path) -> list[Path]:
    """Draw every picture into the folder, which is made if it is not there."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, draw in PICTURES.items():
        paths.append(folder / name)
        draw().savefig(paths[-1], dpi=130)
    return paths


def _panels(count: int, width: float = 9.5, height: float = 3.7, **options: Any) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, list(np.atleast_1d(figure.subplots(1, count, **options)))


@picture("pools.png")
def pools() -> Figure:
    """Figure 3 of the paper: what two predicted densities are pooled to; for counts as well."""
    figure, (left, right) = _panels(2)
    FusionDisplay.from_predictions(Normal(torch.tensor([0.0, 3.0]), torch.tensor([1.0, 0.5])), ax=left)
    FusionDisplay.from_predictions(Poisson(torch.tensor([3.0, 16.0])), ax=right)
    left.set_title("two Gaussians")
    right.set_title("two Poissons")
    return figure


def _cubic(x: Any) -> tuple[Any, Any]:
    """Mean and standard deviation of the example of section 3.2.3 of the paper."""
    return x**3, 0.5 * x**2 + 1


@picture("mixed_rows.png")
def mixed_rows() -> Figure:
    """What mixup and ProbMix ask of a network that knows the truth, for the two rows of the paper's section 3.2.3."""
    x, y, weights = np.array([5.0, -5.0]), np.array([130.0, -120.0]), np.array([0.8, 0.2])
    mixed_x, label = float(weights @ x), float(weights @ y)
    mean, spread = _cubic(x)
    averaged = stats.norm(*_cubic(mixed_x))
    precision = weights / spread**2
    pooled = stats.norm(float(precision @ mean / precision.sum()), float(precision.sum() ** -0.5))

    figure, (left, right) = _panels(2, height=4.0)
    grid = np.linspace(-5.8, 5.8, 200)
    middle, width = _cubic(grid)
    left.fill_between(grid, middle - 2 * width, middle + 2 * width, color="0.88", label="truth, ± 2 s.d.")
    left.plot(grid, middle, color="0.35")
    left.plot(x, y, "o-", color="black", linewidth=0.8, markersize=7, label="two rows")
    left.plot(mixed_x, label, "D", color="C1", markersize=8, label="their average, 0.8 to 0.2")
    left.vlines(mixed_x, _cubic(mixed_x)[0], label, colors="C1", linestyles=":")
    left.set(xlabel="x", ylabel="y", title="the rows")
    left.legend(frameon=False, loc="lower right")

    values = np.linspace(-10.0, 130.0, 500)
    for law, style, name in (
        (averaged, _STYLES[1], "mixup: predicted at the averaged x"),
        (pooled, _STYLES[0], "ProbMix: pool of both predictions"),
    ):
        right.plot(values, law.pdf(values), **style, linewidth=2, label=f"{name}, NLL {-law.logpdf(label):.2f}")
    right.vlines(label, 0, 0.082, colors="black", linewidth=1, label=f"averaged target, {label:g}")
    right.set(xlabel="y", ylabel="density", title="what the averaged target is scored by", ylim=(0, 0.108))
    right.legend(frameon=False, loc="upper right")
    return figure


@picture("places.png")
def places() -> Figure:
    """Where in a network the presets mix rows."""
    figure, (ax,) = _panels(1, width=9.5, height=3.1)
    stations: dict[str, tuple[tuple[str, str], ...]] = {
        "input x": (("mixup", "rows are averaged"),),
        "hidden layer": (
            ("manifold-mixup", "its outputs are averaged"),
            ("m-probmix", "Gaussian densities around\nits outputs are pooled"),
        ),
        "natural\nparameters": (("probmix", "the predicted densities\nare pooled"),),
    }
    for place, (station, presets) in enumerate(stations.items()):
        x = 3.2 * place
        ax.add_patch(FancyBboxPatch((x, 1.0), 1.7, 0.8, boxstyle="round,pad=0.08", facecolor="0.93", edgecolor="0.3"))
        ax.text(x + 0.85, 1.4, station, ha="center", va="center", fontsize=12)
        ax.annotate("", (x + 3.07, 1.4), (x + 1.83, 1.4), arrowprops={"arrowstyle": "->", "color": "0.3"})
        for line, (preset, does) in enumerate(presets):
            y = 0.7 - 0.75 * line
            ax.text(x + 0.85, y, preset, ha="center", va="top", family="monospace", fontsize=12, weight="bold")
            ax.text(x + 0.85, y - 0.27, does, ha="center", va="top", fontsize=11)
    ax.text(9.7, 1.4, "p(y | x)", ha="left", va="center", fontsize=13)
    ax.set(xlim=(-0.2, 10.6), ylim=(-0.85, 1.95))
    ax.set_axis_off()
    return figure


@picture("weights.png")
def weights() -> Figure:
    """The law of the weight of a row in its pair by alpha, and how strongly it mixes."""
    figure, (left, right) = _panels(2)
    grid = np.linspace(0.002, 0.998, 400)
    laws = {"alpha = 0.2, most presets": 0.2, "alpha = 1": 1.0, "alpha = 10": 10.0}
    for (name, alpha), style in zip(laws.items(), _STYLES, strict=False):
        left.plot(grid, stats.beta(alpha, alpha).pdf(grid), **style, linewidth=2, label=name)
    left.set(xlabel="weight of the row itself", ylabel="density", ylim=(0, 5.6), title="Beta(alpha, alpha)")
    left.legend(frameon=False, loc="upper center")

    alphas = np.geomspace(0.05, 20, 60)
    right.plot(alphas, [strength(BetaWeights(alpha)).relative_spread for alpha in alphas], color="0.35")
    for (name, alpha), style, marker in zip(laws.items(), _STYLES, "osD", strict=False):
        found = strength(BetaWeights(alpha)).relative_spread
        right.plot(alpha, found, marker, color=style["color"], markersize=8, label=name)
    right.set(xscale="log", xlabel="alpha", ylabel="relative spread", ylim=(0, None))
    right.set_title("how strongly rows are mixed")
    right.legend(frameon=False, loc="upper left")
    return figure


def _forecasts() -> tuple[dict[str, Normal], Tensor]:
    """Four forecasts of the same 2,000 rows, of which the first is the truth."""
    generator = torch.Generator().manual_seed(0)
    mean = 3 * torch.randn(2000, generator=generator, dtype=torch.float64)
    y = mean + torch.randn(2000, generator=generator, dtype=torch.float64)
    forecasts = {
        "right": Normal(mean, 1.0),
        "overconfident": Normal(mean, 0.6),
        "too wide": Normal(mean, 1.7),
        "biased": Normal(mean + 0.6, 1.0),
    }
    return forecasts, y


@picture("pit.png")
def pit_histograms() -> Figure:
    """PIT histograms of forecasts whose faults are known."""
    forecasts, y = _forecasts()
    figure, axes = _panels(4, width=10.0, height=3.1, sharey=True)
    for ax, (name, forecast) in zip(axes, forecasts.items(), strict=True):
        PITHistogramDisplay.from_predictions(forecast, y, ax=ax)
        ax.set_title(name)
        ax.set(xlabel="PIT", xticks=[0.0, 0.5, 1.0])
        if ax is not axes[0]:
            ax.get_legend().remove()
            ax.set_ylabel("")
    return figure


@picture("coverage.png")
def coverage_curves() -> Figure:
    """Coverage curves of the same forecasts."""
    forecasts, y = _forecasts()
    figure, (ax,) = _panels(1, width=9.5, height=4.4)
    for name, forecast in forecasts.items():
        CoverageDisplay.from_predictions(forecast, y, name=name, ax=ax)
    return figure


@picture("scores.png")
def scores() -> Figure:
    """What the two proper scores say of a target, under a narrow and under a wide forecast."""
    figure, axes = _panels(2)
    y = torch.linspace(-6, 6, 301, dtype=torch.float64)
    for ax, score, name in zip(axes, (nll, crps), ("NLL, nats", "CRPS, in the unit of y"), strict=True):
        for scale, style in ((1.0, _STYLES[0]), (3.0, _STYLES[1])):
            forecast = Normal(torch.zeros_like(y), scale)
            ax.plot(y, score(forecast, y), **style, linewidth=2, label=f"forecast N(0, {scale:g}²)")
        ax.set(xlabel="observed y", ylabel=name, ylim=(0, None))
        ax.legend(frameon=False, loc="upper center")
    return figure


class _Cars:
    """The law of the used cars of docs/start/frame.md, as a model of them that needs no fit."""

    worth: ClassVar[dict[str, float]] = {"audi": 24e3, "fiat": 11e3, "opel": 13e3, "skoda": 15e3}

    def predict_dist(self, X: pd.DataFrame) -> LogNormal:
        """Of the price, by make and kilometres."""
        middle = np.log(X["make"].map(self.worth).to_numpy(float)) - X["km"].to_numpy(float) / 120e3
        return LogNormal(torch.from_numpy(middle), torch.from_numpy(0.1 + X["km"].to_numpy(float) / 600e3))


def _cars(n: int) -> tuple[_Cars, pd.DataFrame, Any]:
    """The law, rows, and prices that are drawn from it."""
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"make": rng.choice(sorted(_Cars.worth), n), "km": rng.gamma(2.0, 40e3, n).round(-2)})
    law = _Cars().predict_dist(X)
    return _Cars(), X, np.exp(law.loc.numpy() + law.scale.numpy() * rng.normal(size=n))


@picture("intervals.png")
def intervals() -> Figure:
    """Intervals and prices of cars, row by row, where the forecast is right."""
    law, X, price = _cars(125)
    figure, (ax,) = _panels(1, height=4.0)
    IntervalDisplay.from_estimator(law, X, price, target_name="price", ax=ax)
    return figure


@picture("displays.png")
def displays() -> Figure:
    """What four displays show of the law of the cars: single rows, effects of numbers and of levels, importance."""
    law, X, price = _cars(400)
    figure = Figure(figsize=(11.0, 7.6), layout="constrained")
    (single, along), (by_level, matters) = figure.subplots(2, 2)
    chosen = [int((X["km"] - km).abs().argmin()) for km in (10e3, 60e3, 150e3)]
    names = [f"{X['make'][row]}, {X['km'][row] / 1e3:.0f},000 km" for row in chosen]
    DensityDisplay.from_estimator(law, X, price, rows=chosen, names=names, target_name="price", ax=single)
    EffectDisplay.from_estimator(law, X, feature="km", target_name="price", ax=along)
    EffectDisplay.from_estimator(law, X, feature="make", target_name="price", ax=by_level)
    ImportanceDisplay.from_estimator(law, X, price, score="crps", ax=matters)
    for ax, display in zip(
        (single, along, by_level, matters),
        ("DensityDisplay", "EffectDisplay, a number", "EffectDisplay, levels", "ImportanceDisplay"),
        strict=True,
    ):
        ax.set_title(display)
    return figure


def main() -> None:
    """Draw all pictures into the folder that the command names."""
    if len(sys.argv) != 2:
        sys.exit("usage: python docs/pictures.py FOLDER")
    for path in draw_all(sys.argv[1]):
        print(path)


if __name__ == "__main__":
    main()
