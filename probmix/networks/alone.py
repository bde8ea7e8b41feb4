"""One member of a network as a plain module, for what looks into it: derivatives, and outputs of its layers."""

from collections import OrderedDict

import torch
from torch import Tensor, nn

from ..heads import natural_params_from
from .density import DensityNetwork
from .inputs import InputUnits
from .members import EMBEDDING, MemberNetwork
from .mlp import MLP, MemberLinear
from .stacked import StackedNetwork


class LoneMember(nn.Module):
    """One member of a network: standardised rows to natural parameters in training units, without a member axis.

    It has weights of its own, needs no gradient in them, and is in evaluation mode. A Gaussian embedding is its mean.

    Parameters
    ----------
    network : MemberNetwork
    member : int

    Attributes
    ----------
    body : nn.Module
        Standardised rows (n, *F_z) to the output of the last layer, (n, R).
    places : dict of str to str
        Names of layers among the submodules, by their names as places.

    Examples
    --------
    >>> import torch
    >>> from probmix import DensityRegressor
    >>> from probmix.networks.alone import LoneMember
    >>> X = torch.linspace(-1, 1, 40).unsqueeze(1)
    >>> model = DensityRegressor(max_epochs=2, n_members=3, random_state=0).fit(X, X.squeeze(1))
    >>> member = LoneMember(model.network_, 2)
    >>> bool(torch.allclose(member(member.standardize(X)), model.network_(X)[2]))
    True
    """

    loc: Tensor
    scale: Tensor
    limit: Tensor
    low: Tensor
    high: Tensor
    raw_low: Tensor
    raw_high: Tensor

    @torch.no_grad()
    def __init__(self, network: MemberNetwork, member: int) -> None:
        super().__init__()
        if not isinstance(network, (DensityNetwork, StackedNetwork)):
            raise TypeError(f"`network` must be that of a fitted estimator; got a {type(network).__name__}.")
        self.family, self.num_targets, self.input_shape = network.family, network.num_targets, network.input_shape
        self.dtype = network.dtype
        for name in ("loc", "scale", "limit", "low", "high", "raw_low", "raw_high"):
            self.register_buffer(name, getattr(network, name)[member].clone())
        self.encoding = network.encoding.alone(member)
        if isinstance(network, DensityNetwork):
            self.body: nn.Module = _plain(network.mlp, member)
            prefix, embedding = "body", "body.hidden.0"
        else:
            self.body = network.alone(member)
            prefix = embedding = "body.network"
        layers = [name for name, _ in self.get_submodule(prefix).named_modules(remove_duplicate=False) if name]
        self.places = {EMBEDDING: embedding} | {name: f"{prefix}.{name}" for name in layers}
        self.requires_grad_(False).eval()

    def standardize(self, x: Tensor) -> Tensor:
        """Rows as the network sees them, and as they are mixed at the input: (n, *F) -> (n, *F_z)."""
        units = InputUnits(self.loc, self.scale, self.limit, self.low, self.high)
        z: Tensor = self.encoding(x.unsqueeze(0), units, self.dtype).squeeze(0)
        return z

    def forward(self, z: Tensor) -> Tensor:
        """Natural parameters in training units of standardised rows: (n, *F_z) -> (n, [d,] K)."""
        return natural_params_from(self.body(z), self.family, self.num_targets, (self.raw_low, self.raw_high))


def _plain(mlp: MLP, member: int) -> nn.Sequential:
    """The perceptron of one member, of torch's layers with the names of ours."""
    layers = [layer for layer in mlp.hidden.modules() if isinstance(layer, MemberLinear)]
    hidden = nn.Sequential(*(nn.Sequential(_linear(layer, member), nn.ReLU()) for layer in layers))
    return nn.Sequential(OrderedDict(hidden=hidden, output=_linear(mlp.output, member)))


def _linear(layer: MemberLinear, member: int) -> nn.Linear:
    weight = layer.weight[member].T.clone()
    # without torch's own draw, which would move the generator of the user's
    linear: nn.Linear = nn.utils.skip_init(nn.Linear, *weight.T.shape, dtype=weight.dtype, device=weight.device)
    linear.weight.copy_(weight)
    linear.bias.copy_(layer.bias[member, 0])
    return linear
