"""Nominal against observed coverage."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.special import bdtr

from ..adapters import as_distribution
from ..distributions.parts import device_of
from ..scores.curves import coverage_curve
from ._common import check_single_target, new_axes, predicted_number
from ._square import square_with_legend

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

# Share of all calibrated cases in the band around the diagonal, level by level.
_BAND = 0.95
# Curves on the same axes, told apart in greyscale too.
_MARKERS = "os^Dv*"
_CURVE = "coverage curve"


class CoverageDisplay:
    r"""Share of targets in central prediction intervals, over the share that they should hold.

    On the diagonal predictions are calibrated; below it they are too narrow, above it too wide. Counts have the
    randomised intervals of `probmix.scores.coverage_curve`. The shaded band holds the share at a single level in 95 %
    of all calibrated cases: n times the share is Binomial(n, level).

    Make it by `from_estimator` or `from_predictions`. Drawn on the same axes, several displays are told apart by
    colour and marker, and the diagonal and the band are those of the first.

    Parameters
    ----------
    levels, coverage : ndarray, (L,)
        Nominal and observed coverage, at increasing levels.
    n : int
        Number of targets.
    name : str, optional
        Of the model, for the legend.

    Attributes
    ----------
    line_ : matplotlib Line2D
        The curve.
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure or SubFigure

    References
    ----------
    Gneiting, Balabdaoui and Raftery (2007), Probabilistic forecasts, calibration and sharpness, JRSS B 69, 243-268.

    Examples
    --------
    >>> import numpy as np
    >>> from matplotlib.figure import Figure
    >>> from probmix.plots import CoverageDisplay
    >>> display = CoverageDisplay(np.array([0.5, 0.9]), np.array([0.4, 0.8]), n=10).plot(Figure().subplots())
    >>> display.band(0.5)
    (0.2, 0.8)
    """

    line_: Any
    ax_: Axes
    figure_: Figure | SubFigure

    def __init__(
        self, levels: NDArray[np.float64], coverage: NDArray[np.float64], n: int, name: str | None = None
    ) -> None:
        if len(levels) != len(coverage) or len(levels) == 0 or n < 1:
            raise ValueError(
                "a coverage curve needs one coverage for each level, and at least one level and one target; "
                f"got {len(levels)} levels, {len(coverage)} coverages and n={n}."
            )
        self.levels = levels
        self.coverage = coverage
        self.n = n
        self.name = name

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: ArrayLike,
        *,
        exposure: ArrayLike | None = None,
        levels: Sequence[float] | None = None,
        name: str | None = None,
        generator: torch.Generator | None = None,
        ax: Axes | None = None,
        color: str | None = None,
    ) -> Self:
        """Draw the coverage of a fitted estimator on these rows; they should not be its training rows.

        Parameters
        ----------
        estimator : fitted estimator with `predict_dist`
            Also at the end of a `Pipeline`, or found by a search.
        X : array-like, (n, F)
        y : array-like, (n,)
        exposure : array-like, (n,), optional
            Of counts; needed where the estimator was fitted with exposures.
        name : str, optional
            By default the name of the estimator's class.
        levels, generator, ax, color
            As in `from_predictions`.

        Returns
        -------
        CoverageDisplay

        Raises
        ------
        TypeError
            If the estimator does not predict the distribution of a number.
        ValueError
            If exposures are missing; for an estimator with several targets, or a level that is not between 0 and 1.
        """
        distribution = predicted_number(estimator, X, exposure)
        name = type(estimator).__name__ if name is None else name
        return cls.from_predictions(distribution, y, levels=levels, name=name, generator=generator, ax=ax, color=color)

    @classmethod
    def from_predictions(
        cls,
        distribution: Any,
        y: ArrayLike | torch.Tensor,
        *,
        levels: Sequence[float] | None = None,
        name: str | None = None,
        generator: torch.Generator | None = None,
        ax: Axes | None = None,
        color: str | None = None,
    ) -> Self:
        """Draw the coverage of predicted distributions.

        Parameters
        ----------
        distribution : torch or Pyro distribution, batch shape (n,), or what `probmix.adapters.as_distribution` takes
        y : array-like, (n,)
        levels : sequence of float in (0, 1), optional
            By default 0.05, 0.10, ..., 0.95.
        name : str, optional
            Of the model, for the legend.
        generator : torch.Generator, optional
            Randomises the PIT of counts, as in `probmix.scores.pit`.
        ax : matplotlib Axes, optional
            May hold other curves already.
        color : matplotlib color, optional
            By default the next one of the colour cycle.

        Returns
        -------
        CoverageDisplay
        """
        distribution = as_distribution(distribution)
        check_single_target(distribution)
        targets = torch.tensor(np.asarray(y, dtype=np.float64)).to(device_of(distribution))
        ordered = None if levels is None else sorted(levels)
        with torch.no_grad():
            curve = coverage_curve(distribution, targets, ordered, generator=generator)
        nominal, observed = (values.double().cpu().numpy() for values in curve)
        return cls(nominal, observed, len(targets), name).plot(ax, color=color)

    def band(self, level: float) -> tuple[float, float]:
        """Where the coverage at this level lies in 95 % of all calibrated cases with as many targets."""
        below = bdtr(np.arange(self.n + 1), self.n, level)
        low, high = np.searchsorted(below, [(1 - _BAND) / 2, (1 + _BAND) / 2])
        return float(low / self.n), float(high / self.n)

    def plot(self, ax: Axes | None = None, *, color: str | None = None) -> Self:
        """Draw, on new axes if none are given.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            May hold other curves already.
        color : matplotlib color, optional
            Of the curve.

        Returns
        -------
        self
        """
        ax = new_axes() if ax is None else ax
        before = sum(line.get_gid() == _CURVE for line in ax.lines)
        if before == 0:
            grid = np.linspace(0.0, 1.0, 101)
            low, high = np.array([self.band(level) for level in grid]).T
            label = f"{100 * _BAND:g} % of cases\nif calibrated,\n{self.n:,} targets"
            ax.fill_between(grid, low, high, color="black", alpha=0.12, linewidth=0, label=label)
            ax.plot([0.0, 1.0], [0.0, 1.0], color="black", linewidth=1.0, linestyle="--", label="calibrated")
        (self.line_,) = ax.plot(
            self.levels,
            self.coverage,
            color=f"C{before}" if color is None else color,
            marker=_MARKERS[before % len(_MARKERS)],
            markersize=4.5,
            linewidth=1.5,
            label="predictions" if self.name is None else self.name,
            gid=_CURVE,
            # whole markers also at 0 and 1
            clip_on=False,
            zorder=3,
        )
        square_with_legend(ax, "nominal coverage of central intervals", "observed coverage")
        self.ax_, self.figure_ = ax, ax.figure
        return self
