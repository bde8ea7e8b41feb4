"""What users give, as tensors: arrays, Series, lists and numbers, and the weights of rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from ._numbers import as_numbers
from .families.tools import check_support

Numbers: TypeAlias = ArrayLike | Tensor


def as_tensor(values: Any, name: str) -> Tensor:
    """Numbers of any kind as a tensor: whole ones as int64, float32 as it is, all else as float64.

    Tensors are left alone, with device, dtype and gradient. Rows of a Series or DataFrame count by their place; what is
    missing becomes NaN.

    Parameters
    ----------
    values : array-like, Tensor, Series, DataFrame or number
    name : str
        What the user calls them.

    Raises
    ------
    ValueError
        For what is no real number, with its place.

    Examples
    --------
    >>> as_tensor([1, 2.5], "y")
    tensor([1.0000, 2.5000], dtype=torch.float64)
    """
    if isinstance(values, Tensor) and not values.is_complex():
        return values
    values = as_numbers(values, name)
    try:
        array = np.asarray(values)
        if array.dtype.kind == "O":
            array = np.where(pd.isna(array), np.nan, array)
        if array.dtype.kind in "biu":
            kind: type = np.int64
        elif array.dtype.kind == "f" and array.dtype.itemsize == 4:
            kind = np.float32
        elif array.dtype.kind in "fO":
            kind = np.float64
        else:
            raise TypeError(f"{array.dtype} are none")
        # a copy in one piece, which a tensor can share whatever the array's strides and byte order were
        return torch.from_numpy(np.array(array, dtype=kind, order="C"))
    except (TypeError, ValueError) as error:
        raise ValueError(f"`{name}` must hold numbers in an array without gaps; {error}.") from None


def mean_over_rows(values: NDArray[np.float64], sample_weight: Any = None) -> float:
    """Mean of one value per row, (n,), with the weights of the rows if there are any."""
    if sample_weight is None:
        return float(values.mean())
    weights = scaled(checked_weights(sample_weight, values.shape).cpu().numpy())
    # rows without weight may be of no density at all
    used = weights > 0
    return float(np.average(values[used], weights=weights[used]))


def scaled(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights in a unit, a power of two, in which no sum overflows."""
    exponent = np.frexp(weights.max(initial=0.0))[1]
    scaled: NDArray[np.float64] = np.ldexp(weights, -exponent)
    return scaled


def checked_weights(sample_weight: Any, shape: Sequence[int], name: str = "sample_weight") -> Tensor:
    """Weights of rows in float64: the one check of weights, whatever they are for.

    Raises
    ------
    ValueError
        If they have another shape, one of them is negative or not finite, or all are zero.

    Examples
    --------
    >>> checked_weights([1, 0], (2,))
    tensor([1., 0.], dtype=torch.float64)
    """
    weights = as_tensor(sample_weight, name).double()
    if weights.shape != tuple(shape):
        rows = f"each of the {shape[0]} rows" if len(shape) == 1 else f"each row, of shape {tuple(shape)}"
        raise ValueError(f"`{name}` must hold one weight for {rows}; got shape {tuple(weights.shape)}.")
    usable = weights.isfinite() & (weights >= 0)
    check_support(weights, usable, f"`{name}` must be finite and not negative", "Give dropped rows the weight 0.")
    if weights.numel() and not bool((weights > 0).any()):
        raise ValueError(f"`{name}` must be positive in at least one row; got zeros only.")
    return weights
