"""The built-in networks with their natural-parameter link, for all members at once."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor

from ..families import Family
from ..fusion import find_layer, fuse_unchecked, layer_shape
from ..heads import marginal_bias
from ..pairs import Partners
from ..random import KeyedRandom
from .dropout import MemberDropout
from .embedding import EmbeddingKind, GaussianEmbedding
from .layout import ColumnLayout
from .members import EMBEDDING, MemberNetwork
from .skeleton import skeleton
from .specs import NetworkSpec

# Beside the streams of the epochs, which are numbered from 0; one for each layer with dropout, downwards.
_DROPOUT_STREAM = -100


class DensityNetwork(MemberNetwork):
    """Standardiser, input embedding, layers and natural-parameter link of M members.

    Parameters
    ----------
    family : Family
    in_features : int
    spec : NetworkSpec
        Of the layers, such as ``MLP((128, 64))``.
    num_targets : int or None
        With several targets d the natural parameters have an axis d before their last one.
    n_members : int
        M.
    embedding : {"point", "gaussian", "gaussian-separate", "gaussian-constant"}
        Variance network of the layer `place`. With a separate one the first hidden layer of a perceptron has half its
        width, since a second network of that width stands beside it.
    place : str
        The layer at which rows are mixed as densities; "embedding" is the first hidden one, "hidden.0".
    layout : ColumnLayout, optional
        Of the `in_features` columns; all numbers by default.

    Attributes
    ----------
    trunk : Trunk
        The layers from standardised rows to what the link takes.
    """

    def __init__(
        self,
        family: Family,
        in_features: int,
        spec: NetworkSpec,
        num_targets: int | None = None,
        n_members: int = 1,
        embedding: EmbeddingKind = "point",
        place: str = EMBEDDING,
        layout: ColumnLayout | None = None,
    ) -> None:
        super().__init__(family, (in_features,), num_targets, n_members, layout)
        self.spec = spec
        built = spec.beside_variance_network() if embedding == "gaussian-separate" else spec
        assert self.layout is not None  # its rows are those of a table
        n_numbers = self.layout.n_numbers
        others, outputs = self.z_features - n_numbers, family.num_raw * (num_targets or 1)
        self.trunk = built.build(n_numbers, others, outputs, n_members)
        self.embedding: GaussianEmbedding | None = None
        if embedding != "point":
            self.check_place(place)
            width = layer_shape(self.trunk, self._layer(place), torch.zeros(n_members, 1, self.z_features))[-1]
            self.embedding = GaussianEmbedding(width, embedding, self.z_features, n_members)
            self.density_place, self.feature_shape = place, (width,)

    @property
    def dtype(self) -> torch.dtype:
        return self.trunk.dtype

    @property
    def state(self) -> dict[str, Tensor]:
        return dict(self.named_parameters())

    @property
    def description(self) -> tuple[Any, ...]:
        kind = None if self.embedding is None else self.embedding.kind
        return (*super().description, self.spec, kind)

    @property
    def decaying(self) -> set[str]:
        """What layers and variance network have by the name of weights."""
        parts = ("trunk.", "embedding.")
        return {name for name, _ in self.named_parameters() if name.startswith(parts) and name.endswith(".weight")}

    def check_place(self, place: str) -> None:
        if place == EMBEDDING and self.trunk.first is None:
            raise ValueError(
                "rows are mixed at the first hidden layer, and this network has none. "
                "Add hidden layers, or mix at 'input' or 'output'."
            )
        find_layer(self.trunk, self._layer(place))

    @contextmanager
    def drawing(self, seed: int, epoch: int = 0) -> Iterator[None]:
        """While it lasts, dropout in training draws from streams of the keys and of the epoch, not from the seed."""
        dropouts = [module for module in self.trunk.modules() if isinstance(module, MemberDropout)]
        if not self.training or not dropouts:
            yield
            return
        for number, dropout in enumerate(dropouts):
            dropout.begin(_DROPOUT_STREAM - number, epoch)
        yield
        for dropout in dropouts:
            dropout.end()

    def _layer(self, place: str) -> str:
        return (self.trunk.first or "") if place == EMBEDDING else place

    def _evaluate(
        self,
        x: Tensor,
        place: str | None = None,
        partners: Partners | None = None,
        weights: Tensor | None = None,
        noise: Tensor | None = None,
    ) -> Tensor:
        fusing: AbstractContextManager[None] = nullcontext()
        trunk = self.trunk
        if place is not None:
            layer = self._layer(place)
            layer = layer if self.embedding is not None else trunk.narrower(layer)
            source = None if noise is None else lambda _: noise
            # outside training several threads may ask, and hooks are of the one that sets them
            trunk = trunk if self.training else skeleton(trunk)
            fusing = fuse_unchecked(trunk, layer, partners, weights, embedding=self.embedding, noise=source)
        with fusing:
            raw: Tensor = trunk(x)
        return raw

    def draws(self, x: Tensor, noise: Tensor) -> Tensor:
        embedding, place = self.embedding, self.density_place
        assert embedding is not None  # else there would be no noise
        assert place is not None
        layer = self._layer(place)
        if not self.trunk.leads_through(layer):
            return super().draws(x, noise)
        # no row passes the layer by, so that draws can go on from it as rows
        x = self.standardize(x)

        def draw(mean: Tensor) -> Tensor:
            scale = embedding(mean, x).rsqrt().unsqueeze(1)
            return torch.addcmul(mean.unsqueeze(1), scale, noise.to(mean).unsqueeze(2)).flatten(1, 2)

        eta = self._natural_params(self.trunk(x, layer, draw))
        return eta.view(len(eta), noise.shape[1], -1, *eta.shape[2:])

    def _initialize_weights_(self, keys: Tensor, marginal: Tensor) -> None:
        random = KeyedRandom(keys).stream(0)
        self.trunk.initialize_(random, marginal_bias(self.family, marginal, self.num_targets))
        if self.embedding is not None:
            self.embedding.initialize_(random)
        for module in self.trunk.modules():
            if isinstance(module, MemberDropout):
                module.keys.copy_(keys)
