"""Scores of several models beside each other, with their uncertainty."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtrit
from torch import Tensor

from .._names import unknown_name
from ..scores._named import level_of
from ..scores.comparison import compare_rows
from ..scores.evaluate import score_rows
from ._common import new_axes
from ._words import score_in_words

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure


class ScoreComparisonDisplay:
    """Dot plot of one score of several models: differences to a baseline, or means, with confidence intervals.

    Rows of the test data are shared, so that differences row by row are far surer than the means: whether a model is
    better than the baseline is to be read from the interval of the difference, and not from whether intervals of means
    overlap. A filled dot has an interval of the difference without zero; where means of coverages are drawn, an
    interval without 0.9. Intervals are those of the t distribution, which `probmix.scores.evaluate` explains.

    Make it by `from_estimators` or `from_predictions`.

    Parameters
    ----------
    table : DataFrame
        From `probmix.scores.evaluate`.
    score : str
        Which of its scores.
    difference : bool
        Whether to draw differences to the baseline, or means.
    confidence : float
        Of the intervals.

    Attributes
    ----------
    names : list of str
        Models, from top to bottom.
    baseline : str
        The model that the others are compared with.
    values : ndarray, (models,)
        What the dots show; the difference of the baseline is 0.
    half_widths : ndarray, (models,)
        Of the intervals; NaN where there is none.
    reference : float
        Where the dashed line is: at the baseline, or at the level of a coverage.
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure or SubFigure

    Examples
    --------
    >>> import numpy as np
    >>> from matplotlib.figure import Figure
    >>> from scipy import stats
    >>> from probmix.plots import ScoreComparisonDisplay
    >>> models = {"narrow": stats.norm(np.zeros(3), 1.0), "wide": stats.norm(np.zeros(3), 2.0)}
    >>> display = ScoreComparisonDisplay.from_predictions(models, [0.1, -0.5, 2.0], ax=Figure().subplots())
    >>> display.values.round(3)
    array([0.   , 0.161])
    """

    ax_: Axes
    figure_: Figure | SubFigure

    def __init__(
        self,
        table: pd.DataFrame,
        score: str,
        difference: bool = True,
        confidence: float = 0.95,
    ) -> None:
        if not 0 < confidence < 1:
            raise ValueError(f"`confidence` must lie between 0 and 1, got {confidence}. For 95 % pass 0.95.")
        scores = table.index.get_level_values("score")
        if score not in scores:
            raise unknown_name("score", score, set(scores))
        lines = table.xs(score, level="score")
        self.score = score
        self.names = list(lines.index)
        self.baseline = table.attrs.get("baseline", self.names[0])
        self.difference = difference
        self.confidence = confidence
        mean, error = ("difference", "difference_error") if difference else ("mean", "standard_error")
        self.values: NDArray[np.float64] = lines[mean].to_numpy(dtype=np.float64, copy=True)
        if difference and np.isfinite(lines["mean"][self.baseline]):
            self.values[self.names.index(self.baseline)] = 0.0
        degrees = lines["n"].to_numpy(dtype=np.float64) - 1
        quantile = stdtrit(degrees, (1 + confidence) / 2)
        self.half_widths: NDArray[np.float64] = quantile * lines[error].to_numpy(dtype=np.float64)
        nominal = _nominal(score)
        if nominal is not None and not difference:
            # means of coverages are compared with what they should be, not with a baseline
            self.reference = nominal
            self._apart = np.abs(self.values - nominal) > self.half_widths
        else:
            self.reference = float(self.values[self.names.index(self.baseline)])
            apart = lines["difference"].abs() > quantile * lines["difference_error"]
            self._apart = apart.to_numpy(dtype=bool)

    @classmethod
    def from_estimators(
        cls,
        estimators: Mapping[str, Any],
        X: Any,
        y: ArrayLike | Tensor,
        *,
        score: str = "nll",
        baseline: str | None = None,
        difference: bool = True,
        confidence: float = 0.95,
        sample_weight: ArrayLike | None = None,
        exposure: ArrayLike | None = None,
        ax: Axes | None = None,
        color: str = "C0",
    ) -> Self:
        """Score fitted models on these rows, which should not be their training rows, and draw how they compare.

        Parameters
        ----------
        estimators : dict of str to model
            Whatever `probmix.scores.evaluate` takes, from any library, also predictions.
        X : array-like, (n, F)
        y : array-like, (n,)
        score : str
            One of those of `probmix.scores.evaluate`.
        baseline : str, optional
            By default the first model.
        difference : bool
            Whether to draw differences to the baseline, or means.
        confidence : float
            Of the intervals, between 0 and 1.
        sample_weight : array-like, (n,), optional
        exposure : array-like, (n,), optional
            For the models that were fitted with exposures, as in `probmix.scores.evaluate`.
        ax : matplotlib Axes, optional
        color : matplotlib color

        Returns
        -------
        ScoreComparisonDisplay

        Raises
        ------
        TypeError, ValueError
            As `probmix.scores.evaluate`, and for a confidence that is not between 0 and 1.
        """
        rows = score_rows(estimators, X, y, scores=[score], exposure=exposure)
        table = compare_rows(rows, baseline=baseline, sample_weight=sample_weight)
        return cls(table, score, difference, confidence).plot(ax, color=color)

    @classmethod
    def from_predictions(
        cls,
        predictions: Mapping[str, Any],
        y: ArrayLike | Tensor,
        *,
        score: str = "nll",
        baseline: str | None = None,
        difference: bool = True,
        confidence: float = 0.95,
        sample_weight: ArrayLike | None = None,
        ax: Axes | None = None,
        color: str = "C0",
    ) -> Self:
        """Draw how predictions compare that are there already.

        Parameters
        ----------
        predictions : dict of str to prediction
            Distributions, or arrays (n, m) of draws; see `probmix.adapters.as_distribution`.
        y : array-like, (n,)
        score, baseline, difference, confidence, sample_weight, ax, color
            As in `from_estimators`.

        Returns
        -------
        ScoreComparisonDisplay
        """
        return cls.from_estimators(
            predictions,
            None,
            y,
            score=score,
            baseline=baseline,
            difference=difference,
            confidence=confidence,
            sample_weight=sample_weight,
            ax=ax,
            color=color,
        )

    def plot(self, ax: Axes | None = None, *, color: str = "C0") -> Self:
        """Draw, on new axes if none are given.

        Parameters
        ----------
        ax : matplotlib Axes, optional
        color : matplotlib color
            Of dots and intervals.

        Returns
        -------
        self
        """
        ax = new_axes() if ax is None else ax
        if np.isfinite(self.reference):
            ax.axvline(self.reference, color="black", linewidth=1.0, linestyle="--")
        for place, (name, value, half_width) in enumerate(zip(self.names, self.values, self.half_widths, strict=True)):
            if not np.isfinite(value):
                words = "not defined" if np.isnan(value) else "infinite"
                # x in shares of the axes, y in their data
                ax.text(0.02, place, words, transform=ax.get_yaxis_transform(), va="center", style="italic")
                continue
            if np.isfinite(half_width):
                ends = [value - half_width, value + half_width]
                ax.plot(ends, [place, place], color=color, linewidth=2.0, solid_capstyle="butt")
            if name == self.baseline and self.reference == value:
                ax.plot([value], [place], "D", color="black", markersize=5)
            else:
                face = color if self._apart[place] else "white"
                ax.plot([value], [place], "o", color=color, markerfacecolor=face, markeredgewidth=1.6, markersize=7)
        ax.set_yticks(range(len(self.names)), self.names)
        ax.set_ylim(len(self.names) - 0.4, -0.6)
        ax.grid(axis="x", linewidth=0.5, alpha=0.5)
        ax.set_axisbelow(True)
        score, nominal, better = score_in_words(self.score), _nominal(self.score), "smaller is better"
        label = f"difference in {score} to {self.baseline}" if self.difference else f"mean {score}"
        if self.score == "accuracy":
            better = "larger is better"
        elif nominal is not None:
            better = "neither side is better" if self.difference else f"best at {nominal:g}"
        ax.set_xlabel(f"{label}\n({100 * self.confidence:g} % intervals; {better})")
        self.ax_, self.figure_ = ax, ax.figure
        return self


def _nominal(score: str) -> float | None:
    """What a coverage should be; None for other scores."""
    level = level_of(score)
    return level[1] if level is not None and level[0] == "coverage" else None
