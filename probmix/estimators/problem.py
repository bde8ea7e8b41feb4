"""What an estimator gives to training, and the checks of what `fit` was given beside X and y."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from .._given import checked_weights
from .._numbers import cells_named
from ..families import Family
from ..mixup import Mixup
from ..mixup.objectives import Objective
from ..training import TrainingData, TrainingOptions
from .checks import check_exposure
from .parts import Parts


@dataclass(frozen=True)
class Problem:
    """What an estimator gives to training."""

    data: TrainingData
    objective: Objective
    mixup: Mixup
    options: TrainingOptions
    device: torch.device
    keys: Tensor
    log_exposure_unit: float | None
    parts: Parts | None


def check_held_out(
    validation: Any, X_val: Any, y_val: Any, exposure_val: Any, groups: Any, sample_weight_val: Any
) -> None:
    """Raise unless there is one word on which rows judge the members."""
    if (X_val is None) != (y_val is None):
        raise ValueError("`X_val` and `y_val` are features and targets of the same rows: pass both or none.")
    for name, value in (("exposure_val", exposure_val), ("sample_weight_val", sample_weight_val)):
        if X_val is None and value is not None:
            raise ValueError(f"`{name}` belongs to `X_val` and `y_val`; pass these as well.")
    if X_val is not None and not (isinstance(validation, str) and validation == "random"):
        raise ValueError(
            "`X_val` and `y_val` judge all members, in place of a part of X; got them with "
            f"validation={validation!r}. Leave out either."
        )
    if X_val is not None and groups is not None:
        raise ValueError(
            "`groups` say which rows of X are held out together, and `X_val` that none are. Leave out either."
        )


def weights_of_rows(sample_weight: Any, rows: int, name: str) -> Tensor | None:
    """Weights of rows, if there are any."""
    if sample_weight is None:
        return None
    with cells_named(**{name: sample_weight}):
        return checked_weights(sample_weight, (rows,), name).cpu()


def log_exposure_of_rows(family: Family, exposure: Any, rows: int, name: str) -> Tensor | None:
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
