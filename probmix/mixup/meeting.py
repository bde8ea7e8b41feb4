"""Rows that meet: who, where, with what weight and label, and the loss of it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from ..families import Family, Label
from ..fusion import Noise
from ..pairs import meet_partners, pair_up
from .config import ENDS, Mixup
from .objectives import Objective, sum_targets


class Meetable(Protocol):
    """A network at whose layers rows can meet; L is empty or the member axis."""

    def __call__(self, x: Tensor) -> Tensor:
        """Natural parameters: (*L, N, *F) -> (*L, N, [d,] K)."""
        ...

    def fused(
        self, x: Tensor, place: str, partners: Tensor | int | None, weights: Tensor | None, noise: Noise | None
    ) -> Tensor:
        """Natural parameters of rows that meet at a layer, or at the "input": (*L, N, *F) -> (*L, B, [d,] K)."""
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


def pool_pairs(objective: Objective, mixup: Mixup, pairs: Tensor, weights: Tensor) -> Label | None:
    """Pool the targets of pairs, (*L, B, [d,] 2), (*L, B, 2); None for calibrated labels."""
    return objective.pool_labels(pairs, _over_targets(weights, pairs), mixup)


def fused_loss(
    network: Meetable,
    objective: Objective,
    mixup: Mixup,
    x: Tensor,
    meeting: Meeting,
    noise: Noise | None = None,
    log_exposure: Tensor | None = None,
) -> Tensor:
    """Loss of rows that meet, in one forward pass.

    Parameters
    ----------
    network : Meetable
    objective : Objective
    mixup : Mixup
    x : Tensor, (*L, N, *F)
    meeting : Meeting
        Of B <= N rows.
    noise : callable
        Source of the draws of a Gaussian embedding.
    log_exposure : Tensor, (*L, N), optional
        Pairs have the mean of theirs, as they have the mean of their counts. Linear pools and calibrated labels are
        made of points, each of which has its own.

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
        log_exposure = None if log_exposure is None else torch.cat([log_exposure] * copies, row_dim)
    is_mixture = mixup.pool == "linear" or (meeting.place == "output" and not objective.family.pools_log_linearly)
    loss = _mixture_loss if is_mixture else _density_loss
    losses = loss(network, objective, mixup, x, meeting, noise if mixup.draws else None, log_exposure)
    return losses if copies == 1 else objective.over_draws(losses.unflatten(row_dim, (copies, -1)), row_dim, mixup)


def _density_loss(
    network: Meetable,
    objective: Objective,
    mixup: Mixup,
    x: Tensor,
    meeting: Meeting,
    noise: Noise | None,
    log_exposure: Tensor | None,
) -> Tensor:
    """Of one density for each pair: of a fused input, of one that is fused on its way, or of a log-linear pool."""
    family, place, weights, label, points = objective.family, meeting.place, meeting.weights, meeting.label, None
    row_dim = weights.ndim - 2
    if place == "output":
        single = network(x)
        eta = meet_partners(single, meeting.partners, weights)
        if label is None:
            points = torch.stack(pair_up(exposed(family, single, log_exposure), meeting.partners, row_dim), -2)
    else:
        eta = network.fused(x, place, meeting.partners, weights, noise)
    if log_exposure is not None:
        # counts add up, and so do their exposures: a mean of counts has the mean exposure
        met = meet_partners(log_exposure.exp().unsqueeze(-1), meeting.partners, weights).squeeze(-1).log()
        eta = exposed(family, eta, met)
    check_params(family, eta, meeting.pairs.shape[:-1])
    if label is None:
        over_targets = _over_targets(weights, meeting.pairs)
        label = family.calibrated_label(meeting.pairs, over_targets, eta, mixup.label_spread, points)
    return sum_targets(objective.losses(eta, label), row_dim + 1)


def _mixture_loss(
    network: Meetable,
    objective: Objective,
    mixup: Mixup,
    x: Tensor,
    meeting: Meeting,
    noise: Noise | None,
    log_exposure: Tensor | None,
) -> Tensor:
    """Of the mixture of the two predictions: a mixture at a layer, carried through the rest, is one at the output."""
    row_dim, pairs = meeting.weights.ndim - 2, meeting.pairs
    at_layer = mixup.embedding != "point" and meeting.place not in ENDS
    eta = network.fused(x, meeting.place, None, None, noise) if at_layer else network(x)
    points = pair_up(exposed(objective.family, eta, log_exposure), meeting.partners, row_dim)
    check_params(objective.family, points[0], pairs.shape[:-1])
    assert meeting.label is not None  # calibrated labels belong to log-linear pools
    return objective.mixture_losses(points, meeting.weights, meeting.label, mixup.label_spread, row_dim + 1)


def exposed(family: Family, eta: Tensor, log_exposure: Tensor | None) -> Tensor:
    """Parameters (*L, N, [d,] K) under the exposures of the rows, (*L, N), if there are any."""
    if log_exposure is None:
        return eta
    log_exposure = log_exposure.to(eta.dtype)
    return family.expose(eta, log_exposure.unsqueeze(-1) if eta.ndim > log_exposure.ndim + 1 else log_exposure)


def _over_targets(weights: Tensor, pairs: Tensor) -> Tensor:
    """Weights of pairs, (*L, B, 2), with an axis for several targets where there are such."""
    return weights.unsqueeze(-2) if pairs.ndim > weights.ndim else weights


def check_params(family: Family, eta: Tensor, targets: torch.Size) -> None:
    """Raise unless parameters fit the targets."""
    shape = (*targets[: len(targets) - family.event_dim], family.num_params)
    if eta.shape != shape:
        raise ValueError(
            f"`module` must give natural parameters of the family {family.name!r} of shape {shape}: rows, targets as "
            f"in `y`, parameters; got {tuple(eta.shape)}. End it in NaturalHead, with `num_targets` for a matrix `y`."
        )
