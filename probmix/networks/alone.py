"""One member of a network as a plain module, for what looks into it: derivatives, and outputs of its layers."""

import copy
from collections import OrderedDict
from itertools import chain

import torch
from torch import Tensor, nn

from ..heads import natural_params_from
from .density import DensityNetwork
from .dropout import MemberDropout
from .inputs import InputUnits
from .members import EMBEDDING, MemberNetwork
from .mlp import MemberLinear
from .resnet import MemberNorm, ResidualBlock
from .shared import SeparateLinear, SharedLinear
from .stacked import StackedNetwork


class LoneMember(nn.Module):
    """One member of a network: standardised rows to natural parameters in training units, without a member axis.

    It has weights of its own, needs no gradient in them, and is in evaluation mode. A Gaussian embedding is its mean.

    Parameters
    ----------
    network : MemberNetwork
    member : int
        Of a network whose members make k predictions each, prediction j of member m by the number m * k + j.

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
    >>> model = DensityRegressor("gaussian", max_epochs=2, n_members=3, random_state=0).fit(X, X.squeeze(1))
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
        member, prediction = divmod(member, network.n_predictions)
        for name in ("loc", "scale", "limit", "low", "high", "raw_low", "raw_high"):
            self.register_buffer(name, getattr(network, name)[member].clone())
        self.encoding = network.encoding.alone(member)
        if isinstance(network, DensityNetwork):
            self.body: nn.Module = _plain(network.trunk, member, prediction)
            prefix, embedding = "body", f"body.{network.trunk.first_hidden}"
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


def _plain(module: nn.Module, member: int, prediction: int) -> nn.Module:
    """What a part of a network is for one prediction of a member: torch's layers, with the names of ours."""
    if isinstance(module, nn.Sequential):
        parts = {name: _plain(part, member, prediction) for name, part in module.named_children()}
        return nn.Sequential(OrderedDict(parts))
    if isinstance(module, ResidualBlock):
        return ResidualBlock(_plain(module.branch, member, prediction))
    if isinstance(module, MemberLinear):
        return _linear(module.weight[member], module.bias[member, 0])
    if isinstance(module, SharedLinear):
        scales = module.input_scale[member, prediction].T, module.output_scale[member, prediction]
        return _linear(scales[0] * module.weight[member] * scales[1], module.bias[member, prediction, 0])
    if isinstance(module, SeparateLinear):
        return _linear(module.weight[member, prediction], module.bias[member, prediction, 0])
    if isinstance(module, MemberNorm):
        norm = nn.LayerNorm(module.scale.shape[-1], dtype=module.scale.dtype, device=module.scale.device)
        norm.weight.copy_(module.scale[member, 0])
        norm.bias.copy_(module.shift[member, 0])
        return norm
    if isinstance(module, MemberDropout):
        return nn.Identity()
    if isinstance(module, nn.ReLU):
        # not in place: who looks into the layers is to find what they gave
        return nn.ReLU()
    if next(chain(module.parameters(), module.buffers()), None) is not None:
        return _OneOfMany(module, member)
    return module


class _OneOfMany(nn.Module):
    """A module with a member axis, of one member, without that axis."""

    def __init__(self, module: nn.Module, member: int) -> None:
        super().__init__()
        own = copy.deepcopy(module)
        for part in own.modules():
            for name, parameter in list(part.named_parameters(recurse=False)):
                setattr(part, name, nn.Parameter(parameter[member : member + 1].clone()))
            for name, buffer in list(part.named_buffers(recurse=False)):
                setattr(part, name, buffer[member : member + 1].clone())
        # hidden from torch: what its parts give has a member axis
        self._module = (own.requires_grad_(False),)

    def forward(self, x: Tensor) -> Tensor:
        """Rows (n, F) -> (n, out_features)."""
        result: Tensor = self._module[0](x.unsqueeze(0)).squeeze(0)
        return result


def _linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    """Torch's linear layer of a weight (in, out) and a bias (out,)."""
    # without torch's own draw, which would move the generator of the user's
    linear: nn.Linear = nn.utils.skip_init(nn.Linear, *weight.shape, dtype=weight.dtype, device=weight.device)
    linear.weight.copy_(weight.T)
    linear.bias.copy_(bias)
    return linear
