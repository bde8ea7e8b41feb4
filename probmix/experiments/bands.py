"""Mean and central bands of predictions: as numbers that JSON can hold, and drawn side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike
from torch.distributions import Distribution

from ..plots import PredictiveBandDisplay
from .scoring import forecast_quantiles

# Ends of the central 50 % and 90 % bands.
LEVELS = (0.05, 0.25, 0.75, 0.95)
_BANDS = {0.5: ("0.25", "0.75"), 0.9: ("0.05", "0.95")}


def forecast_bands(distribution: Distribution) -> dict[str, Any]:
    """Mean and quantiles of every row."""
    return {"mean": distribution.mean.tolist(), "quantiles": forecast_quantiles(distribution, LEVELS)}


def draw_bands(ax: Axes, x: ArrayLike, forecast: Mapping[str, Any], **names: str) -> None:
    """Draw what `forecast_bands` returned over x; names are those of the axes, as in `PredictiveBandDisplay`."""
    quantiles = forecast["quantiles"]
    bands = {cover: np.column_stack([quantiles[end] for end in ends]) for cover, ends in _BANDS.items()}
    PredictiveBandDisplay.from_predictions(x, forecast["mean"], bands, ax=ax, **names)
    legend = ax.get_legend()
    if legend is not None:
        legend.remove()


def common_legend(figure: Figure, ax: Axes) -> None:
    """One legend below all panels, which show the same."""
    handles, labels = ax.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
