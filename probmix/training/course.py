"""The course of all members: what is known of them so far."""

from collections.abc import Iterable

import torch
from torch import Tensor

from ..networks import MemberNetwork
from .options import TrainingResult
from .run import Run
from .task import Task


class DivergenceError(RuntimeError):
    """Training came to nothing."""


class Course:
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

    @property
    def has_begun(self) -> bool:
        """Whether an epoch of any member has ended."""
        return bool((self._n_epochs > 0).any())

    def interrupt_(self, runs: Iterable[Run]) -> None:
        """End all of it where the user interrupts these runs, in the middle of an epoch."""
        self.interrupted = True
        for run in runs:
            noted = int(self._n_epochs[run.members].max())
            run.epoch = max(noted, int(run.final_epoch().max())) if run.task.validates else noted
            if run.epoch > noted:
                # it was in between: the members were judged, and that was not yet written down
                self.note(run)
            # weights in the middle of an epoch are as good as any, where no rows tell; but not of the first
            if run.epoch:
                self.take_over(run)

    def note(self, run: Run) -> None:
        """Write down the validation loss of the members of a run after its last epoch, and what trained them."""
        self._curve[run.epoch - 1, run.members] = run.validation_loss
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
    def take_over(self, run: Run, positions: Tensor | None = None) -> None:
        """Take the final weights of those at some positions of a run, of all by default."""
        if positions is None:
            positions = torch.arange(len(run.members), device=run.members.device)
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

    def reset_(self, members: Tensor, epoch: int) -> None:
        """Members go on from an epoch, whatever was known of them after it, or have yet to begin."""
        self._n_epochs[members] = epoch
        self._best_epoch[members] = 0
