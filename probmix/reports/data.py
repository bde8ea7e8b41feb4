"""What the rows of a report are: columns, gaps and targets."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ..columns.dates import as_times
from ..columns.kinds import BOOLEAN, DATE, NUMBER
from ..columns.tables import Column, as_table
from .figures import new_axes
from .page import Picture, Points, Section, Table, shown
from .subject import Subject

# Wider tables are told by their first columns.
_COLUMNS = 200
_LONGEST = 40
_BARS = 40


def data_section(subject: Subject) -> Section:
    """Rows, columns, gaps, and the distribution of the target."""
    picture = _class_picture(subject) if subject.of_classes else _histogram(subject)
    shape = np.shape(subject.all_rows)
    if len(shape) != 2:
        axes = " x ".join(map(str, shape[1:]))
        return Section(
            "Data", [Points([f"{shape[0]:,} rows, each an array of {axes} numbers.", _target(subject)]), picture]
        )
    table = as_table(subject.all_rows, "X")
    gaps = np.array([table.column(place).missing.mean() for place in range(table.n_columns)])
    said = [
        f"{table.n_rows:,} rows and {table.n_columns:,} columns, of which {_with_gaps(gaps)}.",
        _target(subject),
        f"Scores and pictures below are of {subject.rows_in_words}. They tell of new data only if the model was not "
        "fitted on these rows.",
    ]
    if subject.exposure is not None:
        least, largest, total = (shown(end) for end in _summary(subject.exposure))
        said.append(f"Exposures are from {least} to {largest}, in all {total}.")
    return Section("Data", [Points(said), picture])


def columns_section(subject: Subject) -> Section | None:
    """A line of each column; None of rows that are no table."""
    if len(np.shape(subject.all_rows)) != 2:
        return None
    table = as_table(subject.all_rows, "X")
    rows = [_described(table.column(place)) for place in range(min(table.n_columns, _COLUMNS))]
    heads = ["column", "holds", "gaps", "different values", "smallest or most frequent", "largest"]
    words = f"The first {_COLUMNS} of {table.n_columns:,} columns. " if table.n_columns > _COLUMNS else ""
    caption = words + "In brackets is the share of the most frequent value. Press the name of a column to sort by it."
    return Section("Columns", [Table(heads, rows, caption)])


def _with_gaps(gaps: NDArray[np.float64]) -> str:
    if not gaps.any():
        return "none has gaps"
    number = int((gaps > 0).sum())
    return f"{number} {'has' if number == 1 else 'have'} gaps, in up to {100 * gaps.max():.3g} % of rows"


def _summary(values: NDArray[np.float64]) -> tuple[float, float, float]:
    """Least, largest and total."""
    return float(values.min()), float(values.max()), float(values.sum())


def _target(subject: Subject) -> str:
    y, target = subject.all_targets, subject.target_in_words
    if subject.of_classes:
        values, counts = np.unique(y, return_counts=True)
        most = counts.argmax()
        share = 100 * counts[most] / len(y)
        return f"{target} is one of {len(values)} classes; {values[most]} has {share:.3g} %."
    y = y.astype(np.float64)
    low, middle, high = np.quantile(y, [0.25, 0.5, 0.75])
    zeros = f" {100 * (y == 0).mean():.3g} % are zero." if (y == 0).any() else ""
    return (
        f"{target} is from {shown(y.min())} to {shown(y.max())}; half of all rows are between {shown(low)} "
        f"and {shown(high)}, the median is {shown(middle)} and the mean {shown(y.mean())}.{zeros}"
    )


def _described(column: Column) -> list[str | float | None]:
    """A line of the table of columns."""
    present = column.values[~column.missing]
    codes, keys = column.levels
    gaps = f"{100 * column.missing.mean():.3g} %" if column.missing.any() else "0 %"
    # text that spells dates is taken for dates
    holds = column.holds if column.spelt_times is None else DATE
    line: list[str | float | None] = [column.name, holds, gaps, float(len(np.unique(codes[codes >= 0])))]
    if holds in (NUMBER, BOOLEAN, DATE) and not column.is_category and len(present):
        if holds == DATE:
            times = as_times(column)[~column.missing]
            earliest, latest = (present.iloc[int(place)] for place in (times.argmin(), times.argmax()))
            return [*line, str(earliest), str(latest)]
        numbers = pd.to_numeric(present).astype(np.float64)
        return [*line, shown(numbers.min()), shown(numbers.max())]
    if not len(present):
        return [*line, None, None]
    counts = np.bincount(codes[codes >= 0], minlength=len(keys))
    most = keys[int(counts.argmax())].partition(":")[2]
    share = 100 * counts.max() / len(present)
    return [*line, f"{most[:_LONGEST]}{'…' if len(most) > _LONGEST else ''} ({share:.3g} %)", None]


def _histogram(subject: Subject) -> Picture:
    figure, ax = new_axes()
    y = subject.all_targets.astype(np.float64)
    low, high = y.min(), np.quantile(y, 0.995)
    values = np.unique(y)
    if len(values) <= _BARS:
        counts = np.array([(y == value).mean() for value in values])
        ax.bar(values, counts, width=0.8 * (np.diff(values).min() if len(values) > 1 else 1.0))
        ax.set_ylabel("share of rows")
        told = "Each bar is the share of rows with that target."
    else:
        ax.hist(np.clip(y, low, high), bins=_BARS)
        ax.set_ylabel("rows")
        told = f"The last bar holds the {(y >= high).sum():,} largest targets, up to {shown(y.max())}, as well."
    ax.set_xlabel(subject.target_name)
    return Picture.of(figure, f"{subject.target_in_words.removesuffix(',')}. {told}")


def _class_picture(subject: Subject) -> Picture:
    names, counts = np.unique(subject.all_targets.astype(str), return_counts=True)
    order = np.argsort(-counts)[:_BARS]
    figure = Figure(figsize=(4.8, 1.0 + 0.26 * len(order)), layout="constrained")
    ax = figure.subplots()
    ax.barh(range(len(order)), counts[order] / len(subject.all_targets))
    ax.set_yticks(range(len(order)), [name[:_LONGEST] for name in names[order]])
    ax.invert_yaxis()
    ax.set_xlabel("share of rows")
    return Picture.of(figure, f"{subject.target_in_words.removesuffix(',')}: the share of each class.")
