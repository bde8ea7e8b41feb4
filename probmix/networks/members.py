"""What the training loop and the estimators ask of a network: many members that are called as one."""

import copy
import math
from abc import ABC, abstractmethod
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Self

import torch
from torch import Tensor, nn

from ..families import Family
from ..fusion import Noise
from ..heads import natural_params_from
from ..pairs import Partners, mix_rows
from ..random import KeyedRandom
from .encoding import Encoding
from .inputs import InputUnits
from .layout import ColumnLayout
from .vectorize import Vectorizer

# Name of the layer at which the presets mix, unless a network has a layer of its own by that name.
EMBEDDING = "embedding"
# Name of the place in front of all layers.
INPUT = "input"
# Beside the streams of the epochs, which are numbered from 0.
_DRAW_STREAM = -3
# Rows of members and draws in a forward pass outside training, and numbers in them.
_ROWS_AT_ONCE, _NUMBERS_AT_ONCE = 1 << 16, 1 << 20


def channel_axis(input_shape: tuple[int, ...]) -> int:
    """The axis of a row along which features have units of their own, for the shapes that torch's layers expect.

    The last one of features (F,) and of sequences (T, C), the first one of images (C, H, W) and of volumes.
    """
    return len(input_shape) - 1 if len(input_shape) <= 2 else 0


