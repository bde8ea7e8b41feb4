"""Pictures of the toy problems: what methods predict where there are data, and where there are none."""

from collections.abc import Iterator, Sequence
from math import ceil, log

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from scipy.special import entr

from .bands import common_legend, draw_bands
from .base import Picture
from .store import Result

_BAND_COLUMNS, _CLASS_COLUMNS = 4, 5
# Of the standardised targets; the truth ends at about 8.
_LIMITS = (-9.0, 9.0)
_DATA_ENDS = (-4.0, 4.0)
_CLASS_COLORS = ("C0", "C1", "C2")
# Told apart without colour.
_LINES = ("-", "--", "-.", ":")


def band_pictures(results: Sequence[Result]) -> Iterator[Picture]:
    """Predictive bands of the first seed over x and their widths, a panel a method and a picture for each strength."""
    for strength, drawn in _by_strength(results).items():
        panels = len(drawn) + 1
        rows, columns = ceil(panels / _BAND_COLUMNS), min(_BAND_COLUMNS, panels)
        figure = Figure(figsize=(2.7 * columns + 0.5, 2.6 * rows + 0.9), dpi=110, layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False).ravel()
        for ax, result in zip(axes, drawn, strict=False):
            _cubic(ax, result)
        _widths(axes[len(drawn)], drawn)
        for ax in axes[panels:]:
            ax.remove()
        common_legend(figure, axes[0])
        figure.suptitle(strength)
        caption = (
            f"Predictions of seed 0 at {strength}, targets standardised; NLL is of new points on (4, 6). Dashed lines "
            "bound the training points. The last panel has the width of the central 90 % band of all methods."
        )
        yield Picture(_file_name("bands", drawn[0]), caption, figure)


def class_pictures(results: Sequence[Result]) -> Iterator[Picture]:
    """Class probabilities of the first seed as colours, and their entropy below, a picture for each strength."""
    for strength, drawn in _by_strength(results).items():
        rows, columns = ceil(len(drawn) / _CLASS_COLUMNS), min(_CLASS_COLUMNS, len(drawn))
        figure = Figure(figsize=(2.1 * columns + 1.0, 4.4 * rows + 0.3), dpi=110, layout="constrained")
        axes = figure.subplots(2 * rows, columns, sharex=True, sharey=True, squeeze=False)
        upper, lower = axes[::2].ravel(), axes[1::2].ravel()
        images = [_rings(*pair) for pair in zip(upper, lower, drawn, strict=False)]
        for ax in [*upper[len(drawn) :], *lower[len(drawn) :]]:
            ax.remove()
        figure.colorbar(images[0], ax=list(figure.axes), label="entropy, nats", shrink=0.5)
        figure.suptitle(strength)
        caption = (
            f"Seed 0 at {strength}, with the training points; NLL is of new points. Above: probabilities of the three "
            "rings as mixed colours. Below: their entropy, at most log 3."
        )
        yield Picture(_file_name("classes", drawn[0]), caption, figure)


def _by_strength(results: Sequence[Result]) -> dict[str, list[Result]]:
    drawn: dict[str, list[Result]] = {}
    for result in results:
        if result.details:
            drawn.setdefault(f"alpha = {result.unit['alpha']}, beta = {result.unit['beta']}", []).append(result)
    return drawn


def _file_name(kind: str, result: Result) -> str:
    return f"{kind}__alpha-{result.unit['alpha']}__beta-{result.unit['beta']}"


def _cubic(ax: Axes, result: Result) -> None:
    details = result.details
    draw_bands(ax, details["x"], details, feature_name="x", target_name="y")
    ax.plot(details["x"], details["truth"], color="black", linestyle=(0, (1, 1)), linewidth=1.5, label="truth")
    ax.plot(*details["points"], "o", color="black", markersize=2, alpha=0.5, label="training points")
    _mark_data(ax)
    ax.set_ylim(*_LIMITS)
    ax.set_title(f"{result.unit['method']}, NLL {result.scores['nll']:.1f}", fontsize="small")


def _widths(ax: Axes, drawn: Sequence[Result]) -> None:
    for number, result in enumerate(drawn):
        quantiles = result.details["quantiles"]
        width = np.subtract(quantiles["0.95"], quantiles["0.05"])
        ax.plot(
            result.details["x"],
            width,
            color=f"C{number % 10}",
            linestyle=_LINES[number % len(_LINES)],
            linewidth=1.2,
            label=str(result.unit["method"]),
        )
    _mark_data(ax)
    ax.set_yscale("log")
    low, high = ax.get_ylim()
    # room for the legend
    ax.set_ylim(low, high * (high / low) ** 0.6)
    ax.set_xlabel("x")
    ax.set_title("width of the 90 % band", fontsize="small")
    ax.legend(fontsize="xx-small", frameon=False, loc="upper center", ncols=2)


def _mark_data(ax: Axes) -> None:
    for end in _DATA_ENDS:
        ax.axvline(end, color="black", linewidth=0.7, linestyle="--")


def _rings(upper: Axes, lower: Axes, result: Result) -> AxesImage:
    details = result.details
    probabilities, rings = np.asarray(details["probabilities"]), np.asarray(details["rings"])
    low, high = details["limits"]
    colors = np.array([to_rgb(color) for color in _CLASS_COLORS])
    extent = (low, high, low, high)
    upper.imshow(np.clip(probabilities @ colors, 0.0, 1.0), origin="lower", extent=extent)
    entropy = entr(probabilities).sum(-1)
    image = lower.imshow(entropy, cmap="viridis", vmin=0.0, vmax=log(len(colors)), origin="lower", extent=extent)
    for ax in (upper, lower):
        x, y = details["points"]
        ax.scatter(x, y, c=colors[rings], s=7, edgecolors="black", linewidths=0.4)
        ax.set_aspect("equal")
        ax.tick_params(labelbottom=True)
    upper.set_title(f"{result.unit['method']}\nNLL {result.scores['nll']:.2f}", fontsize="small")
    return image
