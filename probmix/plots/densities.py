"""Densities and mass functions of single rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import _safe_indexing

from .._numbers import as_numpy
from .._targets import checked_targets
from ..adapters import as_distribution
from ..distributions import is_discrete
from ..distributions.parts import device_of
from ._common import check_is_number, check_single_target, legend_with_last, new_axes, numbers_of_rows, predicted_number
from ._curves import Density, densities_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

_MOST_ROWS = 8
_DEFAULT_ROWS = 4
# More whole numbers than these are drawn as a line.
_BARS = 120
# Height of the highest point of a row, whose baseline is one below that of the row before.
_HEIGHT = 0.8
_OBSERVED = "#d55e00"
_NAMED_MASSES = 2


class DensityDisplay:
    """Predicted densities of single rows, or probabilities of counts, one below the other, with the observed targets.

    Each row is scaled to its own highest point, so that sharp and wide predictions can be read side by side: compare
    widths and shapes, not heights. Point masses, such as the zeros of a zero-adjusted distribution, are stems; one
    as high as the highest point of a density would be of 100 %, and the largest ones are given as numbers on the right.

    Make it by `from_estimator` or `from_predictions`.

    Parameters
    ----------
    rows : sequence of Density
        From top to bottom.
    names : sequence of str
        Of the rows.
    y : ndarray, (rows,), optional
        Observed targets.
    whole_numbers : bool
        Whether targets are counts.
    target_name : str
        Label of the horizontal axis.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure or SubFigure

    Examples
    --------
    >>> import numpy as np
    >>> from matplotlib.figure import Figure
    >>> from scipy import stats
    >>> from probmix.plots import DensityDisplay
    >>> predicted = stats.gamma(np.array([2.0, 9.0]))
    >>> display = DensityDisplay.from_predictions(predicted, [1.0, 12.0], ax=Figure().subplots())
    >>> display.names, [float(row.density.max().round(2)) for row in display.rows]
    (['row 0', 'row 1'], [0.37, 0.14])
    """

    ax_: Axes
    figure_: Figure | SubFigure

    def __init__(
        self,
        rows: Sequence[Density],
        names: Sequence[str],
        y: NDArray[np.float64] | None = None,
        whole_numbers: bool = False,
        target_name: str = "y",
    ) -> None:
        if not rows or len(names) != len(rows) or (y is not None and len(y) != len(rows)):
            targets = "no" if y is None else len(y)
            raise ValueError(
                "there must be at least one row, with a name and, if there are any, a target for each; got "
                f"{len(rows)} rows, {len(names)} names and {targets} targets."
            )
        self.rows = list(rows)
        self.names = list(names)
        self.y = y
        self.whole_numbers = whole_numbers
        self.target_name = target_name

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: ArrayLike | None = None,
        *,
        rows: Sequence[int] | None = None,
        exposure: ArrayLike | None = None,
        names: Sequence[str] | None = None,
        target_name: str | None = None,
        ax: Axes | None = None,
        color: str = "C0",
    ) -> Self:
        """Draw what a fitted estimator predicts for some rows.

        Parameters
        ----------
        estimator : fitted estimator with `predict_dist`
            Also at the end of a `Pipeline`, or found by a search.
        X : array-like, (n, F)
        y : array-like, (n,), optional
        rows : sequence of int, optional
            Which rows, at most eight; by default the first four.
        exposure : array-like, (n,), optional
            Of counts; needed where the estimator was fitted with exposures.
        names, target_name, ax, color
            As in `from_predictions`.

        Returns
        -------
        DensityDisplay

        Raises
        ------
        TypeError
            If the estimator does not predict the distribution of a number.
        ValueError
            For rows that do not exist, or too many; if targets or exposures do not match X, or exposures are missing.
        NotImplementedError
            If what is predicted has no density, such as quantiles or draws.
        """
        X = as_numpy(X)
        n = X.shape[0] if hasattr(X, "shape") else len(X)
        chosen = _chosen(rows, n)
        some = None if exposure is None else numbers_of_rows(exposure, "exposure", n)[chosen]
        targets = None if y is None else numbers_of_rows(y, "y", n)[chosen]
        distribution = predicted_number(estimator, _safe_indexing(X, chosen), some)
        return cls.from_predictions(
            distribution,
            targets,
            rows=np.arange(len(chosen)).tolist(),
            names=[f"row {row}" for row in chosen] if names is None else names,
            target_name=getattr(y, "name", None) if target_name is None else target_name,
            ax=ax,
            color=color,
        )

    @classmethod
    def from_predictions(
        cls,
        distribution: Any,
        y: ArrayLike | None = None,
        *,
        rows: Sequence[int] | None = None,
        names: Sequence[str] | None = None,
        target_name: str | None = None,
        ax: Axes | None = None,
        color: str = "C0",
    ) -> Self:
        """Draw some rows of predicted distributions.

        Parameters
        ----------
        distribution : torch or Pyro distribution, batch shape (n,), or what `probmix.adapters.as_distribution` takes
        y : array-like, (n,), optional
            Observed targets, drawn as ticks.
        rows : sequence of int, optional
            Which rows, at most eight; by default the first four.
        names : sequence of str, optional
            Of these rows; by default "row 0" and so on.
        target_name : str, optional
            Label of the horizontal axis; by default the name of `y` if it is a Series, else "y".
        ax : matplotlib Axes, optional
        color : matplotlib color
            Of the densities.

        Returns
        -------
        DensityDisplay

        Raises
        ------
        TypeError
            If the distributions are of classes.
        ValueError
            For rows that do not exist, or too many; if there is not one target for each row of the distribution.
        NotImplementedError
            If the distributions have no density, such as draws.
        """
        predicted = as_distribution(distribution)
        check_is_number(predicted, type(predicted).__name__)
        check_single_target(predicted)
        n = predicted.batch_shape[0]
        chosen = _chosen(rows, n)
        name = getattr(y, "name", None) if target_name is None else target_name
        targets = None
        if y is not None:
            checked_targets(predicted, torch.from_numpy(numbers_of_rows(y, "y", n)).to(device_of(predicted)))
            targets = numbers_of_rows(y, "y", n)[chosen]
        display = cls(
            densities_of(predicted, chosen),
            [f"row {row}" for row in chosen] if names is None else names,
            targets,
            is_discrete(predicted),
            "y" if name is None else str(name),
        )
        return display.plot(ax, color=color)

    def plot(self, ax: Axes | None = None, *, color: str = "C0") -> Self:
        """Draw, on new axes if none are given.

        Parameters
        ----------
        ax : matplotlib Axes, optional
        color : matplotlib color
            Of the densities.

        Returns
        -------
        self
        """
        ax = new_axes() if ax is None else ax
        baselines = -np.arange(len(self.rows), dtype=np.float64)
        of_all: dict[str, Any] = {"label": "probability" if self.whole_numbers else "density"}
        of_masses: dict[str, Any] = {"label": "point mass"}
        for base, row in zip(baselines, self.rows, strict=True):
            ax.axhline(base, color="0.75", linewidth=0.8, zorder=0)
            _plot_row(ax, row, base, self.whole_numbers, color, of_all)
            for place, mass in row.masses:
                top = base + _HEIGHT * mass
                ax.plot([place, place], [base, top], color="black", linewidth=2.2, solid_capstyle="butt", **of_masses)
                ax.plot([place], [top], "s", color="black", markersize=5)
                of_masses = {}
            if len(row.masses):
                # x in shares of the axes, y in data
                words = ", ".join(f"{100 * mass:.1f} % at {place:g}" for place, mass in _largest(row.masses))
                where = ax.get_yaxis_transform()
                ax.text(0.99, base + 0.3, words, transform=where, ha="right", fontsize="small", gid="masses")
            of_all = {}
        if self.y is not None:
            ax.vlines(self.y, baselines, baselines + 0.4, color=_OBSERVED, linewidth=2.0, zorder=3)
            look: dict[str, Any] = {"color": _OBSERVED, "markeredgecolor": "black", "markersize": 7, "zorder": 3}
            ax.plot(self.y, baselines - 0.1, "^", label="observed", **look)
        ax.set_yticks(baselines, self.names)
        # room for the legend above
        ax.set_ylim(baselines[-1] - 0.3, _HEIGHT + 0.15 * (len(self.rows) + 1))
        ax.set_xlabel(self.target_name)
        if self.whole_numbers:
            ax.locator_params(axis="x", integer=True)
        legend_with_last(ax, ["observed"], ncols=3, columnspacing=1.2)
        self.ax_, self.figure_ = ax, ax.figure
        return self


def _largest(masses: NDArray[np.float64]) -> NDArray[np.float64]:
    """The largest point masses, of which there is room to say so."""
    return masses[np.argsort(-masses[:, 1], kind="stable")[:_NAMED_MASSES]]


def _plot_row(ax: Axes, row: Density, base: float, whole: bool, color: str, label: dict[str, Any]) -> None:
    highest = row.density.max(initial=0.0)
    heights = _HEIGHT * row.density / highest if highest > 0 else row.density
    if not len(row.values):
        return
    if whole and row.values[-1] - row.values[0] <= _BARS:
        ax.bar(row.values, heights, 0.8, bottom=base, color=color, alpha=0.6, linewidth=0, **label)
    else:
        ax.fill_between(row.values, base, base + heights, color=color, alpha=0.45, linewidth=0, **label)
        ax.plot(row.values, base + heights, color=color, linewidth=1.2)


def _chosen(rows: Sequence[int] | None, n: int) -> NDArray[np.intp]:
    if rows is None:
        return np.arange(min(n, _DEFAULT_ROWS))
    chosen = np.asarray(rows)
    is_index = chosen.ndim == 1 and chosen.dtype.kind in "iu" and 1 <= len(chosen) <= _MOST_ROWS
    if not is_index or chosen.min() < 0 or chosen.max() >= n:
        raise ValueError(f"`rows` must be one to {_MOST_ROWS} numbers of rows, from 0 to {n - 1}; got {rows!r}.")
    return chosen.astype(np.intp)
