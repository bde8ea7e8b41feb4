"""Tables of any library, column by column."""

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NoReturn

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.utils.validation import check_array

from .._numbers import as_numpy, column_in_words, dense, place
from .kinds import BOOLEAN, COMPLEX, NESTED, NUMBER, TEXT, in_words, joint_kind, kind_of, kind_of_dtype, level_key
from .spelling import iso_times

Array = NDArray[np.float64]
# Of a whole number with a point, and of a day with a time.
_ENDING = re.compile(r"(?<=\d)(\.0| 00:00:00)(?=$|[,)])")
_NUMERIC = frozenset([NUMBER, BOOLEAN])
# what no column may hold, what it must hold instead, and how
_REFUSED = (
    # scikit-learn's words, which its checks of estimators look for
    (
        COMPLEX,
        "real numbers, text or times",
        "Complex data not supported: take the real parts, or pass both parts as numbers.",
    ),
    (NESTED, "one value in each cell", "Spread it over columns of its own."),
)


@dataclass(frozen=True)
class Column:
    """A column of a table that a user passed, with what messages say of it."""

    values: "pd.Series[Any]"
    name: str
    position: int
    given: object
    called: str

    @cached_property
    def missing(self) -> NDArray[np.bool_]:
        """Which cells are None, NaN, NA or NaT."""
        return np.asarray(self.values.isna(), dtype=bool)

    @cached_property
    def kinds(self) -> frozenset[str]:
        """What the cells are that are not missing."""
        values = self.values
        if isinstance(values.dtype, pd.CategoricalDtype):
            used = np.unique(values.cat.codes.to_numpy())
            return frozenset(map(kind_of, set(map(type, values.cat.categories[used[used >= 0]]))))
        if self.missing.all():
            return frozenset()
        kind = kind_of_dtype(values.dtype)
        if kind is not None:
            return frozenset([kind])
        return frozenset(map(kind_of, set(map(type, self.cells[~self.missing]))))

    @cached_property
    def holds(self) -> str:
        """What the column is."""
        return joint_kind(self.kinds)

    @property
    def cells(self) -> NDArray[Any]:
        """The cells as objects, None where they are missing."""
        cells = np.array(self.values.astype(object).to_numpy(), dtype=object)
        cells[self.missing] = None
        return cells

    @property
    def is_category(self) -> bool:
        """Whether the user's library says that these are categories."""
        return isinstance(self.values.dtype, pd.CategoricalDtype)

    @cached_property
    def levels(self) -> tuple[NDArray[np.intp], list[str]]:
        """For each row which of the different cells it holds, -1 where it is missing; and keys of these cells."""
        if isinstance(self.values.dtype, pd.CategoricalDtype):
            return self.values.cat.codes.to_numpy().astype(np.intp), [*map(level_key, self.values.cat.categories)]
        try:
            codes, cells = pd.factorize(self.values)
            return codes, [*map(level_key, cells)]
        except TypeError:
            # there are cells without a hash, such as a dict
            keys = np.array([None if cell is None else level_key(cell) for cell in self.cells], dtype=object)
            codes, found = pd.factorize(keys)
            return codes, list(found)

    @cached_property
    def spelt_times(self) -> "pd.Series[Any] | None":
        """The dates that all cells spell, if they are text."""
        if self.holds != TEXT or self.is_category:
            return None
        codes, keys = self.levels
        times = iso_times([key.removeprefix("text:") for key in keys])
        return None if times is None else pd.Series(times[codes]).where(codes >= 0)

    def at(self, row: int) -> str:
        """The place of a row in this column, in words."""
        return place(self.given, (row, self.position))

    @property
    def label(self) -> str:
        """The column in words."""
        return column_in_words(self.given, self.position)

    def first(self, condition: Callable[[Any], bool]) -> tuple[int, Any]:
        """The first cell, of those that are not missing, for which a condition holds, and its row."""
        present = np.flatnonzero(~self.missing)
        return next((int(row), cell) for row, cell in zip(present, self.cells[present], strict=True) if condition(cell))

    def refuse(self, wanted: str, offends: Callable[[Any], bool], mend: str = "") -> NoReturn:
        """Raise for the first cell that offends a rule."""
        row, cell = self.first(offends)
        raise ValueError(f"`{self.called}` must hold {wanted}; got {in_words(cell)} at {self.at(row)}. {mend}".rstrip())

    def refuse_kind(self, kind: str, wanted: str, mend: str) -> NoReturn:
        """Raise for the first cell of a kind."""
        self.refuse(wanted, lambda cell: kind_of(type(cell)) == kind, mend)

    def expect(self, *kinds: str, mend: str = "") -> None:
        """Raise unless all cells are of the kinds that the fit saw."""
        # truth values are numbers, and numbers may be all that is left of them
        allowed = frozenset(kinds) | (_NUMERIC if _NUMERIC.intersection(kinds) else frozenset())
        if not self.kinds <= allowed:
            self.refuse(f"{' or '.join(kinds)}, as in the fit", lambda one: kind_of(type(one)) not in allowed, mend)


