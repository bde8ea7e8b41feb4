"""What numbers become before the first layer: shares of the bins between quantiles that lie below them."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .._blocks import is_plain
from .._checks import check_integer
from ..random import KeyedRandom
from .specs import register_spec


@register_spec
@dataclass(frozen=True)
class PiecewiseLinear:
    r"""Specification of piecewise-linear embeddings: each number as a linear map of how far it has come in each bin.

    .. math:: x \mapsto \mathrm{ReLU}(W e(x) + b),\qquad
        e_t(x) = \min\Bigl(\max\Bigl(\frac{x - b_{t-1}}{b_t - b_{t-1}},\ 0\Bigr),\ 1\Bigr)

    The bounds :math:`b_0, \dots, b_T` of the bins are quantiles of the column in each member's training rows, the least
    and the largest number among them, so that before ReLU each output is a piecewise linear function of the column with
    knots where the rows are. Below the least number the share of the first bin goes on down to -1, and beyond the
    largest one that of the last bin up to 2. Where quantiles are equal there is no bin between them. Columns have
    weights of their own.

    Parameters
    ----------
    n_bins : int
        T.
    width : int
        Numbers that a column becomes.

    References
    ----------
    Gorishniy, Rubachev & Babenko (2022), On Embeddings for Numerical Features in Tabular Deep Learning, NeurIPS; there
    the outermost bins have no end.

    Examples
    --------
    >>> import numpy as np
    >>> from probmix import DensityRegressor
    >>> from probmix.networks import MLP, PiecewiseLinear
    >>> X = np.linspace(-1, 1, 200)[:, None]
    >>> network = MLP((64, 64), embedding=PiecewiseLinear(n_bins=16))
    >>> model = DensityRegressor(network=network, max_epochs=5, random_state=0).fit(X, np.abs(X[:, 0]))
    >>> model.predict(X[:3]).shape
    (3,)
    """

    n_bins: int = 48
    width: int = 16

    def __post_init__(self) -> None:
        check_integer("n_bins", self.n_bins, 1)
        check_integer("width", self.width, 1)

    def build(self, n_members: int, n_numbers: int) -> "MemberPiecewiseLinear":
        """The embedding of so many columns, for M members."""
        return MemberPiecewiseLinear(self, n_members, n_numbers)


class MemberPiecewiseLinear(nn.Module):
    """M piecewise-linear embeddings: (M, N, F) -> (M, N, F width), column after column.

    Attributes
    ----------
    bounds : Tensor, (M, n_bins + 1, F)
        Of the bins, ascending; evenly spaced between -1 and 1 before `set_bins_`.
    weight, bias : nn.Parameter, (M, F, n_bins, width) and (M, F, 1, width)
    """

    bounds: Tensor

    def __init__(self, spec: PiecewiseLinear, n_members: int, n_numbers: int) -> None:
        super().__init__()
        self.out_features = n_numbers * spec.width
        even = torch.linspace(-1, 1, spec.n_bins + 1).view(1, -1, 1)
        self.register_buffer("bounds", even.repeat(n_members, 1, n_numbers))
        self.weight = nn.Parameter(torch.zeros(n_members, n_numbers, spec.n_bins, spec.width))
        self.bias = nn.Parameter(torch.zeros(n_members, n_numbers, 1, spec.width))

    def forward(self, z: Tensor) -> Tensor:
        """Member by member, column by column."""
        members, rows, columns = z.shape
        # one product for each member and column: (M F, N, T) with (M F, T, width)
        shares = self._shares(z).reshape(members * columns, rows, -1)
        embedded = torch.baddbmm(self.bias.flatten(0, 1), shares, self.weight.flatten(0, 1)).relu()
        return embedded.view(members, columns, rows, -1).transpose(1, 2).flatten(2)

    def _shares(self, z: Tensor) -> Tensor:
        """How much of each bin lies below a number: (M, N, F) -> (M, F, N, T)."""
        bounds = self.bounds.mT.contiguous().unsqueeze(2)
        lower, upper = bounds[..., :-1], bounds[..., 1:]
        width = upper - lower
        exists = width > 0
        # a bin may be so narrow that the inverse of its width is infinite
        slope = exists / width.clamp(min=torch.finfo(width.dtype).tiny)
        first, last = exists & (lower == bounds[..., :1]), exists & (upper == bounds[..., -1:])
        shares = (z.mT.contiguous().unsqueeze(-1) - lower).mul_(slope)
        least, largest = -first.to(shares.dtype), 1 + last.to(shares.dtype)
        # in place where torch can: this is the largest tensor of a step
        return shares.clamp_(least, largest) if is_plain(shares) else shares.clamp(least, largest)

    @torch.no_grad()
    def set_bins_(self, quantiles: Tensor) -> None:
        """Take over the bounds of the bins, (M, n_bins + 1, F)."""
        if quantiles.shape != self.bounds.shape or not (quantiles.diff(dim=1) >= 0).all():
            raise ValueError(
                f"`quantiles` must be {tuple(self.bounds.shape)} and ascending along their second axis; got "
                f"{tuple(quantiles.shape)}."
            )
        self.bounds.copy_(quantiles)

    @torch.no_grad()
    def initialize_(self, random: KeyedRandom) -> None:
        """Draw weights and biases uniformly within 1 / sqrt(n_bins), as torch's Linear does."""
        bound = 1 / math.sqrt(self.weight.shape[2])
        for parameter in (self.weight, self.bias):
            parameter.copy_(bound * (2 * random.uniform(tuple(parameter.shape[1:])) - 1))


__all__ = ["MemberPiecewiseLinear", "PiecewiseLinear"]
