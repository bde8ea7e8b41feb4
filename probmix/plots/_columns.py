"""Columns of what a user passes as X, for pictures of one of them."""

from numbers import Integral
from typing import Any

import pandas as pd

from ..columns.tables import as_table


def frame_of(X: Any) -> pd.DataFrame:
    """A table as a frame, in which a column of an array of anything has a type of its own."""
    if isinstance(X, pd.DataFrame):
        return X
    table = as_table(X, "X")
    columns = {place: table.column(place).values for place in range(table.n_columns)}
    frame = pd.DataFrame(columns).infer_objects()
    return frame if table.names is None else frame.set_axis(table.names, axis=1)


def position_of(frame: pd.DataFrame, feature: int | str) -> int:
    """Number of the column of that number or name."""
    if isinstance(feature, str):
        if feature not in frame.columns:
            raise ValueError(f"`feature` is {feature!r}, but X has the columns {', '.join(map(str, frame.columns))}.")
        return list(frame.columns).index(feature)
    if not isinstance(feature, Integral) or not 0 <= feature < frame.shape[1]:
        raise ValueError(f"`feature` must be a number from 0 to {frame.shape[1] - 1}, a column of X; got {feature!r}.")
    return int(feature)


def has_names(X: Any, frame: pd.DataFrame) -> bool:
    """Whether the columns of X have names, so that models are to see a frame."""
    return isinstance(X, pd.DataFrame) or isinstance(frame.columns[0], str)


def feature_name(X: Any, frame: pd.DataFrame, position: int) -> str:
    """What an axis calls a column."""
    if has_names(X, frame):
        return str(frame.columns[position])
    return f"feature {position}" if frame.shape[1] > 1 else "x"
