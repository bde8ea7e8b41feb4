"""A multilayer perceptron with a member axis: many small networks as one batch of matrix products."""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from ..random import KeyedRandom


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
    weights, biases : nn.ParameterList
        Per layer (M, in, out) and (M, 1, out).

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
        sizes = [in_features, *hidden_layer_sizes, out_features]
        pairs = list(pairwise(sizes))
        self.weights = nn.ParameterList(torch.zeros(n_members, fan_in, fan_out) for fan_in, fan_out in pairs)
        self.biases = nn.ParameterList(torch.zeros(n_members, 1, fan_out) for _, fan_out in pairs)

    def forward(self, x: Tensor) -> Tensor:
        """Member by member: (M, B, in_features) -> (M, B, out_features)."""
        last = len(self.weights) - 1
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = torch.baddbmm(bias, x, weight)
            if layer < last:
                x = x.relu_()  # in place: the product before it is not needed for the backward pass
        return x

    @torch.no_grad()
    def initialize_(self, random: KeyedRandom, output_bias: Tensor) -> None:
        """Draw uniform weights within 1 / sqrt(fan_in), as torch's Linear does, and set the last bias, (M, 1, out)."""
        for weight, bias in zip(self.weights, self.biases, strict=True):
            bound = 1 / math.sqrt(weight.shape[1])
            for parameter in (weight, bias):
                parameter.copy_(bound * (2 * random.uniform(tuple(parameter.shape[1:])) - 1))
        self.biases[-1].copy_(output_bias)