class MemberNetwork(nn.Module, ABC):
    """Standardiser and network of M members: inputs in the user's units to natural parameters in training units.

    Parameters
    ----------
    family : Family
    input_shape : tuple of int
        Shape F of one row, as it is stored.
    num_targets : int or None
        With several targets d the natural parameters have an axis d before their last one.
    n_members : int
        M.
    layout : ColumnLayout, optional
        Of a table, what its columns are; all numbers by default.

    Attributes
    ----------
    loc, scale, limit, low, high : Tensor, (M, 1, *F), float64
        As in `InputUnits`, of length 1 along the axes of F that are no `channel_axis`. Only tables are clipped.
    layout : ColumnLayout or None
        None for rows that are no table.
    encoding : Encoding
        From stored rows to what the network sees.
    raw_low, raw_high : Tensor, (M, 1, [d,] num_raw), float64
        Between which the last layer's output is taken as it is; see `Family.raw_bounds`.
    density_place : str or None
        The layer at which rows are mixed as densities, if there is one.
    feature_shape : tuple of int
        Shape of a row of that layer's output.
    n_predictions : int
        How many predictions k a member makes of a row. What is said of rows has the leading axis M * k, those of a
        member one after the other; groups that are mixed are given for each of them.
    """

    loc: Tensor
    scale: Tensor
    limit: Tensor
    low: Tensor
    high: Tensor
    raw_low: Tensor
    raw_high: Tensor
    density_place: str | None
    feature_shape: tuple[int, ...]
    n_predictions: int = 1

    def __init__(
        self,
        family: Family,
        input_shape: tuple[int, ...],
        num_targets: int | None,
        n_members: int,
        layout: ColumnLayout | None = None,
    ) -> None:
        super().__init__()
        self.family = family
        self.input_shape = input_shape
        is_table = len(input_shape) == 1
        self.layout = ColumnLayout.plain(*input_shape) if layout is None and is_table else layout
        self.encoding = Encoding(self.layout, n_members)
        self.num_targets = num_targets
        unit = [1] * len(input_shape)
        unit[channel_axis(input_shape)] = input_shape[channel_axis(input_shape)]
        self.density_place = None
        self.feature_shape = ()
        self._draw_by_draw = Vectorizer("the draws of the embedding")
        raw = (family.num_raw,) if num_targets is None else (num_targets, family.num_raw)
        # as if nothing were known of inputs and targets
        for name, shape, value in (
            ("loc", unit, 0.0),
            ("scale", unit, 1.0),
            ("limit", unit, math.inf),
            ("low", unit, -math.inf),
            ("high", unit, math.inf),
            ("raw_low", raw, -math.inf),
            ("raw_high", raw, math.inf),
        ):
            self.register_buffer(name, torch.full((n_members, 1, *shape), value, dtype=torch.float64))

    # -- what a subclass adds ------------------------------------------------------------------------------------------

    @property
    @abstractmethod
    def dtype(self) -> torch.dtype:
        """Of the weights."""

    @property
    @abstractmethod
    def state(self) -> dict[str, Tensor]:
        """Everything that training changes, by name, with a leading member axis; what needs a gradient is trained."""

    @property
    @abstractmethod
    def decaying(self) -> set[str]:
        """Names in `state` of the parameters that weight decay makes small."""

    @abstractmethod
    def check_place(self, place: str) -> None:
        """Raise a ValueError with the near misses unless rows can be mixed there."""

    @abstractmethod
    def _initialize_weights_(self, keys: Tensor, marginal: Tensor) -> None:
        """Draw the weights of the members, each from its key, but those of the last layer: they predict `marginal`."""

    @abstractmethod
    def _evaluate(
        self,
        x: Tensor,
        place: str | None = None,
        partners: Partners | None = None,
        weights: Tensor | None = None,
        noise: Tensor | None = None,
    ) -> Tensor:
        """Output of the last layer, (M, N, R), for standardised rows (M, N, *F_z); inside `fuse_at` if at a place.

        Noise (M or 1, B or 1, *feature_shape) makes draws of the embeddings at that place.
        """

    @property
    def description(self) -> tuple[Any, ...]:
        """What decides, beside its tensors, what the network computes."""
        return (type(self), self.family, self.input_shape, self.layout, self.num_targets, self.density_place)

    def drawing(self, seed: int, epoch: int = 0) -> AbstractContextManager[None]:
        """While it lasts, what the network draws itself, for dropout, follows from the seed, or from keys and epoch."""
        return nullcontext()

    @property
    def n_bins(self) -> int:
        """Bins between quantiles of the standardised numbers that `set_bins_` is to be told of; 0 for none."""
        return 0

    def set_bins_(self, quantiles: Tensor) -> None:
        """Take over the bounds of the bins, (M, n_bins + 1, n_numbers), after `initialize_`."""
        raise NotImplementedError("this network has no bins.")

    def settle(self, draws: bool) -> None:
        """Find out what evaluation has to know of the network, with or without draws, so that nobody has to later."""
        return

    # -- what they share -----------------------------------------------------------------------------------------------

    @property
    def n_members(self) -> int:
        """The number of members, M."""
        return len(self.loc)

    @property
    def seen_shape(self) -> tuple[int, ...]:
        """Shape F_z of a row as the network sees it."""
        return self.input_shape if self.layout is None else (self.z_features,)

    @property
    def z_features(self) -> int:
        """How many numbers the network sees of a row of a table."""
        return self.encoding.n_features

    @torch.no_grad()
    def members(self, members: Tensor) -> Self:
        """A network of some of the members, by number, (m,) int64, with weights of its own."""
        part = copy.deepcopy(self)
        # what was found out of the network goes for all members
        part._draw_by_draw = self._draw_by_draw
        for module in part.modules():
            for name, parameter in list(module.named_parameters(recurse=False)):
                setattr(module, name, nn.Parameter(parameter[members], parameter.requires_grad))
            for name, buffer in list(module.named_buffers(recurse=False)):
                setattr(module, name, buffer[members])
        return part

    def on(self, device: torch.device) -> Self:
        """The network on a device: itself if it is there, else a copy, for others may be using it where it is."""
        there = torch.empty(0, device=device).device == self.loc.device
        return self if there else copy.deepcopy(self).to(device)

    def rows_at_once(self, draws: int = 1) -> int:
        """How many rows to pass at once outside training: bounds the activations without slowing the products down."""
        rows = min(_ROWS_AT_ONCE, _NUMBERS_AT_ONCE // max(1, math.prod(self.seen_shape)))
        return max(1, rows // (self.n_members * draws))

    def standardize(self, x: Tensor) -> Tensor:
        """Rows as the network sees them, and as they are mixed at the input: (N, *F) or (M, N, *F) -> (M, N, *F_z)."""
        z: Tensor = self.encoding(x, self._units, self.dtype)
        return z

    def distance_features(self, x: Tensor) -> Tensor:
        """Rows as the laws of partners compare them: (N, *F) or (M, N, *F) -> (M, N, *D).

        As `standardize` gives them, but that levels have fixed vectors where those of the network are learned.
        """
        return self.encoding.for_distances(x, self._units, self.dtype)

    @property
    def _units(self) -> InputUnits:
        return InputUnits(self.loc, self.scale, self.limit, self.low, self.high)

    def _natural_params(self, raw: Tensor) -> Tensor:
        """Natural parameters from the output of the last layer: (M, N, R) -> (M, N, [d,] K)."""
        return natural_params_from(raw, self.family, self.num_targets, (self.raw_low, self.raw_high))

    def on_standardized(self, z: Tensor) -> Tensor:
        """Natural parameters in training units of standardised rows: (M, N, *F_z) -> (M, N, [d,] K)."""
        return self._natural_params(self._evaluate(z))

    def forward(self, x: Tensor) -> Tensor:
        """Natural parameters in training units: (N, *F) or (M, N, *F) -> (M, N, [d,] K); embeddings are their means."""
        return self.on_standardized(self.standardize(x))

    def fused(
        self, x: Tensor, place: str, partners: Partners | None, weights: Tensor | None, noise: Noise | None
    ) -> Tensor:
        """Natural parameters of rows that are mixed at a layer: (M, N, *F) -> (M, B, [d,] K); see `fuse_at`.

        At the "input" it is standardised rows that are mixed: what the network sees. The noise of a row is the same in
        all members, which have different rows there.
        """
        standardized = self.standardize(x)
        if place == INPUT:
            assert partners is not None  # alone, a row has nothing to mix with
            assert weights is not None
            return self.on_standardized(mix_rows(standardized, partners, weights))
        drawn = None
        if self.density_place is not None and noise is not None:
            rows = x.shape[1] if weights is None else weights.shape[1]
            drawn = noise(torch.Size([rows, *self.feature_shape])).unsqueeze(0)
        return self._natural_params(self._evaluate(standardized, place, partners, weights, drawn))

    def draws(self, x: Tensor, noise: Tensor | None) -> Tensor:
        """Natural parameters at draws of the embedding: (M, N, *F), (M, S, *feature_shape) -> (M, S, N, [d,] K).

        Of members that make k predictions, S draws of each, (M, k S, N, [d,] K). Without noise S is 1.
        """
        if noise is None:
            single: Tensor = self(x)
            return single.view(self.n_members, self.n_predictions, *single.shape[1:])
        standardized = self.standardize(x)

        def at(noise: Tensor) -> Tensor:
            return self._natural_params(self._evaluate(standardized, self.density_place, noise=noise.unsqueeze(1)))

        # what comes before the layer has no draws and is evaluated once
        eta = self._draw_by_draw(at, (noise.to(self.dtype).movedim(1, 0),), self.training)
        return eta.movedim(0, 1)

    def draw_noise(self, keys: Tensor, n_draws: int) -> Tensor:
        """Noise of the draws of a prediction, (M, n_draws, *feature_shape), the same for all rows.

        So a prediction is a smooth function of the row, and depends on no other row. More draws begin with the fewer.
        """
        return KeyedRandom(keys).stream(_DRAW_STREAM).normal((n_draws, *self.feature_shape))

    @torch.no_grad()
    def initialize_(
        self, keys: Tensor, units: InputUnits, marginal: Tensor, bounds: tuple[Tensor, Tensor] | None = None
    ) -> None:
        """Set the standardiser and the bounds of the head, and draw the weights.

        Parameters
        ----------
        keys : Tensor, (M,)
            Of `member_keys`; a member depends on its own.
        units : InputUnits
        marginal : Tensor, (M, 1, [d,] K)
            Natural parameters of the targets without features, in training units: where the network starts.
        bounds : tuple of two Tensors, (M, 1, [d,] num_raw), optional
            `Family.raw_bounds` of the targets in training units.
        """
        for name, value in vars(units).items():
            getattr(self, name).copy_(value)
        if bounds is not None:
            self.raw_low.copy_(bounds[0])
            self.raw_high.copy_(bounds[1])
        self.encoding.initialize_(keys)
        self._initialize_weights_(keys, marginal)
