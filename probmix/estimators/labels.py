"""Classes as users write them."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.utils.validation import column_or_1d

from .._numbers import as_numpy

_TEXT = ("string", "bytes", "empty")


def class_labels(y: object, name: str = "y") -> NDArray[Any]:
    """Labels of rows, (n,): text, integers, whole floats, booleans, times or spans of time.

    Parameters
    ----------
    y : array-like, Tensor or Series, (n,)
    name : str
        What the user calls them.

    Returns
    -------
    ndarray, (n,)
        Of the labels' own type. Numbers, booleans and times that came as objects, as those that pandas lets be missing
        do, are arrays of integers, floats, booleans or datetime64.

    Raises
    ------
    ValueError
        If a row has no class, or classes are of a type that has no array of its own, by the first such row.
    """
    if isinstance(y, pd.Series):
        y = y.astype(object) if pd.api.types.is_extension_array_dtype(y.dtype) else y.to_numpy()
    y = as_numpy(y)
    if isinstance(y, np.ndarray) and y.dtype.kind == "T":
        # NumPy's own text of any length, which scikit-learn does not know
        y = y.astype(object)
    labels: NDArray[Any] = column_or_1d(y, warn=True)
    missing = pd.isna(labels)
    if missing.any():
        row = int(missing.argmax())
        raise ValueError(
            f"`{name}` must have a class in every row; got {labels[row]} at row {row}. Drop such rows, or give them a "
            "class of their own."
        )
    if labels.dtype != object:
        return labels
    kind = pd.api.types.infer_dtype(labels, skipna=False)
    if kind in ("integer", "floating", "boolean"):
        return np.array(labels.tolist())
    if kind == "datetime" and all(label.tzinfo is None for label in labels):
        return pd.DatetimeIndex(labels).to_numpy()
    if kind not in _TEXT:
        raise ValueError(
            f"`{name}` must hold classes that are all text, or all integers, whole floats, booleans or times without a "
            f"zone; got {kind} objects, the first is {labels[0]!r}. Convert them, say by astype(str)."
        )
    return labels
