"""Which rows train a member, and which judge it."""

import numpy as np
import torch
from torch import Tensor

from ..random import KeyedRandom
from ..training import TrainingData
from .rows import Rows, canonical_rows, stacked
from .tables import counted_rows, share_out

# Streams of the initial weights and of the epochs are numbered from 0.
_SPLIT_STREAM = -2


def split_rows(n: int, n_validation: int, random: KeyedRandom, classes: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Training and validation rows of each member, drawn at random: (M, n - n_validation) and (M, n_validation).

    With `classes`, (n,), every class has its share of the validation rows, as far as whole rows allow.
    """
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

    Raises
    ------
    ValueError
        If a part would be empty.
    """
    if held_out is not None:
        n = len(rows.x)
        rows = stacked(rows, canonical_rows(held_out)[0])
        numbers = torch.arange(len(rows.x)).expand(len(keys), -1)
        return _data(rows, numbers[:, :n], numbers[:, n:], numbers[:, :n])
    counted = counted_rows(rows) if validation_fraction > 0 else np.zeros(len(rows.x), dtype=bool)
    if not counted.any():
        n_validation = _validation_size(len(rows.x), validation_fraction)
        train, validation = split_rows(len(rows.x), n_validation, KeyedRandom(keys), classes)
        return _data(rows, train, validation, torch.cat([train, validation], 1))
    rest = torch.from_numpy(np.flatnonzero(~counted))
    parts = split_rows(
        len(rest), round(validation_fraction * len(rest)), KeyedRandom(keys), None if classes is None else classes[rest]
    )
    # both sides have their share of the observations that a row stands for
    rows, *shares = share_out(rows, counted, validation_fraction)
    train, validation = (
        torch.cat([rest[part], torch.from_numpy(share).expand(len(keys), -1)], 1)
        for part, share in zip(parts, shares, strict=True)
    )
    return _data(rows, train, validation, torch.cat([train, validation], 1))


def _validation_size(n: int, validation_fraction: float) -> int:
    """How many rows to draw."""
    if validation_fraction == 0:
        return 0
    size = max(1, round(validation_fraction * n))
    if size >= n:
        raise ValueError(
            f"validation_fraction={validation_fraction} leaves no training row of {n} sample(s) of positive weight. "
            "Pass more rows or a smaller `validation_fraction`."
        )
    return size


def _data(rows: Rows, train: Tensor, validation: Tensor, units: Tensor) -> TrainingData:
    weights, exposures = (
        None if one is None else torch.from_numpy(one) for one in (rows.sample_weight, rows.log_exposure)
    )
    return TrainingData(
        torch.from_numpy(rows.x), torch.from_numpy(rows.y), weights, train, validation, units, exposures
    )
