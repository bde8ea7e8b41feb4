"""A multilayer perceptron with a member axis: many small networks as one batch of matrix products."""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from ..random import KeyedRandom
from .activations import ACTIVATIONS
from .dropout import MemberDropout
from .trunk import InputEmbedding, Trunk


class MemberLinear(nn.Module):
    """M linear layers of one shape: (M, B, in_features) -> (M, B, out_features).

    Attributes
    ----------
    weight, bias : nn.Parameter
        (M, in_features, out_features) and (M, 1, out_features).
    """

    def __init__(self, n_members: int, in_features: int, out_features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(n_members, in_features, out_features))
        self.bias = nn.Parameter(torch.zeros(n_members, 1, out_features))

    def forward(self, x: Tensor) -> Tensor:
        """Member by member."""
        return torch.baddbmm(self.bias, x, self.weight)

    @torch.no_grad()
    def initialize_(self, random: KeyedRandom) -> None:
        """Draw weights and biases uniformly within 1 / sqrt(in_features), as torch's Linear does."""
        bound = 1 / math.sqrt(self.weight.shape[1])
        for parameter in (self.weight, self.bias):
            parameter.copy_(bound * (2 * random.uniform(tuple(parameter.shape[1:])) - 1))


class MemberMLP(Trunk):
    """M perceptrons of one architecture.

    Parameters
    ----------
    in_features : int
        Without an embedding; with one, its own number counts.
    sizes : sequence of int
        Of the hidden layers; empty for a linear model.
    out_features : int
    n_members : int
        M.
    activation : {"relu", "silu", "mish", "gelu", "tanh"}
        Behind each hidden layer.
    dropout : float in [0, 1)
        Share of what each hidden layer gives that is dropped in training.
    embedding : InputEmbedding, optional

    Attributes
    ----------
    hidden : nn.Sequential
        A linear layer, its activation and its dropout each, so that ``hidden.0`` names what the first hidden layer
        gives.
    output : MemberLinear

    Examples
    --------
    >>> import torch
    >>> from probmix.networks import MemberMLP
    >>> MemberMLP(3, (16,), 2, n_members=5)(torch.zeros(5, 10, 3)).shape
    torch.Size([5, 10, 2])
    """

    hidden: nn.Sequential
    output: MemberLinear

    def __init__(
        self,
        in_features: int,
        sizes: Sequence[int],
        out_features: int,
        n_members: int = 1,
        activation: str = "relu",
        dropout: float = 0.0,
        embedding: InputEmbedding | None = None,
    ) -> None:
        widths = [in_features if embedding is None else embedding.out_features, *sizes]
        hidden = [
            nn.Sequential(
                MemberLinear(n_members, fan_in, fan_out),
                ACTIVATIONS[activation](),
                *([MemberDropout(dropout, n_members)] if dropout else []),
            )
            for fan_in, fan_out in pairwise(widths)
        ]
        output = MemberLinear(n_members, widths[-1], out_features)
        super().__init__(embedding, {"hidden": nn.Sequential(*hidden), "output": output})
        self.sizes = tuple(sizes)
        self.first_hidden = "hidden.0" if hidden else None

    def narrower(self, layer: str) -> str:
        """Behind the linear layer that follows, if that has fewer numbers: it takes means to means."""
        widths = [*self.sizes, self.output.weight.shape[2]]
        for number, (width, after) in enumerate(pairwise(widths)):
            if layer == f"hidden.{number}" and after < width:
                return "output" if number + 2 == len(widths) else f"hidden.{number + 1}.0"
        return layer

    def _initialize_part_(self, part: nn.Module, random: KeyedRandom) -> None:
        for layer in part.modules():
            if isinstance(layer, MemberLinear):
                layer.initialize_(random)

    def _predict_(self, output_bias: Tensor) -> None:
        self.output.weight.zero_()
        self.output.bias.copy_(output_bias)
