"""The rows of a run: one copy of the data on the device, index tensors for the members."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ..families import ExponentialFamily, TargetScaler
from ..mixup import Mixup
from ..mixup.loss import take_rows
from ..networks import DensityNetwork
from ..random import KeyedRandom

_BATCH_NUMBER_SHIFT = 40


@dataclass(frozen=True)
class TrainingData:
    """Rows in the user's units, and which member trains and validates on which of them.

    Attributes
    ----------
    x : Tensor, (n, F), float64
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

    def weights(self, rows: Tensor) -> Tensor | None:
        """Sample weights of rows, with mean one in each member: (M, R) -> (M, R)."""
        if self.sample_weight is None:
            return None
        weights = self.sample_weight[rows]
        return weights / weights.mean(1, keepdim=True)

    def feature_moments(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the features over each member's training rows, (M, 1, F); 1 for constants."""
        members, rows = self.train_rows.shape
        share = torch.zeros(members, len(self.x), dtype=self.x.dtype, device=self.x.device)
        weights = self.weights(self.train_rows)
        share.scatter_(1, self.train_rows, torch.ones_like(share[:, :rows]) if weights is None else weights)
        share /= rows
        centre = self.x.mean(0)
        centred = self.x - centre
        offset = share @ centred
        variance = share @ centred.square() - offset.square()
        size = centred.square().mean(0) + centre.square()
        scale = torch.where(variance > 1e-24 * size, variance, torch.ones_like(variance)).sqrt()
        return (centre + offset).unsqueeze(1), scale.unsqueeze(1)


@dataclass(frozen=True)
class Batch:
    """Rows of all members for one step, in training units; without `partners` they meet nobody."""

    x: Tensor
    y: Tensor
    sample_weight: Tensor | None
    partners: Tensor | None
    weights: Tensor | None


class BatchSource:
    """Batches of an epoch: slices of one permutation per member, with partners and weights drawn for the whole epoch.

    Parameters
    ----------
    data : TrainingData
    network : DensityNetwork
        Initialised; partner laws see standardised features.
    family : ExponentialFamily
    scaler : TargetScaler
        Of the training targets, (M, 1[, d]).
    mixup : Mixup
    batch_size : int or None
    """

    def __init__(
        self,
        data: TrainingData,
        network: DensityNetwork,
        scaler: TargetScaler,
        mixup: Mixup,
        batch_size: int | None,
    ) -> None:
        self._x = data.x
        self._rows = data.train_rows
        self._y = scaler.transform(data.y[data.train_rows])
        self._sample_weight = data.weights(data.train_rows)
        self._mixup = mixup
        self._n = self._rows.shape[1]
        self._batch_size = min(batch_size or self._n, self._n)
        self._full = self._batch_size == self._n
        self._full_x = self._x[self._rows] if self._full else None
        self._neighbours = self._find_neighbours(network)

    def _find_neighbours(self, network: DensityNetwork) -> Tensor | None:
        """Partner candidates as positions among a member's training rows, (M, n_train, K)."""
        if self._mixup.at is None:
            return None
        features = network.standardize(self._x[self._rows])
        found = [self._mixup.partners.neighbours(member) for member in features]
        return None if any(one is None for one in found) else torch.stack([one for one in found if one is not None])

    def epoch(self, random: KeyedRandom) -> Iterator[Batch]:
        """The batches of one epoch, drawn from the random streams of that epoch."""
        n, size = self._n, self._batch_size
        order = None if self._full else random.permutations(n)
        partners = self._draw_partners(random)
        weights = None if self._mixup.at is None else self._mixup.weights.sample((n,), random.uniform)
        for start in range(0, n, size):
            stop = min(start + size, n)
            rows = slice(start, stop)
            yield self._batch(
                None if order is None else order[:, rows],
                None if partners is None else partners[:, rows],
                None if weights is None else weights[:, rows],
            )

    def _draw_partners(self, random: KeyedRandom) -> Tensor | None:
        """Per place in the epoch's order: a place in the same batch, or for neighbours a choice among K; (M, n)."""
        if self._mixup.at is None:
            return None
        if self._neighbours is not None:
            k = self._neighbours.shape[-1]
            return (random.uniform((self._n,)) * k).long().clamp(max=k - 1)
        place = torch.arange(self._n, device=self._rows.device)
        batch = place // self._batch_size
        # sorting by batch number first and random bits second permutes every batch within itself, in one sort
        noise = random.bits((self._n,)) & ((1 << _BATCH_NUMBER_SHIFT) - 1)
        return ((batch << _BATCH_NUMBER_SHIFT) | noise).argsort(-1) - batch * self._batch_size

    def _batch(self, order: Tensor | None, partners: Tensor | None, weights: Tensor | None) -> Batch:
        if self._neighbours is not None and partners is not None:
            if order is None:  # everybody is here
                partners = self._neighbours.gather(2, partners.unsqueeze(2)).squeeze(2)
            else:  # partners may be outside the batch: stack them under it
                chosen = take_rows(self._neighbours, order).gather(2, partners.unsqueeze(2)).squeeze(2)
                size = order.shape[1]
                partners = torch.arange(size, 2 * size, device=order.device).expand(order.shape[0], size)
                order = torch.cat([order, chosen], 1)
        if order is None:
            assert self._full_x is not None  # set together with `order` being None
            return Batch(self._full_x, self._y, self._sample_weight, partners, weights)
        sample_weight = None if self._sample_weight is None else take_rows(self._sample_weight, order)
        return Batch(self._x[take_rows(self._rows, order)], take_rows(self._y, order), sample_weight, partners, weights)


def target_scaler(family: ExponentialFamily, data: TrainingData) -> TargetScaler:
    """The family's scaling of each member's training targets, (M, 1[, d])."""
    return family.scaler(data.y[data.train_rows], _along_targets(data.weights(data.train_rows), data.y), dim=1)


def marginal(family: ExponentialFamily, data: TrainingData, scaler: TargetScaler) -> Tensor:
    """Natural parameters of each member's training targets without features, in training units, (M, 1, [d,] K)."""
    y = scaler.transform(data.y[data.train_rows])
    return family.marginal_params(y, _along_targets(data.weights(data.train_rows), data.y), dim=1)


def _along_targets(weights: Tensor | None, y: Tensor) -> Tensor | None:
    """Row weights (M, R) with a target axis where the targets have one."""
    return weights if weights is None or y.ndim == 1 else weights.unsqueeze(-1)
