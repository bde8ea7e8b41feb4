"""Which columns matter, and how predictions change with them."""

import warnings
from math import isfinite

import numpy as np
import pandas as pd

from ..columns.tables import as_table
from ..plots import EffectDisplay, ImportanceDisplay
from .figures import new_axes
from .page import Picture, Points, Section
from .scores import line_of
from .subject import MODEL, Subject

# Effects that are drawn, and columns of a picture of importances.
_EFFECTS, _BARS = 4, 15
# Rows of which columns are shuffled: fewer where there are many columns, so that all take a while and not an hour.
_FEWEST, _MOST, _PREDICTIONS, _REPEATS = 100, 1_000, 30_000, 2


def effects_section(subject: Subject, table: pd.DataFrame) -> Section | None:
    """Importance by permutation, and effects of the first columns; None of rows that are no table.

    Parameters
    ----------
    subject : Subject
    table : ScoreTable
        Scores of the model among others; the first that is finite is what a shuffled column makes worse.
    """
    with warnings.catch_warnings():
        # of rows far out and of unknown levels the first prediction has warned, and here they come again and again
        warnings.simplefilter("ignore", UserWarning)
        return _section(subject, table)


def _section(subject: Subject, table: pd.DataFrame) -> Section | None:
    shape = np.shape(subject.X)
    if len(shape) != 2 or len(subject.y) < 2:
        return None
    score = next((name for name in ("nll", "crps") if _is_finite(table, name)), None)
    if score is None:
        return None
    rows = int(np.clip(_PREDICTIONS // (_REPEATS * shape[1]), _FEWEST, _MOST))
    figure, ax = new_axes(1.2 + 0.26 * min(_BARS, shape[1]))
    importance = ImportanceDisplay.from_estimator(
        subject.model,
        subject.X,
        subject.y,
        score=score,
        exposure=subject.exposure,
        n_repeats=_REPEATS,
        max_rows=rows,
        max_features=_BARS,
        ax=ax,
    )
    name = score.upper()
    said = [
        f"A column matters by as much as the mean {name} gets worse when its cells are shuffled among the rows: the "
        "model is then told something false. Pale bars may be chance. Columns that say the same share what they are "
        "worth, or hide it.",
    ]
    clear = [
        column
        for column, value, half in zip(importance.names, importance.values, importance.half_widths, strict=True)
        if value > half
    ]
    if not clear:
        said.append("No column makes a difference that chance could not explain.")
    caption = f"By how much the {name} gets worse, of {importance.n:,} rows, with 95 % intervals."
    pictures = [Picture.of(figure, caption)]
    if not subject.of_classes:
        said.append(
            "The pictures of single columns show the average prediction if all rows had the same value there: the "
            "bands are where a target then lies with 50 % and 90 %. The grey bars tell how many rows have such a "
            "value; where there are none, the model has nothing to go by."
        )
        rows_of = as_table(subject.X, "X")
        # of a column without any value there is nothing to draw
        present = [place for place in range(rows_of.n_columns) if not rows_of.column(place).missing.all()]
        pictures += [_effect(subject, int(place)) for place in importance.positions[:_EFFECTS] if place in present]
    return Section("Columns that matter, and how", [Points(said), *pictures])


def _effect(subject: Subject, place: int) -> Picture:
    figure, ax = new_axes()
    display = EffectDisplay.from_estimator(
        subject.model,
        subject.X,
        feature=place,
        exposure=subject.exposure,
        max_rows=60,
        n_values=20,
        target_name=subject.target_name,
        ax=ax,
    )
    return Picture.of(figure, f"How {subject.target_name} changes with {display.feature_name}, on average over rows.")


def _is_finite(table: pd.DataFrame, score: str) -> bool:
    return (score, MODEL) in table.index and isfinite(line_of(table, score, MODEL)["mean"])
