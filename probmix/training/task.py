"""What members are trained for."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from ..families import TargetScaler
from ..mixup import Mixup
from ..mixup.losses import batch_losses, with_exposure
from ..mixup.objectives import Objective
from ..mixup.terms import Inputs, Term
from ..networks import MemberNetwork
from .data import TrainingData, target_scaler
from .options import TrainingOptions


@dataclass(frozen=True)
class Batch:
    """Rows of all members for one step.

    Attributes
    ----------
    inputs : Inputs
        Rows in the user's units, (M, N, *F), and the source of the draws of Gaussian embeddings, (B, *feature_shape),
        which are those of all members alike.
    terms : sequence of Term
        Of the loss; targets in training units.
    """

    inputs: Inputs
    terms: Sequence[Term]


@dataclass(frozen=True)
class Task:
    """What M members are trained for.

    Attributes
    ----------
    objective : Objective
        The loss, of a family.
    data : TrainingData
        In the user's units.
    mixup : Mixup
    options : TrainingOptions
    keys : Tensor, (M,)
        From `probmix.random.member_keys`.

    Raises
    ------
    ValueError
        If the mixup needs rows that judge, or a patience, and there are none.
    """

    objective: Objective
    data: TrainingData
    mixup: Mixup
    options: TrainingOptions
    keys: Tensor

    def __post_init__(self) -> None:
        if self.mixup.until == "validation":
            rule = "until='validation' ends the mixing of a member that has not gained for `patience` epochs"
            share = "pass a share of the epochs, say until=0.5"
            if not self.validates:
                raise ValueError(f"{rule}, and no `validation` rows judge whether it has. Let some judge, or {share}.")
            if self.options.patience is None:
                raise ValueError(
                    f"{rule}; got patience=None, which 'auto' stands for where the learning rate ends at zero, as that "
                    f"of most presets. Set `patience` to a number of epochs, or {share}."
                )
        if getattr(self.mixup.weights, "is_learned", False) and not self.validates:
            raise ValueError("weights are learned from rows that judge: they need `validation` rows. Use another law.")

    @property
    def validates(self) -> bool:
        """Whether there are validation rows."""
        return self.data.validation_rows.shape[1] > 0

    def has_draws(self, network: MemberNetwork) -> bool:
        """Whether rows are judged by the mixture over draws of an embedding."""
        return network.density_place is not None and self.mixup.draws > 0

    @cached_property
    def scaler(self) -> TargetScaler:
        """Of each member's targets, (M, 1[, d])."""
        return target_scaler(self.objective.family, self.data)

    def to(self, device: torch.device) -> "Task":
        """The task on a device."""
        return replace(self, data=self.data.to(device), keys=self.keys.to(device))

    def members(self, members: Tensor) -> "Task":
        """The task of some members, by number."""
        part = replace(self, data=self.data.members(members), keys=self.keys[members])
        # found once, for all: a sum over other tensors may round otherwise
        vars(part)["scaler"] = TargetScaler(self.scaler.loc[members], self.scaler.scale[members])
        return part

    def loss(self, network: MemberNetwork, batch: Batch) -> Tensor:
        """Sum over members of the mean loss of their rows; no gradient crosses from one member to another."""
        return self.losses(network, batch)[0]

    def losses(self, network: MemberNetwork, batch: Batch) -> tuple[Tensor, Tensor]:
        """The `loss`, and without gradient what each member has part in it, (M,)."""
        return batch_losses(network, self.objective, self.mixup, batch.inputs, batch.terms)

    @torch.no_grad()
    def training_losses(self, losses: Tensor) -> Tensor | None:
        """Means over epochs of what members were trained for, (E, M), in the user's units, as far as these have one."""
        y = self.scaler.transform(self.data.rows.y[self.data.train_rows])
        return self.objective.in_user_units(losses, y, self.data.train_weights(), self.scaler)

    @torch.no_grad()
    def validation_loss(self, network: MemberNetwork, noise: Tensor | None) -> Tensor:
        """Mean clean loss of each member's validation rows in the user's units, (M,); NaN where there are none.

        With noise, (M, S, *feature_shape), that of the mixture over draws of a Gaussian embedding; of members that make
        several predictions that of their mixture.
        """
        network.eval()
        data, objective = self.data, self.objective
        members, n = data.validation_rows.shape
        weights = data.validation_weights()
        total = torch.zeros(members, dtype=torch.float64, device=data.device)
        step = network.rows_at_once(1 if noise is None else noise.shape[1])
        for start in range(0, n, step):
            rows = data.validation_rows[:, start : start + step]
            y, log_exposure = self.scaler.transform(data.rows.y[rows]), data.log_exposures(rows)
            if noise is None and network.n_predictions == 1:
                eta = with_exposure(objective.family, network(data.rows.x[rows]), log_exposure)
                losses = objective.validation(eta, y, self.scaler)
            else:
                eta = network.draws(data.rows.x[rows], noise)
                log_exposure = None if log_exposure is None else log_exposure.unsqueeze(1).expand(eta.shape[:3])
                losses = objective.validation_of_draws(
                    with_exposure(objective.family, eta, log_exposure), y, self.scaler
                )
            total += (losses if weights is None else weights[:, start : start + step] * losses).sum(1)
        return total / n
