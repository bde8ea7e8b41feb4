"""Which features matter, by permutation on a proper score."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtrit
from sklearn.utils import _safe_indexing

from .._checks import check_integer, check_seed
from ._columns import feature_name, frame_of, has_names
from ._common import new_axes, numbers_of_rows
from ._permutation import Score, losses_by_column
from ._words import score_in_words, shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

# Coverage of the intervals of importances.
_CONFIDENCE = 0.95
_LONGEST_NAME = 19


class ImportanceDisplay:
    r"""Permutation importance: by how much a proper score gets worse when one feature is shuffled among the rows.

    With the score S (smaller is better) and R permutations :math:`\pi_r` of the rows, a feature has the importance

    .. math:: I = \frac 1n \sum_i d_i,\qquad
        d_i = \frac 1R \sum_r S(p(\cdot \mid x_i \text{ with the feature of row } \pi_r(i)),\, y_i) - S(p_i, y_i)

    with the standard error of a mean of the n differences :math:`d_i`, which holds the noise of the permutations and
    that of the rows. A proper score sees what a feature says of the whole distribution: a feature that moves the
    spread alone matters as well. Features that stand for each other share their importance, or hide it.

    Make it by `from_estimator`.

    Parameters
    ----------
    names : sequence of str
        Of the features.
    values, errors : ndarray, (F,)
        Importances and their standard errors.
    baseline : float
        Mean score of the rows as they are.
    n : int
        Number of rows.
    score_name : str

    Attributes
    ----------
    names, values, errors
        In decreasing order of importance.
    positions : ndarray of int, (F,)
        Numbers of these features in X.
    half_widths : ndarray, (F,)
        Of the 95 % intervals of the t distribution that are drawn.
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure or SubFigure

    References
    ----------
    Breiman (2001), Random forests, Machine Learning 45, 5-32, section 10.
    Fisher, Rudin and Dominici (2019), All models are wrong, but many are useful, JMLR 20 (177).

    Examples
    --------
    >>> import pandas as pd
    >>> from matplotlib.figure import Figure
    >>> from sklearn.linear_model import BayesianRidge
    >>> from probmix.plots import ImportanceDisplay
    >>> X = pd.DataFrame({"noise": [0.3, -1.0, 0.4, 0.1, 0.9, -0.3], "dose": [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]})
    >>> y = [0.1, 1.2, 1.9, 3.1, 3.8, 5.2]
    >>> model = BayesianRidge().fit(X, y)
    >>> ImportanceDisplay.from_estimator(model, X, y, score="crps", ax=Figure().subplots()).names
    ['dose', 'noise']
    """

    ax_: Axes
    figure_: Figure | SubFigure

    def __init__(
        self,
        names: Sequence[str],
        values: NDArray[np.float64],
        errors: NDArray[np.float64],
        baseline: float,
        n: int,
        score_name: str = "score",
    ) -> None:
        if not len(names) == len(values) == len(errors) or len(names) == 0:
            raise ValueError(
                "there must be a name, an importance and a standard error of each feature, and at least one; got "
                f"{len(names)}, {len(values)} and {len(errors)}."
            )
        # what is no number last
        self.positions = np.argsort(-values, kind="stable")
        self.names = [names[place] for place in self.positions]
        self.values = values[self.positions]
        self.errors = errors[self.positions]
        self.baseline = baseline
        self.n = n
        self.score_name = score_name
        self.half_widths: NDArray[np.float64] = stdtrit(float(n - 1), (1 + _CONFIDENCE) / 2) * self.errors

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike | pd.DataFrame,
        y: ArrayLike,
        *,
        score: Score = "nll",
        exposure: ArrayLike | None = None,
        n_repeats: int = 3,
        max_rows: int = 1000,
        max_features: int = 15,
        random_state: Any = 0,
        ax: Axes | None = None,
        color: str = "C0",
    ) -> Self:
        """Shuffle one feature after the other and draw what the score loses; the rows should not be training rows.

        Parameters
        ----------
        estimator : fitted model
            Whatever `probmix.adapters.adapt` takes, also of classes.
        X : array-like or DataFrame, (n, F)
            Cells of any kind: columns are shuffled as they are.
        y : array-like, (n,) or (n, targets)
        score : str or callable
            A score of `probmix.scores.evaluate` of which smaller is better, such as "nll", "crps" or "interval90", for
            classes "nll", "brier" or "rps". Or a function of a predicted distribution and the targets that gives one
            value per row, such as those of `probmix.scores`.
        exposure : array-like, (n,), optional
            Of counts, kept for each row as it is; needed where the estimator was fitted with exposures.
        n_repeats : int
            Permutations of each feature.
        max_rows : int
            Of more rows so many are used, taken at random.
        max_features : int
            How many features are drawn, the most important ones; attributes have all.
        random_state : int, or generator of NumPy
            Seed of the permutations and of that choice.
        ax : matplotlib Axes, optional
        color : matplotlib color

        Returns
        -------
        ImportanceDisplay

        Raises
        ------
        TypeError
            If the estimator predicts no distributions.
        ValueError
            As `probmix.scores.evaluate`; for a score of which smaller is not better, or that gives no value per row.
        """
        check_integer("n_repeats", n_repeats, 1)
        check_integer("max_rows", max_rows, 2)
        if isinstance(score, str) and (score == "accuracy" or score.startswith("coverage")):
            raise ValueError(f"`score` must be one of which smaller is better; got {score!r}. Pass 'nll' or 'crps'.")
        frame = frame_of(X)
        n = len(frame)
        if n == 0:
            raise ValueError("`X` must have at least one row; got none.")
        if (size := len(np.asarray(y))) != n:
            raise ValueError(f"`y` must hold a target for each of the {n} rows of X; got {size}.")
        exposures = None if exposure is None else numbers_of_rows(exposure, "exposure", n)
        generator = np.random.default_rng(check_seed(random_state))
        named = has_names(X, frame)
        if n > max_rows:
            chosen = np.sort(generator.choice(n, max_rows, replace=False))
            frame, y = frame.iloc[chosen].reset_index(drop=True), _safe_indexing(y, chosen)
            exposures = None if exposures is None else exposures[chosen]
        before, losses = losses_by_column(estimator, frame, y, score, exposures, named, n_repeats, generator)
        with np.errstate(invalid="ignore"):
            errors = losses.std(1, ddof=1) / np.sqrt(len(frame)) if len(frame) > 1 else np.full(len(losses), np.nan)
        display = cls(
            [feature_name(X, frame, place) for place in range(frame.shape[1])],
            losses.mean(1),
            errors,
            float(before.mean()),
            len(frame),
            _words(score),
        )
        return display.plot(ax, max_features=max_features, color=color)

    def plot(self, ax: Axes | None = None, *, max_features: int = 15, color: str = "C0") -> Self:
        """Draw, on new axes if none are given.

        Parameters
        ----------
        ax : matplotlib Axes, optional
        max_features : int
            How many features are drawn, the most important ones.
        color : matplotlib color
            Of the bars; those whose interval holds zero are pale.

        Returns
        -------
        self
        """
        check_integer("max_features", max_features, 1)
        ax = new_axes() if ax is None else ax
        values, half_widths = self.values[:max_features], self.half_widths[:max_features]
        for place, (value, half_width) in enumerate(zip(values, half_widths, strict=True)):
            if not np.isfinite(value):
                words = "not defined" if np.isnan(value) else "infinite"
                # x in shares of the axes, y in their data
                ax.text(0.02, place, words, transform=ax.get_yaxis_transform(), va="center", style="italic")
                continue
            apart = not abs(value) <= half_width
            bars = ax.barh(place, value, 0.7, color=color, alpha=0.8 if apart else 0.25, linewidth=0)
            bars[0].sticky_edges.x.clear()
            if np.isfinite(half_width):
                ends = [value - half_width, value + half_width]
                ax.plot(ends, [place, place], color="black", linewidth=1.4, solid_capstyle="butt", gid="interval")
        ax.axvline(0.0, color="black", linewidth=0.8)
        ax.set_yticks(range(len(values)), [shortened(name, _LONGEST_NAME) for name in self.names[:max_features]])
        ax.set_ylim(len(values) - 0.4, -0.6)
        ax.grid(axis="x", linewidth=0.5, alpha=0.5)
        ax.set_axisbelow(True)
        ax.locator_params(axis="x", nbins=5)
        if len(values) < len(self.names):
            ax.set_ylabel(f"{len(values)} of {len(self.names)} features")
        ax.set_xlabel(f"increase in mean {self.score_name}\nwhen shuffled ({100 * _CONFIDENCE:g} % intervals)")
        self.ax_, self.figure_ = ax, ax.figure
        return self


def _words(score: Score) -> str:
    if not isinstance(score, str):
        return str(getattr(score, "__name__", "score")).replace("_", " ")
    # rows have squared errors
    return "squared error" if score == "rmse" else score_in_words(score)
