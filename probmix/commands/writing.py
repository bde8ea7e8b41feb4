"""Tables that are written block by block, and are there whole or not at all."""

import gzip
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from .._files import replacing
from .errors import InputError
from .needed import pyarrow
from .tables import SUFFIXES_IN_WORDS, Source, suffix_of

Write = Callable[[pd.DataFrame], None]
# Digits of predictions in a csv.
_DIGITS = "%.10g"


def check_out(out: Path, *inputs: Path) -> None:
    """Raise unless a table can be written there, over none of the files that are read."""
    if suffix_of(out) is None:
        raise InputError(f"--out: the name of a table must end with {SUFFIXES_IN_WORDS}; got {str(out)!r}.")
    if out.is_dir():
        raise InputError(f"--out: {str(out)!r} is a folder; name a file.")
    for one in inputs:
        if out.exists() and one.exists() and out.samefile(one):
            raise InputError(f"--out: {str(out)!r} is the file that is read; name another.")
    if suffix_of(out) == ".parquet":
        pyarrow()


@contextmanager
def table_writer(out: Path, source: Source | None = None, kept: Sequence[str] = ()) -> Iterator[Write]:
    """A function that appends rows to a table, which takes the name of the file at the end.

    Parameters
    ----------
    out : Path
    source : Source, optional
        The file of which columns are kept.
    kept : sequence of str
        Their names; they have the types that they have there.

    Raises
    ------
    OSError
        If it cannot be written; nothing is left behind.
    """
    with replacing(out) as temporary, ExitStack() as open_files:
        if suffix_of(out) == ".parquet":
            types = source.arrow_types(kept) if source is not None else {}
            yield _parquet_writer(temporary, open_files, types)
        else:
            yield _csv_writer(temporary, open_files, suffix_of(out) == ".csv.gz", kept)


def _csv_writer(temporary: Path, open_files: ExitStack, packed: bool, kept: Sequence[str]) -> Write:
    raw: Any = open_files.enter_context(temporary.open("xb"))
    if packed:
        # without the time, so that the same rows are the same file
        raw = open_files.enter_context(gzip.GzipFile("", "wb", compresslevel=6, fileobj=raw, mtime=0))
    begun = False

    def write(rows: pd.DataFrame) -> None:
        nonlocal begun
        # what is copied has all its digits
        exact = [name for name in kept if pd.api.types.is_float_dtype(rows[name])]
        rows = rows.assign(**{name: rows[name].map(str, na_action="ignore") for name in exact})
        raw.write(rows.to_csv(index=False, header=not begun, float_format=_DIGITS, lineterminator="\n").encode())
        begun = True

    return write


def _parquet_writer(temporary: Path, open_files: ExitStack, types: Mapping[str, Any]) -> Write:
    arrow, writer, schema = pyarrow(), None, None

    def write(rows: pd.DataFrame) -> None:
        nonlocal writer, schema
        if writer is None:
            # a block without gaps, or with nothing else, tells nothing of the types of others
            found = arrow.Table.from_pandas(rows, preserve_index=False).schema
            schema = arrow.schema([(field.name, types.get(field.name, field.type)) for field in found])
            writer = open_files.enter_context(pyarrow("pyarrow.parquet").ParquetWriter(temporary, schema))
        writer.write_table(arrow.Table.from_pandas(rows, schema=schema, preserve_index=False))

    return write
