"""Fan charts of stock forecasts, a few methods side by side."""

from collections.abc import Iterator, Sequence

import pandas as pd
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num
from matplotlib.figure import Figure

from .bands import common_legend, draw_bands
from .base import Picture
from .figures import put_title
from .store import Result

_PREFERRED = ("erm", "mixup", "probmix", "m-probmix")


def forecast_pictures(results: Sequence[Result]) -> Iterator[Picture]:
    """A picture for each stock and encoder: forecasts of the first seed, and the truth.

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
        title = f"{stock}, {encoder}"
        figure = _fan_chart(title, [by_method[method] for method in methods])
        caption = f"{title}: forecasts of the test period with central 50 % and 90 % bands, and the truth."
        yield Picture(f"{stock}__{encoder}", caption, figure)


def _fan_chart(title: str, results: Sequence[Result]) -> Figure:
    figure = Figure(figsize=(3.4 * len(results) + 0.6, 3.6), dpi=120, layout="constrained")
    panels = figure.subplots(1, len(results), sharex=True, sharey=True, squeeze=False)[0]
    for ax, result in zip(panels, results, strict=True):
        details = result.details
        days = date2num(pd.to_datetime(details["day"]).to_numpy())
        draw_bands(ax, days, details, feature_name="", target_name="close, US dollars")
        # black and dotted, the mean coloured and solid: told apart in greyscale as well
        ax.plot(days, details["truth"], color="black", linestyle=(0, (1, 1)), linewidth=1.8, label="truth")
        locator = AutoDateLocator(maxticks=5)
        ax.xaxis.set_major_locator(locator)
        ax.xaxis.set_major_formatter(ConciseDateFormatter(locator))
        scores = result.scores
        ax.set_title(f"{result.unit['method']}\nNLL {scores['nll']:.2f}, CRPS {scores['crps']:.2f}", fontsize="medium")
        ax.label_outer()
    common_legend(figure, panels[0])
    seeds = {result.unit["seed"] for result in results}
    put_title(figure, f"{title}, seed {', '.join(map(str, sorted(seeds)))}")
    return figure
