"""Reliability diagrams of predicted probabilities (CORP)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.preprocessing import LabelEncoder

from .._targets import encoded_targets
from ..adapters import as_distribution
from ..distributions.parts import device_of, innermost
from ..scores._rows import event_probabilities, row_weights
from ..scores.corp import Decomposition, decompose_event
from ..scores.prediction import predicted_distribution
from ..scores.reliability import ReliabilityCurve, reliability_curve
from ._common import new_axes
from ._square import square_with_legend

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

# Share of all calibrated cases in the consistency band, forecast by forecast.
_BAND = 0.95
# Bars of the forecasts, and the strip below the diagram that they fill.
_BARS, _BASE = 20, (-0.18, -0.02)


class ReliabilityDisplay:
    r"""CORP reliability diagram: how often an event happened, over its forecast probability.

    On the diagonal predictions are calibrated; where the curve is flatter than it they are overconfident, where steeper
    underconfident. The curve is an isotonic regression, without bins. The shaded band holds it in 95 % of all
    calibrated cases, at each single forecast. The bars below show how often each probability was forecast. The legend
    has the mean Brier score :math:`(p - y)^2` of the event and its parts, miscalibration (MCB), discrimination (DSC)
    and uncertainty (UNC); see `probmix.scores.corp_decomposition`.

    Make it by `from_estimator` or `from_predictions`.

    Parameters
    ----------
    curve : ReliabilityCurve
        With its consistency band, or without.
    decomposition : Decomposition
        Of the mean Brier score of the event.
    event_name : str
        The forecast, for the label of the horizontal axis.

    Attributes
    ----------
    line_ : matplotlib Line2D
        The curve.
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure or SubFigure

    References
    ----------
    Dimitriadis, Gneiting and Jordan (2021), Stable reliability diagrams for probabilistic classifiers, PNAS 118,
    e2016191118.

    Examples
    --------
    >>> import torch
    >>> from matplotlib.figure import Figure
    >>> from probmix.plots import ReliabilityDisplay
    >>> forecast = torch.distributions.Bernoulli(torch.tensor([0.1, 0.1, 0.6, 0.6]))
    >>> display = ReliabilityDisplay.from_predictions(forecast, [0, 0, 0, 1], ax=Figure().subplots())
    >>> display.curve.event_rate
    tensor([0.0000, 0.5000])
    """

    line_: Any
    ax_: Axes
    figure_: Figure | SubFigure

    def __init__(
        self, curve: ReliabilityCurve, decomposition: Decomposition, event_name: str = "probability of the event"
    ) -> None:
        self.curve = curve
        self.decomposition = decomposition
        self.event_name = event_name

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: ArrayLike,
        *,
        pos_label: Any = None,
        generator: torch.Generator | None = None,
        ax: Axes | None = None,
        color: str = "C0",
    ) -> Self:
        """Draw how reliable a fitted classifier is on these rows; they should not be its training rows.

        Parameters
        ----------
        estimator : fitted estimator with `predict_dist`
            Also at the end of a `Pipeline`, or found by a search. Of classes, or of a number that is 0 or 1 (the
            family "bernoulli").
        X : array-like, (n, F)
        y : array-like, (n,)
            Class labels as in `estimator.classes_`.
        pos_label : label, optional
            The class whose probability is judged. By default the second of two; of more classes the event is that the
            most probable class of the row comes true, and its forecast is the confidence.
        generator, ax, color
            As in `from_predictions`.

        Returns
        -------
        ReliabilityDisplay

        Raises
        ------
        TypeError
            If the estimator does not predict the distribution of classes or events.
        ValueError
            If `y` holds a class, or `pos_label` is one, that the estimator has not seen.
        """
        distribution = predicted_distribution(estimator, X)
        if not hasattr(estimator, "classes_"):
            if pos_label is not None:
                raise ValueError(f"`pos_label` needs an estimator with classes; {estimator!r} predicts 0 or 1.")
            return cls.from_predictions(distribution, y, generator=generator, ax=ax, color=color)
        classes = np.asarray(estimator.classes_)
        event, event_name = None, None
        if pos_label is not None:
            places = np.flatnonzero(classes == pos_label)
            if len(places) == 0:
                raise ValueError(f"`pos_label` must be one of the classes {classes.tolist()}; got {pos_label!r}.")
            event = int(places[0])
        if event is not None or len(classes) == 2:
            event_name = f"probability of {classes[1 if event is None else event]}"
        indices = LabelEncoder().fit(classes).transform(np.asarray(y))
        return cls.from_predictions(
            distribution, indices, event=event, event_name=event_name, generator=generator, ax=ax, color=color
        )

    @classmethod
    def from_predictions(
        cls,
        distribution: Any,
        y: ArrayLike | torch.Tensor,
        *,
        event: int | None = None,
        event_name: str | None = None,
        generator: torch.Generator | None = None,
        ax: Axes | None = None,
        color: str = "C0",
    ) -> Self:
        """Draw how reliable predicted probabilities are.

        Parameters
        ----------
        distribution : Categorical or Bernoulli, batch shape (n,)
        y : array-like of class indices, (n,)
        event : int, optional
            The class whose probability is judged, as in `probmix.scores.reliability_curve`.
        event_name : str, optional
            The forecast, for the label of the horizontal axis.
        generator : torch.Generator, optional
            Simulates the consistency band, as in `probmix.scores.reliability_curve`.
        ax : matplotlib Axes, optional
        color : matplotlib color
            Of the curve.

        Returns
        -------
        ReliabilityDisplay

        Raises
        ------
        TypeError
            If the distribution is neither Categorical nor Bernoulli.
        ValueError
            If `y` or `event` is no class index.
        """
        distribution = as_distribution(distribution)
        targets = encoded_targets(y).to(device_of(distribution))
        with torch.no_grad():
            curve = reliability_curve(distribution, targets, event, level=_BAND, generator=generator)
            probability, happened = event_probabilities(distribution, targets, event)
            decomposition = decompose_event(probability, happened, row_weights(distribution, None))
        if event_name is None:
            base = innermost(distribution)
            several = isinstance(base, torch.distributions.Categorical) and base.probs.shape[-1] > 2
            of_class = f"probability of class {1 if event is None else event}"
            event_name = "confidence of the most probable class" if several and event is None else of_class
        return cls(curve, decomposition, event_name).plot(ax, color=color)

    def plot(self, ax: Axes | None = None, *, color: str = "C0") -> Self:
        """Draw, on new axes if none are given.

        Parameters
        ----------
        ax : matplotlib Axes, optional
        color : matplotlib color
            Of the curve.

        Returns
        -------
        self
        """
        ax = new_axes() if ax is None else ax
        probability, rate, weight = (_array(values) for values in self.curve[:3])
        # a single forecast is a point
        marker = "o" if len(probability) == 1 else None
        (self.line_,) = ax.plot(probability, rate, color=color, linewidth=1.8, marker=marker, label="observed rate")
        if self.curve.lower is not None and self.curve.upper is not None:
            low, high = _array(self.curve.lower), _array(self.curve.upper)
            label = f"{100 * _BAND:g} % of cases\nif calibrated"
            ax.fill_between(probability, low, high, color="black", alpha=0.12, linewidth=0, label=label)
        ax.plot([0.0, 1.0], [0.0, 1.0], color="black", linewidth=1.0, linestyle="--", label="calibrated")
        counts, edges = np.histogram(probability, _BARS, range=(0.0, 1.0), weights=weight)
        label = f"{weight.sum():,.0f} forecasts"
        heights = (_BASE[1] - _BASE[0]) * counts / counts.max()
        ax.bar(edges[:-1], heights, 1 / _BARS, _BASE[0], align="edge", color="0.6", edgecolor="white", label=label)
        ax.plot([0.0, 1.0], [0.0, 0.0], color="black", linewidth=0.8)
        names = ("Brier score", "MCB", "DSC", "UNC")
        title = "\n".join(f"{name} {part:.3f}" for name, part in zip(names, self.decomposition, strict=True))
        square_with_legend(ax, self.event_name, "observed rate of the event", bottom=_BASE[0], title=title)
        self.ax_, self.figure_ = ax, ax.figure
        return self


def _array(values: torch.Tensor) -> NDArray[np.float64]:
    array: NDArray[np.float64] = values.double().cpu().numpy()
    return array
