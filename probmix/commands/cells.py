"""What cells are: numbers as numbers, whatever other rows of the file hold, and what is none named by its place."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..columns import Columns
from ..columns.kinds import BOOLEAN, NUMBER, TEXT, kind_of_dtype
from ..columns.levels import LevelColumn
from ..columns.numbers import NumberColumn
from ..columns.spelling import spells_date
from .errors import InputError
from .tables import BLOCK, EMPTY_CELLS, Source, text_of

Numbers = NDArray[np.float64]
_EMPTY = frozenset(EMPTY_CELLS)
_TRUTHS = {"True": True, "TRUE": True, "true": True, "False": False, "FALSE": False, "false": False}
# Of a column of text, such a share that is numbers, or dates, may have been meant for a column of these.
_MEANT = 0.5
# So many cells are looked at for zeros before them.
_LOOKED_AT = 200_000
# 1,234.5 and 1.234,5 and 1 234 and 37 %
_DRESSED = re.compile(r"[-+]?(\d{1,3}([,.' \u00a0\u202f]\d{3})+([.,]\d+)?|\d+,\d+|\d+([.,]\d+)?\s?%)")


def number_of(text: str) -> float | None:
    """The number or truth value that a text is, NaN if it is empty, None if it is something else.

    Examples
    --------
    >>> number_of(" 2.5e3"), number_of("true"), number_of("NA"), number_of("1_000")
    (2500.0, 1.0, nan, None)
    """
    stripped = text.strip()
    if stripped in _EMPTY:
        return float("nan")
    if stripped in _TRUTHS:
        return float(_TRUTHS[stripped])
    try:
        # to Python underscores between digits are nothing
        return None if "_" in stripped else float(stripped)
    except ValueError:
        return None


def numbers(source: Source, column: "pd.Series[Any]", what: str, gaps: bool = False) -> Numbers:
    """A column as finite numbers.

    Parameters
    ----------
    source : Source
        The file.
    column : Series
        Its index counts the rows of the file.
    what : str
        What the column is, in messages.
    gaps : bool
        Whether cells may be empty, which become NaN.

    Raises
    ------
    InputError
        With the place of the first other cell.
    """
    if is_text(column):
        codes, texts = pd.factorize(column.astype(object), use_na_sentinel=True)
        found = [number_of(str(text)) for text in texts]
        table = np.array([np.inf if one is None else one for one in found] + [np.nan])
        values = table[codes]
        for place in np.flatnonzero([one is None for one in found])[:1]:
            row = int(np.flatnonzero(codes == place)[0])
            raise _wrong(source, column, row, what, f"the text {str(texts[place])!r}")
    else:
        dtype = column.cat.categories.dtype if isinstance(column.dtype, pd.CategoricalDtype) else column.dtype
        # of dates NumPy would give how many units they are from 1970
        if kind_of_dtype(dtype) not in (NUMBER, BOOLEAN):
            raise InputError(
                f"{what}: column {column.name!r} of {source.name!r} must hold numbers; got the type {column.dtype}."
            )
        values = column.to_numpy(dtype=np.float64, na_value=np.nan)
    wrong = np.isinf(values) if gaps else ~np.isfinite(values)
    if wrong.any():
        row = int(wrong.argmax())
        raise _wrong(source, column, row, what, "infinity" if np.isinf(values[row]) else "an empty cell")
    return values


def _wrong(source: Source, column: "pd.Series[Any]", row: int, what: str, got: str) -> InputError:
    return InputError(
        f"{what}: column {column.name!r} of {source.name!r} must hold numbers; got {got} in "
        f"{source.at(int(column.index[row]))}. Mend or drop such rows."
    )


def check_at_least(
    source: Source, values: Numbers, column: str, what: str, low: float, strictly: bool, first: int = 0
) -> None:
    """Raise for the first value below a bound, or at it where it is strict."""
    wrong = values <= low if strictly else values < low
    if wrong.any():
        row = int(wrong.argmax())
        rule = "positive" if strictly else "not negative"
        raise InputError(
            f"{what}: column {column!r} of {source.name!r} must be {rule}; got {values[row]:g} in "
            f"{source.at(first + row)}. Mend or drop such rows."
        )


def is_text(column: "pd.Series[Any]") -> bool:
    """Whether the cells of a column are text, or objects, of which some may be."""
    return isinstance(column.dtype, pd.StringDtype) or column.dtype == object


def doubts(source: Source, frame: pd.DataFrame, exempt: Iterable[str]) -> list[str]:
    """Remarks on columns of text that may have been meant for numbers or dates, and on numbers that may be codes."""
    remarks = _with_leading_zeros(source, [str(name) for name in frame if pd.api.types.is_numeric_dtype(frame[name])])
    for name in frame.columns.difference(list(exempt), sort=False):
        column = frame[name]
        if not is_text(column):
            continue
        try:
            codes, texts = pd.factorize(column.astype(object), use_na_sentinel=True)
        except TypeError:
            raise InputError(
                f"features: column {name!r} of {source.name!r} must hold numbers, text, truth values or dates; got "
                f"cells such as {type(column.dropna().iloc[0]).__name__}. Leave it out by --drop."
            ) from None
        counts = np.bincount(codes[codes >= 0], minlength=len(texts))
        for what, is_such in (("numbers", _is_dressed), ("dates", spells_date)):
            found = np.array([isinstance(text, str) and is_such(text.strip()) for text in texts], dtype=bool)
            others = counts[~found].sum()
            if counts[found].sum() <= _MEANT * counts.sum() or (what == "dates" and not others):
                # of dates that are written alike the fit itself knows
                continue
            otherwise = [text for text in texts[found] if what == "numbers" and number_of(text) is None]
            if otherwise:
                remark = (
                    f"holds numbers that are written otherwise, such as {otherwise[0]!r}, and is taken for text. Write "
                    f"them with digits and a point alone, or say --text {name}."
                )
            elif others:
                row = int(np.flatnonzero(np.isin(codes, np.flatnonzero(~found)))[0])
                remark = (
                    f"holds {what} but for {others} of {counts.sum()} cells, such as {str(column.iloc[row])!r} in "
                    f"{source.at(row)}, and is taken for text. Empty such cells, or say --text {name}."
                )
            else:
                continue
            remarks.append(f"column {name!r} of {source.name!r} {remark}")
            break
    return remarks


def _with_leading_zeros(source: Source, columns: Sequence[str]) -> list[str]:
    """Remarks on numbers whose first rows have a zero before them, as codes of places have."""
    remarks: list[str] = []
    if not columns:
        return remarks
    size = max(1, min(BLOCK, _LOOKED_AT // len(columns)))
    for name, column in next(source.blocks(columns, size)).items():
        if is_text(column) and (zeros := column[column.str.fullmatch(r"\s*0\d+\s*")]).size:
            remarks.append(
                f"column {name!r} of {source.name!r} holds numbers that begin with zero, such as {zeros.iloc[0]!r} in "
                f"{source.at(int(zeros.index[0]))}, and is taken for numbers. If these are codes, say --text {name}."
            )
    return remarks


def _is_dressed(text: str) -> bool:
    """Whether a text is a number, perhaps with separators of thousands, a comma for the point, or percent.

    Examples
    --------
    >>> [_is_dressed(text) for text in ("1,234.50", "37 %", "2.5", "3 rooms", "1,2,3")]
    [True, True, True, False, False]
    """
    return number_of(text) is not None or _DRESSED.fullmatch(text) is not None


def features(source: Source, frame: pd.DataFrame, columns: Columns) -> pd.DataFrame:
    """The features of a model from cells of a file as they are written.

    Parameters
    ----------
    source : Source
    frame : DataFrame
        Some rows; its index counts those of the file.
    columns : Columns
        What the fit learned of them, by their names.
    """
    assert columns.names is not None  # checked when it was loaded
    ready = {}
    for name, encoder in zip(columns.names, columns.encoders, strict=True):
        column = frame[name]
        if is_text(column) and encoder is not None:
            if isinstance(encoder, NumberColumn) and encoder.unit == NUMBER:
                column = pd.Series(numbers(source, column, "features", gaps=True), column.index)
            elif isinstance(encoder, LevelColumn) and TEXT not in encoder.kinds:
                column = _levels(source, column, encoder)
            else:
                column = column.astype(object).where(~column.isin(_EMPTY) & column.notna(), None)
        elif pd.api.types.is_numeric_dtype(column) and _holds_text(encoder):
            # numbers that are categories, by --text
            column = column.astype(object).map(text_of, na_action="ignore")
        elif pd.api.types.is_datetime64_any_dtype(column) and isinstance(encoder, LevelColumn) and _holds_text(encoder):
            column = column.astype(object).map(text_of, na_action="ignore")
        ready[name] = column
    return pd.DataFrame(ready, index=frame.index)


def _holds_text(encoder: Any) -> bool:
    """Whether a column held text in the fit."""
    if encoder is None or isinstance(encoder, NumberColumn):
        return False
    return not isinstance(encoder, LevelColumn) or TEXT in encoder.kinds


def _levels(source: Source, column: "pd.Series[Any]", encoder: LevelColumn) -> "pd.Series[Any]":
    """Levels that are numbers or truth values."""
    values = pd.Series(numbers(source, column, "features", gaps=True), column.index)
    if encoder.kinds != (BOOLEAN,):
        return values
    cells = values.astype(object).where(values.notna(), None)
    return cells.map(lambda one: None if one is None else bool(one)).astype(object)
