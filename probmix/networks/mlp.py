"""A multilayer perceptron with a member axis: many small networks as one batch of matrix products."""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from ..random import KeyedRandom


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


class MLP(nn.Module):
    """M perceptrons of one architecture, with ReLU between the layers.

    Parameters
    ----------
    in_features : int
    hidden_layer_sizes : sequence of int
        Empty for a linear model.
    out_features : int
    n_members : int
        M.

    Attributes
    ----------
    hidden : nn.ModuleList
        A linear layer and its ReLU each, so that ``hidden.0`` names the activations of the first hidden layer.
    output : MemberLinear

    Examples
    --------
    >>> import torch
    >>> from probmix.networks import MLP
    >>> MLP(3, (16,), 2, n_members=5)(torch.zeros(5, 10, 3)).shape
    torch.Size([5, 10, 2])
    """

    def __init__(
        self, in_features: int, hidden_layer_sizes: Sequence[int], out_features: int, n_members: int = 1
    ) -> None:
        super().__init__()
        self.hidden_layer_sizes = tuple(hidden_layer_sizes)
        *hidden, output = [
            MemberLinear(n_members, fan_in, fan_out)
            for fan_in, fan_out in pairwise([in_features, *hidden_layer_sizes, out_features])
        ]
        # in place, since the backward pass does not need the product that the ReLU is applied to
        self.hidden = nn.ModuleList(nn.Sequential(linear, nn.ReLU(inplace=True)) for linear in hidden)
        self.output = output

    def forward(self, x: Tensor, layer: str = "", change: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """Member by member: (M, B, in_features) -> (M, B, out_features).

        With the name of a hidden layer or of a part of it, "hidden.0" or "hidden.0.0", a function of what that gives
        goes on in its place.
        """
        _, place, inside = [*layer.split("."), "", ""][:3]
        for number, hidden in enumerate(self.hidden):
            if change is None or place != str(number):
                x = hidden(x)
                continue
            for name, part in hidden.named_children():
                x = change(part(x)) if name == inside else part(x)
            x = x if inside else change(x)
        scores: Tensor = self.output(x)
        return scores

    @torch.no_grad()
    def initialize_(self, random: KeyedRandom, output_bias: Tensor) -> None:
        """Draw the weights of the hidden layers; the last one gives its bias, (M, 1, out_features), for all inputs."""
        for layer in self.hidden.modules():
            if isinstance(layer, MemberLinear):
                layer.initialize_(random)
        self.output.weight.zero_()
        self.output.bias.copy_(output_bias)
