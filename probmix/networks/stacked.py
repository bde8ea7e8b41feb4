"""A network of the user's, as many members with stacked parameters."""

import copy
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state
from torch.nn.parameter import is_lazy

from ..families import Family
from ..fusion import fuse_unchecked
from ..heads import NaturalHead, marginal_bias
from ..pairs import Partners
from ..random import KeyedRandom, seeded
from .decay import decaying
from .embedding import EmbeddingKind, GaussianEmbedding
from .layout import ColumnLayout
from .members import EMBEDDING, MemberNetwork
from .probing import features_of, habits_of, mixing_shape, rows_of_zeros
from .skeleton import skeleton
from .vectorize import Vectorizer

# A module, or what builds one from the shape of a row.
NetworkLike = nn.Module | Callable[[tuple[int, ...]], nn.Module]

# What the user's network is called in a `_Headed`.
_OWN = "network"


class _Headed(nn.Module):
    """One member: a user's network, the head on it, and the variance network of one of its layers."""

    def __init__(self, network: nn.Module, head: NaturalHead, embedding: GaussianEmbedding | None) -> None:
        super().__init__()
        self.network = network
        self.head = head
        self.embedding = embedding

    def forward(self, x: Tensor, noise: Tensor | None = None) -> Tensor:
        """Output of the head's layer, (N, R); with noise, (S, F), at S draws of the network's output, (S, N, R)."""
        features = self.network(x)
        if noise is not None and self.embedding is not None:
            precision: Tensor = self.embedding(features, x)
            features = torch.addcmul(features, precision.rsqrt(), noise.unsqueeze(1))
        raw: Tensor = self.head.linear(features)
        return raw


