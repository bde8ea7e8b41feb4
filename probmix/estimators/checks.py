"""Checks of an estimator's parameters: what, the rule, what came."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .._checks import check_integer as check_integer
from .._checks import check_real as check_real
from .._checks import check_seed as check_seed
from .._names import unknown_name
from .._numbers import as_numbers
from .._told import warn
from ..families import Family
from ..networks import NetworkSpec
from ..networks.specs import check_sizes

# Of the network that is built where none is named.
LAYER_SIZES = (128, 64)
_POOLS = ("linear", "log-linear")


def check_automatic(name: str, value: object) -> None:
    """Raise unless the parameter is a positive integer, None or "auto"."""
    if value is None or (isinstance(value, str) and value == "auto"):
        return
    if isinstance(value, str):
        raise ValueError(f"`{name}` must be an integer of at least 1, None or 'auto'; got {value!r}.")
    check_integer(name, value, 1)


def warn_of_a_column(y: NDArray[np.float64]) -> None:
    """Tell that a column of targets is not the same as targets."""
    if y.ndim == 2 and y.shape[1] == 1:
        warn(
            f"`y` has shape {y.shape} and is taken for rows of one target each: predictions are such rows too, of "
            "which there are no displays, reports and recalibration. For one number a row pass np.ravel(y)."
        )


def check_time_limit(limit: Any) -> float | None:
    """Seconds that a fit may take, or None; raises unless they are positive."""
    if limit is None:
        return None
    check_real("time_limit", limit, 0.0, open_low=True)
    return float(limit)


def check_layer_sizes(sizes: object) -> tuple[int, ...]:
    """The hidden layer sizes as a tuple."""
    return check_sizes("hidden_layer_sizes", sizes)


def check_network(network: object, hidden_layer_sizes: Sequence[int] | None = None) -> None:
    """Raise unless the parameter is a specification, a network, a builder of one, or None.

    A specification has sizes of its own, beside which there may be no others.
    """
    if isinstance(network, type) and issubclass(network, NetworkSpec):
        raise TypeError(f"`network` is the class {network.__name__}; pass a specification, {network.__name__}().")
    if hidden_layer_sizes is not None:
        check_layer_sizes(hidden_layer_sizes)
    if isinstance(network, list | tuple) and not (network and all(isinstance(one, NetworkSpec) for one in network)):
        raise TypeError(
            "a list of networks must hold specifications such as MLP((64, 64)), at least one; got "
            f"{network!r}. Of networks of your own pass one."
        )
    if isinstance(network, NetworkSpec | list | tuple):
        if hidden_layer_sizes is not None:
            raise ValueError(
                "`hidden_layer_sizes` are those of the network that is built without `network`; got "
                f"{tuple(hidden_layer_sizes)} beside network={network!r}. Say the sizes there, and leave them out here."
            )
    elif network is not None and not callable(network):
        raise TypeError(f"`network` must be an nn.Module or build one from the shape of a row; got {network!r}.")


def check_pool(pool: object, family: Family | None = None) -> None:
    """Raise unless members, of the family if it is known, can be pooled that way."""
    if pool not in _POOLS:
        raise unknown_name("pool", pool, _POOLS)
    if pool == "log-linear" and family is not None and not family.pools_log_linearly:
        raise ValueError(
            f"`pool` is 'log-linear', but the family {family.name!r} is no exponential family and pools linearly. Use "
            "pool='linear'."
        )


def check_exposure(exposure: object, rows: int, name: str = "exposure") -> Tensor | None:
    """The logarithms of exposures, (n,), if there are any; raises unless they are positive, one for each row."""
    if exposure is None:
        return None
    values: NDArray[np.float64] = np.asarray(as_numbers(exposure, name), dtype=np.float64)
    if values.shape == ():
        raise ValueError(
            f"`{name}` must be a vector of one value for each of the {rows} rows; got one number. If all rows have it, "
            f"pass np.full({rows}, {values:g})."
        )
    if values.shape != (rows,):
        raise ValueError(
            f"`{name}` must be a vector of one value for each of the {rows} rows; got shape {values.shape}. Several "
            "targets of a row share it."
        )
    bad = ~(np.isfinite(values) & (values > 0))
    if bad.any():
        row = int(bad.argmax())
        raise ValueError(
            f"`{name}` must be positive and finite; got {values[row]:g} at row {row}. Drop rows that were not exposed."
        )
    return torch.from_numpy(np.log(values))


def warn_beyond_bounds(family: Family, y: Tensor, weight: Tensor | None) -> None:
    """Warn if the targets by themselves lie beyond the bounds of the family's parameters."""
    if weight is not None:
        y, weight = y[weight > 0], weight[weight > 0].reshape(-1, *(1,) * (y.ndim - 1))
    for found in family.beyond_bounds(y, weight):
        warn(f"the family {family.name!r} cannot follow the targets: they have {found}. Another family may.")


def check_device(device: str | torch.device) -> torch.device:
    """The device to train on; "auto" takes a GPU if there is one."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if not isinstance(device, (str, torch.device)) or str(device).split(":")[0] not in ("cpu", "cuda"):
        raise unknown_name("device", device, ("auto", "cpu", "cuda"))
    device = torch.device(device)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError("`device` is 'cuda', but torch sees no CUDA device. Use 'auto' or 'cpu'.")
    return device
