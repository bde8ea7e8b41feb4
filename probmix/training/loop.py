"""The training loop: members in groups that fit, and what comes of them."""

from dataclasses import replace
from time import perf_counter
from typing import NoReturn

import torch
from torch import Tensor
from tqdm.auto import tqdm

from ..families import TargetScaler
from ..networks import InputUnits, MemberNetwork
from .bins import quantile_bins
from .checkpoint import Checkpoint
from .data import marginal, raw_bounds
from .deadline import Deadline
from .description import UndescribableError, description
from .floors import SHARES, raise_floors_
from .memory import members_at_once
from .options import TrainingResult
from .run import Run, with_prefix
from .task import Task
from .threads import limited_to, threads_for

# Epochs between two updates of what the progress bar says of the losses: for a GPU every one is a wait.
_TELL_EVERY = 10
# Out-of-fold densities, and the weights and scores of a stack, take about as long as to judge members so many times.
_JUDGED_AFTERWARDS = 4


class DivergenceError(RuntimeError):
    """Training came to nothing."""


def train(network: MemberNetwork, task: Task) -> tuple[TargetScaler, TrainingResult]:
    """Train M members, as many at a time as fit.

    Member m depends on its key, its rows and the data only: it is, to rounding, what it would be alone.

    Parameters
    ----------
    network : MemberNetwork
        With M members, on the device of the data; initialised here and trained in place.
    task : Task
        Of the members.

    Returns
    -------
    scaler : TargetScaler
        Takes natural parameters of the network back to the user's units; (M, 1[, d]).
    result : TrainingResult

    Raises
    ------
    DivergenceError
        If a member diverged before it learned anything.
    KeyboardInterrupt
        If the user interrupts the run before its first epoch has ended. Later, members keep the best weights that they
        have, and those whose turn had not come start at the distribution of the targets without features.
    ValueError
        If features or targets are too large for float64, or the network was built for another kind of embedding.
    """
    data, mixup, options = task.data, task.mixup, task.options
    if (mixup.embedding == "point") != (network.density_place is None):
        raise ValueError(f"the network must be built for the embedding {mixup.embedding!r} of the mixup; it is not.")
    if mixup.until == "validation" and (options.patience is None or not task.validates):
        raise ValueError(
            "until='validation' asks rows that judge when a member has stopped gaining: it needs a `patience` and "
            "`validation` rows. Pass a share of the epochs, until=0.5, to go without."
        )
    if getattr(task.mixup.weights, "is_learned", False) and not data.validation_rows.shape[1]:
        raise ValueError("weights are learned from rows that judge: they need `validation` rows. Use another law.")
    family, scaler, units = task.objective.family, task.scaler, data.input_units(network.layout)
    _check_units(scaler, units)
    network.initialize_(task.keys, units, marginal(family, data, scaler), raw_bounds(family, data, scaler))
    if network.n_bins:
        network.set_bins_(quantile_bins(network, data))
    course = _Course(network, task)
    checkpoint = None if options.checkpoint is None else _checkpoint(network, task)
    stored = None if checkpoint is None else checkpoint.load(data.device)
    if stored is not None:
        course.load_(stored)
    size = members_at_once(network, task) if stored is None else int(stored["size"])
    rows = data.train_rows.shape[1]
    threads = threads_for(network, min(rows, options.batch_size or rows), size)
    with limited_to(threads):
        _train_groups(course, size, checkpoint, stored)
        if checkpoint is not None and options.keeps_checkpoint and not course.interrupted:
            # as it was before the floors, behind the last of the groups
            place = {"size": torch.tensor(size), "group": torch.tensor(torch.iinfo(torch.int64).max)}
            checkpoint.write(place | course.state())
        if task.validates:
            raise_floors_(network, task, size)
    result = course.result(threads)
    if checkpoint is not None and not (result.interrupted or options.keeps_checkpoint):
        checkpoint.remove()
    return scaler, result


