"""Which columns a user lists as levels."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._names import unknown_name
from .tables import Table


def listed_columns(table: Table, categorical_features: Any) -> NDArray[np.bool_] | None:
    """Which columns are listed; None if their dtypes say what they are.

    Raises
    ------
    ValueError
        For names and positions of no column, masks of another length, and what is none of these.
    """
    if isinstance(categorical_features, str):
        if categorical_features == "from_dtype":
            return None
        raise ValueError(
            "`categorical_features` must be 'from_dtype', None, or a list of names, positions or truth values; got "
            f"{categorical_features!r}. Put a single name into a list."
        )
    listed = np.zeros(table.n_columns, dtype=bool)
    if categorical_features is None:
        return listed
    entries = np.asarray(categorical_features)
    if entries.ndim == 1 and not len(entries):
        return listed
    if entries.ndim == 1 and entries.dtype.kind == "b":
        if len(entries) != len(listed):
            raise ValueError(
                f"`categorical_features` as a mask must have one entry for each of the {len(listed)} columns of "
                f"`{table.called}`; got {len(entries)}."
            )
        return entries
    if entries.ndim == 1 and entries.dtype.kind in "iu":
        for entry in entries:
            if not 0 <= entry < len(listed):
                by_names = table.names is None and table.telling is not None
                mend = " For names that are no text pass a mask, X.columns.isin(names)." if by_names else ""
                raise ValueError(
                    f"`categorical_features` must be positions from 0 to {len(listed) - 1}; got {entry}. "
                    f"`{table.called}` has {len(listed)} columns.{mend}"
                )
        labels = set(table.labels or ())
        for entry in map(int, entries):
            if str(entry) in labels and table.labels is not None and table.labels[entry] != str(entry):
                raise ValueError(
                    f"`categorical_features` as numbers are positions, but a column of `{table.called}` is called "
                    f"{entry} and stands at another. Pass a mask, or name the columns by text: "
                    "X.columns = X.columns.astype(str)."
                )
        listed[entries] = True
        return listed
    if entries.ndim == 1 and all(isinstance(entry, str) for entry in entries):
        if table.names is None:
            raise ValueError(
                f"`categorical_features` can be names only where the columns of `{table.called}` have names that are "
                "text. Pass positions or a mask."
            )
        for entry in entries:
            if entry not in table.names:
                raise unknown_name("column in `categorical_features`:", str(entry), table.names)
            listed[table.names.index(entry)] = True
        return listed
    raise ValueError(
        "`categorical_features` must be 'from_dtype', None, or a list of names, positions or truth values; got "
        f"{categorical_features!r}."
    )
