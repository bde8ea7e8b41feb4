"""The user's folder of data sets."""

import os
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from .._names import unknown_name

_VARIABLE = "PROBMIX_DATA"


def data_folder(data: str | Path | None) -> Path | None:
    """The folder of data sets, if one was named."""
    named = data if data is not None else os.environ.get(_VARIABLE)
    if not named:
        return None
    folder = Path(named).expanduser()
    if not folder.is_dir():
        source = "the argument `data`" if data is not None else f"the environment variable {_VARIABLE}"
        raise FileNotFoundError(
            f"the folder of data sets '{folder}', from {source}, does not exist. "
            f"Pass another as `data`, or set the environment variable {_VARIABLE}."
        )
    return folder


def tables(folder: Path | None, kinds: Iterable[str]) -> dict[str, Path]:
    """Files in the folders of these kinds, by the name of the data set."""
    if folder is None:
        return {}
    paths = (path for kind in kinds for path in sorted((folder / kind).glob("*")))
    return {
        f"{path.parent.name}/{path.name.removesuffix('.gz').removesuffix('.csv')}": path
        for path in paths
        if path.name.endswith((".csv", ".csv.gz"))
    }


def find_table(
    what: str, name: str, data: str | Path | None, kinds: Iterable[str], bundled: Iterable[str] = ()
) -> Path:
    """The file of that name.

    Raises
    ------
    ValueError
        For a name that nothing answers to, with the near misses.
    FileNotFoundError
        If there is no folder to look in.
    """
    folder = data_folder(data)
    files = tables(folder, kinds)
    if name in files:
        return files[name]
    bundled = list(bundled)
    if folder is None and ("/" in name or not bundled):
        raise FileNotFoundError(
            f"the {what} {name!r} is read from a folder of data sets, and none was named. "
            f"Pass it as `data`, or set the environment variable {_VARIABLE}."
        )
    searched = "no folder of data sets was searched" if folder is None else f"the folder searched is '{folder}'"
    raise ValueError(
        f"{unknown_name(what, name, [*bundled, *files])} ({searched}; "
        f"name another with `data` or the environment variable {_VARIABLE}.)"
    )


def read_table(path: Path) -> pd.DataFrame:
    """A table with a header, in which only an empty cell is a missing value."""
    # NA and None are words, not gaps
    return pd.read_csv(path, keep_default_na=False, na_values=[""])
