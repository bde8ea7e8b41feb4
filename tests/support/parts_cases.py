"""Small built-in networks of every specification, and a tiny input embedding."""

from dataclasses import dataclass

import torch
from torch import nn

from probmix.networks import MLP, ResNet, SharedMLP
from probmix.networks.mlp import MemberLinear
from probmix.networks.specs import register_spec


@register_spec
@dataclass(frozen=True)
class Squares:
    """Every number, its square times weights, and how many bounds of bins lie below it."""

    n_bins: int = 0

    def build(self, n_members, n_numbers):
        return MemberSquares(n_members, n_numbers, self.n_bins)


class MemberSquares(nn.Module):
    def __init__(self, n_members, n_numbers, n_bins):
        super().__init__()
        self.out_features = (3 if n_bins else 2) * n_numbers
        self.map = MemberLinear(n_members, n_numbers, n_numbers)
        if n_bins:
            self.register_buffer("bounds", torch.zeros(n_members, n_bins + 1, n_numbers))

    def forward(self, z):
        parts = [z, self.map(z.square())]
        if hasattr(self, "bounds"):
            parts.append((z.unsqueeze(2) > self.bounds.unsqueeze(1)).to(z).mean(2))
        return torch.cat(parts, -1)

    def initialize_(self, random):
        self.map.initialize_(random)

    def set_bins_(self, quantiles):
        self.bounds.copy_(quantiles)


SPECS = {
    "mlp": MLP((6, 5), "silu"),
    "mlp, dropout": MLP((6, 5), dropout=0.2),
    "mlp, embedding": MLP((6,), "tanh", embedding=Squares()),
    "mlp, bins": MLP((6,), embedding=Squares(n_bins=4)),
    "resnet": ResNet(6, 2, 1.5, dropout=0.1),
    "resnet, embedding": ResNet(6, 1, activation="mish", embedding=Squares()),
    "shared": SharedMLP((6, 5), k=3, dropout=0.1),
    "shared, embedding": SharedMLP((6,), k=2, activation="gelu", embedding=Squares()),
    "shared, linear": SharedMLP((), k=2),
}
# Where each can mix rows.
LAYERS = {
    "mlp": ("hidden.0", "hidden.1", "hidden.1.0"),
    "mlp, dropout": ("hidden.0", "hidden.0.1"),
    "mlp, embedding": ("input_embedding", "hidden.0"),
    "resnet": ("first", "blocks.0", "blocks.1", "blocks.0.branch.1", "last", "last.0"),
    "resnet, embedding": ("input_embedding", "blocks.0"),
    "shared": ("hidden.0", "hidden.1", "hidden.1.0"),
    "shared, embedding": ("input_embedding", "hidden.0"),
}


def with_layers(names, presets):
    """Pairs of a specification and a preset, but for those that mix at a hidden layer where there is none."""
    hidden = {"m-probmix", "manifold-mixup"}
    return [(name, mixup) for name in names for mixup in presets if name != "shared, linear" or mixup not in hidden]
