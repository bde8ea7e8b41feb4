"""What a loss needs to know of a label, and what rescaling needs to know of the targets."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Label:
    r"""A point label, or the expectation of a latent one, centred so that nothing cancels.

    The expected negative log-likelihood of an exponential family depends on the latent label only through
    :math:`E[T(\tilde y)]` and :math:`E[\log h(\tilde y)]`. Both are kept as differences to their value at one point.

    Attributes
    ----------
    value : Tensor, (*B,)
        The point. For a categorical family: class probabilities, (*B, K).
    excess : Tensor, (*B, K), or None for zero
        :math:`E[T(\tilde y)] - T(\mathrm{value})`.
    log_base_excess : Tensor, (*B,), or None for zero
        :math:`E[\log h(\tilde y)] - \log h(\mathrm{value})`; no gradient depends on it.
    """

    value: Tensor
    excess: Tensor | None = None
    log_base_excess: Tensor | None = None

    def split(self, axis: int, sizes: list[int]) -> list["Label"]:
        """The labels of ranges of rows that follow each other along a batch axis."""
        columns = [
            [None] * len(sizes) if one is None else one.split(sizes, axis)
            for one in (self.excess, self.log_base_excess)
        ]
        return [Label(*parts) for parts in zip(self.value.split(sizes, axis), *columns, strict=True)]

    def repeat(self, axis: int, copies: int) -> "Label":
        """Copies of the labels, one after the other along a batch axis."""
        return Label(
            torch.cat([self.value] * copies, axis),
            None if self.excess is None else torch.cat([self.excess] * copies, axis),
            None if self.log_base_excess is None else torch.cat([self.log_base_excess] * copies, axis),
        )


@dataclass(frozen=True)
class TargetScaler:
    """An affine map of targets to training units: ``(y - loc) / scale``.

    Attributes
    ----------
    loc, scale : Tensor
        float64, broadcastable against the targets they were computed from.
    """

    loc: Tensor
    scale: Tensor

    def to(self, device: torch.device) -> "TargetScaler":
        """The scaler on a device."""
        return TargetScaler(self.loc.to(device), self.scale.to(device))

    def transform(self, y: Tensor) -> Tensor:
        """Targets in training units, float64, same shape as `y`."""
        return (y.to(torch.float64) - self.loc) / self.scale
