"""Losses by epoch, of training and of validation rows."""

from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from .._models import last_step
from ._common import legend_with_last, new_axes
from ._words import score_in_words

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

_TRAINING = "#d55e00"
# Losses above those of most epochs leave the axes: a member that diverges would hide what the others learn.
_MOST = 0.98
_BEST = "best epoch"
# Height that the legend takes of small axes.
_LEGEND = 0.17


class TrainingDisplay:
    """Mean loss of the training rows and of the validation rows after each epoch, a line for each member.

    Where the validation loss rises while the training loss still falls, the network learns its rows by heart; a dot
    marks the epoch whose weights a member has. The training loss is the one that was made small: that of rows as they
    were mixed, over the steps of the epoch, by the weights before each step. Under a mixup, or with dropout, it lies
    higher than a loss of the rows as they are.

    Make it by `from_estimator`.

    Parameters
    ----------
    training, validation : ndarray, (epochs, members)
        NaN after the epoch in which a member stopped; no columns where there is no such curve.
    best_epoch : ndarray of int, (members,)
        From 1; 0 for a member that never beat the distribution of the targets without features.
    loss_name : str
    mixed : bool
        Whether training rows were mixed.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure or SubFigure

    Examples
    --------
    >>> import numpy as np
    >>> from matplotlib.figure import Figure
    >>> from probmix.plots import TrainingDisplay
    >>> training, validation = np.array([[2.0], [1.5], [1.2]]), np.array([[1.9], [1.7], [1.8]])
    >>> display = TrainingDisplay(training, validation, np.array([2])).plot(Figure().subplots())
    >>> display.ax_.get_xlabel()
    'epoch'
    """

    ax_: "Axes"
    figure_: "Figure | SubFigure"

    def __init__(
        self,
        training: NDArray[np.float64],
        validation: NDArray[np.float64],
        best_epoch: NDArray[np.int64],
        loss_name: str = "loss",
        mixed: bool = False,
    ) -> None:
        curves = [curve for curve in (training, validation) if curve.ndim == 2 and curve.shape[1]]
        if not curves or any(curve.shape[1] != len(best_epoch) for curve in curves):
            raise ValueError(
                "there must be losses of training or of validation rows, or both, with a column for each of the "
                f"{len(best_epoch)} members; got shapes {training.shape} and {validation.shape}."
            )
        self.training = training
        self.validation = validation
        self.best_epoch = best_epoch
        self.loss_name = loss_name
        self.mixed = mixed

    @classmethod
    def from_estimator(cls, estimator: Any, *, ax: "Axes | None" = None, color: str = "C0") -> Self:
        """Draw how a fitted estimator was trained.

        Parameters
        ----------
        estimator : fitted DensityRegressor or DensityClassifier
            Also at the end of a `Pipeline`, or found by a search. Of a stack pass one of its `candidates_`.
        ax : matplotlib Axes, optional
        color : matplotlib color
            Of the validation losses.

        Returns
        -------
        TrainingDisplay

        Raises
        ------
        TypeError
            If there is no training to draw: of a stack, and of models of other libraries.
        ValueError
            If an estimator from an old file has no losses of validation rows, and those of training rows were not kept.
        """
        model = last_step(estimator)
        if hasattr(model, "candidates_"):
            raise TypeError(
                "a stack has no training of its own, only its candidates have. Pass one of them, such as "
                "model.candidates_[0]; model.stack_ says which is which."
            )
        if not hasattr(model, "validation_curve_"):
            raise TypeError(
                "a display of training needs a fitted DensityRegressor or DensityClassifier, with `validation_curve_`; "
                f"got {type(model).__name__}."
            )
        display = cls(
            # files of earlier versions have none
            getattr(model, "training_curve_", np.empty((0, 0))),
            model.validation_curve_,
            model.best_epoch_,
            f"mean {score_in_words(getattr(model, 'loss', 'nll'))}",
            model.mixup_.at is not None,
        )
        return display.plot(ax, color=color)

    def plot(self, ax: "Axes | None" = None, *, color: str = "C0") -> Self:
        """Draw, on new axes if none are given.

        Parameters
        ----------
        ax : matplotlib Axes, optional
        color : matplotlib color
            Of the validation losses.

        Returns
        -------
        self
        """
        ax = new_axes() if ax is None else ax
        kinds = (
            (self.training, "training\n(mixed rows)" if self.mixed else "training", _TRAINING, (0, (4, 2))),
            (self.validation, "validation", color, "solid"),
        )
        for curve, label, shade, style in kinds:
            if curve.shape[1]:
                epochs = np.arange(1, len(curve) + 1)
                lines = ax.plot(epochs, curve, color=shade, linestyle=style, linewidth=1.3, alpha=0.8)
                lines[0].set_label(label)
        if self.validation.shape[1]:
            self._mark_best(ax, color)
        self._limit(ax)
        ax.set_xlabel("epoch")
        ax.set_ylabel(self.loss_name)
        ax.locator_params(axis="x", integer=True)
        legend_with_last(ax, [], ncols=3, columnspacing=0.8, handlelength=1.4, handletextpad=0.5)
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _mark_best(self, ax: "Axes", color: str) -> None:
        members = np.flatnonzero(self.best_epoch > 0)
        best = self.best_epoch[members]
        none = len(self.best_epoch) - len(members)
        label = f"{_BEST}\n({none} {'has' if none == 1 else 'have'} none)" if none else _BEST
        look: dict[str, Any] = {"markersize": 6, "markeredgecolor": "black", "zorder": 3}
        ax.plot(best, self.validation[best - 1, members], "o", color=color, label=label, **look)

    def _limit(self, ax: "Axes") -> None:
        low, high = ax.get_ylim()
        values = np.concatenate([self.training.ravel(), self.validation.ravel()])
        values = values[np.isfinite(values)]
        if len(values):
            least, most = values.min(), np.quantile(values, _MOST)
            top = most + 0.25 * (most - least)
            if values.max() > top > least:
                low, high = least - 0.05 * (top - least), top
        ax.set_ylim(low, low + (high - low) / (1 - _LEGEND))