@dataclass(frozen=True)
class Table:
    """A table with `n_rows` rows, whose columns are asked for one by one.

    Its columns have `names` if these are text, `labels` (as text) if they are something else, such as years, and
    neither in an array.
    """

    given: object
    called: str
    names: tuple[str, ...] | None
    labels: tuple[str, ...] | None
    n_rows: int
    n_columns: int
    get: Callable[[int], "pd.Series[Any]"]
    matrix: Array | None = None

    @cached_property
    def telling(self) -> tuple[str, ...] | None:
        """Names or labels that say more than where a column stands."""
        return telling(self.names, self.labels)

    def column(self, position: int, name: str | None = None) -> Column:
        """A column, under the name by which the fit knows it.

        Raises
        ------
        ValueError
            For complex numbers, or sequences as cells.
        """
        if name is None:
            name = f"column {position}" if self.telling is None else self.telling[position]
        column = Column(self.get(position), name, position, self.given, self.called)
        for kind, wanted, mend in _REFUSED:
            if kind in column.kinds:
                column.refuse_kind(kind, wanted, mend)
        return column


def as_table(X: Any, called: str) -> Table:
    """Frames of pandas and polars, arrays, nested lists, tensors and sparse matrices as tables.

    Frames of other libraries are taken through their `to_pandas`.

    Raises
    ------
    ValueError
        For what is no table, has no rows or columns, is sparse and too large, or names two columns alike.
    TypeError
        If only some columns have names that are text.
    """
    given = X
    if not isinstance(X, pd.DataFrame):
        if hasattr(X, "get_columns"):
            return _polars_table(X, called)
        if hasattr(X, "to_pandas") and getattr(X, "ndim", 2) == 2:
            given = X = X.to_pandas()
    X = dense(as_numpy(X), called)
    if not isinstance(X, pd.DataFrame):
        return _array_table(X, called)
    _check_extent(X.shape, called)
    names, labels = _names_or_labels(list(X.columns), called)
    matrix = None
    if all(isinstance(dtype, np.dtype) and dtype.kind in "biuf" for dtype in X.dtypes):
        matrix = X.to_numpy(dtype=np.float64)
    return Table(given, called, names, labels, len(X), X.shape[1], lambda position: X.iloc[:, position], matrix)


def _array_table(X: Any, called: str) -> Table:
    """A table from what NumPy takes for an array."""
    array = _as_array(X)
    if array.dtype.kind in "biuf":
        matrix: Array = check_array(array, dtype=np.float64, ensure_all_finite=False, input_name=called)
        rows, columns = matrix.shape
        return Table(matrix, called, None, None, rows, columns, lambda position: pd.Series(matrix[:, position]), matrix)
    # complex numbers are refused by their place
    if array.dtype.kind != "c" or array.ndim != 2:
        array = check_array(array, dtype=None, ensure_all_finite=False, input_name=called)
    if array.dtype.kind in "Mm" and np.datetime_data(array.dtype)[0] not in ("s", "ms", "us", "ns"):
        # days, say, of which pandas has no columns
        array = array.astype(f"{array.dtype.kind}8[s]")
    elif array.dtype.kind not in "cMm":
        array = array.astype(object)

    def column(position: int) -> "pd.Series[Any]":
        return pd.Series(array[:, position], dtype=array.dtype)

    return Table(array, called, None, None, len(array), array.shape[1], column)


