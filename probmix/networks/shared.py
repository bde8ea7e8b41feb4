"""Perceptrons that make several predictions with weights that these share, with a member axis."""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from ..random import KeyedRandom
from .activations import ACTIVATIONS
from .dropout import MemberDropout
from .trunk import InputEmbedding, Trunk


class SharedLinear(nn.Module):
    r"""Linear layers of k predictions in each of M members, :math:`((x \odot r_j) W) \odot s_j + b_j`.

    Parameters
    ----------
    n_members, k : int
        M and k.
    in_features, out_features : int
    is_first : bool
        The first layer draws signs for its input scales, by which the predictions begin to differ.

    Attributes
    ----------
    weight : nn.Parameter
        W, (M, in_features, out_features).
    input_scale, output_scale, bias : nn.Parameter
        r, s and b: (M, k, 1, in_features) and twice (M, k, 1, out_features).
    """

    def __init__(self, n_members: int, k: int, in_features: int, out_features: int, is_first: bool) -> None:
        super().__init__()
        self._is_first = is_first
        self.weight = nn.Parameter(torch.zeros(n_members, in_features, out_features))
        self.input_scale = nn.Parameter(torch.ones(n_members, k, 1, in_features))
        self.output_scale = nn.Parameter(torch.ones(n_members, k, 1, out_features))
        self.bias = nn.Parameter(torch.zeros(n_members, k, 1, out_features))

    def forward(self, x: Tensor) -> Tensor:
        """Rows of all predictions, (M * k, N, in_features), or rows for each, (M, N, ...) -> (M * k, N, ...)."""
        members, k, _, out_features = self.bias.shape
        scaled = x.view(members, len(x) // members, *x.shape[1:]) * self.input_scale
        product = torch.bmm(scaled.flatten(1, 2), self.weight).view(members, k, x.shape[1], out_features)
        return torch.addcmul(self.bias, product, self.output_scale).flatten(0, 1)

    @torch.no_grad()
    def initialize_(self, random: KeyedRandom) -> None:
        """Draw weights and biases uniformly within 1 / sqrt(in_features), and the signs of a first layer."""
        bound = 1 / math.sqrt(self.weight.shape[1])
        for parameter in (self.weight, self.bias):
            parameter.copy_(bound * (2 * random.uniform(tuple(parameter.shape[1:])) - 1))
        self.input_scale.fill_(1.0)
        self.output_scale.fill_(1.0)
        if self._is_first:
            signs = random.uniform(tuple(self.input_scale.shape[1:])) - 0.5
            self.input_scale.copy_(signs.sign())


class SeparateLinear(nn.Module):
    """Linear layers of k predictions in each of M members, which share nothing.

    Attributes
    ----------
    weight, bias : nn.Parameter
        (M, k, in_features, out_features) and (M, k, 1, out_features).
    """

    def __init__(self, n_members: int, k: int, in_features: int, out_features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(n_members, k, in_features, out_features))
        self.bias = nn.Parameter(torch.zeros(n_members, k, 1, out_features))

    def forward(self, x: Tensor) -> Tensor:
        """Rows of all predictions, (M * k, N, in_features), or rows for each, (M, N, ...) -> (M * k, N, ...)."""
        members, k = self.bias.shape[:2]
        if len(x) == members:
            x = x.unsqueeze(1).expand(-1, k, -1, -1).flatten(0, 1)
        return torch.baddbmm(self.bias.flatten(0, 1), x, self.weight.flatten(0, 1))


class MemberSharedMLP(Trunk):
    """M perceptrons that make k predictions each: (M, N, in_features) -> (M * k, N, out_features).

    Parameters
    ----------
    in_features : int
        Without an embedding; with one, its own number counts.
    sizes : sequence of int
    k : int
    out_features : int
    n_members : int
        M.
    activation : {"relu", "silu", "mish", "gelu", "tanh"}
    dropout : float in [0, 1)
    embedding : InputEmbedding, optional
        All predictions of a member see one embedding.

    Attributes
    ----------
    hidden : nn.Sequential
        As of `MemberMLP`.
    output : SeparateLinear
    """

    output: SeparateLinear

    def __init__(
        self,
        in_features: int,
        sizes: Sequence[int],
        k: int,
        out_features: int,
        n_members: int = 1,
        activation: str = "relu",
        dropout: float = 0.0,
        embedding: InputEmbedding | None = None,
    ) -> None:
        widths = [in_features if embedding is None else embedding.out_features, *sizes]
        hidden = [
            nn.Sequential(
                SharedLinear(n_members, k, fan_in, fan_out, is_first=number == 0),
                ACTIVATIONS[activation](),
                *([MemberDropout(dropout, n_members)] if dropout else []),
            )
            for number, (fan_in, fan_out) in enumerate(pairwise(widths))
        ]
        output = SeparateLinear(n_members, k, widths[-1], out_features)
        super().__init__(embedding, {"hidden": nn.Sequential(*hidden), "output": output})
        self.first_hidden = "hidden.0" if hidden else None

    def _initialize_part_(self, part: nn.Module, random: KeyedRandom) -> None:
        for layer in part.modules():
            if isinstance(layer, SharedLinear):
                layer.initialize_(random)

    def _predict_(self, output_bias: Tensor) -> None:
        self.output.weight.zero_()
        self.output.bias.copy_(output_bias.unsqueeze(1))
