"""Tables in files, csv and parquet: whole for a fit, and block by block for everything else."""

import csv
import gzip
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from io import TextIOWrapper
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

import pandas as pd

from .._names import unknown_name
from .errors import InputError
from .needed import pyarrow

# Rows that are predicted or scored at once. Predictions are rounded in the last digits alike whenever they are made,
# since blocks begin at the same rows.
BLOCK = 8192
_FEWEST = 64
SUFFIXES = (".csv", ".csv.gz", ".parquet")
SUFFIXES_IN_WORDS = ".csv, .csv.gz or .parquet"
# Cells of a csv that are empty; those of pandas, whose list may change.
EMPTY_CELLS = (
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA",
    "NULL", "NaN", "None", "n/a", "nan", "null",
)  # fmt: skip
_WHOLE_NUMBERS = ("Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64")
# Of a csv they are a column without a name.
_ROW_LABELS = re.compile(r"__index_level_\d+__")
_GZIP, _PARQUET = b"\x1f\x8b", b"PAR1"
_OTHERS = {_GZIP: "a gzip file", _PARQUET: "a parquet file", b"PK\x03\x04": "a zip archive or a spreadsheet"}
_UNREADABLE = (pd.errors.ParserError, EOFError, gzip.BadGzipFile, UnicodeDecodeError)
_OTHER_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}


