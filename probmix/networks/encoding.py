"""What a network sees of the columns of a table: numbers in units, indicators, one-hots, and levels as vectors."""

from collections.abc import Sequence
from itertools import accumulate

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..random import KeyedRandom, member_keys
from .inputs import InputUnits, smooth_clip
from .layout import ColumnLayout

# Numbers in the learned vector of a level, and in the fixed one by which distances are measured.
_WIDTH, _DISTANCE_WIDTH = 8, 16
# What a one-hot column is where it is not zero: two levels are at distance one.
_HOT = 0.5**0.5
# Of the learned vectors when training begins: two levels are at distance one, on average of the squares.
_FIRST = (2 * _WIDTH) ** -0.5
# Beside the streams of the epochs, which are numbered from 0, and of initial weights, splits and draws.
_LEVEL_STREAM = -7


class Encoding(nn.Module):
    r"""From stored columns to what the network sees, and mixes at the input.

    .. math:: z = [\text{numbers} \mid \text{indicators} \mid \text{one-hots} \mid \text{embedded levels}]

    Numbers are standardised and smoothly clipped; a column of levels is one-hot, 0 or :math:`1/\sqrt 2`, or the learned
    vector of its level, of 8 numbers. What is no table, a sequence or an image, is standardised, and that is all.

    Parameters
    ----------
    layout : ColumnLayout or None
        None for rows that are no table.
    n_members : int
        M.

    Attributes
    ----------
    n_numbers, n_features : int
        How many columns of z are numbers, which come first, and how many there are; 0 for what is no table.
    table : nn.Parameter, (M, levels, 8), or None
        Learned vectors of the levels of all embedded columns, one column under the other.

    Examples
    --------
    >>> import torch
    >>> from probmix.networks.encoding import Encoding
    >>> from probmix.networks.layout import ColumnLayout
    >>> layout = ColumnLayout(("number", "level"), (0, 2), (False, False), ("age", "sex"), (0, 1))
    >>> encoding, unit = Encoding(layout, n_members=1), torch.ones(1, 1, 2)
    >>> encoding(torch.tensor([[0.5, 1.0]]), InputUnits(0 * unit, unit, 3 * unit, -unit, unit), torch.float32)
    tensor([[[0.4932, 0.0000, 0.7071]]])
    """

    hot_offset: Tensor
    table_offset: Tensor

    def __init__(self, layout: ColumnLayout | None, n_members: int) -> None:
        super().__init__()
        self.layout = layout
        kinds = () if layout is None else tuple(zip(layout.kinds, layout.embedded, strict=True))
        places = {
            name: [place for place, (kind, embedded) in enumerate(kinds) if (kind, embedded) in wanted]
            for name, wanted in (
                ("numbers", {("number", False)}),
                ("indicators", {("indicator", False)}),
                ("hot", {("level", False)}),
                ("embedded", {("level", True)}),
            )
        }
        self._is_plain = len(places["numbers"]) == len(kinds)
        self._runs = {name: _runs(numbers) for name, numbers in places.items()}
        n_levels = () if layout is None else layout.n_levels
        levels = {name: [n_levels[one] for one in places[name]] for name in ("hot", "embedded")}
        self._n_hot = sum(levels["hot"])
        self.n_numbers = len(places["numbers"])
        width = self.n_numbers + len(places["indicators"]) + self._n_hot + _WIDTH * len(levels["embedded"])
        self.n_features = width
        for name, of_columns in (("hot_offset", levels["hot"]), ("table_offset", levels["embedded"])):
            offset = torch.tensor([0, *accumulate(of_columns)][: len(of_columns)], dtype=torch.int64)
            # with the member axis that all tensors of a network have
            self.register_buffer(name, offset.expand(n_members, 1, -1).clone(), persistent=False)
        self.table: nn.Parameter | None = None
        if levels["embedded"]:
            self.table = nn.Parameter(torch.zeros(n_members, sum(levels["embedded"]), _WIDTH))

    def forward(self, x: Tensor, units: InputUnits, dtype: torch.dtype) -> Tensor:
        """What the network sees: (N, *F) or (M, N, *F), units (M, 1, *F) -> (M, N, *F_z)."""
        return self._seen(x, units, dtype, self.table)

    def for_distances(self, x: Tensor, units: InputUnits, dtype: torch.dtype) -> Tensor:
        """The same with a fixed random unit vector, over the root of two, in place of what is learned: (M, N, D).

        Any two levels are about as far from each other as those of a one-hot column.
        """
        if self.table is None:
            return self._seen(x, units, dtype, None)
        random = KeyedRandom(member_keys(0, 1).to(x.device)).stream(_LEVEL_STREAM)
        fixed = _HOT * functional.normalize(random.normal((self.table.shape[1], _DISTANCE_WIDTH)), dim=-1)
        return self._seen(x, units, dtype, fixed.to(dtype).expand(len(self.table), -1, -1))

    def _seen(self, x: Tensor, units: InputUnits, dtype: torch.dtype, table: Tensor | None) -> Tensor:
        if self.layout is None:
            return ((x - units.loc) / units.scale).to(dtype)
        if self._is_plain:
            return smooth_clip(((x - units.loc) / units.scale).to(dtype), units.limit.to(dtype))
        loc, scale, limit = (self._cut(of_columns, "numbers") for of_columns in (units.loc, units.scale, units.limit))
        numbers = smooth_clip(((self._cut(x, "numbers") - loc) / scale).to(dtype), limit.to(dtype))
        indicators = self._cut(x, "indicators").to(dtype)
        hot = self._cut(x, "hot").long() + self.hot_offset
        one_hot = torch.zeros(*hot.shape[:-1], self._n_hot, dtype=dtype, device=x.device).scatter_(-1, hot, _HOT)
        parts = [numbers, indicators.expand(*numbers.shape[:-1], -1), one_hot]
        if table is not None:
            codes = self._cut(x, "embedded").long() + self.table_offset
            members, levels, _ = table.shape
            first = levels * torch.arange(members, device=x.device).view(-1, 1, 1)
            parts.append(functional.embedding(codes + first, table.flatten(0, 1)).flatten(-2))
        return torch.cat(parts, -1)

    def _cut(self, of_columns: Tensor, name: str) -> Tensor:
        """The entries of some of the columns, (..., F) -> (..., f): slices need no numbers on the device."""
        parts = [of_columns[..., start:stop] for start, stop in self._runs[name]]
        return torch.cat(parts, -1) if parts else of_columns[..., :0]

    def alone(self, member: int) -> "Encoding":
        """The encoding of one member, M = 1, with vectors of its own."""
        alone = Encoding(self.layout, 1).to(self.hot_offset.device)
        if self.table is not None:
            alone.table = nn.Parameter(self.table.detach()[member : member + 1].clone())
        return alone

    @torch.no_grad()
    def initialize_(self, keys: Tensor) -> None:
        """Draw the vectors of the levels of each member, from its key."""
        if self.table is not None:
            random = KeyedRandom(keys).stream(_LEVEL_STREAM)
            self.table.copy_(_FIRST * random.normal(tuple(self.table.shape[1:])))


def _runs(places: Sequence[int]) -> list[tuple[int, int]]:
    """Ascending numbers as ranges, each from its first to behind its last."""
    runs: list[tuple[int, int]] = []
    for place in places:
        if runs and runs[-1][1] == place:
            runs[-1] = (runs[-1][0], place + 1)
        else:
            runs.append((place, place + 1))
    return runs
