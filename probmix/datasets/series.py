"""Series in time, by name, from a folder of the user's."""

from pathlib import Path

import pandas as pd

from ._folder import data_folder, find_table, read_table, tables

_FOLDERS = ("series",)
# Names, in small letters, of a column that says when a row was observed.
_TIMES = ("date", "datetime", "month", "time")


def load_series(name: str, data: str | Path | None = None) -> pd.DataFrame:
    """Load a series by name.

    Parameters
    ----------
    name : str
        "series/stem", such as "series/lynx" for the file ``series/lynx.csv`` or ``series/lynx.csv.gz`` in the folder of
        data sets. The file has a header, and an empty cell is a missing value.
    data : path, optional
        The folder of data sets; without it the environment variable PROBMIX_DATA names the folder.

    Returns
    -------
    DataFrame
        Rows in the order of the file, none left out. The first column called date, datetime, month or time is the
        index, parsed where it is text; without one the rows are numbered.

    Raises
    ------
    ValueError
        For a name that nothing answers to, with the near misses, or times that cannot be parsed.
    FileNotFoundError
        If there is no folder to look in.

    Notes
    -----
    "series/stocks_2019_2020" holds four stocks one below the other: before cutting windows, select one by its column
    Ticker, ``frame[frame["Ticker"] == "GOOG"]``, or make a dict of all,
    ``{name: rows.drop(columns="Ticker") for name, rows in frame.groupby("Ticker")}``.
    """
    table = read_table(find_table("series", name, data, _FOLDERS))
    time = next((column for column in table.columns if column.lower() in _TIMES), None)
    if time is None:
        return table
    if not pd.api.types.is_numeric_dtype(table[time]):
        try:
            table[time] = pd.to_datetime(table[time])
        except ValueError as error:
            raise ValueError(
                f"the column {time!r} of the series {name!r} must hold dates or times; {error}. Mend the file."
            ) from error
    return table.set_index(time)


def series_names(data: str | Path | None = None) -> list[str]:
    """Names that `load_series` answers to, sorted.

    Parameters
    ----------
    data : path, optional
        As in `load_series`; without a folder there are none.

    Raises
    ------
    FileNotFoundError
        If the folder does not exist.
    """
    return sorted(tables(data_folder(data), _FOLDERS))
