"""Checks of groups of rows: their weights, and the partners of their first ones."""

from typing import Any

import torch
from torch import Tensor

from .pairs import Partners, shifts_of
from .pooling import check_weights


def check_groups(partners: Partners | None, weights: Tensor | None) -> None:
    """Raise unless weights are on the simplex, and there is a partner for each but the first."""
    if partners is None or weights is None:
        return
    if weights.ndim not in (2, 3) or not weights.shape[-1]:
        raise ValueError(f"`weights` must have shape (B, K) or (M, B, K); got {tuple(weights.shape)}.")
    *rows, k = weights.shape
    if not isinstance(partners, Tensor):
        count = len(shifts_of(partners))
        if k != count + 1:
            raise ValueError(
                f"`weights` must have shape (B, {count + 1}) or (M, B, {count + 1}) where `partners` is "
                f"{partners!r}, with a column for the row itself and one for each number; got {tuple(weights.shape)}."
            )
    else:
        shapes = [(*rows, k - 1)] + ([tuple(rows)] if k == 2 else [])
        if tuple(partners.shape) not in shapes or partners.dtype != torch.int64:
            raise ValueError(
                f"`partners` must be int64 of shape {' or '.join(map(str, shapes))} for weights of shape "
                f"{tuple(weights.shape)}, whose first column is the row's own; got {partners.dtype} of shape "
                f"{tuple(partners.shape)}."
            )
    if _is_at_hand(weights):
        check_weights(weights.detach())
    elif weights.is_cuda:
        off = (weights.sum(-1) - 1).abs().max() < 2 * torch.finfo(weights.dtype).eps + 1e-4
        torch._assert_async(off & (weights >= 0).all(), "`weights` must lie on the simplex over the last axis.")


def check_kept(layer: str, n: int, weights: Tensor, given: Any, batch_dim: int) -> None:
    """Raise unless a layer gives as many rows as its module is given, if it is a tensor, or as are mixed."""
    mixed, along = weights.shape[-2], f"the layer {layer!r} gives {n} rows along dim {batch_dim}"
    mend = "Set `batch_dim`, or mix at a layer that keeps the rows."
    if n < mixed:
        raise ValueError(f"{along}, fewer than the {mixed} that are mixed. {mend}")
    # of what comes in, members and steps may stand before the rows as well
    known = given.shape[: max(batch_dim, weights.ndim - 2) + 1] if isinstance(given, Tensor) else (n,)
    if n not in (mixed, *known):
        raise ValueError(f"{along}, and not the {known[-1]} that the module is given. {mend}")


def check_within(partners: Partners | None, n: int) -> None:
    """Raise unless partners are among n rows."""
    if not isinstance(partners, Tensor):
        return
    within = ((partners >= 0) & (partners < n)).all()
    if _is_at_hand(partners) and not bool(within):
        raise ValueError(
            f"`partners` must be row numbers from 0 to {n - 1}; they go from {int(partners.min())} to "
            f"{int(partners.max())}. Stack partners from outside the batch under it."
        )
    if partners.is_cuda:
        torch._assert_async(within, f"`partners` must be row numbers from 0 to {n - 1}.")


def _is_at_hand(tensor: Tensor) -> bool:
    """Whether its numbers can be looked at without waiting, and are no entries of a `torch.vmap`."""
    functorch: Any = torch._C._functorch
    return tensor.device.type == "cpu" and not functorch.is_functorch_wrapped_tensor(tensor)
