"""Two functions of shapes as torch has them, whose own load sympy when they are called, for most of a second."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def broadcast_shapes(*shapes: Sequence[int]) -> torch.Size:
    """The shape that several shapes have together, as `torch.broadcast_shapes`.

    Raises
    ------
    ValueError
        If they do not go together.

    Examples
    --------
    >>> broadcast_shapes((3, 1), (2,))
    torch.Size([3, 2])
    """
    if all(type(size) is int for shape in shapes for size in shape):
        return torch.Size(np.broadcast_shapes(*map(tuple, shapes)))
    # where a function is traced sizes are symbols
    traced: torch.Size = torch.broadcast_shapes(*shapes)
    return traced


def unravel_index(places: Tensor, shape: Sequence[int]) -> tuple[Tensor, ...]:
    """The places along each axis of entries that are counted row by row, as `torch.unravel_index`.

    Examples
    --------
    >>> unravel_index(torch.tensor([0, 5]), (2, 3))
    (tensor([0, 1]), tensor([0, 2]))
    """
    index = []
    for size in reversed(shape):
        index.append(places % size)
        places = places.div(size, rounding_mode="floor")
    return tuple(reversed(index))
