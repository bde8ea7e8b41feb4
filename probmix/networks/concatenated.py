"""Several embeddings of numbers side by side."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..random import KeyedRandom
from .specs import EmbeddingSpec, register_spec
from .trunk import BinnedEmbedding, NumberEmbedding


@register_spec
@dataclass(frozen=True)
class Concatenated:
    """Several embeddings of the numbers, whose outputs stand side by side.

    Periodic and piecewise linear embeddings are good at different tables, and a network that has both is about as good
    as the better one, or better than either; see the ablation in ``docs/results``.

    Parameters
    ----------
    parts : sequence of Periodic, PiecewiseLinear or others
        Those with bins must ask for as many.

    Examples
    --------
    >>> from probmix.networks import MLP, Concatenated, Periodic, PiecewiseLinear
    >>> network = MLP((64, 64), embedding=Concatenated((Periodic(), PiecewiseLinear())))
    >>> network.embedding.n_bins
    48
    """

    parts: tuple[Any, ...]

    def __post_init__(self) -> None:
        parts = tuple(self.parts) if isinstance(self.parts, list | tuple) else (self.parts,)
        wrong = [one for one in parts if isinstance(one, type) or not isinstance(one, EmbeddingSpec)]
        if wrong or not parts:
            raise TypeError(f"`parts` must be embeddings of numbers, such as Periodic(); got {self.parts!r}.")
        bins = {one.n_bins for one in parts if one.n_bins}
        if len(bins) > 1:
            raise ValueError(f"`parts` must ask for as many bins, since quantiles are taken once; got {sorted(bins)}.")
        object.__setattr__(self, "parts", parts)

    @property
    def n_bins(self) -> int:
        """Bins between quantiles of the training rows; 0 for none."""
        n_bins: int = max(one.n_bins for one in self.parts)
        return n_bins

    def build(self, n_members: int, n_numbers: int) -> "MemberConcatenated":
        """The embeddings of so many columns, for M members."""
        return MemberConcatenated(self, n_members, n_numbers)


class MemberConcatenated(nn.Module):
    """Embeddings of M members side by side: (M, N, F) -> (M, N, sum of their features)."""

    def __init__(self, spec: Concatenated, n_members: int, n_numbers: int) -> None:
        super().__init__()
        self.parts = nn.ModuleList(one.build(n_members, n_numbers) for one in spec.parts)
        self.out_features = sum(one.out_features for one in self._built())

    def _built(self) -> list[NumberEmbedding]:
        return [one for one in self.parts if isinstance(one, NumberEmbedding)]

    def forward(self, z: Tensor) -> Tensor:
        """One after the other."""
        return torch.cat([one(z) for one in self.parts], -1)

    def set_bins_(self, quantiles: Tensor) -> None:
        """Tell those that have bins, (M, n_bins + 1, F)."""
        for one in self._built():
            if isinstance(one, BinnedEmbedding):
                one.set_bins_(quantiles)

    def initialize_(self, random: KeyedRandom) -> None:
        """Draw the weights of each."""
        for one in self._built():
            one.initialize_(random)


__all__ = ["Concatenated", "MemberConcatenated"]
