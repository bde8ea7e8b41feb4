"""Preparing the rows that an estimator was given."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..random import KeyedRandom

# Streams of the initial weights and of the epochs are numbered from 0.
_SPLIT_STREAM = -2

Array = NDArray[np.float64]


def merge_repeats(x: Array, y: Array, sample_weight: Array | None) -> tuple[Array, Array, Array | None]:
    """Merge rows that are equal in x and y, and drop rows of weight zero.

    A row of weight two and the same row twice are then the same training problem, bit for bit, and no copy of a
    training row ends up among the validation rows. Rows come back sorted: the order in which they came is irrelevant.

    Parameters
    ----------
    x, y : ndarray, (n, F) and (n,) or (n, d)
    sample_weight : ndarray, (n,), non-negative, or None

    Returns
    -------
    x, y : ndarray
    sample_weight : ndarray, or None where all are equal
    """
    if sample_weight is not None:
        used = sample_weight > 0
        x, y, sample_weight = x[used], y[used], sample_weight[used]
    table = np.column_stack([x, y])
    _, first, inverse, counts = np.unique(table, axis=0, return_index=True, return_inverse=True, return_counts=True)
    weights = counts.astype(np.float64)
    if sample_weight is not None:
        weights = np.bincount(inverse.reshape(-1), weights=sample_weight).astype(np.float64)
    return x[first], y[first], None if np.all(weights == weights[0]) else weights


def split_rows(n: int, validation_fraction: float, random: KeyedRandom) -> tuple[Tensor, Tensor]:
    """Training and validation rows of each member, drawn at random: (M, n_train) and (M, n_validation).

    Raises
    ------
    ValueError
        If a part would be empty.
    """
    n_validation = 0
    if validation_fraction > 0:
        n_validation = max(1, round(validation_fraction * n))
        if n_validation >= n:
            raise ValueError(
                f"validation_fraction={validation_fraction} leaves no training row of {n} distinct sample(s). "
                "Pass more rows or a smaller `validation_fraction`."
            )
    order = random.stream(_SPLIT_STREAM).permutations(n)
    return order[:, n_validation:].sort(1).values, order[:, :n_validation].sort(1).values


def as_numpy(values: object) -> object:
    """Bring a tensor to the host; anything else is left to scikit-learn's validation."""
    return values.detach().cpu().numpy() if isinstance(values, torch.Tensor) else values
