"""What the scores of draws, quantiles and probabilities do with their arguments first."""

from __future__ import annotations

import torch
from torch import Tensor

from .._given import Numbers, as_tensor
from .._targets import broadcasts_to, check_finite


def floats(name: str, values: Numbers) -> Tensor:
    """Numbers of any kind as a finite tensor of float32 or float64; whole ones in float64.

    Raises
    ------
    TypeError
        For a tensor of half precision, which says too little of what is scored.
    ValueError
        For what is no number or not finite.
    """
    tensor = as_tensor(values, name)
    if tensor.dtype not in (torch.float32, torch.float64):
        if tensor.is_floating_point():
            raise TypeError(f"`{name}` must be float32 or float64, got {tensor.dtype}. Pass {name}.double().")
        tensor = tensor.double()
    check_finite(name, tensor)
    return tensor


def rows_like(name: str, values: Numbers, shape: torch.Size, rule: str, like: Tensor) -> Tensor:
    """`values` expanded to `shape`, in the dtype of `like`; whole numbers count as floats here, as counts do.

    Raises
    ------
    ValueError
        If `values` do not broadcast to exactly that shape, or are not finite.
    """
    values = as_tensor(values, name).to(like)
    if not broadcasts_to(values.shape, shape):
        same = values.numel() == shape.numel()
        mend = f"Pass {name}.reshape({tuple(shape)})." if same else "Pass one value for each row."
        if like.dim() == 2 and values.shape == like.shape[1:]:
            mend = "Rows come first: pass the transpose of the forecasts, as in crps_samples(model.sample(X, 20).T, y)."
        raise ValueError(f"`{name}` must broadcast to {rule}, {tuple(shape)}; got shape {tuple(values.shape)}. {mend}")
    check_finite(name, values)
    return values.expand(shape)


def checked_levels(name: str, levels: Numbers, count: int, like: Tensor) -> Tensor:
    """`levels` in float64 of shape (count,) on the device of `like`: 1 - level would lose digits in float32."""
    levels = as_tensor(levels, name).to(like.device, torch.float64)
    if levels.shape != (count,):
        raise ValueError(
            f"`{name}` must hold one number for each of the {count} on the last axis, "
            f"got shape {tuple(levels.shape)}. Pass a sequence of {count}."
        )
    outside = ~((levels > 0) & (levels < 1))
    if bool(outside.any()):
        raise ValueError(
            f"`{name}` must lie between 0 and 1, both excluded, got {levels[outside][0].item():g}. For 90 % pass 0.9."
        )
    return levels
