"""What a network of the user's gives, found out by passing rows of zeros through it."""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ..fusion import layer_shape
from ..random import seeded

# Passes with two numbers of rows tell the axis of the rows from any other.
_ROW_COUNTS = (2, 3)


class Habits(NamedTuple):
    """What a network does besides computing, outside training.

    Attributes
    ----------
    draws : bool
        It draws from torch's own generator.
    writes : bool
        It writes into its parameters, such as a limit on their size.
    """

    draws: bool
    writes: bool


@torch.no_grad()
def habits_of(network: nn.Module, input_shape: tuple[int, ...]) -> Habits:
    """What a network does besides computing, found out by one pass; its weights are not those it had afterwards."""
    # large ones, so that a limit that the network sets them shows
    parameters = [parameter for parameter in network.parameters() if parameter.is_floating_point()]
    before = [parameter.mul_(1e3).add_(1e3).clone() for parameter in parameters]
    with seeded(0) as has_drawn:
        network(rows_of_zeros(_ROW_COUNTS[0], input_shape))
        draws = has_drawn()
    writes = any(not torch.equal(*pair) for pair in zip(before, parameters, strict=True))
    return Habits(draws, writes)


@torch.no_grad()
def features_of(network: nn.Module, input_shape: tuple[int, ...]) -> int:
    """Number of features that a network gives for every row.

    Raises
    ------
    ValueError
        If it does not map rows (N, *F) to features (N, d).
    """
    for count in _ROW_COUNTS:
        with seeded(0):
            features = network(rows_of_zeros(count, input_shape))
        if not isinstance(features, Tensor) or features.ndim != 2 or len(features) != count:
            raise ValueError(
                f"`network` must map rows {_described(input_shape)} to features (N, d), on which the estimator puts "
                f"the head; for N = {count} it gave {_got(features)}. End it in nn.Flatten(), for example."
            )
    return int(features.shape[1])


def mixing_shape(network: nn.Module, place: str, input_shape: tuple[int, ...]) -> tuple[int, ...]:
    """Shape, without the axis of the rows, of what a layer gives, at which rows are to be mixed.

    Raises
    ------
    ValueError
        For an unknown layer, with the near misses, or one that does not give one tensor with a row for every row.
    """
    for count in _ROW_COUNTS:
        try:
            with seeded(0):
                shape = layer_shape(network, place, rows_of_zeros(count, input_shape))
        except TypeError as error:
            layer = place.split("[")[0]
            raise ValueError(f"{error} In a mixup the element is part of the name, as in at='{layer}[0]'.") from None
        except RuntimeError as error:
            raise ValueError(
                f"rows are mixed at a layer that runs once in a forward pass; {place!r} does not. Name another layer."
            ) from error
        if not shape or shape[0] != count:
            raise ValueError(
                f"rows are mixed at a layer whose output has them along the first axis; {place!r} gives shape "
                f"{tuple(shape)} for {count} rows. Name another layer."
            )
    return tuple(shape[1:])


def rows_of_zeros(count: int, input_shape: tuple[int, ...]) -> Tensor:
    """Rows with which to find out something, (count, *F)."""
    return torch.zeros(count, *input_shape, dtype=torch.float32)


def _described(shape: tuple[int, ...]) -> str:
    return f"(N, {', '.join(map(str, shape))})"


def _got(features: Any) -> str:
    return f"shape {tuple(features.shape)}" if isinstance(features, Tensor) else f"a {type(features).__name__}"
