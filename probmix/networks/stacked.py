"""A network of the user's, as many members with stacked parameters."""

import copy
import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state

from ..families import ExponentialFamily
from ..fusion import find_layer, fuse_at, layer_shape
from ..heads import NaturalHead, marginal_bias
from ..random import seeded
from .embedding import EmbeddingKind, GaussianEmbedding
from .members import EMBEDDING, MemberNetwork
from .vectorize import Vectorizer

# A module, or what builds one from the shape of a row.
NetworkLike = nn.Module | Callable[[tuple[int, ...]], nn.Module]

_PROBE_ROWS = 2


class _Headed(nn.Module):
    """One member: a user's network, the head on it, and the variance network of one of its layers."""

    def __init__(self, network: nn.Module, head: NaturalHead, embedding: GaussianEmbedding | None) -> None:
        super().__init__()
        self.network = network
        self.head = head
        self.embedding = embedding

    def forward(self, x: Tensor) -> Tensor:
        eta: Tensor = self.head(self.network(x))
        return eta


class StackedNetwork(MemberNetwork):
    """A standardiser, M copies of a network of the user's, and natural-parameter heads on them.

    The members are called as one by `torch.vmap`; where it cannot follow a network, which a warning says, one by one.

    Parameters
    ----------
    family : ExponentialFamily
    network : nn.Module or callable
        Rows (N, *F) to features (N, d). All members start from the weights of a module, which is copied and left
        alone; a callable, which is given the input shape F, builds each member afresh, under a seed of its own.
    input_shape : tuple of int
        F.
    num_targets : int or None
    keys : Tensor, (M,)
        Of `member_keys`.
    embedding : {"point", "gaussian", "gaussian-separate", "gaussian-constant"}
        Variance network of the layer `place`.
    place : str
        A name among ``network.named_modules()``; "embedding" is the network's output, if no layer has that name.

    Raises
    ------
    ValueError
        If the network does not give a row of features for every row, or `place` is none of its layers.
    TypeError
        If `network` is no module, and does not build one.
    """

    def __init__(
        self,
        family: ExponentialFamily,
        network: NetworkLike,
        input_shape: tuple[int, ...],
        num_targets: int | None,
        keys: Tensor,
        embedding: EmbeddingKind = "point",
        place: str = EMBEDDING,
    ) -> None:
        super().__init__(family, input_shape, num_targets, len(keys))
        members = []
        for key in keys.tolist():
            with seeded(key):
                members.append(self._build(network, embedding, place))
        # hidden from torch: its parameters are those of the members, which stand stacked beside it
        self._template = (members[0],)
        parameters, buffers = stack_module_state(members)
        self.stacked_parameters = nn.ParameterDict(
            {_key(name): nn.Parameter(value.detach(), value.requires_grad) for name, value in parameters.items()}
        )
        self._buffer_names = [_key(name) for name in buffers]
        self.stacked_buffers = nn.Module()
        for name, value in buffers.items():
            self.stacked_buffers.register_buffer(_key(name), value)
        self._member_by_member = Vectorizer("the members of the ensemble")

    def _build(self, network: NetworkLike, embedding: EmbeddingKind, place: str) -> _Headed:
        module = copy.deepcopy(network) if isinstance(network, nn.Module) else network(self.input_shape)
        if not isinstance(module, nn.Module):
            raise TypeError(
                "`network` must be an nn.Module, or build one from the shape of a row; "
                f"for the shape {self.input_shape} it gave {module!r}."
            )
        module.cpu().float().eval()
        rows = torch.zeros(_PROBE_ROWS, *self.input_shape)
        with torch.no_grad():
            features = module(rows)
        if not isinstance(features, Tensor) or features.ndim != 2 or len(features) != _PROBE_ROWS:
            got = tuple(features.shape) if isinstance(features, Tensor) else f"a {type(features).__name__}"
            raise ValueError(
                f"`network` must map rows (N, {', '.join(map(str, self.input_shape))}) to features (N, d), on which "
                f"the estimator puts the head; got {got} for N = {_PROBE_ROWS}. End it in nn.Flatten(), for example."
            )
        head = NaturalHead(self.family, features.shape[1], self.num_targets)
        variance = None
        if embedding != "point":
            layer = _layer(module, place).removeprefix("network").removeprefix(".")
            self.density_place = place
            self.feature_shape = tuple(layer_shape(module, layer or "output", rows)[1:])
            if not 1 <= len(self.feature_shape) <= 2:
                raise ValueError(
                    f"rows meet as densities at layers that give features (N, d) or (N, T, d); {place!r} gives "
                    f"(N, {', '.join(map(str, self.feature_shape))}). Choose a layer behind the flattening."
                )
            variance = GaussianEmbedding(self.feature_shape[-1], embedding, math.prod(self.input_shape))
        return _Headed(module, head, variance)

    @property
    def _member(self) -> _Headed:
        return self._template[0]

    @property
    def dtype(self) -> torch.dtype:
        head: Tensor = self.stacked_parameters[_key("head.linear.weight")]
        return head.dtype

    @property
    def state(self) -> dict[str, Tensor]:
        return {**self.stacked_parameters, **self._buffers_by_name()}

    def _buffers_by_name(self) -> dict[str, Tensor]:
        return {name: self.stacked_buffers.get_buffer(name) for name in self._buffer_names}

    def train(self, mode: bool = True) -> "StackedNetwork":
        """Set training mode, of the network of the user's as well."""
        super().train(mode)
        self._member.train(mode)
        return self

    def check_place(self, place: str) -> None:
        find_layer(self._member, _layer(self._member.network, place))

    def _initialize_weights_(self, keys: Tensor, marginal: Tensor) -> None:
        bias = marginal_bias(self.family, marginal, self.num_targets)
        self.stacked_parameters[_key("head.linear.bias")].copy_(bias.squeeze(1))

    def _evaluate(
        self,
        x: Tensor,
        place: str | None = None,
        partners: Tensor | int | None = None,
        weights: Tensor | None = None,
        noise: Tensor | None = None,
    ) -> Tensor:
        member = self._member
        layer = None if place is None else _layer(member.network, place)
        turn, rows = (partners, None) if isinstance(partners, int) else (None, partners)
        names = [key.replace("/", ".") for key in self.state]

        def evaluate(
            x: Tensor, partners: Tensor | None, weights: Tensor | None, noise: Tensor | None, *state: Tensor
        ) -> Tensor:
            meeting: AbstractContextManager[None] = nullcontext()
            if layer is not None:
                whom, source = partners if turn is None else turn, None if noise is None else lambda _: noise
                meeting = fuse_at(member, layer, whom, weights, embedding=member.embedding, noise=source)
            with meeting:
                eta: Tensor = functional_call(member, dict(zip(names, state, strict=True)), (x,))
            return eta

        if noise is not None:
            noise = noise.expand(self.n_members, *noise.shape[1:])
        arguments = (x, rows, weights, noise, *self.state.values())
        return self._member_by_member(evaluate, arguments, self.training, tuple(self._buffers_by_name().values()))


def _layer(network: nn.Module, place: str) -> str:
    """The name in a headed network of a layer of the network of the user's."""
    if place == EMBEDDING and EMBEDDING not in dict(network.named_modules()):
        return "network"
    find_layer(network, place)
    return f"network.{place}"


def _key(name: str) -> str:
    """Names of stacked parameters may have no dots."""
    return name.replace(".", "/")