def _train_groups(
    course: "_Course", size: int, checkpoint: Checkpoint | None, stored: dict[str, Tensor] | None
) -> None:
    """Train the members, so many at a time, from what a checkpoint holds, if it holds anything."""
    network, task, options = course.network, course.task, course.task.options
    groups = [group for alike in task.data.alike() for group in alike.split(size)]
    with tqdm(
        total=len(groups) * options.max_epochs, disable=not options.verbose, desc="training", unit="epoch"
    ) as bar:
        for number, group in enumerate(groups):
            if stored is not None and number < int(stored["group"]):
                bar.update(options.max_epochs)
                continue
            run = Run(network.members(group), task.members(group), group)
            if options.ends_at is not None:
                run.deadline = _deadline(run, options.ends_at, sum(map(len, groups[number:])), network.n_members)
            if stored is not None:
                run.load_(with_prefix(stored, "run."))
                bar.update(run.epoch)
                stored = None
            try:
                while run.epoch < options.max_epochs and not run.deadline.is_over and not course.dismiss(run):
                    course.note(run, run.train_epoch())
                    _tell(bar, run)
                    if checkpoint is not None and checkpoint.is_due():
                        place = {"size": torch.tensor(size), "group": torch.tensor(number)}
                        own = {f"run.{name}": tensor for name, tensor in run.state().items()}
                        checkpoint.write(place | own | course.state())
            except KeyboardInterrupt:
                if not course.interrupt(run):
                    raise
            course.take_over(run, torch.arange(len(run.members), device=group.device))
            if course.interrupted:
                break
            bar.update(options.max_epochs - run.epoch)


def _deadline(run: Run, ends_at: float, waiting: int, n_members: int) -> Deadline:
    """When the steps of a run must end, which is the next of those with so many members of all.

    After the last epoch its members are judged once more, and at the end all of them, with every floor and otherwise.
    """
    judging = run.judging_seconds / len(run.members)
    left = ends_at - perf_counter() - (len(SHARES) + _JUDGED_AFTERWARDS) * n_members * judging
    return Deadline(len(run.members) * (left / waiting - judging))