def block_size(*models: Any) -> int:
    """How many rows estimators predict at once: fewer where each is a mixture over many draws."""
    parts = [part for model in models for part in getattr(model, "candidates_", [model])]
    drawing = [part.n_draws for part in parts if part.network_.density_place is not None and part.mixup_.draws > 0]
    draws = max(drawing, default=1)
    return max(_FEWEST, BLOCK // draws)


def suffix_of(path: Path) -> str | None:
    """The ending by which a file is known for a table, or None."""
    return next((one for one in SUFFIXES if path.name.lower().endswith(one)), None)


class Source(ABC):
    """A table in a file, whose rows are counted from 0.

    Attributes
    ----------
    path : Path
    columns : tuple of str
        Their names.
    """

    path: Path
    columns: tuple[str, ...]

    @abstractmethod
    def read(self, columns: Sequence[str], texts: Sequence[str] = ()) -> pd.DataFrame:
        """Some columns of all rows, as numbers, truth values, text and dates.

        Those of `texts` are text in any case.
        """

    @abstractmethod
    def blocks(self, columns: Sequence[str], size: int = BLOCK) -> Iterator[pd.DataFrame]:
        """Some columns of so many rows at a time, the cells of a csv as they are written; the index counts rows."""

    @abstractmethod
    def at(self, row: int) -> str:
        """A row in words."""

    def arrow_types(self, columns: Sequence[str]) -> dict[str, Any]:
        """The types of columns in a parquet file; those of a csv are text."""
        return {name: pyarrow().string() for name in columns}

    def check(self, name: str, option: str) -> str:
        """The name of a column; raises if there is none of the name, with the near misses."""
        if name not in self.columns:
            raise InputError(f"{option}, in {self.name!r}: {unknown_name('column', name, self.columns, near=0.7)}")
        return name

    @property
    def name(self) -> str:
        """The path as the user wrote it."""
        return str(self.path)


def open_table(path: Path) -> Source:
    """The table in a file.

    Raises
    ------
    InputError
        If there is no such file, it is empty, or is not what its name says.
    """
    if not path.exists():
        near = unknown_name(
            "file", path.name, [one.name for one in path.parent.glob("*")] if path.parent.exists() else []
        )
        hint = str(near).partition("; ")[2] if "did you mean" in str(near) else ""
        raise InputError(f"there is no file {str(path)!r}{'; ' + hint if hint else '.'}")
    if path.is_dir():
        raise InputError(f"{str(path)!r} is a folder; name a file in it.")
    suffix = suffix_of(path)
    if suffix is None:
        raise InputError(
            f"the name of a table must end with {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}; got {str(path)!r}."
        )
    with path.open("rb") as file:
        start = file.read(4)
    if not start:
        raise InputError(f"{str(path)!r} is empty.")
    mark = next((one for one in _OTHERS if start.startswith(one)), None)
    if mark != {".csv.gz": _GZIP, ".parquet": _PARQUET}.get(suffix):
        found = f"is {_OTHERS[mark]}" if mark else "is something else"
        raise InputError(f"the name of {str(path)!r} ends with {suffix}, and it {found}. Rename it, or write it again.")
    source: Source = _Parquet(path) if suffix == ".parquet" else _Csv(path)
    twice = [name for name in dict.fromkeys(source.columns) if name and source.columns.count(name) > 1]
    if twice:
        raise InputError(
            f"columns of {str(path)!r} must have different names; got {', '.join(map(repr, twice))} more than once."
        )
    return source


class _Csv(Source):
    """A csv file, in UTF-8, with commas between cells."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._opened() as lines:
            cells = next((row for row in self._records(lines) if not _is_blank(row)), None)
        if cells is None:
            raise InputError(f"{str(path)!r} is empty.")
        for mark, what in _OTHER_SEPARATORS.items():
            if len(cells) == 1 and mark in cells[0]:
                raise InputError(
                    f"{str(path)!r} has {what} between its cells, and a csv file has commas. Write it again with "
                    f"these, say by pandas.read_csv(..., sep={mark!r})."
                )
        self.columns = tuple(cells)
        self._is_checked = False

    def read(self, columns: Sequence[str], texts: Sequence[str] = ()) -> pd.DataFrame:
        # numbers are rounded as everywhere else, and of one type in all rows
        frame: pd.DataFrame = self._pandas(
            dtype={self.columns.index(name): str for name in texts},
            na_values=list(EMPTY_CELLS),
            float_precision="round_trip",
            low_memory=False,
        )
        return self._named(frame, columns)

    def blocks(self, columns: Sequence[str], size: int = BLOCK) -> Iterator[pd.DataFrame]:
        try:
            with self._pandas(dtype=str, na_filter=False, chunksize=size) as parts:
                for frame in parts:
                    yield self._named(frame, columns)
        except _UNREADABLE as error:
            raise self._unreadable(error) from error

    def at(self, row: int) -> str:
        with self._opened() as lines:
            records = csv.reader(lines)
            try:
                # the header is a record as well
                found = next(islice((one for one in records if not _is_blank(one)), row + 1, None), None)
            except csv.Error:
                # a cell that is longer than the reader takes; pandas reads it
                found = None
            return f"row {row}" if found is None else f"row {row} (line {records.line_num})"

    def _opened(self) -> TextIO:
        if self.path.name.lower().endswith(".gz"):
            return TextIOWrapper(gzip.open(self.path), encoding="utf-8-sig", newline="")
        return self.path.open(encoding="utf-8-sig", newline="")

    def _records(self, lines: Iterable[str]) -> Iterator[list[str]]:
        try:
            yield from csv.reader(lines)
        except (csv.Error, *_UNREADABLE) as error:
            raise self._unreadable(error) from error

    def _pandas(self, **options: Any) -> Any:
        """What pandas reads; columns are numbered, since it would give names of its own to some."""
        try:
            return pd.read_csv(
                self.path, header=None, skiprows=self._header_records, encoding="utf-8-sig", keep_default_na=False,
                names=range(len(self.columns)), on_bad_lines="error", **options,
            )  # fmt: skip
        except pd.errors.EmptyDataError:
            raise InputError(f"{self.name!r} has a header and no rows.") from None
        except _UNREADABLE as error:
            raise self._unreadable(error) from error

    @property
    def _header_records(self) -> int:
        """Of the header and of empty lines before it; pandas skips records, not lines, of which a name may have two."""
        with self._opened() as lines:
            return next(number for number, one in enumerate(csv.reader(lines), 1) if not _is_blank(one))

    def _named(self, frame: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
        """The columns that are asked for, which are numbered, under their names."""
        if not len(frame):
            raise InputError(f"{self.name!r} has a header and no rows.")
        if not isinstance(frame.index, pd.RangeIndex):
            # pandas takes what is too much for labels of rows
            raise InputError(f"rows of {self.name!r} have more cells than its header has names.")
        last = frame.iloc[:, -1]
        if not self._is_checked and (last.isna() | (last == "")).any():
            self._check_lengths()
        return frame[[self.columns.index(name) for name in columns]].set_axis(list(columns), axis=1)

    def _check_lengths(self) -> None:
        """Raise for a row of fewer cells than there are names, as half a file ends with; pandas takes them for gaps."""
        self._is_checked = True
        n = len(self.columns)
        with self._opened() as lines:
            records = csv.reader(lines)
            try:
                for row, cells in enumerate((one for one in records if not _is_blank(one)), -1):
                    if len(cells) < n:
                        raise InputError(
                            f"rows of {self.name!r} must have a cell for each of the {n} names of its header; got "
                            f"{len(cells)} in row {row} (line {records.line_num}). Is the file whole?"
                        )
            except csv.Error:
                # a cell that is longer than the reader takes
                return

    def _unreadable(self, error: Exception) -> InputError:
        if isinstance(error, UnicodeDecodeError):
            return InputError(f"{self.name!r} is not in UTF-8: {error}. Write it again in this encoding.")
        return InputError(f"{self.name!r} is not a whole csv file: {str(error).strip().removesuffix('.')}.")


def _is_blank(record: Sequence[str]) -> bool:
    """Whether a record is an empty line, perhaps with spaces, which pandas leaves out as well."""
    return not record or (len(record) == 1 and record[0].isspace())


def text_of(cell: Any) -> str:
    """A cell as text, whole numbers and days as they are written in a csv.

    Examples
    --------
    >>> text_of(4.0), text_of(4.5), text_of("04")
    ('4', '4.5', '04')
    """
    if isinstance(cell, datetime):
        return str(cell).removesuffix(" 00:00:00")
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell)


def _whole_numbers() -> dict[Any, Any]:
    """Types of whole numbers of pandas that stay such where there are gaps: ids have more digits than floats."""
    return {getattr(pyarrow(), name.lower())(): pd.api.types.pandas_dtype(name) for name in _WHOLE_NUMBERS}


def is_row_label(name: str) -> bool:
    """Whether a column holds the labels of rows of a frame that had no name, as pandas writes them.

    Examples
    --------
    >>> is_row_label(""), is_row_label("__index_level_0__"), is_row_label("index")
    (True, True, False)
    """
    return not name or _ROW_LABELS.fullmatch(name) is not None


class _Parquet(Source):
    """A parquet file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = pyarrow("pyarrow.parquet").ParquetFile(path)
        except (OSError, ValueError) as error:
            raise InputError(f"{str(path)!r} is not a whole parquet file: {error}") from error
        self.columns = tuple(self._file.schema_arrow.names)
        if not self._file.metadata.num_rows:
            raise InputError(f"{str(path)!r} has columns and no rows.")

    def read(self, columns: Sequence[str], texts: Sequence[str] = ()) -> pd.DataFrame:
        table = self._file.read(columns=list(columns))
        frame: pd.DataFrame = table.to_pandas(ignore_metadata=True)[list(columns)]
        for name in texts:
            cells = table[name].to_pandas(types_mapper=_whole_numbers().get).astype(object)
            frame[name] = cells.map(text_of, na_action="ignore")
        return frame

    def blocks(self, columns: Sequence[str], size: int = BLOCK) -> Iterator[pd.DataFrame]:
        first, waiting, whole = 0, None, _whole_numbers()
        for batch in self._file.iter_batches(size, columns=list(columns)):
            frame = batch.to_pandas(ignore_metadata=True, types_mapper=whole.get)[list(columns)]
            # groups of rows in the file may end where blocks do not
            waiting = frame if waiting is None else pd.concat([waiting, frame], ignore_index=True)
            while len(waiting) >= size:
                yield waiting[:size].set_axis(pd.RangeIndex(first, first + size))
                first, waiting = first + size, waiting[size:].reset_index(drop=True)
        if waiting is not None and len(waiting):
            yield waiting.set_axis(pd.RangeIndex(first, first + len(waiting)))

    def at(self, row: int) -> str:
        return f"row {row}"

    def arrow_types(self, columns: Sequence[str]) -> dict[str, Any]:
        return {name: self._file.schema_arrow.field(name).type for name in columns}
