"""From features in the user's units to natural parameters in training units, for all members at once."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..families import ExponentialFamily
from ..heads import marginal_bias, natural_params_from
from ..random import KeyedRandom
from .mlp import MLP


class DensityNetwork(nn.Module):
    """Standardiser, perceptron and natural-parameter link of M members.

    Parameters
    ----------
    family : ExponentialFamily
    in_features : int
    hidden_layer_sizes : sequence of int
    num_targets : int or None
        With several targets d the natural parameters have an axis d before their last one.
    n_members : int
        M.

    Notes
    -----
    Features enter in float64 and in the user's units; the standardiser brings them to the dtype of the weights. Plain
    mixup commutes with it.
    """

    loc: Tensor
    scale: Tensor

    def __init__(
        self,
        family: ExponentialFamily,
        in_features: int,
        hidden_layer_sizes: Sequence[int],
        num_targets: int | None = None,
        n_members: int = 1,
    ) -> None:
        super().__init__()
        self.family = family
        self.num_targets = num_targets
        self.mlp = MLP(in_features, hidden_layer_sizes, family.num_raw * (num_targets or 1), n_members)
        self.register_buffer("loc", torch.zeros(n_members, 1, in_features, dtype=torch.float64))
        self.register_buffer("scale", torch.ones(n_members, 1, in_features, dtype=torch.float64))

    def standardize(self, x: Tensor) -> Tensor:
        """Features in training units: (B, F) or (M, B, F) -> (M, B, F)."""
        return ((x - self.loc) / self.scale).to(self.mlp.output.weight.dtype)

    def forward(self, x: Tensor) -> Tensor:
        """Natural parameters in training units: (B, F) or (M, B, F) -> (M, B, [d,] K)."""
        return natural_params_from(self.mlp(self.standardize(x)), self.family, self.num_targets)

    @torch.no_grad()
    def initialize_(self, random: KeyedRandom, loc: Tensor, scale: Tensor, marginal: Tensor) -> None:
        """Set the standardiser, (M, 1, F), and start from the marginal distribution of the targets, (M, 1, [d,] K)."""
        self.loc.copy_(loc)
        self.scale.copy_(scale)
        self.mlp.initialize_(random, marginal_bias(self.family, marginal, self.num_targets))
