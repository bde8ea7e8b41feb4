"""What stands between standardised rows and natural parameters, for all members: layers one after the other."""

from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from ..random import KeyedRandom

Change = Callable[[Tensor], Tensor]
# Name of what numbers go through first, where there is such a thing.
INPUT_EMBEDDING = "input_embedding"


@runtime_checkable
class NumberEmbedding(Protocol):
    """What a specification of an input embedding builds: a module (M, N, n_numbers) -> (M, N, out_features)."""

    out_features: int

    def initialize_(self, random: KeyedRandom) -> None:
        """Draw the weights of the members."""
        ...


@runtime_checkable
class BinnedEmbedding(NumberEmbedding, Protocol):
    """One with bins between quantiles of the training rows."""

    def set_bins_(self, quantiles: Tensor) -> None:
        """Take over the bounds of the bins, (M, n_bins + 1, n_numbers)."""
        ...


class InputEmbedding(nn.Module):
    """What numbers become before the first layer; indicators and levels behind them pass it by.

    Parameters
    ----------
    numbers : nn.Module
        Standardised numbers (M, N, n_numbers) to (M, N, out_features).
    n_numbers, n_others : int
        How many columns are numbers, which come first, and how many are not.

    Attributes
    ----------
    out_features : int
        Of numbers and others.
    """

    def __init__(self, numbers: nn.Module, n_numbers: int, n_others: int) -> None:
        super().__init__()
        self.numbers, self._n_numbers, self._n_others = numbers, n_numbers, n_others
        assert isinstance(numbers, NumberEmbedding)  # as its specification promises
        self.out_features = numbers.out_features + n_others

    def initialize_(self, random: KeyedRandom) -> None:
        """Draw the weights of the members."""
        assert isinstance(self.numbers, NumberEmbedding)
        self.numbers.initialize_(random)

    def set_bins_(self, quantiles: Tensor) -> None:
        """Tell it the quantiles of the standardised numbers, (M, n_bins + 1, n_numbers)."""
        assert isinstance(self.numbers, BinnedEmbedding)  # its specification has named a number of bins
        self.numbers.set_bins_(quantiles)

    def forward(self, z: Tensor) -> Tensor:
        """Standardised columns (M, N, F) to what the layers see, (M, N, out_features)."""
        if not self._n_others:
            embedded: Tensor = self.numbers(z)
            return embedded
        return torch.cat([self.numbers(z[..., : self._n_numbers]), z[..., self._n_numbers :]], -1)


class Trunk(nn.Sequential, ABC):
    """Input embedding, hidden layers and last layer of M members, which follow each other.

    Parameters
    ----------
    embedding : InputEmbedding or None
    parts : mapping of str to nn.Module
        What follows it, by name; the last one is "output".

    Attributes
    ----------
    first_hidden : str or None
        Name of the first hidden layer, if there is one.
    """

    first_hidden: str | None = None

    def __init__(self, embedding: InputEmbedding | None, parts: Mapping[str, nn.Module]) -> None:
        front = {} if embedding is None else {INPUT_EMBEDDING: embedding}
        super().__init__(OrderedDict[str, nn.Module]({**front, **parts}))

    @property
    def embedding(self) -> InputEmbedding | None:
        """What numbers go through first."""
        first = next(iter(self))
        return first if isinstance(first, InputEmbedding) else None

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights."""
        weight = self.get_submodule("output").weight
        assert isinstance(weight, Tensor)
        return weight.dtype

    def forward(self, x: Tensor, layer: str = "", change: Change | None = None) -> Tensor:
        """Member by member: (M, N, in_features) -> (M, N, out_features).

        With the name of a layer that all goes through, see `leads_through`, a function of what that gives goes on in
        its place.
        """
        if change is None:
            scores: Tensor = super().forward(x)
            return scores
        return _through(self, x, layer, change)

    def leads_through(self, layer: str) -> bool:
        """Whether nothing passes a layer by, so that what goes on from it may have other rows."""
        module: nn.Module = self
        for name in layer.split("."):
            if not isinstance(module, nn.Sequential):
                return False
            module = module.get_submodule(name)
        return True

    def narrower(self, layer: str) -> str:
        """Where rows may as well be mixed as at a layer: the layer itself, or one that gives fewer numbers."""
        return layer

    @torch.no_grad()
    def initialize_(self, random: KeyedRandom, output_bias: Tensor) -> None:
        """Draw the weights; the last layer gives its bias, (M, 1, out_features), for all inputs."""
        for name, part in self.named_children():
            if isinstance(part, InputEmbedding):
                part.initialize_(random)
            elif name != "output":
                self._initialize_part_(part, random)
        self._predict_(output_bias)

    @abstractmethod
    def _initialize_part_(self, part: nn.Module, random: KeyedRandom) -> None:
        """Draw the weights of a part between input embedding and output."""

    @abstractmethod
    def _predict_(self, output_bias: Tensor) -> None:
        """Let the last layer give its bias for all inputs."""


def _through(module: nn.Module, x: Tensor, layer: str, change: Change) -> Tensor:
    """What a chain of modules gives, with the output of one of them, or of its parts, replaced by a function of it."""
    if not layer:
        return change(module(x))
    name, _, inside = layer.partition(".")
    for own, part in module.named_children():
        x = _through(part, x, inside, change) if own == name else part(x)
    return x
