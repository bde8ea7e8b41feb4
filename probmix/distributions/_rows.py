"""Tables of numbers in the rows of a batch: their checks, and look-ups of many values in each row at once."""

import torch
from torch import Tensor

from .._shapes import broadcast_shapes


def check_table(name: str, values: Tensor, columns: str) -> None:
    """Raise unless `values` are finite floats of shape (*B, m) with m > 0."""
    if not isinstance(values, Tensor) or values.dtype not in (torch.float32, torch.float64):
        kind = values.dtype if isinstance(values, Tensor) else type(values).__name__
        raise TypeError(
            f"`{name}` must be a float32 or float64 tensor, got {kind}. Pass torch.as_tensor({name}).double()."
        )
    if values.dim() == 0 or values.shape[-1] == 0:
        raise ValueError(
            f"`{name}` must hold at least one value along the last axis, got shape {tuple(values.shape)}. "
            f"Pass shape (rows, {columns})."
        )
    if not bool(values.isfinite().all()):
        place = tuple((~values.isfinite()).nonzero()[0].tolist())
        raise ValueError(
            f"`{name}` must be finite, got {values[place].item():g} at index {place}. Drop or impute these rows."
        )


class RowValues:
    """Values that broadcast against a batch shape, brought to the shape (*rows, L) of a look-up in rows, and back.

    >>> import torch
    >>> values = RowValues(torch.zeros(7, 1), torch.Size([5]))
    >>> values.last.shape, values.back(values.last).shape
    (torch.Size([5, 7]), torch.Size([7, 5]))
    """

    def __init__(self, values: Tensor, batch: torch.Size) -> None:
        self.shape = broadcast_shapes(values.shape, batch)
        self.rows = self.shape[len(self.shape) - len(batch) :]
        self.last = values.expand(self.shape).reshape(-1, *self.rows).movedim(0, -1).contiguous()

    def back(self, found: Tensor) -> Tensor:
        return found.movedim(-1, 0).reshape(self.shape)
