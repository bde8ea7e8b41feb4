"""Rows as named columns: what a table says of each row, and what is done to all its columns alike."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Self

import torch
from numpy.typing import NDArray
from torch import Tensor


def _may_lack(*, absent: float | None = None, tells_apart: bool = True, trains: bool = True) -> dict[str, Any]:
    """What a column is, which rows may have or not.

    Parameters
    ----------
    absent : float, optional
        What it is for rows without it when they come together with rows that have it. Without one, either all have it
        or none.
    tells_apart : bool
        Whether rows that differ in it, and in nothing else, are different rows.
    trains : bool
        Whether training looks at it. Others say which rows train and judge a member, and are dropped then.
    """
    return {"absent": absent, "tells_apart": tells_apart, "trains": trains}


@dataclass(frozen=True)
class Columns:
    """Base of tables: each field is a tensor with one entry per row, (n, ...), or None."""

    def present(self) -> dict[str, Tensor]:
        """The columns that there are, by name."""
        columns = {one.name: getattr(self, one.name) for one in fields(self)}
        return {name: values for name, values in columns.items() if values is not None}

    def __len__(self) -> int:
        return len(next(iter(self.present().values())))

    def take(self, which: Tensor | NDArray[Any]) -> Self:
        """Some of the rows, by a mask or by their numbers."""
        index = torch.as_tensor(which)
        return replace(self, **{name: values[index] for name, values in self.present().items()})

    def to(self, device: torch.device) -> Self:
        """The rows on a device."""
        return replace(self, **{name: values.to(device) for name, values in self.present().items()})

    def telling_apart(self) -> dict[str, Tensor]:
        """The columns by which rows are equal or not, in the order by which they are sorted."""
        names = {one.name for one in fields(self) if one.metadata.get("tells_apart", True)}
        return {name: values for name, values in self.present().items() if name in names}

    def for_training(self) -> Self:
        """The rows without the columns at which training does not look."""
        return replace(self, **{one.name: None for one in fields(self) if not one.metadata.get("trains", True)})

    def to_hash(self) -> tuple[Tensor | None, ...]:
        """What tells these rows from any others, in training: see `description`."""
        return tuple(getattr(self, one.name) for one in fields(self) if one.metadata.get("trains", True))

    @classmethod
    def joined(cls, tables: Sequence[Self]) -> Self:
        """Tables one under the other."""
        return cls(**{one.name: _joined(one.name, one.metadata.get("absent"), tables) for one in fields(cls)})


@dataclass(frozen=True, kw_only=True)
class Rows(Columns):
    """Rows of data; a new column is one entry here.

    Attributes
    ----------
    group : Tensor, (n,), int64, or None
        Rows of different groups are not equal, whatever else they have in common.
    x : Tensor, (n, *F), float64
    y : Tensor, (n,) or (n, d), float64
    weight : Tensor, (n,), float64, or None
        Non-negative.
    log_exposure : Tensor, (n,), float64, or None
        Of counts: the logarithm of what they were counted over.
    """

    group: Tensor | None = field(default=None, metadata=_may_lack(trains=False))
    x: Tensor
    y: Tensor
    weight: Tensor | None = field(default=None, metadata=_may_lack(absent=1.0, tells_apart=False))
    log_exposure: Tensor | None = field(default=None, metadata=_may_lack())

    def counted_targets(self) -> Tensor:
        """Targets in their order, in the place of those that have no weight the first that has."""
        if self.weight is None or not bool((self.weight > 0).any()):
            return self.y
        counts = (self.weight > 0).view(-1, *(1,) * (self.y.ndim - 1))
        return torch.where(counts, self.y, self.y[int((self.weight > 0).int().argmax())])


@dataclass(frozen=True, kw_only=True)
class Unlabelled(Columns):
    """Rows whose targets are not known.

    Attributes
    ----------
    x : Tensor, (n, *F), float64
    """

    x: Tensor


def _joined(name: str, absent: float | None, tables: Sequence[Columns]) -> Tensor | None:
    """A column of all tables, None if none has it."""
    parts = [table.present().get(name) for table in tables]
    given = [part for part in parts if part is not None]
    if not given:
        return None
    if absent is None:
        if len(given) < len(parts):
            raise ValueError(f"either all rows have the column {name!r}, or none; got some of both.")
        return torch.cat(given)
    sizes = [len(table) for table in tables]
    return torch.cat(
        [given[0].new_full((size,), absent) if part is None else part for part, size in zip(parts, sizes, strict=True)]
    )