class _Course:
    """What is known of all members so far: the curve, and the final weights of those that have left."""

    _OWN = ("curve", "training", "best_epoch", "n_epochs", "mixed_until", "patient_from")

    def __init__(self, network: MemberNetwork, task: Task) -> None:
        self.network, self.task = network, task
        shape = task.options.max_epochs, network.n_members
        self._curve = torch.full(shape, float("nan"), dtype=torch.float64, device=task.data.device)
        self._training = torch.full_like(self._curve, float("nan"))
        self._best_epoch = torch.zeros_like(task.keys)
        self._n_epochs = torch.zeros_like(task.keys)
        self._mixed_until, self._patient_from = torch.zeros_like(task.keys), torch.zeros_like(task.keys)
        self.interrupted = False

    def interrupt(self, run: Run) -> bool:
        """End all runs here; gives whether there is anything to keep."""
        self.interrupted = bool((self._n_epochs > 0).any())
        # weights in the middle of an epoch are as good as any, where no rows tell
        run.epoch = int(self._n_epochs[run.members].max())
        return self.interrupted

    def note(self, run: Run, loss: Tensor) -> None:
        """Write down the validation loss of the members of a run, (m,), after its last epoch, and what trained them."""
        self._curve[run.epoch - 1, run.members] = loss
        self._training[run.epoch - 1, run.members] = run.training_loss
        self._n_epochs[run.members] = run.epoch

    def dismiss(self, run: Run) -> bool:
        """Let those that have stopped leave a run, if they are enough; gives whether that is all of them."""
        if not run.is_time_to_look():
            return False
        stopped = run.best.stopped
        if bool(stopped.all()):
            return True
        # to go on without some costs about as much as an epoch
        if 4 * int(stopped.sum()) >= len(stopped):
            self.take_over(run, stopped.nonzero().squeeze(1))
            run.keep((~stopped).nonzero().squeeze(1))
        return False

    @torch.no_grad()
    def take_over(self, run: Run, positions: Tensor) -> None:
        """Take the final weights of those at some positions of a run."""
        members, state = run.members[positions], run.final_state()
        self._best_epoch[members] = run.final_epoch()[positions]
        self._mixed_until[members] = run.phase.last[positions].clamp(max=run.epoch)
        if (since := run.patient_from()) is not None:
            self._patient_from[members] = since[positions]
        for name, tensor in self.network.state.items():
            tensor[members] = state[name][positions]

    def result(self, threads: int) -> TrainingResult:
        """The end of it.

        Raises
        ------
        DivergenceError
            If a member came to nothing: one that learned before it diverged has weights to go back to.
        """
        options, best, curve = self.task.options, self._best_epoch, self._curve
        last, epochs = self._n_epochs, torch.arange(1, options.max_epochs + 1, device=best.device).unsqueeze(1)
        if not self.task.validates:
            trained = [tensor for tensor in self.network.state.values() if tensor.requires_grad]
            failed = torch.stack([~tensor.isfinite().flatten(1).all(1) for tensor in trained]).any(0)
            curve = curve[:, :0]
        else:
            if options.patience is not None:
                last = torch.minimum(last, torch.maximum(best, self._patient_from) + options.patience)
            # those that had stopped may have gone on for a while, until enough of them had
            curve = torch.where(epochs <= last, curve, torch.nan)[: int(last.max())]
            failed = (best == 0) & ((epochs <= last) & ~self._curve.isfinite()).any(0)
        if bool(failed.any()):
            raise DivergenceError(
                f"training diverged: the loss of {int(failed.sum())} of {len(failed)} members ceased to be a finite "
                "number before it was lower than at the start. Lower `learning_rate`, or look for extreme values in X "
                "and y."
            )
        training = self.task.training_losses(self._training)
        # for a loss that has no unit there is no curve
        kept = self._training[:, :0] if training is None else torch.where(epochs <= last, training, torch.nan)
        until = None if self.task.mixup.until is None else torch.minimum(self._mixed_until, last).cpu().numpy()
        return TrainingResult(
            validation_curve=curve.cpu().numpy(),
            training_curve=kept[: int(last.max())].cpu().numpy(),
            best_epoch=best.cpu().numpy(),
            n_epochs=last.cpu().numpy(),
            n_threads=threads,
            interrupted=self.interrupted,
            mixup_until=until,
        )

    def state(self) -> dict[str, Tensor]:
        """Tensors to store in a checkpoint."""
        stored = {f"network.{name}": tensor for name, tensor in self.network.state.items()}
        return stored | {name: getattr(self, f"_{name}") for name in self._OWN}

    @torch.no_grad()
    def load_(self, stored: dict[str, Tensor]) -> None:
        """Take over what `state` returned."""
        for name, tensor in self.network.state.items():
            tensor.copy_(stored[f"network.{name}"])
        for name in self._OWN:
            setattr(self, f"_{name}", stored[name])


def _tell(bar: "tqdm[NoReturn]", run: Run) -> None:
    bar.update()
    if not bar.disable and run.task.validates and run.epoch % _TELL_EVERY == 0:
        score = f"{run.best.score.mean().item():.4f}"
        bar.set_postfix(validation_loss=score, members=len(run.members), refresh=False)


def _check_units(scaler: TargetScaler, units: InputUnits) -> None:
    for name, tensors in (("X", (units.loc, units.scale)), ("y", (scaler.loc, scaler.scale))):
        if not all(bool(tensor.isfinite().all()) for tensor in tensors):
            raise ValueError(f"{name} holds numbers whose sum overflows; divide by a power of ten.")


def _checkpoint(network: MemberNetwork, task: Task) -> Checkpoint:
    data, options = task.data, task.options
    assert options.checkpoint is not None  # the caller asked
    # where a run may go on is decided by what it computes, not by how long it may take or how it looks
    settings = replace(options, checkpoint=None, keeps_checkpoint=False, verbose=False, ends_at=None)
    try:
        run = description(
            network=network.description, objective=task.objective, mixup=task.mixup, settings=settings, keys=task.keys,
            rows=data.to_hash(), state=list(network.state.values()),
        )  # fmt: skip
    except UndescribableError as error:
        raise ValueError(
            f"`checkpoint` must tell a run from any other: {error}. Make it of plain values, tensors, functions and "
            "objects with attributes, or set checkpoint=None."
        ) from None
    return Checkpoint(options.checkpoint, run)
