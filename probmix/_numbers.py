"""Numbers from what users pass: sparse tables become dense, and what is no finite number is named by its place."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy import sparse
from sklearn.utils.validation import check_array

# Bytes that a sparse table may take when it is made dense; who has the memory makes it dense beforehand.
_LARGEST_DENSE = 4 * 2**30

_TEXT = (str, bytes)
_TIMES = (date, timedelta, np.datetime64, np.timedelta64, pd.Period)
_COMPLEX = (complex, np.complexfloating)

# The squares of larger targets, and of their predicted spreads, would be infinite, and those of smaller ones zero.
_LARGEST, _SMALLEST = 1e140, 1e-140

Index = tuple[int, ...]


def as_numpy(values: object) -> object:
    """Bring a tensor to the host, and fill what is masked; anything else is left to scikit-learn's validation.

    A masked cell is a missing one: NaN among numbers, and None among others. Most of NumPy forgets the mask.

    Examples
    --------
    >>> as_numpy(np.ma.masked_equal([1, 2, 9], 9))
    array([ 1.,  2., nan])
    """
    if isinstance(values, torch.Tensor):
        return values.detach().cpu().numpy()
    if isinstance(values, np.ma.MaskedArray):
        mask = np.ma.getmaskarray(values)
        if not mask.any():
            return values.data
        is_real = values.dtype.kind in "biuf"
        filled: NDArray[Any] = values.data.astype(np.float64 if is_real else object)
        filled[mask] = np.nan if is_real else None
        return filled
    return values


def as_numbers(values: object, name: str) -> object:
    """Values that can be taken for numbers: tensors on the host, sparse tables dense; the rest as it came.

    Parameters
    ----------
    values : array-like, Tensor, DataFrame, or sparse matrix or array
    name : str
        What the user calls them.

    Raises
    ------
    ValueError
        For text, times and complex numbers, also for text that spells numbers, with the place of the first; or for a
        sparse table that is too large to be dense.
    """
    values = dense(as_numpy(values), name)
    found = _first_other(values)
    if found is not None:
        index, cell = found
        what, mend = _what_it_is(values, cell, index, name)
        raise ValueError(f"`{name}` must hold numbers; got {what} at {place(values, index)}. {mend}")
    return values


def finite_numbers(values: object, name: str) -> NDArray[np.float64]:
    """Targets, or other numbers of any shape, as an array of float64.

    Raises
    ------
    ValueError
        For what `as_numbers` refuses, and for values that are missing or infinite.
    """
    values = as_numbers(values, name)
    with cells_named(**{name: values}):
        array: NDArray[np.float64] = check_array(values, dtype=np.float64, ensure_2d=False, input_name=name)
    return array


def check_size(y: NDArray[np.float64], name: str) -> None:
    """Raise if the squares of targets, (n,) or (n, d), whose spread is to be learned are no numbers of float64."""
    for position, column in enumerate(np.abs(y).reshape(len(y), -1).T):
        row = int(column.argmax())
        if column[row] != 0 and not _SMALLEST <= column[row] <= _LARGEST:
            index = (row,) if y.ndim == 1 else (row, position)
            raise ValueError(
                f"`{name}` must be in a unit in which its largest value lies between {_SMALLEST:g} and {_LARGEST:g}, "
                f"for variances are squares; got {y[index]:g} at {place(y, index)}. Divide `{name}` by its own size."
            )


@contextmanager
def cells_named(**values: object) -> Iterator[None]:
    """Where a check inside fails since a value is not finite, say which: the values by the names of the arguments.

    Raises
    ------
    ValueError
        In place of the check's own, with the place of the first such value.
    """
    try:
        yield
    except (ValueError, TypeError):
        for name, one in values.items():
            check_finite(one, name)
        raise


def check_finite(values: object, name: str) -> None:
    """Raise if a value is missing or infinite; what is no number at all is left to others."""
    array = None if values is None else _as_floats(values)
    if array is None or np.isfinite(array).all():
        return
    bad = np.argwhere(~np.isfinite(array))
    index = tuple(map(int, bad[0]))
    missing = bool(np.isnan(array[index]))
    got = "NaN" if missing else f"{'-' if array[index] < 0 else ''}infinity"
    more = f" ({len(bad)} such values in all)" if len(bad) > 1 else ""
    if not name.startswith("X"):
        mend = "Drop such rows."
    elif missing:
        mend = "Impute missing values, say with SimpleImputer as the first step of a pipeline, or drop such rows."
    else:
        mend = "Replace it by a finite number, or drop such rows."
    raise ValueError(f"`{name}` must be finite; got {got} at {place(values, index)}{more}. {mend}")


def dense(values: Any, name: str) -> object:
    """Sparse tables as arrays of float64, or as frames; anything else as it is."""
    if isinstance(values, pd.DataFrame):
        if not any(isinstance(kind, pd.SparseDtype) for kind in values.dtypes):
            return values
        _check_size(values.shape, name)
        return values.apply(_dense_column)
    if not sparse.issparse(values):
        return values
    _check_size(values.shape, name)
    # complex numbers keep their imaginary part, for which they are refused
    return values.toarray() if values.dtype.kind == "c" else values.astype(np.float64, copy=False).toarray()


def _dense_column(column: "pd.Series[Any]") -> "pd.Series[Any]":
    return column.astype(column.dtype.subtype) if isinstance(column.dtype, pd.SparseDtype) else column


def _check_size(shape: tuple[int, ...], name: str) -> None:
    size = 8 * int(np.prod(shape, dtype=np.float64))
    if size > _LARGEST_DENSE:
        raise ValueError(
            f"`{name}` is sparse, of shape {shape}, and is made dense up to {_LARGEST_DENSE / 2**30:g} GiB; it would "
            f"take {size / 2**30:.1f} GiB. Pass fewer rows, select or project columns, say with TruncatedSVD as the "
            f"first step of a pipeline, or pass {name}.toarray() where there is the memory."
        )


def _first_other(values: object) -> tuple[Index, object] | None:
    """The first text, time or complex number and its index."""
    if isinstance(values, pd.DataFrame):
        for position in range(values.shape[1]):
            found = _first_other(values.iloc[:, position])
            if found is not None:
                return (*found[0], position), found[1]
        return None
    if isinstance(values, pd.Series):
        if values.dtype.kind not in "OMmc":
            return None
        return _first_other(values.to_numpy() if values.dtype.kind == "c" else values.astype(object).to_numpy())
    array = _as_array(values)
    if array is None or array.dtype.kind not in "OUSMmc" or not array.size:
        return None
    if array.dtype.kind == "c":
        # the first that is not real, if there is one
        index = np.unravel_index(int((array.imag != 0).argmax()), array.shape)
        return tuple(map(int, index)), array[index]
    if array.dtype.kind in "Mm":
        return (0,) * array.ndim, array.flat[0]
    # a list of texts and numbers would be an array of texts
    cells = array if array.dtype.kind == "O" or hasattr(values, "dtype") else np.asarray(values, dtype=object)
    # column by column: of a column of text the first row
    for number, cell in enumerate(cells.T.flat):
        if isinstance(cell, _TEXT + _TIMES + _COMPLEX) and not isinstance(cell, type(pd.NaT)):
            return tuple(map(int, np.unravel_index(number, cells.T.shape)))[::-1], cell
    return None


def _what_it_is(values: object, cell: object, index: Index, name: str) -> tuple[str, str]:
    """A text, a time or a complex number in words, and how to mend it."""
    if isinstance(cell, _TIMES):
        return f"the time {cell}", "Pass numbers instead, such as days since the first of them."
    if isinstance(cell, _COMPLEX):
        # scikit-learn's words, which its checks of estimators look for
        mend = "Complex data not supported: take the real parts, or pass both parts as numbers."
        return f"the complex number {cell:g} ({np.asarray(cell).dtype})", mend
    text = f"the text {str(cell)!r}" if isinstance(cell, str) else f"the text {cell!r}"
    spelt = "text that spells numbers becomes such by astype(float)."
    if name.startswith("X") and len(index) == 2:
        names = _column_names(values)
        column = index[1] if names is None else names[index[1]]
        return text, (
            f"Encode columns of text, say with make_column_transformer((OneHotEncoder(), [{column!r}]), "
            f"remainder='passthrough') as the first step of a pipeline; {spelt}"
        )
    if name.startswith("y"):
        return text, f"Classes are for DensityClassifier, and for scores their places in its `classes_`; {spelt}"
    return text, spelt.capitalize()


def place(values: object, index: Index) -> str:
    """A place in values of any shape in words."""
    if not index:
        return "the place of all rows"
    if len(index) > 2:
        return f"index {index}"
    row = f"row {index[0]}"
    if isinstance(values, pd.DataFrame | pd.Series):
        label = values.index[index[0]]
        if (pd.api.types.is_scalar(label) and pd.isna(label)) or label != index[0]:
            # in a part of a table, such as a fold, the label still says which row it is
            row += f", label {label},"
    if len(index) == 1:
        return row.rstrip(",")
    return f"{row} of {column_in_words(values, index[1])}"


def column_in_words(values: object, position: int) -> str:
    """A column by its name, where it has one, and its position."""
    names = list(getattr(values, "columns", ()))
    is_position = all(isinstance(name, int) and name == place for place, name in enumerate(names))
    return f"column {position if is_position else f'{names[position]!r} ({position})'}"


def _column_names(values: object) -> list[str] | None:
    """Names of columns, where they have such."""
    names = list(getattr(values, "columns", ()))
    return names if names and all(isinstance(name, str) for name in names) else None


def _as_floats(values: object) -> NDArray[np.float64] | None:
    """Values as floats, NaN where they are missing; None for what is not real numbers."""
    try:
        if isinstance(values, pd.DataFrame | pd.Series):
            array = values.astype(object).to_numpy()
        else:
            array = np.asarray(as_numpy(values))
        if array.dtype.kind == "c":
            return None
        if array.dtype.kind == "O":
            array = np.where(pd.isna(array), np.nan, array)
        return array.astype(np.float64, copy=False)
    except (ValueError, TypeError):
        return None


def _as_array(values: object) -> NDArray[Any] | None:
    try:
        return np.asarray(values)
    except (ValueError, TypeError):
        # rows of different lengths, say: others will find words for it
        return None
