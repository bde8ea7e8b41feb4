"""The rows of a run: one copy of the data on the device, index tensors for the members."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ..families import Family, TargetScaler
from ..families.bounds import LEAST_SHARE
from ..networks import ColumnLayout, InputUnits, channel_axis
from .rows import Rows, Unlabelled
from .units import robust_units


@dataclass(frozen=True)
class TrainingData:
    """Rows in the user's units, and which member trains and validates on which of them.

    Attributes
    ----------
    rows : Rows
    train_rows : Tensor, (M, n_train), int64
    validation_rows : Tensor, (M, n_validation), int64
    unit_rows : Tensor, (M, n_units), int64
        Rows from which the units of features and targets come.
    sizes : tuple of (int, int, int), or None
        How many training, validation and unit rows each member has, where that differs: behind them stand others, which
        are there to fill the tensors.
    epoch_rows : int or None
        How many of its training rows, drawn anew, a member sees in an epoch, where parts differ by a row; None for all.
    unlabelled : Unlabelled or None
        Rows without targets, which all members see.
    """

    rows: Rows
    train_rows: Tensor
    validation_rows: Tensor
    unit_rows: Tensor
    sizes: tuple[tuple[int, int, int], ...] | None = None
    epoch_rows: int | None = None
    unlabelled: Unlabelled | None = None

    @property
    def device(self) -> torch.device:
        """Where the data are."""
        return self.rows.x.device

    def to(self, device: torch.device) -> "TrainingData":
        """The data on a device."""
        parts = (self.train_rows.to(device), self.validation_rows.to(device), self.unit_rows.to(device))
        unlabelled = None if self.unlabelled is None else self.unlabelled.to(device)
        return TrainingData(self.rows.to(device), *parts, self.sizes, self.epoch_rows, unlabelled)

    def members(self, members: Tensor) -> "TrainingData":
        """The same data for some of the members, by number."""
        parts = (self.train_rows[members], self.validation_rows[members], self.unit_rows[members])
        sizes = None
        if self.sizes is not None:
            sizes = tuple(self.sizes[member] for member in members.tolist())
            train, validation, units = (max(size) for size in zip(*sizes, strict=True))
            parts = (parts[0][:, :train], parts[1][:, :validation], parts[2][:, :units])
            sizes = sizes if len(set(sizes)) > 1 else None
        return TrainingData(self.rows, *parts, sizes, self.epoch_rows, self.unlabelled)

    def to_hash(self) -> tuple[Tensor | None, ...]:
        """What tells these data from any others, for a checkpoint."""
        further = () if self.unlabelled is None else self.unlabelled.to_hash()
        return (*self.rows.to_hash(), self.train_rows, self.validation_rows, *further)

    def sizes_of_members(self) -> tuple[tuple[int, int, int], ...]:
        """How many training, validation and unit rows each member has."""
        parts = self.train_rows, self.validation_rows, self.unit_rows
        return self.sizes or ((parts[0].shape[1], parts[1].shape[1], parts[2].shape[1]),) * len(parts[0])

    def alike(self) -> list[Tensor]:
        """Numbers of the members, in groups that can be trained as one."""
        numbers = torch.arange(len(self.train_rows), device=self.device)
        if self.sizes is None or self.epoch_rows is not None:
            return [numbers]
        groups: dict[tuple[int, int], list[int]] = {}
        for number, (train, validation, _) in enumerate(self.sizes):
            groups.setdefault((train, validation), []).append(number)
        return [numbers[group] for group in groups.values()]

    def weights(self, rows: Tensor) -> Tensor | None:
        """Sample weights of rows, with mean one in each member: (M, R) -> (M, R)."""
        if self.rows.weight is None:
            return None
        weights = self.rows.weight[rows]
        return weights / weights.mean(1, keepdim=True)

    def train_weights(self) -> Tensor | None:
        """Sample weights of the rows that train members, with mean one in each member, (M, n_train)."""
        return self._own_weights(self.train_rows, 0)

    def validation_weights(self) -> Tensor | None:
        """Sample weights of the rows by which members are judged, with mean one in each member, (M, n_validation)."""
        return self._own_weights(self.validation_rows, 1)

    def unit_weights(self) -> Tensor | None:
        """Sample weights of the rows that tell the units, with mean one in each member, (M, n_units)."""
        return self._own_weights(self.unit_rows, 2)

    def _own_weights(self, rows: Tensor, part: int) -> Tensor | None:
        """Weights of a part, zero for rows that are there to fill."""
        weights = self.weights(rows)
        if self.sizes is None:
            return weights
        count = torch.tensor([size[part] for size in self.sizes], device=self.device)
        own = (torch.arange(rows.shape[1], device=self.device) < count.unsqueeze(1)).to(self.rows.x.dtype)
        weights = own if weights is None else own * weights
        return weights / weights.mean(1, keepdim=True)

    def log_exposures(self, rows: Tensor) -> Tensor | None:
        """Logarithms of the exposures of rows: (M, R) -> (M, R)."""
        return None if self.rows.log_exposure is None else self.rows.log_exposure[rows]

    def input_units(self, layout: ColumnLayout | None = None) -> InputUnits:
        """Units of the inputs over each member's rows: see `robust_units` for tables, whose numbers are clipped."""
        if self.rows.x.ndim == 2:
            numbers = None if layout is None else [kind == "number" for kind in layout.kinds]
            return robust_units(self.rows.x, self._shares(), numbers)
        loc, scale = self.feature_moments()
        infinite = torch.full_like(loc, torch.inf)
        return InputUnits(loc, scale, infinite, -infinite, infinite)

    def _shares(self) -> Tensor:
        """What each row is of all that tell the units of a member, (M, n)."""
        rows = self.unit_rows
        share = torch.zeros(len(rows), len(self.rows.x), dtype=self.rows.x.dtype, device=self.device)
        weights = self.unit_weights()
        share.scatter_add_(1, rows, torch.ones_like(share[:, : rows.shape[1]]) if weights is None else weights)
        return share / rows.shape[1]

    def feature_moments(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of each channel over each member's rows that are no table; 1 for constants.

        Axes of F along which there is one unit, all but the `channel_axis`, have length 1 and are averaged over.
        """
        axis = channel_axis(tuple(self.rows.x.shape[1:]))
        x = self.rows.x.movedim(axis + 1, -1).flatten(1, -2)
        share = self._shares()
        centre = x.mean((0, 1))
        widest = (x - centre).abs().amax((0, 1))
        widest = torch.where(widest <= 1e-12 * centre.abs(), torch.ones_like(widest), widest)
        relative = (x - centre) / widest
        offset = share @ relative.mean(1)
        variance = share @ relative.square().mean(1) - offset.square()
        scale = widest * torch.where(variance > 1e-24, variance, torch.ones_like(variance)).sqrt()
        unit = [1] * (self.rows.x.ndim - 1)
        unit[axis] = len(centre)
        return (centre + widest * offset).view(-1, 1, *unit), scale.view(-1, 1, *unit)


def target_scaler(family: Family, data: TrainingData) -> TargetScaler:
    """The family's scaling of each member's targets, (M, 1[, d])."""
    return family.scaler(data.rows.y[data.unit_rows], _along_targets(data.unit_weights(), data.rows.y), dim=1)


def marginal(family: Family, data: TrainingData, scaler: TargetScaler) -> Tensor:
    """Parameters of each member's targets without features, in training units, (M, 1, [d,] K)."""
    return family.marginal_params(*_rates(data, scaler, data.unit_rows, data.unit_weights()), dim=1)


def training_marginal(family: Family, data: TrainingData, scaler: TargetScaler) -> Tensor:
    """The same of the rows that train each member, without others that tell its units."""
    return family.marginal_params(*_rates(data, scaler, data.train_rows, data.train_weights()), dim=1)


def raw_bounds(
    family: Family, data: TrainingData, scaler: TargetScaler, least: float = LEAST_SHARE
) -> tuple[Tensor, Tensor]:
    """Bounds of the head from each member's targets, in training units, two of (M, 1, [d,] num_raw)."""
    rates = _rates(data, scaler, data.unit_rows, data.unit_weights())
    return family.raw_bounds(*rates, dim=1, least=least)


def _rates(
    data: TrainingData, scaler: TargetScaler, rows: Tensor, weights: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """Targets of rows of each member in training units, per exposure, and their weights."""
    if weights is not None:
        # rows that only fill the tensor weigh nothing, and are no part of a range either
        rows = torch.where(weights > 0, rows, rows[:, :1])
    y, log_exposure = scaler.transform(data.rows.y[rows]), data.log_exposures(rows)
    if log_exposure is not None:
        # the rate of all together: the mean of the single rates, weighted by exposure
        exposure = log_exposure.exp()
        y = y / (exposure if y.ndim == exposure.ndim else exposure.unsqueeze(-1))
        weights = exposure if weights is None else weights * exposure
    return y, _along_targets(weights, data.rows.y)


def _along_targets(weights: Tensor | None, y: Tensor) -> Tensor | None:
    """Row weights (M, R) with a target axis where the targets have one."""
    return weights if weights is None or y.ndim == 1 else weights.unsqueeze(-1)
