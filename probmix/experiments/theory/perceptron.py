"""Perceptrons of one's own, whose layers have names."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from itertools import pairwise

from torch import nn

from ...random import seeded


def perceptron(sizes: Sequence[int], activation: Callable[[], nn.Module], seed: int) -> nn.Sequential:
    """Linear layers of these sizes; the activations in between are the layers "hidden1", "hidden2", ..."""
    with seeded(seed):
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        for number, (inputs, outputs) in enumerate(pairwise(sizes), start=1):
            layers[f"linear{number}"] = nn.Linear(inputs, outputs)
            if number < len(sizes) - 1:
                layers[f"hidden{number}"] = activation()
        return nn.Sequential(layers)
