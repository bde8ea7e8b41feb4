"""Preparing the rows that an estimator was given."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils.validation import _check_feature_names, check_array, validate_data
from torch import Tensor

from .._numbers import as_numbers, cells_named
from ..random import KeyedRandom
from ..training import TrainingData

# Streams of the initial weights and of the epochs are numbered from 0.
_SPLIT_STREAM = -2
# Integer weights are written out as copies while this makes the data at most so many times longer.
_LONGEST = 10

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Rows:
    """Rows of data.

    Attributes
    ----------
    x, y : ndarray, (n, ...) and (n,) or (n, d)
    sample_weight : ndarray, (n,), non-negative, or None
    log_exposure : ndarray, (n,), or None
    """

    x: Array
    y: Array
    sample_weight: Array | None = None
    log_exposure: Array | None = None

    def take(self, which: NDArray[Any]) -> "Rows":
        """Some of the rows, by a mask or by their numbers."""
        rest = (None if one is None else one[which] for one in (self.sample_weight, self.log_exposure))
        return Rows(self.x[which], self.y[which], *rest)


def canonical_rows(rows: Rows) -> Rows:
    """Bring rows into a form that depends on what they say and not on how it is written.

    Rows of weight zero are dropped, rows with integer weights are written out as so many copies, and all are sorted. A
    row of weight two and the same row twice are then one training problem, bit for bit, and the order of the rows is
    irrelevant. There are no weights where all are equal.
    """
    if rows.sample_weight is not None:
        rows = rows.take(rows.sample_weight > 0)
        weights = rows.sample_weight
        assert weights is not None  # the same rows have them
        if np.all(weights == np.round(weights)) and weights.sum() <= _LONGEST * len(rows.x):
            rows = replace(rows.take(np.repeat(np.arange(len(weights)), weights.astype(np.int64))), sample_weight=None)
        elif np.all(weights == weights[0]):
            rows = replace(rows, sample_weight=None)
    keys = [*rows.x.reshape(len(rows.x), -1).T, *np.atleast_2d(rows.y.T)]
    keys += [one for one in (rows.sample_weight, rows.log_exposure) if one is not None]
    return rows.take(np.lexsort(keys))


def split_rows(
    n: int, validation_fraction: float, random: KeyedRandom, classes: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Training and validation rows of each member, drawn at random: (M, n_train) and (M, n_validation).

    With `classes`, (n,), every class has its share of the validation rows, as far as whole rows allow.

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
                f"validation_fraction={validation_fraction} leaves no training row of {n} sample(s) of positive "
                "weight. Pass more rows or a smaller `validation_fraction`."
            )
    random = random.stream(_SPLIT_STREAM)
    order = random.permutations(n)
    if classes is not None:
        order = order.gather(1, classes[order].argsort(dim=1, stable=True))
    # every so many places one row, from a random place on: proportional in any sorted order
    places = ((torch.arange(n_validation) + random.uniform((1,)).double()) * (n / max(1, n_validation))).long()
    chosen = torch.zeros_like(order, dtype=torch.bool).scatter_(1, places.clamp(max=n - 1), value=True)
    members = len(order)
    rows = [order[mask].view(members, -1).sort(1).values for mask in (~chosen, chosen)]
    return rows[0], rows[1]


def training_data(
    rows: Rows, held_out: Rows | None, validation_fraction: float, keys: Tensor, classes: Tensor | None
) -> TrainingData:
    """Rows in canonical form, with those by which members are judged: held out by the user, or drawn for each member.

    Parameters
    ----------
    rows : Rows
        In canonical form.
    held_out : Rows, optional
    validation_fraction : float
        Share of the rows that is drawn where there are none held out.
    keys : Tensor, (M,)
        Of the members.
    classes : Tensor, (n,), optional
        Have their share of the rows that are drawn.
    """
    if held_out is None:
        parts = split_rows(len(rows.x), validation_fraction, KeyedRandom(keys), classes)
        units = torch.cat(parts, 1)
    else:
        n = len(rows.x)
        rows = _stacked(rows, canonical_rows(held_out))
        numbers = torch.arange(len(rows.x)).expand(len(keys), -1)
        parts = numbers[:, :n], numbers[:, n:]
        units = parts[0]
    weights, exposures = (
        None if one is None else torch.from_numpy(one) for one in (rows.sample_weight, rows.log_exposure)
    )
    return TrainingData(torch.from_numpy(rows.x), torch.from_numpy(rows.y), weights, *parts, units, exposures)


def _stacked(rows: Rows, held_out: Rows) -> Rows:
    """Rows with those held out under them, which weigh one each."""
    weights = rows.sample_weight
    if weights is not None:
        weights = np.concatenate([weights / weights.mean(), np.ones(len(held_out.x))])
    exposures = [one for one in (rows.log_exposure, held_out.log_exposure) if one is not None]
    return Rows(
        np.concatenate([rows.x, held_out.x]),
        np.concatenate([rows.y, held_out.y]),
        weights,
        np.concatenate(exposures) if exposures else None,
    )


def check_rows(estimator: object, X: object, shape: tuple[int, ...], name: str) -> Array:
    """Features of rows of the shape that the fit saw, under the same names.

    Raises
    ------
    ValueError
        For other shapes or names, text, NaN or infinite numbers.
    """
    X = as_numbers(X, name)
    if len(shape) == 1 and name == "X":
        # a table: in scikit-learn's own words
        with cells_named(X=X):
            table: Array = validate_data(estimator, X, dtype=np.float64, reset=False)
        return table
    with cells_named(**{name: X}):
        x: Array = check_array(X, dtype=np.float64, ensure_2d=False, allow_nd=True, input_name=name)
    if x.shape[1:] != shape:
        expected = ", ".join(map(str, ("n", *shape)))
        raise ValueError(f"{name} must have shape ({expected}), as X in the fit; got {x.shape}.")
    _check_feature_names(estimator, X, reset=False)
    return x
