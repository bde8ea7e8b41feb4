"""Rows for which nothing was there to learn from."""

import pandas as pd

from ..estimators.far_out import far_out_table
from .page import Cell, Points, Section, Table
from .subject import Subject

_SHOWN = 20


def far_out_rows(subject: Subject) -> pd.DataFrame | None:
    """The rows far outside the training range, the farthest first; None where the model has no table of columns."""
    # inside of a pipeline the model sees other columns than these
    return far_out_table(subject.model, subject.X) if getattr(subject.model, "columns_", None) is not None else None


def far_out_in_words(subject: Subject, rows: pd.DataFrame) -> str:
    """How many there are, in a sentence."""
    if not len(rows):
        return "No row lies far outside of what the model was trained on."
    number = "1 row lies" if len(rows) == 1 else f"{len(rows):,} rows lie"
    return f"{number} far outside of what the model was trained on, of {len(subject.y):,}."


def far_out_section(subject: Subject, rows: pd.DataFrame) -> Section:
    """Which rows, in which column, and how far."""
    said = [
        far_out_in_words(subject, rows),
        "A row counts if a number in it leaves the training range of its column by more than the length of that range, "
        "and is more than ten robust units from the median. Its prediction is that of a row at the edge of the "
        "training data.",
    ]
    if not len(rows):
        return Section("Rows far out", [Points(said)])
    if len(rows) > _SHOWN:
        said.append(f"The table shows the {_SHOWN} farthest. Check their units, or drop them.")
    listed: list[list[Cell | str | float | None]] = [
        [str(line.row), *map(str, (line.column, line.value, line.least, line.largest)), f"{line.units:.3g}"]
        for line in rows.head(_SHOWN).itertuples()
    ]
    columns = ["row", "column", "value", "smallest in training", "largest in training", "units from the median"]
    return Section("Rows far out", [Points(said), Table(columns, listed)])
