"""The rows of a run: one copy of the data on the device, index tensors for the members."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor

from ..families import ExponentialFamily, Label, TargetScaler
from ..fusion import Noise
from ..mixup import Mixup
from ..mixup.meeting import Meeting, pool_pairs
from ..networks import MemberNetwork, channel_axis
from ..pairs import take_rows
from ..random import KeyedRandom, member_keys


@dataclass(frozen=True)
class TrainingData:
    """Rows in the user's units, and which member trains and validates on which of them.

    Attributes
    ----------
    x : Tensor, (n, *F), float64
    y : Tensor, (n,) or (n, d), float64
    sample_weight : Tensor, (n,), float64, or None
    train_rows : Tensor, (M, n_train), int64
    validation_rows : Tensor, (M, n_validation), int64
    """

    x: Tensor
    y: Tensor
    sample_weight: Tensor | None
    train_rows: Tensor
    validation_rows: Tensor

    def to(self, device: torch.device) -> "TrainingData":
        """The data on a device."""
        weight = None if self.sample_weight is None else self.sample_weight.to(device)
        tensors = (self.x, self.y, self.train_rows, self.validation_rows)
        x, y, train_rows, validation_rows = (tensor.to(device) for tensor in tensors)
        return TrainingData(x, y, weight, train_rows, validation_rows)

    def weights(self, rows: Tensor) -> Tensor | None:
        """Sample weights of rows, with mean one in each member: (M, R) -> (M, R)."""
        if self.sample_weight is None:
            return None
        weights = self.sample_weight[rows]
        return weights / weights.mean(1, keepdim=True)

    @property
    def rows(self) -> Tensor:
        """All rows of each member, (M, n_train + n_validation); units come from all, weights from the first part."""
        return torch.cat([self.train_rows, self.validation_rows], 1)

    def feature_moments(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of each channel over each member's rows, (M, 1, *F); 1 for constants.

        Axes of F along which there is one unit, all but the `channel_axis`, have length 1 and are averaged over.
        """
        rows = self.rows
        axis = channel_axis(tuple(self.x.shape[1:]))
        x = self.x.movedim(axis + 1, -1).flatten(1, -2) if self.x.ndim > 2 else self.x.unsqueeze(1)
        share = torch.zeros(len(rows), len(self.x), dtype=self.x.dtype, device=self.x.device)
        weights = self.weights(rows)
        share.scatter_(1, rows, torch.ones_like(share[:, : rows.shape[1]]) if weights is None else weights)
        share /= rows.shape[1]
        centre = x.mean((0, 1))
        widest = (x - centre).abs().amax((0, 1))
        widest = torch.where(widest <= 1e-12 * centre.abs(), torch.ones_like(widest), widest)
        relative = (x - centre) / widest
        offset = share @ relative.mean(1)
        variance = share @ relative.square().mean(1) - offset.square()
        scale = widest * torch.where(variance > 1e-24, variance, torch.ones_like(variance)).sqrt()
        unit = [1] * (self.x.ndim - 1)
        unit[axis] = len(centre)
        return (centre + widest * offset).view(-1, 1, *unit), scale.view(-1, 1, *unit)


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
    """

    x: Tensor
    target: Label | Meeting
    row_weight: Tensor | None
    noise: Noise


class BatchSource:
    """Batches of an epoch: slices of one permutation per member; partners, weights and labels are made for all at once.

    Parameters
    ----------
    data : TrainingData
    network : MemberNetwork
        Initialised; partner laws see standardised features.
    scaler : TargetScaler
        Of each member's targets, (M, 1[, d]).
    mixup : Mixup
    batch_size : int or None
    """

    def __init__(
        self, data: TrainingData, network: MemberNetwork, scaler: TargetScaler, mixup: Mixup, batch_size: int | None
    ) -> None:
        self._x = data.x
        self._rows = data.train_rows
        self._family = network.family
        self._y = scaler.transform(data.y[data.train_rows])
        self._sample_weight = data.weights(data.train_rows)
        self._mixup = mixup
        self._n = self._rows.shape[1]
        batches = -(-self._n // (batch_size or self._n))
        # of one size, up to a row: a small rest would take a step as long as any other
        self._bounds = [batch * self._n // batches for batch in range(batches + 1)]
        self._is_full = batches == 1
        bounds = torch.tensor(self._bounds, device=data.x.device)
        self._start, self._size = bounds[:-1], bounds.diff()
        self._batch_of_place = torch.repeat_interleave(self._size)
        self._full_x = self._x[self._rows] if self._is_full else None
        # what all members and seeds have in common
        self._shared = KeyedRandom(member_keys(0, 1))
        self._neighbours = None if mixup.at is None else self._find_neighbours(network)

    def _find_neighbours(self, network: MemberNetwork) -> Tensor | None:
        """Partner candidates as positions among a member's training rows, (M, n_train, K)."""
        features = network.standardize(self._x[self._rows])
        found = [self._mixup.partners.neighbours(member) for member in features]
        return None if any(one is None for one in found) else torch.stack([one for one in found if one is not None])

    def epoch(self, epoch: int, random: KeyedRandom) -> Iterator[Batch]:
        """The batches of an epoch, drawn from its own streams of the members' random numbers."""
        random = random.stream(epoch)
        places = torch.arange(self._n, device=self._rows.device).expand_as(self._rows)
        order = places if self._is_full else random.permutations(self._n)
        y, row_weight = take_rows(self._y, order), self._weights_of(order)
        target: Label | Meeting
        if self._mixup.at is None:
            mates, target = order, self._family.point_label(y)
        else:
            turns = self._draw_turns(epoch)
            mates, partners = self._draw_partners(order, places, turns, random)
            weights = self._mixup.weights.sample((self._n,), random.uniform)
            pairs = torch.stack([y, take_rows(self._y, mates)], -1)
            label = pool_pairs(self._family, self._mixup, pairs, weights)
            target = Meeting(self._mixup.places[0], partners, weights, pairs, label)
            mate_weight = self._weights_of(mates)
            if row_weight is not None and mate_weight is not None:
                # as often as they would meet if every row were there as many times as it weighs
                row_weight = row_weight * mate_weight
        for number, (start, stop) in enumerate(pairwise(self._bounds)):
            rows = slice(start, stop)
            batch_target = target.narrow(1, start, stop - start)
            if isinstance(batch_target, Meeting):
                batch_target = replace(batch_target, place=self._draw_place(epoch, number))
                if isinstance(batch_target.partners, int):
                    batch_target = replace(batch_target, partners=turns[number])
            yield Batch(
                x=self._inputs(order[:, rows], mates[:, rows]),
                target=batch_target,
                row_weight=None if row_weight is None else row_weight[:, rows],
                noise=self._noise(epoch, number),
            )

    def _noise(self, epoch: int, batch: int) -> Noise:
        """Of a batch: the same for all members, whose rows have orders of their own; one for each would cost a step."""
        stream = self._shared.stream(epoch).stream(batch).stream(0)
        return lambda shape: stream.normal(tuple(shape))[0]

    def _draw_place(self, epoch: int, batch: int) -> str:
        """Where the rows of a batch meet: the same for all members, since they share the forward pass."""
        places = self._mixup.places
        if len(places) == 1:
            return places[0]
        return places[int(len(places) * self._shared.stream(epoch).stream(batch).uniform((1,)).item())]

    def _draw_turns(self, epoch: int) -> list[int]:
        """How far on in its batch a row has its partner, in all members alike: their rows have orders of their own."""
        sizes = [stop - start for start, stop in pairwise(self._bounds)]
        shares = self._shared.stream(epoch).uniform((len(sizes),))[0].tolist()
        return [int(share * size) for share, size in zip(shares, sizes, strict=True)]

    def _weights_of(self, rows: Tensor) -> Tensor | None:
        return None if self._sample_weight is None else take_rows(self._sample_weight, rows)

    def _inputs(self, rows: Tensor, mates: Tensor) -> Tensor:
        """Features of the rows of a batch, with those of their partners under them if these may be elsewhere."""
        if self._full_x is not None:
            return self._full_x
        rows = torch.cat([rows, mates], 1) if self._neighbours is not None else rows
        chosen = take_rows(self._rows, rows)
        return self._x.index_select(0, chosen.flatten()).view(*chosen.shape, *self._x.shape[1:])

    def _draw_partners(
        self, order: Tensor, places: Tensor, turns: list[int], random: KeyedRandom
    ) -> tuple[Tensor, Tensor | int]:
        """Each row's partner as a training row, and as a row of the batch's features; both (M, n).

        Partners that are found by a turn of the batch have no row numbers; which turn it is says each batch.
        """
        batch = self._batch_of_place
        start, size = self._start[batch], self._size[batch]
        if self._neighbours is not None:
            k = self._neighbours.shape[-1]
            choice = (random.uniform((self._n, 1)) * k).long().clamp(max=k - 1)
            mates = take_rows(self._neighbours, order).gather(2, choice).squeeze(2)
            return mates, mates if self._is_full else places - start + size
        if self._is_full:  # the rows are sorted
            shuffled = random.permutations(self._n)
            return shuffled, shuffled
        # the rows of a batch are in random order, so turning it by a random number of places pairs them uniformly
        turn = torch.tensor(turns, device=order.device)[batch]
        return order[:, start + (places[0] - start + turn) % size], 0


def target_scaler(family: ExponentialFamily, data: TrainingData) -> TargetScaler:
    """The family's scaling of each member's targets, (M, 1[, d])."""
    return family.scaler(data.y[data.rows], _along_targets(data.weights(data.rows), data.y), dim=1)


def marginal(family: ExponentialFamily, data: TrainingData, scaler: TargetScaler) -> Tensor:
    """Natural parameters of each member's targets without features, in training units, (M, 1, [d,] K)."""
    y = scaler.transform(data.y[data.rows])
    return family.marginal_params(y, _along_targets(data.weights(data.rows), data.y), dim=1)


def _along_targets(weights: Tensor | None, y: Tensor) -> Tensor | None:
    """Row weights (M, R) with a target axis where the targets have one."""
    return weights if weights is None or y.ndim == 1 else weights.unsqueeze(-1)
