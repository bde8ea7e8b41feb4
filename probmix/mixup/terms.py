"""The terms of a batch's loss: rows that are mixed, and rows that are not."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..families import Label
from ..fusion import Noise
from ..pairs import Partners, shifts_of
from .config import Mixup
from .objectives import Objective
from .quadratic import Centring


@dataclass(frozen=True)
class Groups:
    """Groups of K rows that are mixed; L is empty or the member axis.

    Attributes
    ----------
    layer : str
        Where they are mixed, one of the layers of a mixup.
    partners : Partners
        The first B rows of a batch are mixed with these.
    weights : Tensor, (*L, B, K)
    centring : Centring or None
        For the quadratic criterion, under which the first row of each group weighs most.
    """

    layer: str
    partners: Partners
    weights: Tensor
    centring: Centring | None = None

    def repeat(self, axis: int, copies: int, n: int) -> "Groups":
        """The same groups among copies of n rows each, in the order of `Inputs.repeat`, along a batch axis."""
        partners, weights = self.partners, self.weights
        own = weights.shape[axis]
        if not isinstance(partners, Tensor):
            rows = torch.arange(n, device=weights.device).unsqueeze(-1)
            partners = (rows + torch.tensor(shifts_of(partners), device=rows.device)) % n
            partners = partners.expand(*weights.shape[:-1], -1)
        # the others of the first copy stand under the own rows of all copies
        first = torch.where(partners < own, partners, partners + (copies - 1) * own)
        step = torch.where(partners < own, own, n - own)
        partners = torch.cat([first + copy * step for copy in range(copies)], axis)
        return Groups(self.layer, partners, torch.cat([weights] * copies, axis))

    def for_each(self, predictions: int) -> "Groups":
        """The groups of each member for each of its predictions, which follow each other along the member axis."""
        partners, weights = self.partners, self.weights.repeat_interleave(predictions, 0)
        partners = partners.repeat_interleave(predictions, 0) if isinstance(partners, Tensor) else partners
        return replace(self, partners=partners, weights=weights)


@dataclass(frozen=True)
class Term:
    """A summand of a batch's loss: groups of rows, or single ones, with their labels; L is empty or the member axis.

    Attributes
    ----------
    targets : Tensor, (*L, B, [d,] K)
        Of the rows of each group; K = 1 for single rows.
    label : Label or None
        What the targets are pooled to; None for calibrated labels, which depend on the predictions.
    groups : Groups or None
        None for single rows, the first B of a batch.
    drawn_at : str or None
        The layer from whose Gaussian embedding single rows are drawn, in a network that has one.
    row_weight : Tensor, (*L, B), or None
        How much a group counts among the others.
    share : float
        How much the term counts among the others.
    distinct : Tensor, (*L, B, K), or None
        For calibrated labels: the `distinct_weights` of the groups.
    """

    targets: Tensor
    label: Label | None
    groups: Groups | None = None
    drawn_at: str | None = None
    row_weight: Tensor | None = None
    share: float = 1.0
    distinct: Tensor | None = None

    def repeat(self, axis: int, copies: int, n: int) -> "Term":
        """The same groups among copies of n rows each, one after the other, as `Groups.repeat` has them."""
        return replace(
            self,
            targets=torch.cat([self.targets] * copies, axis),
            label=None if self.label is None else self.label.repeat(axis, copies),
            groups=None if self.groups is None else self.groups.repeat(axis, copies, n),
            distinct=None if self.distinct is None else torch.cat([self.distinct] * copies, axis),
        )

    def for_each(self, predictions: int) -> "Term":
        """The term of each member for each of its predictions, which follow each other along the member axis."""
        if predictions == 1:
            return self
        return replace(
            self,
            targets=self.targets.repeat_interleave(predictions, 0),
            label=None if self.label is None else self.label.for_each(predictions),
            groups=None if self.groups is None else self.groups.for_each(predictions),
            distinct=None if self.distinct is None else self.distinct.repeat_interleave(predictions, 0),
        )

    def split(self, sizes: list[int], groups: Sequence[Groups | None]) -> list["Term"]:
        """The terms of batches whose rows follow each other along axis 1, behind the member axis."""
        none: list[None] = [None] * len(sizes)
        labels = none if self.label is None else self.label.split(1, sizes)
        row_weights = none if self.row_weight is None else self.row_weight.split(sizes, 1)
        distinct = none if self.distinct is None else self.distinct.split(sizes, 1)
        batches = zip(self.targets.split(sizes, 1), labels, groups, row_weights, distinct, strict=True)
        return [Term(*one[:3], self.drawn_at, one[3], self.share, one[4]) for one in batches]


@dataclass(frozen=True)
class Inputs:
    """What a network sees of a batch; L is empty or the member axis.

    Attributes
    ----------
    x : Tensor, (*L, N, *F)
    row_dim : int
        The axis of the rows.
    noise : callable or None
        Source of the draws of Gaussian embeddings.
    log_exposure : Tensor, (*L, N), or None
        Groups have the mean of their exposures, as they have the mean of their counts. Linear pools and calibrated
        labels are made of single rows, each of which has its own.
    """

    x: Tensor
    row_dim: int = 0
    noise: Noise | None = None
    log_exposure: Tensor | None = None

    def repeat(self, copies: int, own: int) -> "Inputs":
        """Copies of the rows: the first `own` ones of every copy, which have groups, above all others."""

        def copied(values: Tensor) -> Tensor:
            first, others = values.tensor_split([own], self.row_dim)
            return torch.cat([first] * copies + [others] * copies, self.row_dim)

        log_exposure = None if self.log_exposure is None else copied(self.log_exposure)
        return replace(self, x=copied(self.x), log_exposure=log_exposure)

    def first(self, rows: int) -> "Inputs":
        """The first rows."""
        if rows == self.x.shape[self.row_dim]:
            return self
        log_exposure = self.log_exposure
        if log_exposure is not None:
            log_exposure = log_exposure.narrow(self.row_dim, 0, rows)
        return replace(self, x=self.x.narrow(self.row_dim, 0, rows), log_exposure=log_exposure)

    def for_each(self, predictions: int) -> "Inputs":
        """The same rows, with exposures for each prediction of a member."""
        if self.log_exposure is None or predictions == 1:
            return self
        return replace(self, log_exposure=self.log_exposure.repeat_interleave(predictions, 0))


def over_predictions(losses: Tensor, predictions: int) -> Tensor:
    """Mean loss of the predictions of each member, (M * k, B) -> (M, B): never the loss of their mean."""
    return losses if predictions == 1 else losses.unflatten(0, (-1, predictions)).mean(1)


def pool_targets(objective: Objective, mixup: Mixup, targets: Tensor, weights: Tensor) -> Label | None:
    """Pool the targets of groups, (*L, B, [d,] K), (*L, B, K); None for calibrated labels."""
    return objective.pool_labels(targets, over_targets(weights, targets), mixup)


def group_weights(weights: Tensor, rows: Tensor, centring: Centring | None = None) -> Tensor:
    """How often groups would be drawn if every row were there as many times as it weighs, (*L, B, K) twice -> (*L, B).

    That is the product of the weights of the distinct rows: a row is its own partner once, and that as many times as it
    weighs. An expansion around the mean of all rows takes a row with itself like any other pair.
    """
    if centring is not None:
        return weights.prod(-1)
    product = weights[..., 0]
    for k in range(1, rows.shape[-1]):
        is_known = (rows[..., :k] == rows[..., k : k + 1]).any(-1)
        product = torch.where(is_known, product, product * weights[..., k])
    return product


def distinct_weights(weights: Tensor, rows: Tensor) -> Tensor:
    """Weights of groups, of a row that is several times in one all at its first place, (*L, B, K) twice -> (*L, B, K).

    Averaging takes spread away between different rows only: by these weights calibrated labels get it back.
    """
    are_equal = rows.unsqueeze(-1) == rows.unsqueeze(-2)
    is_known = are_equal.tril(-1).any(-1)
    return (are_equal * weights.unsqueeze(-2)).sum(-1).masked_fill(is_known, 0.0)


def over_targets(weights: Tensor, targets: Tensor) -> Tensor:
    """Weights of groups, (*L, B, K), with an axis for several targets where there are such."""
    return weights.unsqueeze(-2) if targets.ndim > weights.ndim else weights
