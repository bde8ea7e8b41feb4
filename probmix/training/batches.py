"""The batches of an epoch, for all members at once."""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from random import Random

import torch
from torch import Tensor

from ..families import Label, TargetScaler
from ..fusion import Noise
from ..mixup import Mixup
from ..mixup.meeting import Meeting, pool_pairs, split_meetings
from ..mixup.objectives import Objective
from ..mixup.partners import PreparedPartners
from ..networks import MemberNetwork
from ..pairs import take_rows
from ..random import KeyedRandom, member_keys
from .data import TrainingData
from .order import Order

# Beside the streams of the epochs, which are numbered from 0.
_ORDER_STREAM = -4


@dataclass(frozen=True)
class Batch:
    """Rows of all members for one step.

    Attributes
    ----------
    x : Tensor, (M, N, *F)
        In the user's units.
    target : Label or Meeting
        The labels of the rows where they meet nobody, else who meets whom; in training units.
    row_weight : Tensor, (M, B), or None
        Weight of a row, or of the pair in which it meets its partner.
    noise : callable
        Source of the draws of Gaussian embeddings, (B, *feature_shape), for all members alike.
    log_exposure : Tensor, (M, N), or None
    """

    x: Tensor
    target: Label | Meeting
    row_weight: Tensor | None
    noise: Noise
    log_exposure: Tensor | None


