"""What the scores of draws, quantiles and probabilities do with their arguments first."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ._inputs import broadcasts_to, check_finite


def check_floats(name: str, values: Tensor) -> None:
    """Raise if `values` are of another dtype than float32 or float64, or not finite."""
    if values.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"`{name}` must be float32 or float64, got {values.dtype}. Pass {name}.double().")
    check_finite(name, values)


def rows_like(name: str, values: Tensor, shape: torch.Size, rule: str, like: Tensor) -> Tensor:
    """`values` expanded to `shape`, in the dtype of `like`; whole numbers count as floats here, as counts do.

    Raises
    ------
    ValueError
        If `values` do not broadcast to exactly that shape, or are not finite.
    """
    if not broadcasts_to(values.shape, shape):
        same = values.numel() == shape.numel()
        mend = f"Pass {name}.reshape({tuple(shape)})." if same else "Pass one value for each row."
        raise ValueError(f"`{name}` must broadcast to {rule}, {tuple(shape)}; got shape {tuple(values.shape)}. {mend}")
    values = values.to(like.dtype)
    check_finite(name, values)
    return values.expand(shape)


def checked_levels(name: str, levels: Tensor | Sequence[float], count: int, like: Tensor) -> Tensor:
    """`levels` in float64 of shape (count,) on the device of `like`: 1 - level would lose digits in float32."""
    levels = torch.as_tensor(levels, dtype=torch.float64, device=like.device)
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
