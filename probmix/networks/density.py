"""The built-in perceptron with its natural-parameter link, for all members at once."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from ..families import Family
from ..fusion import find_layer, fuse_unchecked, layer_shape
from ..heads import marginal_bias
from ..pairs import Partners
from ..random import KeyedRandom
from .embedding import EmbeddingKind, GaussianEmbedding
from .layout import ColumnLayout
from .members import EMBEDDING, MemberNetwork
from .mlp import MLP, MemberLinear


class DensityNetwork(MemberNetwork):
    """Standardiser, perceptron and natural-parameter link of M members.

    Parameters
    ----------
    family : Family
    in_features : int
    hidden_layer_sizes : sequence of int
    num_targets : int or None
        With several targets d the natural parameters have an axis d before their last one.
    n_members : int
        M.
    embedding : {"point", "gaussian", "gaussian-separate", "gaussian-constant"}
        Variance network of the layer `place`. With a separate one the first hidden layer has half its width, since a
        second network of that width stands beside it.
    place : str
        The layer at which rows are mixed as densities; "embedding" is the first hidden one, "hidden.0".
    layout : ColumnLayout, optional
        Of the `in_features` columns; all numbers by default.
    """

    def __init__(
        self,
        family: Family,
        in_features: int,
        hidden_layer_sizes: Sequence[int],
        num_targets: int | None = None,
        n_members: int = 1,
        embedding: EmbeddingKind = "point",
        place: str = EMBEDDING,
        layout: ColumnLayout | None = None,
    ) -> None:
        super().__init__(family, (in_features,), num_targets, n_members, layout)
        self.hidden_layer_sizes = tuple(hidden_layer_sizes)
        sizes = list(hidden_layer_sizes)
        if embedding == "gaussian-separate" and sizes:
            sizes[0] = max(1, sizes[0] // 2)
        self.mlp = MLP(self.z_features, sizes, family.num_raw * (num_targets or 1), n_members)
        self.embedding: GaussianEmbedding | None = None
        if embedding != "point":
            self.check_place(place)
            width = layer_shape(self.mlp, self._layer(place), torch.zeros(n_members, 1, self.z_features))[-1]
            self.embedding = GaussianEmbedding(width, embedding, self.z_features, n_members)
            self.density_place, self.feature_shape = place, (width,)

    @property
    def dtype(self) -> torch.dtype:
        return self.mlp.output.weight.dtype

    @property
    def state(self) -> dict[str, Tensor]:
        return dict(self.named_parameters())

    @property
    def description(self) -> tuple[Any, ...]:
        kind = None if self.embedding is None else self.embedding.kind
        return (*super().description, self.hidden_layer_sizes, kind)

    @property
    def decaying(self) -> set[str]:
        """The weights of its linear layers."""
        return {f"{name}.weight" for name, module in self.named_modules() if isinstance(module, MemberLinear)}

    def check_place(self, place: str) -> None:
        if place == EMBEDDING and not len(self.mlp.hidden):
            raise ValueError(
                "rows are mixed at the first hidden layer, and this network has none. "
                "Add hidden layers, or mix at 'input' or 'output'."
            )
        find_layer(self.mlp, self._layer(place))

    def _layer(self, place: str) -> str:
        return "hidden.0" if place == EMBEDDING else place

    def _evaluate(
        self,
        x: Tensor,
        place: str | None = None,
        partners: Partners | None = None,
        weights: Tensor | None = None,
        noise: Tensor | None = None,
    ) -> Tensor:
        fusing: AbstractContextManager[None] = nullcontext()
        if place is not None:
            layer = self._layer(place) if self.embedding is not None else self._narrower(self._layer(place))
            source = None if noise is None else lambda _: noise
            fusing = fuse_unchecked(self.mlp, layer, partners, weights, embedding=self.embedding, noise=source)
        with fusing:
            raw: Tensor = self.mlp(x)
        return raw

    def draws(self, x: Tensor, noise: Tensor) -> Tensor:
        # no row passes the layer by, so that draws can go on from it as rows
        x, embedding = self.standardize(x), self.embedding
        assert embedding is not None  # else there would be no noise
        assert self.density_place is not None

        def draw(mean: Tensor) -> Tensor:
            scale = embedding(mean, x).rsqrt().unsqueeze(1)
            return torch.addcmul(mean.unsqueeze(1), scale, noise.to(mean).unsqueeze(2)).flatten(1, 2)

        raw = self.mlp(x, self._layer(self.density_place), draw)
        eta = self._natural_params(raw)
        return eta.view(len(eta), noise.shape[1], -1, *eta.shape[2:])

    def _narrower(self, layer: str) -> str:
        """Where rows may as well be mixed: behind the linear layer that follows, if that has fewer numbers."""
        widths = [*self.mlp.hidden_layer_sizes, self.mlp.output.weight.shape[2]]
        for number, (width, after) in enumerate(pairwise(widths)):
            if layer == f"hidden.{number}" and after < width:
                return "output" if number + 2 == len(widths) else f"hidden.{number + 1}.0"
        return layer

    def _initialize_weights_(self, keys: Tensor, marginal: Tensor) -> None:
        random = KeyedRandom(keys).stream(0)
        self.mlp.initialize_(random, marginal_bias(self.family, marginal, self.num_targets))
        if self.embedding is not None:
            self.embedding.initialize_(random)
