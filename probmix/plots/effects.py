"""How the predicted distribution changes with one feature."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from .._answers import interval_levels
from .._checks import check_integer, check_seed
from .._numbers import finite_numbers
from ..columns.tables import as_table
from ._columns import feature_name, frame_of, has_names, position_of
from ._common import check_coverages, legend_with_last, new_axes
from ._effects import Rows, effects
from ._grids import grid_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

# Opacity of the widest and of the narrowest intervals, apart in greyscale too.
_OPACITIES = (0.25, 0.5)
# Height of the histogram of the data below a fan, as a share of the axes.
_HISTOGRAM = 0.1
# At most so many bars.
_BARS = 40
# Height that the legend takes of small axes.
_LEGEND = 0.2


class EffectDisplay:
    r"""How the predicted distribution changes with one feature: quantiles as a fan over a grid, or as bars of levels.

    At each value v of the feature, all rows of X get that value, and their predicted distributions are averaged, by a
    linear pool:

    .. math:: p_v(y) = \frac{1}{n} \sum_i p(y \mid x_i \text{ with } v)

    The mean of this distribution is the partial dependence of the predicted mean; its quantiles show the spread among
    rows as well as that of single predictions. The histogram below a fan, and the shares beside the names of levels,
    say where there are data: elsewhere the model extrapolates. As with every partial dependence, rows get values that
    may never occur together with the others of the row, and a feature that works through others shows part of its
    effect only.

    Make it by `from_estimator`.

    Parameters
    ----------
    values : ndarray, (G,)
        Values of the feature: numbers or times in increasing order, or 0 .. G - 1 for levels.
    median, mean : ndarray, (G,)
        Of the average distribution.
    intervals : dict of float to ndarray, (G, 2)
        Its central intervals by coverage.
    data : ndarray
        The feature in all rows, without missing values; for levels their shares of all rows, (G,).
    levels : sequence of str, optional
        Names of the levels, for text, categories and truth values.
    feature_name, target_name : str
        Labels of the axes.
    note : str
        What is said of the feature beside its name.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure or SubFigure

    References
    ----------
    Friedman (2001), Greedy function approximation: a gradient boosting machine, Ann. Stat. 29, 1189-1232, section 8.

    Examples
    --------
    >>> import pandas as pd
    >>> from matplotlib.figure import Figure
    >>> from sklearn.linear_model import BayesianRidge
    >>> from probmix.plots import EffectDisplay
    >>> X = pd.DataFrame({"rooms": [1, 2, 3, 4], "area": [30.0, 45.0, 80.0, 85.0]})
    >>> model = BayesianRidge().fit(X, [1.0, 1.6, 2.4, 3.1])
    >>> display = EffectDisplay.from_estimator(model, X, feature="rooms", ax=Figure().subplots())
    >>> display.values, display.mean.round(2)
    (array([1., 2., 3., 4.]), array([1.1 , 1.72, 2.33, 2.95]))
    """

    ax_: Axes
    figure_: Figure | SubFigure

    def __init__(
        self,
        values: NDArray[Any],
        median: NDArray[np.float64],
        mean: NDArray[np.float64],
        intervals: Mapping[float, NDArray[np.float64]],
        data: NDArray[Any],
        levels: Sequence[str] | None = None,
        feature_name: str = "x",
        target_name: str = "y",
        note: str = "",
    ) -> None:
        self.values = values
        self.median = median
        self.mean = mean
        self.intervals = {coverage: intervals[coverage] for coverage in sorted(intervals)}
        self.data = data
        self.levels = None if levels is None else list(levels)
        self.feature_name = feature_name
        self.target_name = target_name
        self.note = note

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike | pd.DataFrame,
        *,
        feature: int | str,
        exposure: float | ArrayLike | None = None,
        coverages: Sequence[float] = (0.5, 0.9),
        n_values: int = 30,
        max_levels: int = 12,
        max_rows: int = 100,
        random_state: Any = 0,
        target_name: str = "y",
        ax: Axes | None = None,
        color: str = "C0",
    ) -> Self:
        """Draw how the predictions of a fitted estimator change with a feature, on average over these rows.

        Parameters
        ----------
        estimator : fitted estimator with `predict_dist`
            Also at the end of a `Pipeline`, or found by a search, and whatever else `probmix.adapters.adapt` takes.
        X : array-like or DataFrame, (n, F)
            Rows that stand for those to predict.
        feature : int or str
            Number of the feature, or its name in a DataFrame. Numbers, dates and spans of time get a grid between the
            quantiles at 1 % and 99 %, or their values if these are few; text, categories, truth values and numbers of
            two values are levels, of which missing values are one.
        exposure : float or array-like, (n,), optional
            Of counts, kept for each row as it is; needed where the estimator was fitted with exposures.
        coverages : sequence of float in (0, 1)
            Coverages of the central intervals of the average distribution.
        n_values, max_levels : int
            The most values of a grid, and the most levels: the most frequent ones are shown.
        max_rows : int
            Of more rows so many stand for all, taken at random.
        random_state : int, or generator of NumPy
            Seed of that choice.
        target_name : str
            Label of the target's axis.
        ax : matplotlib Axes, optional
        color : matplotlib color
            Of the intervals; wide ones are lighter.

        Returns
        -------
        EffectDisplay

        Raises
        ------
        TypeError
            If the estimator does not predict the distribution of a number.
        ValueError
            For a coverage or a feature that does not exist, a feature that is missing in all rows, an estimator with
            several targets, exposures of another shape, or none where the estimator was fitted with them.
        """
        check_coverages(coverages)
        for name, value, low in (("n_values", n_values, 2), ("max_levels", max_levels, 1), ("max_rows", max_rows, 1)):
            check_integer(name, value, low)
        frame = frame_of(X)
        position = position_of(frame, feature)
        grid = grid_of(as_table(frame, "X").column(position), n_values, max_levels)
        n = len(frame)
        exposures = None if exposure is None else _of_rows(exposure, n)
        if n > max_rows:
            chosen = np.sort(np.random.default_rng(check_seed(random_state)).choice(n, max_rows, replace=False))
            frame = frame.iloc[chosen]
            exposures = None if exposures is None else exposures[chosen]
        levels = [0.5, *(level for coverage in coverages for level in interval_levels(coverage))]
        rows = Rows(frame, position, exposures, has_names(X, frame))
        quantiles, mean = effects(estimator, rows, grid.cells, levels)
        ends = np.split(quantiles[:, 1:], len(coverages), axis=1)
        display = cls(
            grid.places,
            quantiles[:, 0],
            mean,
            dict(zip(coverages, ends, strict=True)),
            grid.data,
            grid.levels,
            feature_name(X, frame, position),
            target_name,
            grid.note,
        )
        return display.plot(ax, color=color)

    def plot(self, ax: Axes | None = None, *, color: str = "C0") -> Self:
        """Draw, on new axes if none are given.

        Parameters
        ----------
        ax : matplotlib Axes, optional
        color : matplotlib color
            Of the intervals; wide ones are lighter.

        Returns
        -------
        self
        """
        ax = new_axes() if ax is None else ax
        label = f"{self.feature_name}\n({self.note})" if self.note else self.feature_name
        if self.levels is None:
            self._plot_fan(ax, color)
            ax.set_xlabel(label)
            ax.set_ylabel(self.target_name)
        else:
            self._plot_levels(ax, color, self.levels)
            ax.set_xlabel(self.target_name)
            ax.set_ylabel(label)
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _widest_first(self) -> list[tuple[float, NDArray[np.float64], dict[str, Any]]]:
        """Coverage, ends, and how to draw them."""
        opacities = np.linspace(*_OPACITIES, len(self.intervals)) if len(self.intervals) > 1 else _OPACITIES[1:]
        return [
            (coverage, self.intervals[coverage], {"alpha": float(opacity), "label": f"{100 * coverage:g} % interval"})
            for coverage, opacity in zip(reversed(self.intervals), opacities, strict=True)
        ]

    def _plot_fan(self, ax: Axes, color: str) -> None:
        for _, ends, look in self._widest_first():
            ax.fill_between(self.values, *ends.T, color=color, linewidth=0, **look)
        ax.plot(self.values, self.median, color="black", linewidth=1.6, label="median")
        ax.plot(self.values, self.mean, color="black", linewidth=1.4, linestyle=(0, (4, 2)), label="mean")
        low, high = ax.get_ylim()
        unit = (high - low) / (1 - _HISTOGRAM - _LEGEND)
        ax.set_ylim(low - _HISTOGRAM * unit, high + _LEGEND * unit)
        self._plot_data(ax)
        legend_with_last(ax, [], ncols=3, columnspacing=1.2)

    def _plot_data(self, ax: Axes) -> None:
        """A histogram at the bottom, of x in data and y in shares of the axes."""
        shown = self.data[(self.data >= self.values[0]) & (self.data <= self.values[-1])]
        if np.isin(shown, self.values).all():
            # the values are all that there are
            counts = (shown == self.values[:, None]).sum(1)
            width = 0.8 * np.diff(self.values).min()
            left, right = self.values - width / 2, self.values + width / 2
        else:
            counts, edges = np.histogram(shown.astype(np.float64), min(len(self.values), _BARS))
            left, right = edges[:-1].astype(self.values.dtype), edges[1:].astype(self.values.dtype)
        ax.bar(
            left,
            0.85 * _HISTOGRAM * counts / counts.max(),
            right - left,
            align="edge",
            color="0.55",
            linewidth=0,
            transform=ax.get_xaxis_transform(),
            label=f"{len(self.data):,} rows",
        )
        ax.set_xlim(left[0], right[-1])

    def _plot_levels(self, ax: Axes, color: str, levels: list[str]) -> None:
        for _, ends, look in self._widest_first():
            low, high = ends.T
            for bar in ax.barh(self.values, high - low, 0.6, left=low, color=color, linewidth=0, **look):
                # a margin on both sides
                bar.sticky_edges.x.clear()
        ax.plot(self.median, self.values, "|", color="black", markersize=11, markeredgewidth=2.0, label="median")
        diamond: dict[str, Any] = {"color": "white", "markeredgecolor": "black", "markersize": 5.5, "zorder": 3}
        ax.plot(self.mean, self.values, "D", label="mean", **diamond)
        names = [f"{name} ({100 * share:.1f} %)" for name, share in zip(levels, self.data, strict=True)]
        ax.set_yticks(self.values, names, fontsize="small")
        rows = len(levels) + 0.2
        ax.set_ylim(len(levels) - 0.4, -0.6 - rows * _LEGEND / (1 - _LEGEND))
        legend_with_last(ax, ["median", "mean"], ncols=2, columnspacing=0.8, handlelength=1.0, handletextpad=0.5)


def _of_rows(exposure: float | ArrayLike, n: int) -> NDArray[np.float64]:
    """Exposures, one for each row."""
    exposures = finite_numbers(np.asarray(exposure).reshape(-1) if np.ndim(exposure) == 0 else exposure, "exposure")
    if exposures.shape not in ((1,), (n,)) or (exposures.shape == (1,) and np.ndim(exposure) and n != 1):
        raise ValueError(
            f"`exposure` must be one number, or one for each of the {n} rows of X; got shape {exposures.shape}."
        )
    return np.broadcast_to(exposures, (n,))
