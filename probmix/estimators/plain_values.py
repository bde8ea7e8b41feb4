"""Parameters and fitted attributes as values that JSON has, and back: nothing is pickled."""

from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..families import Family, get
from ..mixup.registry import is_registered, registered
from ..networks.specs import is_spec, spec_named
from ..training.schedules import Schedule, schedule_named


def encode(name: str, value: Any) -> Any:
    """A JSON form of a parameter or fitted attribute."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, np.generic):
        return encode(name, value.item())
    if isinstance(value, np.ndarray):
        return {"array": _plain(value), "dtype": "object" if value.dtype == object else value.dtype.str}
    if isinstance(value, (tuple, list)):
        return [encode(name, one) for one in value]
    if isinstance(value, dict):
        return {"dict": {key: encode(name, one) for key, one in value.items()}}
    if isinstance(value, (Path, torch.device)):
        return str(value)
    if isinstance(value, (np.random.RandomState, np.random.Generator)):
        return None
    if isinstance(value, Family):
        return {"family": value.name, "options": _field_values(value)}
    if isinstance(value, Schedule):
        return {"schedule": type(value).__name__, "options": _field_values(value)}
    if is_spec(value):
        return {"spec": type(value).__name__, "options": _field_values(value)}
    if is_registered(value):
        return {"mixup": type(value).__name__, "options": _field_values(value)}
    raise TypeError(
        f"`{name}` cannot be saved: {value!r} is neither a plain value nor a part of probmix. "
        "Pickle the estimator instead, or set the parameter to a built-in one. A law of your own that is a dataclass "
        "is saved once probmix.mixup.register_law knows it."
    )


def _plain(array: NDArray[Any]) -> list[Any]:
    """An array as numbers and text from which it can be made again, given its type."""
    if array.dtype.kind == "M":
        array = np.datetime_as_string(array)
    elif array.dtype.kind == "m":
        # in the unit of the type
        array = array.astype(np.int64)
    plain: list[Any] = array.tolist()
    return plain


def _field_values(value: Any) -> dict[str, Any]:
    return {field.name: encode(field.name, getattr(value, field.name)) for field in fields(value) if field.init}


def decode(value: Any) -> Any:
    """A parameter or fitted attribute from its JSON form."""
    if isinstance(value, list):
        return tuple(decode(one) for one in value)
    if not isinstance(value, dict):
        return value
    if "dict" in value:
        return {key: decode(one) for key, one in value["dict"].items()}
    if "array" in value:
        return np.array(value["array"], dtype=value["dtype"])
    options = {name: decode(option) for name, option in value["options"].items()}
    if "family" in value:
        return get(value["family"], **options)
    if "schedule" in value:
        return schedule_named(value["schedule"])(**options)
    if "spec" in value:
        return spec_named(value["spec"])(**options)
    return registered(value["mixup"])(**options)
