"""The built-in networks with their natural-parameter link, for all members at once."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from ..families import Family
from ..fusion import Noise, find_layer, fuse_unchecked, layer_shape
from ..heads import marginal_bias
from ..pairs import Partners
from ..random import KeyedRandom
from .dropout import MemberDropout
from .embedding import EmbeddingKind, GaussianEmbedding
from .layout import ColumnLayout
from .members import EMBEDDING, INPUT, MemberNetwork
from .skeleton import skeleton
from .specs import NetworkSpec
from .trunk import INPUT_EMBEDDING

# Beside the streams of the epochs, which are numbered from 0; one for each layer with dropout, downwards.
_DROPOUT_STREAM = -100
# Numbers in the widest layer of a forward pass outside training.
_WIDEST_NUMBERS = 1 << 23


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
        self.spec, self.n_predictions = spec, spec.n_predictions
        built = spec.beside_variance_network() if embedding == "gaussian-separate" else spec
        assert self.layout is not None  # its rows are those of a table
        n_numbers = self.layout.n_numbers
        others, outputs = self.z_features - n_numbers, family.num_raw * (num_targets or 1)
        self.trunk = built.build(n_numbers, others, outputs, n_members)
        self.embedding: GaussianEmbedding | None = None
        if embedding != "point":
            self.check_place(place)
            self.trunk.eval()
            width = layer_shape(self.trunk, self._layer(place), torch.zeros(n_members, 1, self.z_features))[-1]
            self.embedding = GaussianEmbedding(width, embedding, self.z_features, n_members)
            self.density_place, self.feature_shape = place, (width,)
        self.eval()

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
        if place == EMBEDDING and self.trunk.first_hidden is None:
            raise ValueError(
                "rows are mixed at the first hidden layer, and this network has none. "
                "Add hidden layers, or mix at 'input' or 'output'."
            )
        find_layer(self.trunk, self._layer(place))

    @property
    def n_bins(self) -> int:
        spec = self.spec.embedding_spec
        return 0 if spec is None or self.trunk.embedding is None else spec.n_bins

    def set_bins_(self, quantiles: Tensor) -> None:
        assert self.trunk.embedding is not None  # it has been asked for its number
        self.trunk.embedding.set_bins_(quantiles)

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
        return (self.trunk.first_hidden or "") if place == EMBEDDING else place

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
            embedding = None if self.embedding is None else self._precision
            fusing = fuse_unchecked(trunk, layer, partners, weights, embedding=embedding, noise=source)
        with fusing:
            raw: Tensor = trunk(x)
        return raw

    def _precision(self, mean: Tensor, x: Tensor) -> Tensor:
        """Of the embedding: of the output of its layer and of standardised rows, (M, N, F_z)."""
        assert self.embedding is not None  # the caller has asked
        if len(mean) == self.n_members:
            own: Tensor = self.embedding(mean, x)
            return own
        k = self.n_predictions
        folded = mean.view(-1, k * mean.shape[1], *mean.shape[2:])
        precision: Tensor = self.embedding(folded, x.repeat(1, k, 1))
        return precision.expand_as(folded).reshape(mean.shape)

    def _natural_params(self, raw: Tensor) -> Tensor:
        if self.n_predictions == 1:
            return super()._natural_params(raw)
        eta = super()._natural_params(raw.view(self.n_members, -1, raw.shape[-1]))
        return eta.view(*raw.shape[:2], *eta.shape[2:])

    def fused(
        self, x: Tensor, place: str, partners: Partners | None, weights: Tensor | None, noise: Noise | None
    ) -> Tensor:
        if self.n_predictions > 1 and place.split(".")[0] in (INPUT, INPUT_EMBEDDING):
            # there rows are those of all predictions, and so are the groups
            partners = partners[:: self.n_predictions] if isinstance(partners, Tensor) else partners
            weights = None if weights is None else weights[:: self.n_predictions]
        return super().fused(x, place, partners, weights, noise)

    def draws(self, x: Tensor, noise: Tensor | None) -> Tensor:
        place = self.density_place
        if noise is None or place is None:
            return super().draws(x, noise)
        layer = self._layer(place)
        if not self.trunk.leads_through(layer):
            eta = super().draws(x, noise)
            return eta.reshape(self.n_members, -1, *eta.shape[2:])
        # no row passes the layer by, so that draws can go on from it as rows
        x = self.standardize(x)

        def draw(mean: Tensor) -> Tensor:
            # the same for all predictions of a member
            times = len(mean) // self.n_members
            own = noise.to(mean).unsqueeze(1).expand(-1, times, *noise.shape[1:]).flatten(0, 1).unsqueeze(2)
            scale = self._precision(mean, x).rsqrt().unsqueeze(1)
            return torch.addcmul(mean.unsqueeze(1), scale, own).flatten(1, 2)

        eta = self._natural_params(self.trunk(x, layer, draw))
        return eta.view(self.n_members, self.n_predictions * noise.shape[1], x.shape[1], *eta.shape[2:])

    def rows_at_once(self, draws: int = 1) -> int:
        # a row of the widest layer, of all predictions, is so many numbers
        rows = _WIDEST_NUMBERS // self._widest
        at_most = super().rows_at_once(draws), rows // (self.n_members * draws)
        return max(1, min(at_most))

    def settle(self, draws: bool) -> None:
        # looked at, it is known
        _ = self._widest

    @cached_property
    def _widest(self) -> int:
        """Numbers of a row in the largest tensor of a forward pass, of one member: by how much two rows take more."""
        sizes: list[list[int]] = []
        trunk = skeleton(self.trunk).eval()
        for rows in (1, 2):
            kept: list[int] = []

            def note(tensor: Tensor, kept: list[int] = kept) -> Tensor:
                kept.append(tensor.numel())
                # what a function gives and keeps would keep the function, and all before it, for ever
                return tensor.detach()

            x = torch.zeros(self.n_members, rows, self.z_features, dtype=self.dtype, device=self.loc.device)
            with torch.enable_grad(), saved_tensors_hooks(note, lambda tensor: tensor):
                trunk(x.requires_grad_())
            sizes.append(kept)
        of_one, of_two = sizes
        return max(more - one for one, more in zip(of_one, of_two, strict=True)) // self.n_members

    def _initialize_weights_(self, keys: Tensor, marginal: Tensor) -> None:
        random = KeyedRandom(keys).stream(0)
        self.trunk.initialize_(random, marginal_bias(self.family, marginal, self.num_targets))
        if self.embedding is not None:
            self.embedding.initialize_(random)
        for module in self.trunk.modules():
            if isinstance(module, MemberDropout):
                module.keys.copy_(keys)
