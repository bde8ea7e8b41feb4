"""Histograms of the probability integral transform."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.special import bdtr

from ..adapters import as_distribution
from ..distributions.parts import device_of
from ..scores import pit
from ._common import check_single_target, new_axes, predicted_number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

# Coverage of the band around the uniform density, bar by bar.
_BAND = 0.95


class PITHistogramDisplay:
    r"""Histogram of the probability integral transform (PIT), which is uniform where predictions are calibrated.

    A hump means that predictions are too wide, a U that they are too narrow, a slope that they are biased. Counts have
    the randomised PIT of `probmix.scores.pit`. The dashed band holds the height of a single bar in 95 % of all
    calibrated cases: with n targets and B bars, :math:`n/B` times the height is Binomial(n, 1/B).

    Make it by `from_estimator` or `from_predictions`.

    Parameters
    ----------
    values : ndarray, (n,)
        PIT values.
    bins : int
        Number of bars, all of one width.

    Attributes
    ----------
    heights : ndarray, (bins,)
        Density of the values in each bar.
    band : (float, float)
        Where the height of a bar lies in 95 % of all calibrated cases.
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure or SubFigure

    References
    ----------
    Czado, Gneiting and Held (2009), Predictive model assessment for count data, Biometrics 65, 1254-1261.

    Examples
    --------
    >>> import numpy as np
    >>> from matplotlib.figure import Figure
    >>> from probmix.plots import PITHistogramDisplay
    >>> display = PITHistogramDisplay(np.array([0.1, 0.2, 0.6, 0.9]), bins=2).plot(Figure().subplots())
    >>> display.heights
    array([1., 1.])
    """

    ax_: Axes
    figure_: Figure | SubFigure

    def __init__(self, values: NDArray[np.float64], bins: int = 10) -> None:
        if bins < 1 or len(values) == 0:
            raise ValueError(
                f"a histogram needs at least one bar and one value; got bins={bins} and {len(values)} values."
            )
        n = len(values)
        self.values = values
        self.bins = bins
        self.heights = np.histogram(values, bins, range=(0.0, 1.0))[0] * (bins / n)
        below = bdtr(np.arange(n + 1), n, 1 / bins)
        low, high = np.searchsorted(below, [(1 - _BAND) / 2, (1 + _BAND) / 2])
        self.band = (float(low * bins / n), float(high * bins / n))

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: ArrayLike,
        *,
        exposure: ArrayLike | None = None,
        bins: int = 10,
        generator: torch.Generator | None = None,
        ax: Axes | None = None,
        color: str = "C0",
    ) -> Self:
        """Draw how well a fitted estimator is calibrated on these rows; they should not be its training rows.

        Parameters
        ----------
        estimator : fitted estimator with `predict_dist`
            Also at the end of a `Pipeline`, or found by a search.
        X : array-like, (n, F)
        y : array-like, (n,)
        exposure : array-like, (n,), optional
            Of counts; needed where the estimator was fitted with exposures.
        bins, generator, ax, color
            As in `from_predictions`.

        Returns
        -------
        PITHistogramDisplay

        Raises
        ------
        TypeError
            If the estimator does not predict the distribution of a number.
        ValueError
            If exposures are missing; for an estimator with several targets.
        """
        distribution = predicted_number(estimator, X, exposure)
        return cls.from_predictions(distribution, y, bins=bins, generator=generator, ax=ax, color=color)

    @classmethod
    def from_predictions(
        cls,
        distribution: Any,
        y: ArrayLike | torch.Tensor,
        *,
        bins: int = 10,
        generator: torch.Generator | None = None,
        ax: Axes | None = None,
        color: str = "C0",
    ) -> Self:
        """Draw how well predicted distributions are calibrated.

        Parameters
        ----------
        distribution : torch or Pyro distribution, batch shape (n,), or what `probmix.adapters.as_distribution` takes
        y : array-like, (n,)
        bins : int
            Number of bars.
        generator : torch.Generator, optional
            Randomises the PIT of counts, as in `probmix.scores.pit`.
        ax : matplotlib Axes, optional
        color : matplotlib color

        Returns
        -------
        PITHistogramDisplay
        """
        distribution = as_distribution(distribution)
        check_single_target(distribution)
        with torch.no_grad():
            targets = torch.tensor(np.asarray(y, dtype=np.float64)).to(device_of(distribution))
            values: NDArray[np.float64] = pit(distribution, targets, generator).double().cpu().numpy()
        return cls(values, bins).plot(ax, color=color)

    def plot(self, ax: Axes | None = None, *, color: str = "C0") -> Self:
        """Draw, on new axes if none are given.

        Parameters
        ----------
        ax : matplotlib Axes, optional
        color : matplotlib color
            Of the bars.

        Returns
        -------
        self
        """
        ax = new_axes() if ax is None else ax
        left = np.arange(self.bins) / self.bins
        label = f"{len(self.values):,} targets"
        ax.bar(left, self.heights, 1 / self.bins, align="edge", label=label, color=color, edgecolor="white", alpha=0.6)
        ax.axhline(1.0, color="black", linewidth=1.2, label="uniform")
        for end, name in zip(self.band, (f"{100 * _BAND:g} % of bars if uniform", None), strict=True):
            ax.axhline(end, color="black", linewidth=1.0, linestyle="--", label=name)
        ax.set_xlim(0.0, 1.0)
        # room for the legend above the bars
        ax.set_ylim(0.0, 1.4 * max(self.heights.max(), self.band[1]))
        ax.set_xlabel("probability integral transform")
        ax.set_ylabel("density")
        ax.legend(frameon=False, loc="upper center")
        self.ax_, self.figure_ = ax, ax.figure
        return self
