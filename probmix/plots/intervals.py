"""Prediction intervals against the observed targets, row by row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch.distributions import Distribution

from .._answers import interval_levels, quantiles_of
from .._checks import check_integer, check_seed
from ..adapters import as_distribution
from ..distributions import cdf, cdf_below, has_atoms, is_discrete
from ..distributions.parts import device_of, widen
from ..scores._inputs import checked
from ._common import check_coverages, check_is_number, check_single_target, legend_with_last, new_axes, predicted_number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

# Opacity of the widest and of the narrowest intervals, apart in greyscale too.
_OPACITIES = (0.28, 0.6)
_MISSED = "#d55e00"
# The legend takes this share of the width and height of small axes.
_LEGEND_SIZE = (0.7, 0.45)


class IntervalDisplay:
    """Central prediction intervals of single rows, sorted by their predicted medians, with the observed targets.

    Where predictions are calibrated, nine targets of ten lie in their 90 % intervals, all along the axis; where they
    are sharp, intervals are short. Targets outside of the widest interval are triangles that point away from it. The
    legend says which share of **all** targets each interval holds. Counts and distributions with point masses have
    intervals that should hold more than their name says, because their ends are values with a probability of their own:
    there the legend says that share too.

    Make it by `from_estimator` or `from_predictions`.

    Parameters
    ----------
    median, y : ndarray, (n,)
        Predicted median and observed target of each row, in any order.
    intervals : dict of float to ndarray, (n, 2)
        Lower and upper ends by coverage.
    expected : dict of float to float, optional
        By coverage the share of targets that the intervals hold if the predictions are right; by default the coverage.
    whole_numbers : bool
        Whether targets are counts; a count is drawn as the unit around it.
    target_name : str
        Label of the vertical axis.

    Attributes
    ----------
    covered : dict of float to float
        By coverage the share of all targets in the intervals, ends included.
    rows_ : ndarray of int
        The rows that are drawn, from left to right.
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure or SubFigure

    Examples
    --------
    >>> import numpy as np
    >>> from matplotlib.figure import Figure
    >>> from scipy import stats
    >>> from probmix.plots import IntervalDisplay
    >>> predicted = stats.norm(np.array([2.0, 0.0, 1.0]), 1.0)
    >>> display = IntervalDisplay.from_predictions(predicted, [2.1, 0.2, 4.0], ax=Figure().subplots())
    >>> display.rows_, {level: round(share, 2) for level, share in display.covered.items()}
    (array([1, 2, 0]), {0.5: 0.67, 0.9: 0.67})
    """

    rows_: NDArray[np.intp]
    ax_: Axes
    figure_: Figure | SubFigure

    def __init__(
        self,
        median: NDArray[np.float64],
        y: NDArray[np.float64],
        intervals: Mapping[float, NDArray[np.float64]],
        expected: Mapping[float, float] | None = None,
        whole_numbers: bool = False,
        target_name: str = "y",
    ) -> None:
        if not intervals or len(y) == 0:
            raise ValueError(
                "intervals against targets need at least one coverage and one row; got "
                f"{len(intervals)} coverages and {len(y)} rows."
            )
        for coverage, ends in intervals.items():
            if len(median) != len(y) or ends.shape != (len(y), 2):
                raise ValueError(
                    f"there must be a median and two ends of each interval for each of the {len(y)} targets; got "
                    f"{len(median)} medians, and at the coverage {coverage:g} ends of shape {ends.shape}."
                )
        self.median = median
        self.y = y
        self.intervals = {coverage: intervals[coverage] for coverage in sorted(intervals)}
        self.expected = {coverage: float((expected or {}).get(coverage, coverage)) for coverage in self.intervals}
        self.whole_numbers = whole_numbers
        self.target_name = target_name
        self.covered = {
            coverage: float(((ends[:, 0] <= y) & (y <= ends[:, 1])).mean()) for coverage, ends in self.intervals.items()
        }

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: ArrayLike,
        *,
        exposure: ArrayLike | None = None,
        coverages: Sequence[float] = (0.5, 0.9),
        max_rows: int = 200,
        random_state: Any = 0,
        target_name: str | None = None,
        ax: Axes | None = None,
        color: str = "C0",
    ) -> Self:
        """Draw the intervals of a fitted estimator on these rows; they should not be its training rows.

        Parameters
        ----------
        estimator : fitted estimator with `predict_dist`
            Also at the end of a `Pipeline`, or found by a search.
        X : array-like, (n, F)
        y : array-like, (n,)
        exposure : array-like, (n,), optional
            Of counts; needed where the estimator was fitted with exposures.
        coverages, max_rows, random_state, target_name, ax, color
            As in `from_predictions`.

        Returns
        -------
        IntervalDisplay

        Raises
        ------
        TypeError
            If the estimator does not predict the distribution of a number.
        ValueError
            As `from_predictions`; if exposures are missing.
        """
        check_coverages(coverages)
        distribution = predicted_number(estimator, X, exposure)
        return cls.from_predictions(
            distribution,
            y,
            coverages=coverages,
            max_rows=max_rows,
            random_state=random_state,
            target_name=target_name,
            ax=ax,
            color=color,
        )

    @classmethod
    def from_predictions(
        cls,
        distribution: Any,
        y: ArrayLike | torch.Tensor,
        *,
        coverages: Sequence[float] = (0.5, 0.9),
        max_rows: int = 200,
        random_state: Any = 0,
        target_name: str | None = None,
        ax: Axes | None = None,
        color: str = "C0",
    ) -> Self:
        """Draw the intervals of predicted distributions.

        Parameters
        ----------
        distribution : torch or Pyro distribution, batch shape (n,), or what `probmix.adapters.as_distribution` takes
        y : array-like, (n,)
        coverages : sequence of float in (0, 1)
            Coverages of the central intervals.
        max_rows : int
            Of more rows so many are drawn, taken at random; shares are those of all rows.
        random_state : int, or generator of NumPy
            Seed of that choice.
        target_name : str, optional
            Label of the vertical axis; by default the name of `y` if it is a Series, else "y".
        ax : matplotlib Axes, optional
        color : matplotlib color
            Of the intervals; wide ones are lighter.

        Returns
        -------
        IntervalDisplay

        Raises
        ------
        TypeError
            If the distributions are of classes.
        ValueError
            If there is not one target for each row, or a coverage is not between 0 and 1.
        """
        check_coverages(coverages)
        name = getattr(y, "name", None) if target_name is None else target_name
        predicted = as_distribution(distribution)
        check_is_number(predicted, type(predicted).__name__)
        check_single_target(predicted)
        predicted, targets = checked(predicted, y)
        with torch.no_grad():
            wide = widen(predicted)
            intervals = {coverage: quantiles_of(wide, interval_levels(coverage)) for coverage in coverages}
            expected = (
                {coverage: _expected(wide, ends) for coverage, ends in intervals.items()} if has_atoms(wide) else None
            )
            median = quantiles_of(wide, 0.5)
        display = cls(
            median,
            targets.double().cpu().numpy(),
            intervals,
            expected,
            is_discrete(wide),
            "y" if name is None else str(name),
        )
        return display.plot(ax, max_rows=max_rows, random_state=random_state, color=color)

    def plot(self, ax: Axes | None = None, *, max_rows: int = 200, random_state: Any = 0, color: str = "C0") -> Self:
        """Draw, on new axes if none are given.

        Parameters
        ----------
        ax : matplotlib Axes, optional
        max_rows : int
            Of more rows so many are drawn, taken at random.
        random_state : int, or generator of NumPy
            Seed of that choice.
        color : matplotlib color
            Of the intervals; wide ones are lighter.

        Returns
        -------
        self
        """
        check_integer("max_rows", max_rows, 1)
        ax = new_axes() if ax is None else ax
        n = len(self.y)
        widest = self.intervals[max(self.intervals)]
        chosen = np.arange(n)
        if n > max_rows:
            chosen = np.sort(np.random.default_rng(check_seed(random_state)).choice(n, max_rows, replace=False))
        # of equal medians, as those of counts, the one with the higher end is the higher one
        self.rows_ = rows = chosen[np.lexsort((widest[chosen, 1], self.median[chosen]))]
        place = np.arange(len(rows))
        half_unit = 0.5 if self.whole_numbers else 0.0
        opacities = np.linspace(*_OPACITIES, len(self.intervals)) if len(self.intervals) > 1 else _OPACITIES[1:]
        for coverage, opacity in zip(reversed(self.intervals), opacities, strict=True):
            low, high = self.intervals[coverage][rows].T + np.array([[-half_unit], [half_unit]])
            look: dict[str, Any] = {"width": 0.86, "color": color, "alpha": float(opacity), "linewidth": 0}
            bars = ax.bar(place, high - low, bottom=low, label=self._label(coverage), **look)
            for bar in bars:
                # a margin below the bars as well
                bar.sticky_edges.y.clear()
        ax.plot(place, self.median[rows], color="black", linewidth=1.0, drawstyle="steps-mid", label="predicted median")
        y = self.y[rows]
        above, below = y > widest[rows, 1], y < widest[rows, 0]
        inside = ~(above | below)
        size = 4.0 if len(rows) <= 100 else 3.0
        ax.plot(place[inside], y[inside], "o", color="black", markersize=size, markeredgewidth=0, label="observed")
        outside = f"observed, outside of {100 * max(self.intervals):g} %"
        for some, marker in ((above, "^"), (below, "v")):
            if some.any():
                look = {"color": _MISSED, "markersize": 6.5, "markeredgecolor": "black", "markeredgewidth": 0.5}
                ax.plot(place[some], y[some], marker, label=outside, **look)
                # one entry of the legend for both directions
                outside = f"_{outside}"
        drawn = f"{n:,} rows" if len(rows) == n else f"{len(rows):,} of {n:,} rows, taken at random"
        ax.set_xlabel(f"{drawn},\nsorted by predicted median")
        ax.set_ylabel(self.target_name)
        ax.set_xlim(-1.0, len(rows))
        ax.set_xticks([])
        if self.whole_numbers:
            ax.locator_params(axis="y", integer=True)
        _leave_room(ax, np.maximum(widest[rows, 1], y))
        legend_with_last(ax, ["predicted median", "observed", outside.lstrip("_")])
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _label(self, coverage: float) -> str:
        label = f"{100 * coverage:g} % interval: holds {_percent(self.covered[coverage])}"
        expected = self.expected[coverage]
        return label if expected == coverage else f"{label}, should {_percent(expected)}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _leave_room(ax: Axes, tops: NDArray[np.float64]) -> None:
    """Raise the upper limit so that the legend covers none of the rows, whose tops these are from left to right."""
    width, height = _LEGEND_SIZE
    low, high = ax.get_ylim()
    left = tops[: int(np.ceil(width * len(tops)))]
    ax.set_ylim(low, max(high, low + (left.max() - low) / (1 - height)))


def _expected(distribution: Distribution, ends: NDArray[np.float64]) -> float:
    """The mean probability of closed intervals."""
    low, high = torch.as_tensor(ends, device=device_of(distribution)).unbind(-1)
    return float((cdf(distribution, high) - cdf_below(distribution, low)).mean())
