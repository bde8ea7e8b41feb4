"""The batches of an epoch, for all members at once."""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from random import Random

import torch
from torch import Tensor

from ..mixup.drawing import centring_of, distances_of_pairs, draw_weights, needs_distances, prepare_partners
from ..mixup.partners import PreparedPartners, UniformPartners
from ..mixup.quadratic import Centring
from ..mixup.terms import Groups, Inputs, Term, distinct_weights, group_weights, pool_targets
from ..networks import MemberNetwork
from ..pairs import take_rows
from ..random import KeyedRandom, member_keys
from .order import Order
from .task import Batch, Task

# Beside the streams of the epochs, which are numbered from 0.
_ORDER_STREAM = -4


class BatchSource:
    """Batches of an epoch: slices of one permutation per member; partners, weights and labels are made for all at once.

    Parameters
    ----------
    task : Task
    network : MemberNetwork
        Initialised; partner laws see its `distance_features`.
    random : KeyedRandom
        Of the members.
    """

    def __init__(self, task: Task, network: MemberNetwork, random: KeyedRandom) -> None:
        data, mixup, batch_size = task.data, task.mixup, task.options.batch_size
        self._x = data.rows.x
        self._order = Order([train for train, _, _ in data.sizes_of_members()], data.epoch_rows, data.device)
        self._n = self._order.length
        # in random order, so that full batches, which keep it, are paired at random by shifting them as well
        self._rows = self._order.shuffled(data.train_rows, random.stream(_ORDER_STREAM))
        self._objective = task.objective
        self._log_exposure = data.rows.log_exposure
        self._y = task.scaler.transform(data.rows.y[self._rows])
        self._sample_weight = None
        if data.rows.weight is not None:
            self._sample_weight = self._order.with_mean_one(data.rows.weight[self._rows])
        self._mixup, self._centring = mixup, centring_of(mixup)
        batches = -(-self._n // (batch_size or self._n))
        # of one size, up to a row: a small rest would take a step as long as any other
        bounds = [batch * self._n // batches for batch in range(batches + 1)]
        self._sizes = [stop - start for start, stop in pairwise(bounds)]
        # always the same rows in the same order
        self._is_full = batches == 1 and self._order.is_of_all
        device_bounds = torch.tensor(bounds, device=data.device)
        self._batch = torch.repeat_interleave(device_bounds.diff())
        self._start, self._size = device_bounds[:-1][self._batch], device_bounds.diff()[self._batch]
        self._full_x = self._x[self._rows] if self._is_full else None
        # What members and seeds draw in common, since their rows have orders of their own: weights and noise for each
        # would cost as much as the rest of a step, and the layer and the shift are those of the one forward pass.
        self._shared = KeyedRandom(member_keys(0, 1).to(data.device))
        self._generator = torch.Generator(data.device)
        self._features = network.distance_features(self._x[self._rows]) if needs_distances(mixup) else None
        self._partners = None if mixup.at is None else self._prepare_partners(network)

    @property
    def count(self) -> int:
        """How many batches an epoch has."""
        return len(self._sizes)

    @property
    def shares(self) -> list[float]:
        """Which part of the rows of an epoch each batch has."""
        return [size / self._n for size in self._sizes]

    def members(self, positions: Tensor) -> "BatchSource":
        """The batches of the members at some positions."""
        part = copy.copy(self)
        part._order = self._order.members(positions)
        part._rows, part._y = self._rows[positions], self._y[positions]
        part._sample_weight = None if self._sample_weight is None else self._sample_weight[positions]
        part._full_x = None if self._full_x is None else self._full_x[positions]
        part._features = None if self._features is None else self._features[positions]
        part._partners = None if self._partners is None else self._partners.members(positions)
        return part

    def _prepare_partners(self, network: MemberNetwork) -> PreparedPartners | None:
        """The law of the partners among each member's training rows."""
        if isinstance(self._mixup.partners, UniformPartners):
            # that of all rows alike, which nobody has to look at
            return None
        features = network.distance_features(self._x[self._rows])
        x, y, rows = ([*self._order.cut(values)] for values in (features, self._y, self._rows))
        return prepare_partners(self._mixup, self._objective.family, x, y, rows)

    def epoch(self, epoch: int, random: KeyedRandom, mixing: Tensor | bool = True) -> Iterator[Batch]:
        """The batches of an epoch, drawn from its own streams of the members' random numbers.

        Parameters
        ----------
        epoch : int
        random : KeyedRandom
            Of the members.
        mixing : Tensor, (M,), bool, or bool
            Which members mix their rows; the others see them as they are.
        """
        random, host = random.stream(epoch), Random(epoch)
        self._generator.manual_seed(epoch)
        positions = torch.arange(self._n, device=self._rows.device).expand(len(self._rows), -1)
        order = positions if self._is_full else self._order.draw(random)
        groups, terms, clean = order.unsqueeze(-1), [], 1.0
        if self._mixup.at is not None and mixing is not False:
            groups, mixed = self._mixed_rows(epoch, order, positions, host, random, mixing)
            terms.append(mixed)
            clean = self._mixup.clean
        if clean:
            terms.append(self._single_rows(order, clean))
        for rows, *of_batch in zip(self._batch_rows(groups), *terms, strict=True):
            exposure = None if self._log_exposure is None else self._log_exposure[rows]
            yield Batch(Inputs(self._inputs(rows), 1, self._noise, exposure), of_batch)

    def _single_rows(self, order: Tensor, share: float) -> list[Term]:
        """The term of the rows as they are, batch by batch."""
        y, mixup = take_rows(self._y, order), self._mixup
        drawn_at = None if mixup.embedding == "point" else mixup.layers[0]
        weight = None if self._sample_weight is None else take_rows(self._sample_weight, order)
        term = Term(y.unsqueeze(-1), self._objective.point_label(y), None, drawn_at, weight, share)
        return term.split(self._sizes, [None] * len(self._sizes))

    def _mixed_rows(
        self, epoch: int, order: Tensor, positions: Tensor, host: Random, random: KeyedRandom, mixing: Tensor | bool
    ) -> tuple[Tensor, list[Term]]:
        """The rows of each group as training rows, (M, n, K), and the term of mixed rows, batch by batch."""
        mixup = self._mixup
        columns = [[host.randrange(size) for size in self._sizes] for _ in range(mixup.order - 1)]
        shifts = list(zip(*columns, strict=True))
        groups, partners = self._draw_partners(order, positions, shifts, random)
        uniform = self._shared.stream(epoch).uniform
        drawn = draw_weights(mixup, (self._n,), uniform, partial(self._distances, groups))
        weights, of_labels = (self._of_mixing(one.expand(len(order), -1, -1), mixing) for one in drawn)
        targets = torch.stack([take_rows(self._y, rows) for rows in groups.unbind(-1)], -1)
        label = pool_targets(self._objective, mixup, targets, of_labels)
        layers = [host.choice(mixup.layers) for _ in self._sizes]
        of_batches = shifts if partners is None else partners.split(self._sizes, 1)
        mixed = map(Groups, layers, of_batches, weights.split(self._sizes, 1), self._centrings(order, mixing))
        distinct = distinct_weights(weights, groups) if label is None else None
        term = Term(targets, label, None, None, self._row_weight(groups, mixing), 1 - mixup.clean, distinct)
        return groups, term.split(self._sizes, list(mixed))

    def _centrings(self, order: Tensor, mixing: Tensor | bool) -> Sequence[Centring | None]:
        """What the quadratic criterion needs in each batch."""
        if self._centring is None:
            return [None] * len(self._sizes)
        centring = self._centring
        if isinstance(mixing, Tensor):
            # rows that are not mixed stay where they are
            centring = replace(centring, theta_bar=torch.where(mixing, centring.theta_bar, 1.0))
        if self._sample_weight is None:
            return [centring] * len(self._sizes)
        of_batches = take_rows(self._sample_weight, order).split(self._sizes, 1)
        return [replace(centring, row_weight=one) for one in of_batches]

    def _of_mixing(self, weights: Tensor, mixing: Tensor | bool) -> Tensor:
        """Weights of groups, (M, n, K); of members that no longer mix, all is on the row itself."""
        if isinstance(mixing, bool):
            return weights
        alone = torch.zeros_like(weights[0, 0])
        alone[0] = 1
        return torch.where(mixing.view(-1, 1, 1), weights, alone)

    def _distances(self, groups: Tensor) -> Tensor:
        """Of the rows and their partners, in standardised features: (M, n, 2) -> (M, n)."""
        assert self._features is not None  # a law has asked for them
        own, other = (take_rows(self._features, rows) for rows in groups.unbind(-1))
        return distances_of_pairs(own, other, 1)

    def _row_weight(self, groups: Tensor, mixing: Tensor | bool) -> Tensor | None:
        """Sample weights of groups, (M, n, K) -> (M, n)."""
        if self._sample_weight is None:
            return None
        own = torch.stack([take_rows(self._sample_weight, rows) for rows in groups.unbind(-1)], -1)
        weights = group_weights(own, groups, self._centring)
        return weights if isinstance(mixing, bool) else torch.where(mixing.unsqueeze(1), weights, own[..., 0])

    def _noise(self, shape: torch.Size) -> Tensor:
        return torch.randn(shape, generator=self._generator, device=self._x.device)

    def _batch_rows(self, groups: Tensor) -> Iterator[Tensor]:
        """Rows of the data in each batch, (M, N), with their partners under them if these may be elsewhere."""
        if self._is_full:
            yield self._rows
            return
        are_outside = self._partners is not None and not self._partners.in_batch
        parts = groups.unbind(-1) if are_outside else groups[..., :1].unbind(-1)
        for batch in zip(*(take_rows(self._rows, part).split(self._sizes, 1) for part in parts), strict=True):
            yield torch.cat(batch, 1)

    def _inputs(self, rows: Tensor) -> Tensor:
        """Features of rows of the data: (M, N) -> (M, N, *F)."""
        if self._full_x is not None:
            return self._full_x
        return self._x.index_select(0, rows.flatten()).view(*rows.shape, *self._x.shape[1:])

    def _draw_partners(
        self, order: Tensor, positions: Tensor, shifts: Sequence[tuple[int, ...]], random: KeyedRandom
    ) -> tuple[Tensor, Tensor | None]:
        """The groups, (M, n, K), and their partners as rows of a batch, (M, n, K - 1), unless shifts tell."""
        if self._partners is None:
            # the rows of a batch are in random order: shifted by a random number of places, pairs are uniform
            columns = [order]
            for shifts_of_batches in zip(*shifts, strict=True):
                shift = torch.tensor(shifts_of_batches, device=order.device)[self._batch]
                columns.append(order[:, self._start + (positions[0] - self._start + shift) % self._size])
            return torch.stack(columns, -1), None
        count = len(shifts[0])
        if self._partners.in_batch:
            of_batches = order.split(self._sizes, 1)
            partners = torch.cat([self._partners.draw(rows, random.uniform, count) for rows in of_batches], 1)
            chosen = self._start.unsqueeze(-1) + partners
            rows = take_rows(order, chosen.flatten(1)).view_as(chosen)
            return torch.cat([order.unsqueeze(-1), rows], -1), partners
        rows = self._partners.draw(order, random.uniform, count)
        groups = torch.cat([order.unsqueeze(-1), rows], -1)
        if self._is_full:
            return groups, rows
        # the first partners of a batch stand under its rows, the second ones under them
        under = self._size * torch.arange(1, count + 1, device=order.device).unsqueeze(-1)
        return groups, (positions - self._start + under.unsqueeze(1)).permute(1, 2, 0)
