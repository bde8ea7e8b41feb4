"""Residual networks for tables, with a member axis."""

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm

from ..random import KeyedRandom
from .activations import ACTIVATIONS
from .dropout import MemberDropout
from .mlp import MemberLinear
from .trunk import InputEmbedding, Trunk


class MemberNorm(nn.Module):
    """Layer normalisation of M members: every row (M, N, features) to mean 0 and variance 1, then scaled and shifted.

    Attributes
    ----------
    scale, shift : nn.Parameter
        (M, 1, features).
    """

    def __init__(self, n_members: int, features: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(n_members, 1, features))
        self.shift = nn.Parameter(torch.zeros(n_members, 1, features))

    def forward(self, x: Tensor) -> Tensor:
        """Member by member."""
        return torch.addcmul(self.shift, layer_norm(x, x.shape[-1:]), self.scale)


class ResidualBlock(nn.Module):
    """What goes in, and what a branch makes of it on top.

    Parameters
    ----------
    branch : nn.Module
    """

    def __init__(self, branch: nn.Module) -> None:
        super().__init__()
        self.branch = branch

    def forward(self, x: Tensor) -> Tensor:
        """Rows to rows of the same width."""
        on_top: Tensor = self.branch(x)
        return x + on_top


class MemberResNet(Trunk):
    """M residual networks of one architecture.

    A linear layer, blocks, normalisation and activation, and a linear layer. A block adds to what it is given the
    branch normalise, linear, activation, dropout, linear.

    Parameters
    ----------
    in_features : int
        Without an embedding; with one, its own number counts.
    width, n_blocks : int
    hidden : int
        Width inside the branches.
    out_features : int
    n_members : int
        M.
    activation : {"relu", "silu", "mish", "gelu", "tanh"}
    dropout : float in [0, 1)
    embedding : InputEmbedding, optional

    Attributes
    ----------
    first : MemberLinear
    blocks : nn.Sequential
    last : nn.Sequential
    output : MemberLinear
    """

    output: MemberLinear

    def __init__(
        self,
        in_features: int,
        width: int,
        n_blocks: int,
        hidden: int,
        out_features: int,
        n_members: int = 1,
        activation: str = "relu",
        dropout: float = 0.0,
        embedding: InputEmbedding | None = None,
    ) -> None:
        def block() -> nn.Module:
            return ResidualBlock(
                nn.Sequential(
                    MemberNorm(n_members, width),
                    MemberLinear(n_members, width, hidden),
                    ACTIVATIONS[activation](),
                    *([MemberDropout(dropout, n_members)] if dropout else []),
                    MemberLinear(n_members, hidden, width),
                )
            )

        parts = {
            "first": MemberLinear(n_members, in_features if embedding is None else embedding.out_features, width),
            "blocks": nn.Sequential(*(block() for _ in range(n_blocks))),
            "last": nn.Sequential(MemberNorm(n_members, width), ACTIVATIONS[activation]()),
            "output": MemberLinear(n_members, width, out_features),
        }
        super().__init__(embedding, parts)
        self.first_hidden = "blocks.0"

    def _initialize_part_(self, part: nn.Module, random: KeyedRandom) -> None:
        for layer in part.modules():
            if isinstance(layer, MemberLinear):
                layer.initialize_(random)
            elif isinstance(layer, MemberNorm):
                layer.scale.fill_(1.0)
                layer.shift.zero_()

    def _predict_(self, output_bias: Tensor) -> None:
        self.output.weight.zero_()
        self.output.bias.copy_(output_bias)
