"""How well a model predicts, against the target without X and against other predictions."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch.distributions import Distribution

from ..plots import ScoreComparisonDisplay
from ..scores import evaluate
from ..scores._entries import takes_exposure
from ..scores.table import ScoreTable
from .figures import new_axes
from .marginal import marginal
from .page import Cell, Part, Picture, Points, Section, Table, shown, with_error
from .subject import MARGINAL, MODEL, Subject

_OF_NUMBERS = ("crps", "nll", "coverage90", "rmse", "mae")
_OF_CLASSES = ("nll", "brier", "accuracy")
_NAMES = {
    "crps": "CRPS",
    "nll": "NLL",
    "coverage90": "coverage of 90 % intervals",
    "rmse": "RMSE of the mean",
    "mae": "MAE of the median",
    "brier": "Brier score",
    "accuracy": "accuracy",
}
_MEANING = {
    "crps": "CRPS, the continuous ranked probability score: how far the predicted distribution is from the target, in "
    "the unit of the target; of a single number it is the absolute error. Smaller is better.",
    "nll": "NLL, minus the logarithm of the density or probability that was predicted for the target. Smaller is "
    "better; a difference of 0.1 means that targets are 10 % more likely under the better one, in the geometric mean.",
    "brier": "Brier score, the squared distance of the predicted probabilities from what happened, summed over "
    "classes. Smaller is better.",
    "accuracy": "Accuracy, the share of rows whose most probable class is the right one. Larger is better.",
}


# Columns of the table of scores, with those of their errors.
_FIGURES = (("mean", "standard_error"), ("difference", "difference_error"))


@dataclass(frozen=True)
class Predicted:
    """The model as far as scores need it: predictions that are there already, with what says how to read targets."""

    subject: Subject

    def predict_dist(self, X: Any, exposure: Any = None) -> Distribution:
        """What was predicted for the rows of the report."""
        return self.subject.distribution

    def predict(self, X: Any, exposure: Any = None) -> NDArray[Any]:
        """The most probable class, or the mean."""
        distribution = self.subject.distribution
        if self.subject.classes is None:
            return np.asarray(distribution.mean.cpu())
        most_probable: NDArray[Any] = self.subject.classes[distribution.mode.cpu().numpy()]
        return most_probable

    @property
    def fitted_with_exposure_(self) -> bool:
        """Whether exposures are of use to the model."""
        return takes_exposure(self.subject.model)


class PredictedClasses(Predicted):
    """The same of a model of classes."""

    @property
    def classes_(self) -> Any:
        """Labels, in the order of the predicted probabilities."""
        return self.subject.classes


def scored(subject: Subject) -> ScoreTable:
    """Scores of the model, of the target without X, and of all peers; all others are compared with the model."""
    model = PredictedClasses(subject) if subject.of_classes else Predicted(subject)
    entries = {MODEL: model, MARGINAL: marginal(subject), **subject.peers}
    names = _OF_CLASSES if subject.of_classes else _OF_NUMBERS
    return evaluate(entries, subject.X, subject.y, scores=names, baseline=MODEL, exposure=subject.exposure)


def first_score(table: pd.DataFrame) -> str:
    """The score that the report speaks of first."""
    return str(table.index[0][0])


def comparison(table: pd.DataFrame, score: str, other: str) -> str:
    """By how much the model is better or worse than another, in a sentence.

    Parameters
    ----------
    table : ScoreTable
    score, other : str
        Names of the score and of what the model is compared with.
    """
    line, ours = line_of(table, score, other), line_of(table, score, MODEL)
    who = "the distribution of the target without X" if other == MARGINAL else other
    name, gap, error = _NAMES[score], line["difference"], line["difference_error"]
    if not np.isfinite(gap):
        return f"The {name} of {who} is {shown(line['mean'])}, and cannot be compared row by row."
    gap = -gap if score == "accuracy" else gap
    side = "better" if gap > 0 else "worse"
    size = with_error(abs(gap), error)
    relative = f" ({100 * abs(gap) / abs(line['mean']):.3g} %)" if score in ("crps", "brier") and line["mean"] else ""
    sure = "" if abs(gap) > 2 * error else "; that may be chance"
    return f"The {name} of the model, {shown(ours['mean'])}, is {side} than that of {who} by {size}{relative}{sure}."


def scores_section(subject: Subject, table: pd.DataFrame) -> Section:
    """The table, what its scores mean, and a picture if there are peers."""
    score = first_score(table)
    others = [MARGINAL, *subject.peers]
    scores = dict.fromkeys(table.index.get_level_values("score"))
    said = [_MEANING[name] for name in scores if name in _MEANING]
    said.append(
        f"The line {MARGINAL!r} is one distribution for all rows"
        + (", a constant rate per exposure," if subject.exposure is not None else "")
        + " that was fitted to the very targets it is scored on: what a model has to beat to have learned anything."
    )
    for (name, other), reason in table.attrs["missing"].items():
        said.append(f"No {_NAMES[name]} of {other}: {_first_sentence(reason)}")
    parts: list[Part] = [Points(said), _table(table)]
    if subject.peers:
        figure, ax = new_axes(1.4 + 0.35 * (len(others) + 1))
        ScoreComparisonDisplay(table, score).plot(ax)
        caption = (
            f"Differences in {_NAMES[score]} to the model, row by row, with 95 % intervals. On the right of the dashed "
            "line predictions are worse than those of the model; a filled dot is further from it than chance explains."
        )
        if score == "accuracy":
            caption = caption.replace("right", "left")
        parts.append(Picture.of(figure, caption))
    return Section("Scores", parts)


def _first_sentence(text: str) -> str:
    return f"{text.partition('. ')[0].rstrip('.')}."


def _table(table: pd.DataFrame) -> Table:
    rows: list[list[Cell | str | float | None]] = []
    for score, name in table.index:
        line = line_of(table, score, name)
        p = line["p"]
        told = None if np.isnan(p) else "< 0.001" if p < 0.001 else f"{p:.3f}"
        cells = [_figure(line[one], line[error]) for one, error in _FIGURES]
        rows.append([_NAMES.get(score, score), Cell(name, "strong" if name == MODEL else ""), *cells, told])
    caption = (
        "Means over rows with their standard errors, and differences to the model, row by row, with theirs. Where "
        "smaller is better, a positive difference means that the model is better. p is that of a paired t-test of no "
        "difference."
    )
    columns = ["score", "predictions", "mean", "difference to the model", "p"]
    return Table(columns, rows, caption)


def line_of(table: pd.DataFrame, score: str, name: str) -> dict[str, float]:
    """The figures of one score of one model."""
    values: Any = table.loc[(score, name)]
    return {column: float(values[column]) for column in table.columns}


def _figure(value: float, error: float) -> str | None:
    return None if np.isnan(value) else with_error(value, error)
