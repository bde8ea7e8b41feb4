"""Some members in training: one step for all, early stopping for each."""

import math
from inspect import unwrap
from threading import Event
from time import perf_counter

import torch
from torch import Tensor

from ..networks import MemberNetwork
from ..random import KeyedRandom
from .batches import BatchSource
from .deadline import Deadline
from .learned import Judges, with_learned_weights
from .mixing import MixingPhase
from .options import TrainingOptions
from .schedules import Schedule, rate_at
from .stopping import BestWeights
from .task import Task
from .unlabelled import UnlabelledRows

# Draws of a Gaussian embedding by which an epoch is judged.
VALIDATION_DRAWS = 8
# Epochs between two looks at who has stopped: for a GPU every look is a wait.
_LOOK_EVERY = {"cuda": 10}


class EndedError(Exception):
    """Somebody has ended a run in the middle of an epoch."""


class Run:
    """Members on their way through the epochs.

    Parameters
    ----------
    network : MemberNetwork
        Of the members, initialised; trained in place.
    task : Task
        Of the members.
    members : Tensor, (m,), int64
        Their numbers in the whole.
    ended : Event
        Whoever sets it ends the run before its next step.

    Attributes
    ----------
    epoch : int
        The last one that was trained, from 1.
    best : BestWeights
    phase : MixingPhase
    deadline : Deadline
        By which their steps must have ended; that there is one is for the caller to say.
    judging_seconds : float
        What it takes to judge them by their validation rows.
    validation_loss : Tensor, (m,), float64
        After the last epoch, in the user's units; NaN without validation rows.
    training_loss : Tensor, (m,), float64
        Mean over the last epoch of what the members were trained for, before each step, in training units; of rows with
        labels alone, NaN where there was no step.
    """

    def __init__(self, network: MemberNetwork, task: Task, members: Tensor, ended: Event) -> None:
        self.network, self.task, self.members, self._ended = network, task, members, ended
        self.epoch, self.deadline, self.judging_seconds = 0, Deadline(None), 0.0
        random = KeyedRandom(task.keys)
        self._batches = BatchSource(task, network, random)
        self._optimizer = _adamw(network, task.options)
        self._noise = None
        if task.has_draws(network):
            self._noise = network.draw_noise(task.keys, VALIDATION_DRAWS)
        self._first_key = int(task.keys[0])
        self._judges = None
        if getattr(task.mixup.weights, "is_learned", False):
            self._judges = Judges(task)
        self.best = BestWeights(network.state, task.options.patience)
        self.phase = MixingPhase(
            task.mixup, task.options.max_epochs, task.options.patience, len(members), members.device
        )
        self.training_loss = torch.full((len(members),), float("nan"), dtype=torch.float64, device=members.device)
        self.validation_loss = self.training_loss
        self._unlabelled = None
        if task.data.unlabelled is not None:
            self._unlabelled = UnlabelledRows(task, network, self._batches.count)
        if task.validates:
            # the network starts at the marginal distribution, and nothing worse than that is ever kept
            start = perf_counter()
            self.best.update(0, self._validation_loss())
            self.judging_seconds = perf_counter() - start

    def train_epoch(self) -> None:
        """Train for one more epoch, and judge the members.

        Raises
        ------
        EndedError
            If somebody has ended the run.
        """
        self.epoch += 1
        self.network.train()
        # depends on the epoch and so survives a restart
        with self.network.drawing(self._first_key + self.epoch, self.epoch):
            mixing = self.phase.mixing(self.epoch)
            judges = None if self._judges is None else self._judges.epoch(self.epoch)
            consistency = None if self._unlabelled is None else self._unlabelled.epoch(self.epoch)
            batches = self._batches.epoch(self.epoch, KeyedRandom(self.task.keys), mixing)
            training_loss, trained = torch.zeros_like(self.training_loss), 0.0
            first = (self.epoch - 1) * self._batches.count
            for step, (batch, share) in enumerate(zip(batches, self._batches.shares, strict=True), first):
                if judges is not None:
                    batch = with_learned_weights(self.network, self.task, batch, judges)
                if self._ended.is_set():
                    raise EndedError
                if self.deadline.is_over:
                    break
                self._set_rates(step)
                self._optimizer.zero_grad()
                loss, of_members = self.task.losses(self.network, batch)
                training_loss.add_(of_members, alpha=share)
                trained += share
                if consistency is not None:
                    loss = loss + consistency(self.network)
                loss.backward()
                self._optimizer.step()
                self.deadline.count_step()
                if self._unlabelled is not None:
                    self._unlabelled.teach(self.network)
        # of an epoch that was cut short that of the steps there were
        self.training_loss = training_loss / trained if trained else torch.full_like(training_loss, torch.nan)
        self.validation_loss = self._validation_loss()
        if self.task.validates:
            self.best.update(self.epoch, self.validation_loss, self.patient_from())
            self.phase.update(self.epoch, self.best.epoch)

    def _set_rates(self, step: int) -> None:
        """Set the rates of a step, counted from the start of the run, where they change."""
        options, groups = self.task.options, self._optimizer.param_groups
        # in the middle of the step, lest the first and the last be lost
        progress = max((step + 0.5) / (options.max_epochs * self._batches.count), self.deadline.progress)
        if isinstance(options.learning_rate, Schedule):
            for group in groups:
                group["lr"] = options.learning_rate.at(progress)
        if isinstance(options.weight_decay, Schedule):
            groups[0]["weight_decay"] = options.weight_decay.at(progress)

    def patient_from(self) -> Tensor | None:
        """The epochs from which patience counts at the earliest, (m,), if it does not from the start."""
        since = self.phase.since(self.epoch)
        if self._unlabelled is None:
            return since
        # until rows without labels count in full there is more to come
        ramp = min(self.epoch, math.ceil(self.task.mixup.unlabelled.ramp * self.task.options.max_epochs))
        return torch.full_like(self.best.epoch, ramp) if since is None else since.clamp(min=ramp)

    def _validation_loss(self) -> Tensor:
        self.network.eval()
        with self.network.drawing(~(self._first_key + self.epoch)):
            return self.task.validation_loss(self.network, self._noise)

    def is_time_to_look(self) -> bool:
        """Whether to ask who has stopped."""
        return self.task.options.patience is not None and self.epoch % _LOOK_EVERY.get(self.members.device.type, 1) == 0

    def final_state(self) -> dict[str, Tensor]:
        """The weights that the members keep: their best ones, if there are validation rows to tell."""
        return self.best.best if self.task.validates else self.network.state

    def final_epoch(self) -> Tensor:
        """The epochs of those weights, (m,)."""
        return self.best.epoch if self.task.validates else torch.full_like(self.best.epoch, self.epoch)

    def keep(self, positions: Tensor) -> None:
        """Go on with the members at these positions."""
        network, task = self.network.members(positions), self.task.members(positions)
        batches, phase = self._batches.members(positions), self.phase.members(positions)
        best = self.best.members(positions, network.state)
        noise = None if self._noise is None else self._noise[positions]
        moments = {name: value[positions] if value.ndim else value for name, value in self._moments().items()}
        members, losses = self.members[positions], (self.training_loss[positions], self.validation_loss[positions])
        # all at once, so that whoever interrupts the run finds what belongs to the same members
        self.members, self.network, self.task, self.best, self.phase = members, network, task, best, phase
        (self.training_loss, self.validation_loss), self._batches, self._noise = losses, batches, noise
        if self._judges is not None:
            self._judges = Judges(task)
        if self._unlabelled is not None:
            self._unlabelled.members_(task, positions)
        self._optimizer = _adamw(network, task.options)
        self._load_moments(moments)

    def state(self) -> dict[str, Tensor]:
        """Tensors to store in a checkpoint."""
        stored = {"epoch": torch.tensor(self.epoch), "members": self.members, "mixing": self.phase.last}
        stored |= {f"network.{name}": tensor for name, tensor in self.network.state.items()}
        stored |= {f"optimizer.{name}": tensor for name, tensor in self._moments().items()}
        if self._unlabelled is not None:
            stored |= {f"teacher.{name}": tensor for name, tensor in self._unlabelled.state().items()}
        return stored | {f"best.{name}": tensor for name, tensor in self.best.state().items()}

    @torch.no_grad()
    def load_(self, stored: dict[str, Tensor]) -> None:
        """Take over what `state` returned, of these members or of some of them."""
        left = torch.isin(self.members, stored["members"])
        if not bool(left.all()):
            self.keep(left.nonzero().squeeze(1))
        self.epoch, self.phase.last = int(stored["epoch"]), stored["mixing"]
        for name, tensor in self.network.state.items():
            tensor.copy_(stored[f"network.{name}"])
        self._load_moments(with_prefix(stored, "optimizer."))
        self.best.load_(with_prefix(stored, "best."))
        if self._unlabelled is not None:
            self._unlabelled.load_(with_prefix(stored, "teacher."))

    def _moments(self) -> dict[str, Tensor]:
        """What the optimiser remembers of the members."""
        return {
            f"{key}.{name}": value
            for name, tensor in self.network.state.items()
            for key, value in self._optimizer.state.get(tensor, {}).items()
        }

    def _load_moments(self, moments: dict[str, Tensor]) -> None:
        for name, tensor in self.network.state.items():
            own = {key.split(".", 1)[0]: value for key, value in moments.items() if key.split(".", 1)[1] == name}
            if own:
                self._optimizer.state[tensor] = own


def with_prefix(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Those whose names begin so, named by what follows."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


class _AdamW(torch.optim.AdamW):
    """That of torch without what guards it from torch's compiler, which would be loaded for that, for a second."""

    add_param_group = unwrap(torch.optim.AdamW.add_param_group)
    zero_grad = unwrap(torch.optim.AdamW.zero_grad)
    step = torch.no_grad()(unwrap(torch.optim.AdamW.step))


def _adamw(network: MemberNetwork, options: TrainingOptions) -> torch.optim.AdamW:
    trained = {name: tensor for name, tensor in network.state.items() if tensor.requires_grad}
    decaying = network.decaying
    groups = [
        {
            "params": [tensor for name, tensor in trained.items() if name in decaying],
            "weight_decay": rate_at(options.weight_decay, 0.0),
        },
        {"params": [tensor for name, tensor in trained.items() if name not in decaying], "weight_decay": 0.0},
    ]
    return _AdamW(groups, lr=rate_at(options.learning_rate, 0.0), fused=True)
