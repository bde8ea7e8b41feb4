"""What `fit` was given, as it came, and the rows that it is."""

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils import _safe_indexing, indexable
from torch import Tensor

from .._given import checked_weights
from .._numbers import cells_named
from ..families import Family
from ..training import Rows, TrainingData
from .checks import check_exposure
from .rows import as_tensor
from .validation import check_groups

# As a share of the largest: sums of smaller weights are lost to rounding beside it, and a member whose rows had no
# others would learn from them alone.
_LEAST_WEIGHT = 1e-12


@dataclass(frozen=True)
class Given:
    """What a user says of rows; a new column is one entry here and one in `rows`.

    Attributes
    ----------
    X, y : array-like, (n, ...), or None where there are no such rows
    sample_weight, exposure, groups : array-like, (n,), or None
    """

    X: Any = None
    y: Any = None
    sample_weight: Any = None
    exposure: Any = None
    groups: Any = None

    def indexable(self) -> "Given":
        """The same, in containers of which rows can be taken; raises unless all have one length."""
        names = [one.name for one in fields(self)]
        return Given(**dict(zip(names, indexable(*(getattr(self, name) for name in names)), strict=True)))

    def take(self, numbers: NDArray[np.intp]) -> "Given":
        """Some of the rows, by their numbers."""
        columns = {one.name: getattr(self, one.name) for one in fields(self)}
        return Given(**{name: _safe_indexing(one, numbers) for name, one in columns.items() if one is not None})

    def with_checked_weights(self, rows: int) -> "Given":
        """The same with weights, if there are any, that can be those of so many rows, as a tensor."""
        return replace(self, sample_weight=_weights(self.sample_weight, rows, "sample_weight"))

    def rows(self, x: NDArray[np.float64], y: NDArray[np.float64], family: Family, suffix: str = "") -> Rows:
        """The rows, whose features and targets have been checked, of a fit with a family.

        Raises
        ------
        ValueError
            For weights, exposures or groups that cannot be those of the rows, by their names in `fit`, with a suffix.
        """
        return Rows(
            x=as_tensor(x),
            y=as_tensor(y),
            weight=_weights(self.sample_weight, len(x), f"sample_weight{suffix}"),
            log_exposure=_log_exposure(family, self.exposure, len(x), f"exposure{suffix}"),
            group=check_groups(self.groups, len(x)),
        )


def check_held_out(validation: Any, given: Given, held_out: Given) -> None:
    """Raise unless there is one word on which rows judge the members."""
    if (held_out.X is None) != (held_out.y is None):
        raise ValueError("`X_val` and `y_val` are features and targets of the same rows: pass both or none.")
    for name in ("exposure", "sample_weight"):
        if held_out.X is None and getattr(held_out, name) is not None:
            raise ValueError(f"`{name}_val` belongs to `X_val` and `y_val`; pass these as well.")
    if held_out.X is not None and not (isinstance(validation, str) and validation == "random"):
        raise ValueError(
            "`X_val` and `y_val` judge all members, in place of a part of X; got them with "
            f"validation={validation!r}. Leave out either."
        )
    if held_out.X is not None and given.groups is not None:
        raise ValueError(
            "`groups` say which rows of X are held out together, and `X_val` that none are. Leave out either."
        )


def _weights(sample_weight: Any, rows: int, name: str) -> Tensor | None:
    """Weights of rows, if there are any; zero for those that are none beside the largest."""
    if sample_weight is None:
        return None
    with cells_named(**{name: sample_weight}):
        weights = checked_weights(sample_weight, (rows,), name).cpu()
    return weights.masked_fill(weights < _LEAST_WEIGHT * weights.max(), 0.0)


def _log_exposure(family: Family, exposure: Any, rows: int, name: str) -> Tensor | None:
    """The logarithms of exposures, if there are any; raises also if the family has none."""
    log_exposure = check_exposure(exposure, rows, name)
    if log_exposure is not None:
        family.expose(torch.zeros(family.num_params), torch.zeros(()))
    return log_exposure


def in_units_of_exposure(data: TrainingData) -> tuple[TrainingData, float | None]:
    """The data with exposures whose mean is one: families bound their rates, and the start is that of counts."""
    log_exposure = data.rows.log_exposure
    if log_exposure is None:
        return data, None
    highest = log_exposure.max()
    log_unit = (highest + (log_exposure - highest).exp().mean().log()).item()
    return replace(data, rows=replace(data.rows, log_exposure=log_exposure - log_unit)), log_unit
