"""Activations by name."""

from collections.abc import Callable

from torch import nn

# The rectifier in place: the backward pass does not need what it is applied to.
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": lambda: nn.ReLU(inplace=True),
    "silu": nn.SiLU,
    "mish": nn.Mish,
    "gelu": nn.GELU,
    "tanh": nn.Tanh,
}
