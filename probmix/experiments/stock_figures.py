"""Fan charts of stock forecasts, a few methods side by side."""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num
from matplotlib.figure import Figure

from .._files import write_atomically
from ..plots import PredictiveBandDisplay
from .store import Result, file_stem

# Ends of the central 50 % and 90 % bands.
LEVELS = (0.05, 0.25, 0.75, 0.95)
_BANDS = {0.5: ("0.25", "0.75"), 0.9: ("0.05", "0.95")}

_PREFERRED = ("erm", "mixup", "probmix", "m-probmix")


def draw_forecasts(results: Sequence[Result], folder: Path) -> None:
    """Draw ``STOCK__ENCODER.png`` for each stock and encoder: forecasts of the first seed, and the truth.

    Panels are the methods erm, mixup, probmix and m-probmix, so far as there are results; else the first four methods.
    """
    # in the order of the results
    charts: dict[tuple[str, str], dict[str, Result]] = {}
    for result in results:
        unit = {name: str(value) for name, value in result.unit.items()}
        # the first seed comes first
        charts.setdefault((unit["dataset"], unit["encoder"]), {}).setdefault(unit["method"], result)
    for (stock, encoder), by_method in charts.items():
        methods = [method for method in _PREFERRED if method in by_method] or list(by_method)[: len(_PREFERRED)]
        picture = BytesIO()
        _fan_chart(f"{stock}, {encoder}", [by_method[method] for method in methods]).savefig(picture, format="png")
        write_atomically(folder / f"{file_stem({'dataset': stock, 'encoder': encoder})}.png", picture.getvalue())


def _fan_chart(title: str, results: Sequence[Result]) -> Figure:
    figure = Figure(figsize=(3.4 * len(results) + 0.6, 3.6), dpi=120, layout="constrained")
    panels = figure.subplots(1, len(results), sharex=True, sharey=True, squeeze=False)[0]
    for ax, result in zip(panels, results, strict=True):
        details = result.details
        days = date2num(pd.to_datetime(details["day"]).to_numpy())
        quantiles = details["quantiles"]
        bands = {cover: np.column_stack([quantiles[end] for end in ends]) for cover, ends in _BANDS.items()}
        PredictiveBandDisplay.from_predictions(
            days, details["mean"], bands, feature_name="", target_name="close, US dollars", ax=ax
        )
        # black and dotted, the mean coloured and solid: told apart in greyscale as well
        ax.plot(days, details["truth"], color="black", linestyle=(0, (1, 1)), linewidth=1.8, label="truth")
        locator = AutoDateLocator(maxticks=5)
        ax.xaxis.set_major_locator(locator)
        ax.xaxis.set_major_formatter(ConciseDateFormatter(locator))
        scores = result.scores
        ax.set_title(f"{result.unit['method']}\nNLL {scores['nll']:.2f}, CRPS {scores['crps']:.2f}", fontsize="medium")
        legend = ax.get_legend()
        if legend is not None:
            legend.remove()
        ax.label_outer()
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    seeds = {result.unit["seed"] for result in results}
    figure.suptitle(f"{title}, seed {', '.join(map(str, sorted(seeds)))}")
    return figure
