"""Rows that meet: who, where, with what weight and label, and the likelihood of it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from ..families import ExponentialFamily, Label
from ..fusion import Noise
from ..pairs import meet_partners, pair_up
from .config import ENDS, Mixup


class Meetable(Protocol):
    """A network at whose layers rows can meet; L is empty or the member axis."""

    def __call__(self, x: Tensor) -> Tensor:
        """Natural parameters: (*L, N, *F) -> (*L, N, [d,] K)."""
        ...

    def fused(
        self, x: Tensor, place: str, partners: Tensor | int | None, weights: Tensor | None, noise: Noise | None
    ) -> Tensor:
        """Natural parameters of rows that meet at a layer: (*L, N, *F) -> (*L, B, [d,] K); see `fuse_at`."""
        ...


@dataclass(frozen=True)
class Meeting:
    """Who meets whom and where, with what weight, and what label they have; L is empty or the member axis.

    Attributes
    ----------
    place : str
        One of the places of a mixup.
    partners : Tensor, (*L, B), or int
        The first B rows of a batch meet these rows; as a number, the rows so many places further on, cyclically.
    weights : Tensor, (*L, B, 2)
    pairs : Tensor, (*L, B, [d,] 2)
        Targets of the rows and of their partners.
    label : Label or None
        What `pool_pairs` makes of them.
    """

    place: str
    partners: Tensor | int
    weights: Tensor
    pairs: Tensor
    label: Label | None

    def repeat(self, axis: int, copies: int, n: int) -> "Meeting":
        """The same meetings among copies of n rows each, one copy under the other along a batch axis."""
        partners = self.partners
        if isinstance(partners, int):
            partners = (torch.arange(n, device=self.weights.device) + partners) % n
            partners = partners.expand(self.weights.shape[:-1])
        return replace(
            self,
            partners=torch.cat([partners + copy * n for copy in range(copies)], axis),
            weights=torch.cat([self.weights] * copies, axis),
            pairs=torch.cat([self.pairs] * copies, axis),
            label=None if self.label is None else self.label.repeat(axis, copies),
        )


def split_meetings(
    sizes: list[int],
    places: Sequence[str],
    partners: Sequence[Tensor | int],
    weights: Tensor,
    pairs: Tensor,
    label: Label | None,
) -> list[Meeting]:
    """The meetings of batches whose rows follow each other along axis 1, behind the member axis."""
    labels = [None] * len(sizes) if label is None else label.split(1, sizes)
    batches = zip(places, partners, weights.split(sizes, 1), pairs.split(sizes, 1), labels, strict=True)
    return [Meeting(*batch) for batch in batches]


def pool_pairs(family: ExponentialFamily, mixup: Mixup, pairs: Tensor, weights: Tensor) -> Label | None:
    """Pool the targets of pairs, (*L, B, [d,] 2), (*L, B, 2).

    None where there is no one label: calibrated ones depend on the predictions, and under a linear pool of densities
    the loss of "linear" ones is that of either label, with their weights.
    """
    if mixup.label_pool == "calibrated" or (mixup.label_pool == mixup.pool == "linear"):
        return None
    return family.pool_labels(pairs, _over_targets(weights, pairs), mixup.label_spread, mixup.label_pool)


def fused_nll(
    network: Meetable, family: ExponentialFamily, mixup: Mixup, x: Tensor, meeting: Meeting, noise: Noise | None = None
) -> Tensor:
    """Negative log-likelihood of rows that meet, in one forward pass.

    Parameters
    ----------
    network : Meetable
    family : ExponentialFamily
    mixup : Mixup
    x : Tensor, (*L, N, *F)
    meeting : Meeting
        Of B <= N rows.
    noise : callable
        Source of the draws of a Gaussian embedding.

    Returns
    -------
    Tensor, (*L, B), summed over the targets d
    """
    row_dim = meeting.weights.ndim - 2
    copies = 1 if mixup.embedding == "point" else max(1, mixup.draws)
    if copies > 1:
        # every draw has rows of its own from the input on: right for any network, whatever bypasses the layer
        meeting = meeting.repeat(row_dim, copies, x.shape[row_dim])
        x = torch.cat([x] * copies, row_dim)
    nll = _linear_nll if mixup.pool == "linear" else _log_linear_nll
    losses = nll(network, family, mixup, x, meeting, noise if mixup.draws else None)
    if copies == 1:
        return losses
    by_draw = losses.unflatten(row_dim, (copies, -1))
    return by_draw.mean(row_dim) if mixup.criterion == "expected-log" else nll_of_mean(by_draw, row_dim)


def nll_of_mean(losses: Tensor, dim: int) -> Tensor:
    """The negative logarithm of mean likelihoods, from their negative logarithms."""
    return math.log(losses.shape[dim]) - torch.logsumexp(-losses, dim)


def _log_linear_nll(
    network: Meetable, family: ExponentialFamily, mixup: Mixup, x: Tensor, meeting: Meeting, noise: Noise | None
) -> Tensor:
    place, weights, label, points = meeting.place, meeting.weights, meeting.label, None
    row_dim = weights.ndim - 2
    if place == "input":
        eta = network(meet_partners(x, meeting.partners, weights))
    elif place != "output":
        eta = network.fused(x, place, meeting.partners, weights, noise)
    else:
        single = network(x)
        eta = meet_partners(single, meeting.partners, weights)
        points = torch.stack(pair_up(single, meeting.partners, row_dim), -2) if label is None else None
    check_params(family, eta, meeting.pairs.shape[:-1])
    if label is None:
        over_targets = _over_targets(weights, meeting.pairs)
        label = family.calibrated_label(meeting.pairs, over_targets, eta, mixup.label_spread, points)
    return sum_targets(family.expected_nll(eta, label), row_dim + 1)


def _linear_nll(
    network: Meetable, family: ExponentialFamily, mixup: Mixup, x: Tensor, meeting: Meeting, noise: Noise | None
) -> Tensor:
    """Of the mixture of the two predictions: a mixture at a layer, carried through the rest, is one at the output."""
    row_dim, pairs = meeting.weights.ndim - 2, meeting.pairs
    at_layer = mixup.embedding != "point" and meeting.place not in ENDS
    eta = network.fused(x, meeting.place, None, None, noise) if at_layer else network(x)
    weights = meeting.weights.to(eta.dtype)
    log_weights = weights.log().unbind(-1)
    points = pair_up(eta, meeting.partners, row_dim)
    check_params(family, points[0], pairs.shape[:-1])

    def nll(label: Label) -> Tensor:
        first, second = (sum_targets(family.expected_nll(one, label), row_dim + 1) for one in points)
        return -torch.logaddexp(log_weights[0] - first, log_weights[1] - second)

    if meeting.label is not None:
        return nll(meeting.label)
    alone = torch.ones_like(pairs[..., :1])
    kernels = [family.pool_labels(pairs[..., k : k + 1], alone, mixup.label_spread) for k in range(2)]
    return (weights * torch.stack([nll(kernel) for kernel in kernels], -1)).sum(-1)


def sum_targets(losses: Tensor, row_ndim: int) -> Tensor:
    """Losses of rows from losses of targets: (*L, B[, d]) -> (*L, B)."""
    return losses.sum(-1) if losses.ndim > row_ndim else losses


def _over_targets(weights: Tensor, pairs: Tensor) -> Tensor:
    """Weights of pairs, (*L, B, 2), with an axis for several targets where there are such."""
    return weights.unsqueeze(-2) if pairs.ndim > weights.ndim else weights


def check_params(family: ExponentialFamily, eta: Tensor, targets: torch.Size) -> None:
    """Raise unless natural parameters fit the targets."""
    shape = (*targets, family.num_params)
    if eta.shape != shape:
        raise ValueError(
            f"`module` must give natural parameters of the family {family.name!r} of shape {shape}: rows, targets as "
            f"in `y`, parameters; got {tuple(eta.shape)}. End it in NaturalHead, with `num_targets` for a matrix `y`."
        )