def _as_array(X: Any) -> NDArray[Any]:
    """An array; of a list with text and numbers one of objects, where NumPy would write all as text."""
    try:
        array = np.asarray(X)
        return array if hasattr(X, "dtype") or array.dtype.kind not in "USMm" else np.asarray(X, dtype=object)
    except ValueError:
        # rows of different lengths: scikit-learn has words for it
        checked: NDArray[Any] = check_array(X, dtype=None, ensure_all_finite=False)
        return checked


def _polars_table(X: Any, called: str) -> Table:
    """A table from a frame of polars, which need not be installed, and without pyarrow."""
    columns = X.get_columns()
    _check_extent(X.shape, called)

    def column(position: int) -> "pd.Series[Any]":
        values, dtype = pd.Series(columns[position].to_numpy()), columns[position].dtype
        if getattr(dtype, "time_zone", None) is not None:
            values = values.dt.tz_localize("UTC").dt.tz_convert(dtype.time_zone)
        return values.astype("category") if str(dtype).startswith(("Categorical", "Enum")) else values

    return Table(X, called, *_names_or_labels(list(X.columns), called), len(X), len(columns), column)


def _check_extent(shape: tuple[int, ...], called: str) -> None:
    """Raise for no rows or columns, in the words of scikit-learn."""
    for size, what in zip(shape, ("sample(s)", "feature(s)"), strict=True):
        if size == 0:
            raise ValueError(f"Found `{called}` with 0 {what} (shape={shape}) while a minimum of 1 is required.")


def telling(names: tuple[str, ...] | None, labels: tuple[str, ...] | None) -> tuple[str, ...] | None:
    """Names, or labels that say more than where a column stands, as those that pandas gives by itself do not."""
    if labels is None or all(plain(one) == str(place) for place, one in enumerate(labels)):
        return names
    return labels


def are_named(X: Any, called: str) -> bool:
    """Whether the columns of X have names or labels that say more than where they stand."""
    given = list(getattr(X, "columns", ()))
    return bool(given) and telling(*_names_or_labels(given, called)) is not None


def _label(name: Any) -> str:
    """A name as text, as a csv has it in its header."""
    if isinstance(name, tuple):
        return str(tuple(one.item() if isinstance(one, np.generic) else one for one in name))
    return str(name)


def plain(label: str) -> str:
    """The same text for 2020 and 2020.0, and for a day and its midnight.

    Examples
    --------
    >>> plain("2020.0"), plain("(2020.0, 'a')"), plain("2020-01-01 00:00:00"), plain("v2.05")
    ('2020', "(2020, 'a')", '2020-01-01', 'v2.05')
    """
    return _ENDING.sub("", label)


def _names_or_labels(given: list[Any], called: str) -> tuple[tuple[str, ...] | None, tuple[str, ...] | None]:
    """Names of columns if they are text, else labels."""
    are_text = [isinstance(name, str) for name in given]
    if any(are_text) and not all(are_text):
        other = next(name for name in given if not isinstance(name, str))
        raise TypeError(
            f"`{called}` must have columns whose names are all text, or none of them; got {other!r} among names that "
            "are. Make them text: X.columns = X.columns.astype(str)."
        )
    names = tuple(map(_label, given))
    twice = [repr(name) for name, times in Counter(names).items() if times > 1]
    if twice:
        raise ValueError(
            f"`{called}` must have columns of different names; got {', '.join(twice)} more than once. "
            "Rename or drop such columns."
        )
    return (names, None) if all(are_text) else (None, names)
