"""Predictive mean and central bands over one feature."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike, NDArray
from pandas.api.types import is_bool_dtype, is_datetime64_any_dtype, is_numeric_dtype

from .._numbers import as_numbers
from ..distributions import icdf
from ._columns import feature_name, frame_of, has_names, position_of
from ._common import new_axes, predicted_number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

# Opacity of the narrowest and of the widest band: far enough apart to be told in greyscale.
_OPACITIES = (0.45, 0.18)


class PredictiveBandDisplay:
    """Predictive mean and central prediction bands over one feature, with the data.

    Make it by `from_estimator` or `from_predictions`.

    Parameters
    ----------
    x, mean : ndarray, (n,)
        In increasing x.
    bands : dict of float to ndarray, (n, 2)
        Lower and upper ends by coverage.
    x_data, y_data : ndarray, (m,), optional
    feature_name, target_name : str
        Labels of the axes.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure or SubFigure

    Examples
    --------
    >>> import numpy as np
    >>> from matplotlib.figure import Figure
    >>> from probmix.plots import PredictiveBandDisplay
    >>> x = np.linspace(0, 1, 5)
    >>> bands = {0.9: np.stack([x - 1, x + 1], 1)}
    >>> display = PredictiveBandDisplay.from_predictions(x, mean=x, bands=bands, ax=Figure().subplots())
    >>> display.ax_.get_xlabel()
    'x'
    """

    ax_: Axes
    figure_: Figure | SubFigure

    def __init__(
        self,
        x: NDArray[np.float64],
        mean: NDArray[np.float64],
        bands: Mapping[float, NDArray[np.float64]],
        x_data: NDArray[np.float64] | None = None,
        y_data: NDArray[np.float64] | None = None,
        feature_name: str = "x",
        target_name: str = "y",
    ) -> None:
        self.x = x
        self.mean = mean
        self.bands = dict(bands)
        self.x_data = x_data
        self.y_data = y_data
        self.feature_name = feature_name
        self.target_name = target_name

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike | pd.DataFrame,
        y: ArrayLike | None = None,
        *,
        feature: int | str = 0,
        coverages: Sequence[float] = (0.5, 0.9),
        limits: tuple[float, float] | None = None,
        resolution: int = 200,
        exposure: float | None = None,
        target_name: str = "y",
        ax: Axes | None = None,
        color: str = "C0",
    ) -> Self:
        """Draw what a fitted estimator predicts along a feature.

        Parameters
        ----------
        estimator : fitted estimator with `predict_dist`
            Also at the end of a `Pipeline`, or found by a search.
        X : array-like or DataFrame, (m, F)
            All other features are held fixed over these rows: numbers and dates at their median, text, categories and
            truth values at the most frequent one.
        y : array-like, (m,), optional
            Targets of these rows, drawn as points.
        feature : int or str
            Number of the feature, or its name in a DataFrame.
        coverages : sequence of float in (0, 1)
            Coverages of the central bands.
        limits : (float, float), optional
            Range of the feature; by default that of X.
        resolution : int
            Number of values of the feature.
        exposure : float, optional
            Of counts: the exposure that the bands are for; needed where the estimator was fitted with exposures. The
            targets that are drawn should have it as well.
        target_name : str
            Label of the vertical axis.
        ax : matplotlib Axes, optional
        color : matplotlib color

        Returns
        -------
        PredictiveBandDisplay

        Raises
        ------
        TypeError
            If the estimator does not predict the distribution of a number.
        ValueError
            For a coverage or a feature that does not exist, a feature that is no number, an estimator with several
            targets, or one that was fitted with exposures if there is none; for an exposure that is not one number.
        """
        if exposure is not None and np.ndim(exposure) != 0:
            raise ValueError(
                "`exposure` must be one number, the exposure that the bands are for on a grid of the feature; got "
                f"shape {np.shape(exposure)}. Pass a typical one, such as the median of those of the rows."
            )
        frame = frame_of(X)
        named = has_names(X, frame)
        position = position_of(frame, feature)
        x_data = _feature_values(frame, position)
        low, high = limits if limits is not None else (np.nanmin(x_data), np.nanmax(x_data))
        x = np.linspace(low, high, resolution)
        grid = frame.iloc[np.zeros(resolution, dtype=np.intp)].reset_index(drop=True)
        for place in range(grid.shape[1]):
            column = frame.iloc[:, place]
            held = pd.Series([_held(column)] * resolution, dtype=None if is_numeric_dtype(column) else column.dtype)
            grid.isetitem(place, x if place == position else held.array)
        exposures = None if exposure is None else np.full(resolution, float(exposure))
        distribution = predicted_number(estimator, grid if named else grid.to_numpy(copy=True), exposures)
        name = feature_name(X, frame, position)
        return cls.from_predictions(
            x,
            distribution.mean.cpu().numpy(),
            {coverage: _band(distribution, coverage) for coverage in coverages},
            x_data=None if y is None else x_data,
            y_data=None if y is None else np.asarray(as_numbers(y, "y")),
            feature_name=name,
            target_name=target_name,
            ax=ax,
            color=color,
        )

    @classmethod
    def from_predictions(
        cls,
        x: ArrayLike,
        mean: ArrayLike,
        bands: Mapping[float, ArrayLike],
        *,
        x_data: ArrayLike | None = None,
        y_data: ArrayLike | None = None,
        feature_name: str = "x",
        target_name: str = "y",
        ax: Axes | None = None,
        color: str = "C0",
    ) -> Self:
        """Draw predictions that are there already.

        Parameters
        ----------
        x, mean : array-like, (n,)
            The feature, in any order, and the predictive mean.
        bands : dict of float to array-like, (n, 2)
            Lower and upper ends by coverage, as from `DensityRegressor.predict_interval`.
        x_data, y_data : array-like, (m,), optional
            Data to draw as points.
        feature_name, target_name : str
        ax : matplotlib Axes, optional
        color : matplotlib color

        Returns
        -------
        PredictiveBandDisplay
        """
        x = np.asarray(x, dtype=np.float64)
        order = np.argsort(x)
        ends = {coverage: np.asarray(band, dtype=np.float64) for coverage, band in bands.items()}
        for coverage, band in ends.items():
            if band.shape != (len(x), 2):
                raise ValueError(
                    f"the band of coverage {coverage} must have shape {(len(x), 2)}, lower and upper end for each x; "
                    f"got {band.shape}."
                )
        display = cls(
            x[order],
            np.asarray(mean, dtype=np.float64)[order],
            {coverage: band[order] for coverage, band in ends.items()},
            None if x_data is None else np.asarray(x_data, dtype=np.float64),
            None if y_data is None else np.asarray(y_data, dtype=np.float64),
            feature_name,
            target_name,
        )
        return display.plot(ax, color=color)

    def plot(self, ax: Axes | None = None, *, color: str = "C0") -> Self:
        """Draw, on new axes if none are given.

        Parameters
        ----------
        ax : matplotlib Axes, optional
        color : matplotlib color
            Of mean and bands; wide bands are lighter.

        Returns
        -------
        self
        """
        ax = new_axes() if ax is None else ax
        widest_first = sorted(self.bands, reverse=True)
        opacities = np.linspace(*_OPACITIES[::-1], len(widest_first)) if len(widest_first) > 1 else _OPACITIES[:1]
        for coverage, opacity in zip(widest_first, opacities, strict=True):
            low, high = self.bands[coverage].T
            label = f"{100 * coverage:g} % band"
            ax.fill_between(self.x, low, high, color=color, alpha=float(opacity), linewidth=0, label=label)
        ax.plot(self.x, self.mean, color=color, linewidth=1.8, label="mean")
        if self.x_data is not None and self.y_data is not None:
            ax.plot(self.x_data, self.y_data, "o", color="black", markersize=2.5, alpha=0.5, label="data", zorder=3)
        ax.set_xlabel(self.feature_name)
        ax.set_ylabel(self.target_name)
        ax.legend(frameon=False)
        self.ax_, self.figure_ = ax, ax.figure
        return self


def _feature_values(frame: pd.DataFrame, position: int) -> NDArray[np.float64]:
    column = frame.iloc[:, position]
    if not is_numeric_dtype(column) or column.isna().all():
        numbers = [str(name) for name, one in frame.items() if is_numeric_dtype(one) and one.notna().any()]
        raise ValueError(
            f"`feature` must be a column of numbers; {frame.columns[position]!r} is of the type {column.dtype} or "
            f"empty. Columns of numbers: {', '.join(numbers) or 'none'}."
        )
    return column.to_numpy(dtype=np.float64, na_value=np.nan)


def _held(column: pd.Series[Any]) -> Any:
    """The value at which a feature is held: the median if there is one, else the most frequent one."""
    if is_bool_dtype(column) or not (is_numeric_dtype(column) or is_datetime64_any_dtype(column)):
        # of values that are all missing there is none
        modes = column.mode()
        return modes.iloc[0] if len(modes) else column.iloc[0]
    return column.median()


def _band(distribution: torch.distributions.Distribution, coverage: float) -> NDArray[np.float64]:
    if not 0 < coverage < 1:
        raise ValueError(f"every one of `coverages` must lie between 0 and 1; got {coverage}. For 90 % pass 0.9.")
    mean = distribution.mean
    ends = [icdf(distribution, torch.full_like(mean, q)) for q in ((1 - coverage) / 2, (1 + coverage) / 2)]
    band: NDArray[np.float64] = torch.stack(ends, -1).cpu().numpy()
    return band