class StackedNetwork(MemberNetwork):
    """A standardiser, M copies of a network of the user's, and natural-parameter heads on them.

    The members are called as one by `torch.vmap`; where it cannot follow a network, which a warning says, one by one.

    Parameters
    ----------
    family : Family
    network : nn.Module or callable
        Rows (N, *F) to features (N, d). All members start from the weights of a module, which is copied and left
        alone; a callable, which is given the shape of a row as networks see it, builds each member afresh, under a seed
        of its own. Lazy layers are drawn for each member in either case.
    input_shape : tuple of int
        Shape of a row as it is stored.
    num_targets : int or None
    keys : Tensor, (M,)
        Of `member_keys`.
    embedding : {"point", "gaussian", "gaussian-separate", "gaussian-constant"}
        Variance network of the layer `place`.
    place : str
        A name among ``network.named_modules()``; "embedding" is the network's output, if no layer has that name.
    layout : ColumnLayout, optional
        Of a table, what its columns are; all numbers by default. All columns of levels are one-hot.

    Raises
    ------
    ValueError
        If the network does not give a row of features for every row, cannot be copied, is not built alike for all
        members, or `place` is none of its layers, or none at which rows can be mixed.
    TypeError
        If `network` is no module, and does not build one.
    """

    def __init__(
        self,
        family: Family,
        network: NetworkLike,
        input_shape: tuple[int, ...],
        num_targets: int | None,
        keys: Tensor,
        embedding: EmbeddingKind = "point",
        place: str = EMBEDDING,
        layout: ColumnLayout | None = None,
    ) -> None:
        if layout is not None:
            # the network is the user's, and so is all that is learned
            layout = replace(layout, embedded=(False,) * len(layout.embedded))
        super().__init__(family, input_shape, num_targets, len(keys), layout)
        seeds = KeyedRandom(keys).stream(0).bits((2,)).tolist()
        networks = [self._build(network, seed) for seed, _ in seeds]
        _check_alike(networks)
        # What is called is a copy: a network may keep what it computed, which could be neither copied nor pickled.
        called = copy.deepcopy(networks[0])
        features = features_of(called, self.seen_shape)
        self._habits = habits_of(copy.deepcopy(networks[0]), self.seen_shape)
        # of training nothing is known before it has begun
        self._draws_in_training = True
        self._has_embedding = EMBEDDING in dict(called.named_modules(remove_duplicate=False))
        if embedding != "point":
            self.density_place = place
            self.feature_shape = self._density_shape(called, place, features)
        members = []
        for module, (_, seed) in zip(networks, seeds, strict=True):
            with seeded(seed):
                head, variance = NaturalHead(family, features, num_targets), None
                if embedding != "point":
                    variance = GaussianEmbedding(self.feature_shape[-1], embedding, math.prod(self.seen_shape))
            members.append(_Headed(module, head, variance).float().eval())
        # hidden from torch: its parameters are those of the members, which stand stacked beside it
        self._template = (members[0],)
        # what training calls, made when it is needed
        self._called: tuple[_Headed, ...] = ()
        parameters, buffers = stack_module_state(members)
        self._names = [*parameters, *buffers]
        self.stacked_parameters, self.stacked_buffers = nn.Module(), nn.Module()
        for name, value in parameters.items():
            self.stacked_parameters.register_parameter(_key(name), nn.Parameter(value.detach(), value.requires_grad))
        for name, value in buffers.items():
            self.stacked_buffers.register_buffer(_key(name), value)
        self._member_by_member = Vectorizer("the members of the ensemble")
        self.eval()

    def _build(self, network: NetworkLike, seed: int) -> nn.Module:
        """A network of a member, on the CPU, in float32, in evaluation mode, and not the user's own."""
        with seeded(seed):
            module = network if isinstance(network, nn.Module) else network(self.seen_shape)
            if not isinstance(module, nn.Module):
                raise TypeError(
                    "`network` must be an nn.Module, or build one from the shape of a row; "
                    f"for the shape {self.seen_shape} it gave {module!r}."
                )
            lazy = any(is_lazy(tensor) for tensor in chain(module.parameters(), module.buffers()))
            # a callable may give the same module again and again; but what is lazy cannot always be copied
            if module is network or not lazy:
                module = _copied(module)
            module.cpu().float().eval()
            if lazy:
                with torch.no_grad():
                    module(rows_of_zeros(2, self.seen_shape))
        return module

    def _density_shape(self, module: nn.Module, place: str, features: int) -> tuple[int, ...]:
        if self._layer(place) == _OWN:
            return (features,)
        shape = mixing_shape(module, place, self.seen_shape)
        if not 1 <= len(shape) <= 2:
            raise ValueError(
                f"rows are mixed as densities at layers that give features (N, d) or (N, T, d); {place!r} gives "
                f"(N, {', '.join(map(str, shape))}). Choose a layer behind the flattening."
            )
        return shape

    def _layer(self, place: str) -> str:
        """The name in a headed network of a layer of the network of the user's."""
        return _OWN if place == EMBEDDING and not self._has_embedding else f"{_OWN}.{place}"

    def _member(self) -> _Headed:
        """The module that is called, with the weights of one member after the other, or of all at once.

        Training has a copy of its own, in which the network may keep what it likes from step to step. Evaluation has a
        new one each time: it depends on the weights alone, and whatever the network keeps is gone afterwards.
        """
        if not self.training:
            return skeleton(self._template[0])
        if not self._called:
            self._called = (copy.deepcopy(self._template[0]).train(),)
        return self._called[0]

    def __getstate__(self) -> dict[str, Any]:
        """What is copied and pickled."""
        return self.__dict__ | {"_called": ()}

    @property
    def dtype(self) -> torch.dtype:
        return self.state[_key("head.linear.weight")].dtype

    @property
    def state(self) -> dict[str, Tensor]:
        return dict(chain(self.stacked_parameters.named_parameters(), self.stacked_buffers.named_buffers()))

    @property
    def decaying(self) -> set[str]:
        """Those of the network of the user's, and of what is added to it, by their modules; see `decaying`."""
        return {_key(name) for name in decaying(self._template[0])}

    @property
    def description(self) -> tuple[Any, ...]:
        return (*super().description, self._template[0])

    @contextmanager
    def drawing(self, seed: int, epoch: int = 0) -> Iterator[None]:
        if not (self._draws_in_training if self.training else self._habits.draws):
            yield
            return
        with seeded(seed, self.loc.device) as has_drawn:
            yield
            if self.training:
                # a network that draws does so in its first epoch; others need not wait for each other
                self._draws_in_training = has_drawn()

    @torch.no_grad()
    def settle(self, draws: bool) -> None:
        rows = rows_of_zeros(2, self.input_shape).to(self.loc.device)
        with self.drawing(0):
            if draws:
                self.draws(rows, torch.zeros(self.n_members, 2, *self.feature_shape, device=rows.device))
            else:
                self(rows)

    def members(self, members: Tensor) -> Self:
        part = super().members(members)
        part._member_by_member = self._member_by_member
        return part

    @torch.no_grad()
    def alone(self, member: int) -> nn.Module:
        """One member as a plain module, with weights of its own: standardised rows (N, *F) to the head's (N, R)."""
        module = copy.deepcopy(self._template[0]).to(self.loc.device)
        state = self.state
        for name, tensor in chain(module.named_parameters(), module.named_buffers()):
            tensor.copy_(state[_key(name)][member])
        return module

    def extra_repr(self) -> str:
        """The network of the user's, which is hidden from torch."""
        return repr(self._template[0].network)

    def check_place(self, place: str) -> None:
        if self._layer(place) != _OWN:
            mixing_shape(skeleton(self._template[0].network), place, self.seen_shape)

    def _initialize_weights_(self, keys: Tensor, marginal: Tensor) -> None:
        bias = marginal_bias(self.family, marginal, self.num_targets)
        self.stacked_parameters.get_parameter(_key("head.linear.weight")).zero_()
        self.stacked_parameters.get_parameter(_key("head.linear.bias")).copy_(bias.squeeze(1))

    def draws(self, x: Tensor, noise: Tensor | None) -> Tensor:
        if noise is None or self.density_place is None or self._layer(self.density_place) != _OWN:
            return super().draws(x, noise)
        # only the head sees the draws: one pass through the network for all, also where torch.vmap cannot follow it
        raw = self._by_member(self._member(), _call, (self.standardize(x), noise.to(self.dtype)))
        eta = self._natural_params(raw.flatten(1, 2))
        return eta.view(*raw.shape[:3], *eta.shape[2:])

    def _evaluate(
        self,
        x: Tensor,
        place: str | None = None,
        partners: Partners | None = None,
        weights: Tensor | None = None,
        noise: Tensor | None = None,
    ) -> Tensor:
        member = self._member()
        if place is None:
            return self._by_member(member, _call, (x,))
        layer = self._layer(place)
        shifts, rows = (None, partners) if isinstance(partners, Tensor) else (partners, None)

        def evaluate(
            member: _Headed,
            tensors: dict[str, Tensor],
            x: Tensor,
            partners: Tensor | None,
            weights: Tensor | None,
            noise: Tensor | None,
        ) -> Tensor:
            mixed_with, source = partners if shifts is None else shifts, None if noise is None else lambda _: noise
            with fuse_unchecked(member, layer, mixed_with, weights, embedding=member.embedding, noise=source):
                return _call(member, tensors, x)

        if noise is not None:
            noise = noise.expand(self.n_members, *noise.shape[1:])
        return self._by_member(member, evaluate, (x, rows, weights, noise))

    def _by_member(
        self, member: _Headed, function: Callable[..., Tensor], arguments: tuple[Tensor | None, ...]
    ) -> Tensor:
        """What a function of a member, of its tensors, and of its entries of the arguments, gives for all members."""
        count = len(arguments)

        def of_member(*entries: Any) -> Tensor:
            state = entries[count:]
            tensors = dict(zip(self._names, state, strict=True))
            result = function(member, tensors, *entries[:count])
            if self.training:
                for name, value in zip(self._names, state, strict=True):
                    # a buffer that the network assigned anew, instead of changing it in place
                    if tensors[name] is not value:
                        value.copy_(tensors[name].detach())
            return result

        parameters: tuple[Tensor, ...] = tuple(self.stacked_parameters.parameters())
        buffers = tuple(self.stacked_buffers.buffers())
        if not self.training:
            # what the network writes into them is not to last
            buffers = tuple(buffer.clone() for buffer in buffers)
            parameters = tuple(one.clone() for one in parameters) if self._habits.writes else parameters
        return self._member_by_member(of_member, (*arguments, *parameters, *buffers), self.training, buffers)


def _call(member: _Headed, tensors: dict[str, Tensor], *arguments: Tensor) -> Tensor:
    """Call a member with parameters and buffers, which are replaced by what it assigned anew."""
    raw: Tensor = functional_call(member, tensors, arguments)
    return raw


def _copied(module: nn.Module) -> nn.Module:
    try:
        return copy.deepcopy(module)
    except (RuntimeError, TypeError, ValueError) as error:
        raise ValueError(
            f"`network` must be a module that copy.deepcopy can copy; a {type(module).__name__} came for which it "
            "fails. Pass a function that builds the module from the shape of a row."
        ) from error


def _check_alike(networks: list[nn.Module]) -> None:
    kinds = []
    for network in networks:
        named = chain(network.named_parameters(), network.named_buffers())
        kinds.append({name: (tuple(tensor.shape), tensor.requires_grad) for name, tensor in named})
    for kind in kinds[1:]:
        for name in kinds[0] | kind:
            if kind.get(name) != kinds[0].get(name):
                raise ValueError(
                    "`network` must build the same architecture for every member, since they are trained as one; "
                    f"{name!r} differs. Draw weights at random, but no sizes."
                )


def _key(name: str) -> str:
    """Names of stacked parameters may have no dots."""
    return name.replace(".", "/")
