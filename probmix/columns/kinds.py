"""What the cells of a column are, in the words of messages."""

from collections.abc import Iterable
from datetime import date, time, timedelta
from decimal import Decimal
from numbers import Complex, Integral, Real
from typing import Any

import numpy as np
import pandas as pd
import torch

NUMBER, BOOLEAN, TEXT = "numbers", "truth values", "text"
DATE, SPAN, TIME = "dates", "spans of time", "times of day"
COMPLEX, NESTED, OTHER = "complex numbers", "sequences", "other objects"
MIXED, EMPTY = "things of several kinds", "nothing"

# the first that fits: a bool is a number to Python, and a datetime a date
_TYPES: tuple[tuple[tuple[type, ...], str], ...] = (
    ((str, bytes), TEXT),
    ((bool, np.bool_), BOOLEAN),
    # NumPy's spans are numbers to Python
    ((timedelta, np.timedelta64), SPAN),
    ((Real, Decimal), NUMBER),
    ((Complex,), COMPLEX),
    ((date, np.datetime64, pd.Period), DATE),
    ((time,), TIME),
    ((list, np.ndarray, pd.Series, torch.Tensor), NESTED),
)
_SINGULAR = {
    NUMBER: "the number", BOOLEAN: "the truth value", TEXT: "the text", DATE: "the date", SPAN: "the span of time",
    TIME: "the time", COMPLEX: "the complex number", NESTED: "the sequence", OTHER: "the object",
}  # fmt: skip
_OF_DTYPES = {"b": BOOLEAN, "i": NUMBER, "u": NUMBER, "f": NUMBER, "c": COMPLEX, "M": DATE, "m": SPAN}


def kind_of(cell_type: type) -> str:
    """The kind of the cells of a type."""
    return next((kind for types, kind in _TYPES if issubclass(cell_type, types)), OTHER)


def kind_of_dtype(dtype: object) -> str | None:
    """The kind of all cells of a dtype, None if they must be looked at."""
    if isinstance(dtype, pd.StringDtype):
        return TEXT
    if isinstance(dtype, pd.PeriodDtype):
        return DATE
    return _OF_DTYPES.get(getattr(dtype, "kind", ""))


def joint_kind(kinds: Iterable[str]) -> str:
    """What a column is whose cells are of these kinds.

    Examples
    --------
    >>> joint_kind(["numbers", "truth values"]), joint_kind(["numbers", "text"]), joint_kind([])
    ('numbers', 'things of several kinds', 'nothing')
    """
    found = set(kinds)
    if found == {NUMBER, BOOLEAN}:
        return NUMBER
    if len(found) > 1:
        return MIXED
    return found.pop() if found else EMPTY


def in_words(cell: object) -> str:
    """A cell as messages show it.

    Examples
    --------
    >>> in_words("high"), in_words(2.5)
    ("the text 'high'", 'the number 2.5')
    """
    kind = kind_of(type(cell))
    shown = repr(str(cell)) if isinstance(cell, str) else repr(cell) if kind == TEXT else str(cell)
    if kind == COMPLEX:
        shown = shown.strip("()")
    return f"{_SINGULAR[kind]} {shown if len(shown) <= 60 else shown[:57] + '...'}"


def level_key(cell: Any) -> str:
    """The text under which a level is known: equal numbers have one, whatever their type, and no text has it.

    Examples
    --------
    >>> level_key("1"), level_key(1), level_key(1.0), level_key(True), level_key(0.5)
    ('text:1', 'number:1', 'number:1', 'number:1', 'number:0.5')
    """
    kind = kind_of(type(cell))
    if kind in (NUMBER, BOOLEAN):
        if isinstance(cell, Integral | np.bool_) or float(cell).is_integer():
            return f"number:{int(cell)}"
        return f"number:{float(cell)!r}"
    if isinstance(cell, bytes):
        return f"bytes:{cell!r}"
    if kind == TEXT:
        return f"text:{cell}"
    if kind == DATE and not isinstance(cell, pd.Period):
        return f"date:{pd.Timestamp(cell).isoformat()}"
    return f"{type(cell).__name__}:{cell}"