class BatchSource:
    """Batches of an epoch: slices of one permutation per member; partners, weights and labels are made for all at once.

    Parameters
    ----------
    data : TrainingData
    objective : Objective
    network : MemberNetwork
        Initialised; partner laws see standardised features.
    scaler : TargetScaler
        Of each member's targets, (M, 1[, d]).
    mixup : Mixup
    batch_size : int or None
    random : KeyedRandom
        Of the members.
    """

    def __init__(
        self,
        data: TrainingData,
        objective: Objective,
        network: MemberNetwork,
        scaler: TargetScaler,
        mixup: Mixup,
        batch_size: int | None,
        random: KeyedRandom,
    ) -> None:
        self._x = data.x
        self._order = Order([train for train, _, _ in data.sizes_of_members()], data.epoch_rows, data.x.device)
        self._n = self._order.length
        # in random order, so that full batches, which keep it, are paired at random by turning them as well
        self._rows = self._order.shuffled(data.train_rows, random.stream(_ORDER_STREAM))
        self._objective = objective
        self._log_exposure = data.log_exposure
        self._y = scaler.transform(data.y[self._rows])
        self._sample_weight = None
        if data.sample_weight is not None:
            self._sample_weight = self._order.with_mean_one(data.sample_weight[self._rows])
        self._mixup = mixup
        batches = -(-self._n // (batch_size or self._n))
        # of one size, up to a row: a small rest would take a step as long as any other
        bounds = [batch * self._n // batches for batch in range(batches + 1)]
        self._sizes = [stop - start for start, stop in pairwise(bounds)]
        # always the same rows in the same order
        self._is_full = batches == 1 and self._order.is_of_all
        device_bounds = torch.tensor(bounds, device=data.x.device)
        self._batch = torch.repeat_interleave(device_bounds.diff())
        self._start, self._size = device_bounds[:-1][self._batch], device_bounds.diff()[self._batch]
        self._full_x = self._x[self._rows] if self._is_full else None
        # What members and seeds draw in common, since their rows have orders of their own: weights and noise for each
        # would cost as much as the rest of a step, and the place and the turn are those of the one forward pass.
        self._shared = KeyedRandom(member_keys(0, 1).to(data.x.device))
        self._generator = torch.Generator(data.x.device)
        self._partners = None if mixup.at is None else self._prepare_partners(network)

    def members(self, positions: Tensor) -> "BatchSource":
        """The batches of the members at some positions."""
        part = copy.copy(self)
        part._order = self._order.members(positions)
        part._rows, part._y = self._rows[positions], self._y[positions]
        part._sample_weight = None if self._sample_weight is None else self._sample_weight[positions]
        part._full_x = None if self._full_x is None else self._full_x[positions]
        part._partners = None if self._partners is None else self._partners.members(positions)
        return part

    def _prepare_partners(self, network: MemberNetwork) -> PreparedPartners | None:
        """The law of the partners among each member's training rows."""
        features = network.standardize(self._x[self._rows])
        return self._mixup.partners.prepare([*self._order.cut(features)], [*self._order.cut(self._y)])

    def epoch(self, epoch: int, random: KeyedRandom) -> Iterator[Batch]:
        """The batches of an epoch, drawn from its own streams of the members' random numbers."""
        random, host = random.stream(epoch), Random(epoch)
        self._generator.manual_seed(epoch)
        places = torch.arange(self._n, device=self._rows.device).expand(len(self._rows), -1)
        order = places if self._is_full else self._order.draw(random)
        if self._mixup.at is None:
            mates, targets = order, self._labels(order)
        else:
            mates, targets = self._meetings(epoch, order, places, host, random)
        weights = self._row_weights(order, mates)
        for rows, target, weight in zip(self._batch_rows(order, mates), targets, weights, strict=True):
            exposure = None if self._log_exposure is None else self._log_exposure[rows]
            yield Batch(self._inputs(rows), target, weight, self._noise, exposure)

    def _labels(self, order: Tensor) -> Sequence[Label | Meeting]:
        return self._objective.point_label(take_rows(self._y, order)).split(1, self._sizes)

    def _meetings(
        self, epoch: int, order: Tensor, places: Tensor, host: Random, random: KeyedRandom
    ) -> tuple[Tensor, Sequence[Label | Meeting]]:
        """Each row's partner as a training row, (M, n), and who meets whom in each batch."""
        turns = [host.randrange(size) for size in self._sizes]
        mates, partners = self._draw_partners(order, places, turns, random)
        weights = self._mixup.weights.sample((self._n,), self._shared.stream(epoch).uniform)
        weights = weights.expand(len(order), -1, -1)
        pairs = torch.stack([take_rows(self._y, order), take_rows(self._y, mates)], -1)
        label = pool_pairs(self._objective, self._mixup, pairs, weights)
        layers = [host.choice(self._mixup.places) for _ in self._sizes]
        whom = turns if partners is None else partners.split(self._sizes, 1)
        return mates, split_meetings(self._sizes, layers, whom, weights, pairs, label)

    def _row_weights(self, order: Tensor, mates: Tensor) -> Sequence[Tensor | None]:
        """Of a pair: as often as they would meet if every row were there as many times as it weighs."""
        if self._sample_weight is None:
            return [None] * len(self._sizes)
        weights = take_rows(self._sample_weight, order)
        if self._mixup.at is not None:
            # a row meets itself once in a batch, and that as many times as it weighs
            weights = torch.where(mates == order, weights, weights * take_rows(self._sample_weight, mates))
        batches: tuple[Tensor, ...] = weights.split(self._sizes, 1)
        return batches

    def _noise(self, shape: torch.Size) -> Tensor:
        return torch.randn(shape, generator=self._generator, device=self._x.device)

    def _batch_rows(self, order: Tensor, mates: Tensor) -> Iterator[Tensor]:
        """Rows of the data in each batch, (M, N), with their partners under them if these may be elsewhere."""
        if self._is_full:
            yield self._rows
            return
        parts = [order] if self._partners is None else [order, mates]
        for batch in zip(*(take_rows(self._rows, part).split(self._sizes, 1) for part in parts), strict=True):
            yield torch.cat(batch, 1)

    def _inputs(self, rows: Tensor) -> Tensor:
        """Features of rows of the data: (M, N) -> (M, N, *F)."""
        if self._full_x is not None:
            return self._full_x
        return self._x.index_select(0, rows.flatten()).view(*rows.shape, *self._x.shape[1:])

    def _draw_partners(
        self, order: Tensor, places: Tensor, turns: list[int], random: KeyedRandom
    ) -> tuple[Tensor, Tensor | None]:
        """Each row's partner as a training row, and as a row of the batch's features unless a turn finds it; (M, n)."""
        if self._partners is not None:
            mates = self._partners.draw(order, random.uniform, 1).squeeze(2)
            return mates, mates if self._is_full else places - self._start + self._size
        # the rows of a batch are in random order, so turning it by a random number of places pairs them uniformly
        turn = torch.tensor(turns, device=order.device)[self._batch]
        return order[:, self._start + (places[0] - self._start + turn) % self._size], None
