"""Networks may compute in half precision; links, densities and losses do not."""

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor

P = ParamSpec("P")
Result = TypeVar("Result")

_HALVES = (torch.float16, torch.bfloat16)


def at_least_float32(tensor: Tensor) -> Tensor:
    """The tensor itself, or in float32 if it is in half precision."""
    return tensor.float() if tensor.dtype in _HALVES else tensor


def in_full_precision(function: Callable[P, Result]) -> Callable[P, Result]:
    """A function that sees its tensors in float32 at least, and no autocast."""

    @wraps(function)
    def widened(*args: P.args, **kwargs: P.kwargs) -> Result:
        wide: list[Any] = [at_least_float32(one) if isinstance(one, Tensor) else one for one in args]
        kind = next((one.device.type for one in wide if isinstance(one, Tensor)), None)
        if kind is None or not (torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)):
            return function(*wide, **kwargs)
        with torch.autocast(kind, enabled=False):
            return function(*wide, **kwargs)

    return widened
