"""What a loss needs to know of a label, and what rescaling needs to know of the targets."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Label:
    r"""A point label, one of several points, or the expectation of a latent label, centred so that nothing cancels.

    The expected negative log-likelihood of an exponential family depends on the latent label only through
    :math:`E[T(\tilde y)]` and :math:`E[\log h(\tilde y)]`. Both are kept as differences to their value at one point.
    Other losses have the points themselves, with weights.

    Attributes
    ----------
    value : Tensor, (*B,)
        The point. For a categorical family: class probabilities, (*B, K). With weights: the points, (*B, M). Of a
        family of vectors the point is (*B, d), and the points are (*B, M, d).
    excess : Tensor, (*B, K), or None for zero
        :math:`E[T(\tilde y)] - T(\mathrm{value})`.
    log_base_excess : Tensor, (*B,), or None for zero
        :math:`E[\log h(\tilde y)] - \log h(\mathrm{value})`; no gradient depends on it.
    weights : Tensor, (*B, M), or None for a single point
        Probability of each of the points.
    """

    value: Tensor
    excess: Tensor | None = None
    log_base_excess: Tensor | None = None
    weights: Tensor | None = None

    @staticmethod
    def one_of(y: Tensor, weights: Tensor, event_dim: int = 0) -> "Label":
        """One of several points, with probabilities: (*B, M) twice, or of vectors (*B, d, M) and (*B, 1, M)."""
        y, weights = by_point(y, weights, event_dim)
        return Label(y, weights=weights)

    @property
    def requires_grad(self) -> bool:
        """Whether a gradient flows into it."""
        parts = self.value, self.excess, self.log_base_excess, self.weights
        return any(part is not None and part.requires_grad for part in parts)

    def split(self, axis: int, sizes: list[int]) -> list["Label"]:
        """The labels of ranges of rows that follow each other along a batch axis."""
        columns = [
            [None] * len(sizes) if one is None else one.split(sizes, axis)
            for one in (self.excess, self.log_base_excess, self.weights)
        ]
        return [Label(*parts) for parts in zip(self.value.split(sizes, axis), *columns, strict=True)]

    @staticmethod
    def joined(labels: Sequence["Label"], axis: int) -> "Label | None":
        """The labels of one after the other along a batch axis, if all are of one kind."""
        columns: dict[str, Any] = {}
        for name in ("value", "excess", "log_base_excess", "weights"):
            parts = [getattr(label, name) for label in labels]
            found = [part for part in parts if part is not None]
            shapes = {(*part.shape[:axis], *part.shape[axis + 1 :]) for part in found}
            if len(found) not in (0, len(parts)) or len(shapes) > 1:
                return None
            columns[name] = torch.cat(found, axis) if found else None
        return Label(**columns)

    def repeat(self, axis: int, copies: int) -> "Label":
        """Copies of the labels, one after the other along a batch axis."""
        parts = (self.excess, self.log_base_excess, self.weights)
        rest = [None if one is None else torch.cat([one] * copies, axis) for one in parts]
        return Label(torch.cat([self.value] * copies, axis), *rest)

    def for_each(self, predictions: int) -> "Label":
        """The labels of each member for each of its predictions, which follow each other along the member axis."""
        parts = (self.excess, self.log_base_excess, self.weights)
        rest = [None if one is None else one.repeat_interleave(predictions, 0) for one in parts]
        return Label(self.value.repeat_interleave(predictions, 0), *rest)


def by_point(y: Tensor, weights: Tensor, event_dim: int) -> tuple[Tensor, Tensor]:
    """Points and weights of a label with the axis of the points behind the batch: of vectors (*B, M, d) and (*B, M)."""
    return (y.mT, weights[..., 0, :]) if event_dim else (y, weights)


def expectation(loss: Callable[[Tensor, Tensor], Tensor], params: Tensor, label: Label) -> Tensor:
    """Expected loss(params, y) of a label that is a point or one of several: (*B, K) and a target -> (*B,)."""
    if label.weights is None:
        return loss(params, label.value)
    return (label.weights * loss(params.unsqueeze(-2), label.value)).sum(-1)


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
