"""How to train, and what came of it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .schedules import Schedule

# Batches grow with the rows, about as their root, so that an epoch has some dozens of steps: (most rows, batch).
_BATCHES = ((1_024, 64), (4_096, 128), (16_384, 256), (65_536, 512))
_LARGEST_BATCH = 1_024
# Beyond these epochs are fewer, and a fit takes no longer until there are too few.
_MANY_ROWS = 16_384
# Patience is one of steps, within epochs.
_PATIENT_STEPS, _FEWEST_EPOCHS, _MOST_EPOCHS = 600, 8, 30


def batch_size_for(rows: int) -> int:
    """The batch size that "auto" stands for, for so many training rows of a member."""
    return next((batch for most, batch in _BATCHES if rows <= most), _LARGEST_BATCH)


def patience_for(rows: int, batch_size: int | None) -> int:
    """The epochs of patience that "auto" stands for: those of 600 steps, at least 8 and at most 30."""
    steps = -(-rows // (batch_size or rows))
    if rows <= _BATCHES[0][0]:
        return _MOST_EPOCHS
    return min(max(-(-_PATIENT_STEPS // steps), _FEWEST_EPOCHS), _MOST_EPOCHS)


@dataclass(frozen=True)
class Epochs:
    """A number of epochs that follows the size: as many as have so many steps, within bounds.

    Attributes
    ----------
    steps : int
    fewest : int
        At least so many up to 16,384 training rows of a member, and beyond as many as pass the same number of rows.
    fewest_of_many : int
        At least so many of any number of rows.
    most : int
    """

    steps: int
    fewest: int
    fewest_of_many: int
    most: int

    def of(self, rows: int, batch_size: int | None) -> int:
        """The number for so many training rows of a member."""
        steps = -(-rows // (batch_size or rows))
        fewest = min(self.fewest, round(self.fewest * _MANY_ROWS / rows))
        return min(max(-(-self.steps // steps), fewest, self.fewest_of_many), self.most)


@dataclass(frozen=True)
class TrainingOptions:
    """Settings of the optimiser and of early stopping.

    Attributes
    ----------
    max_epochs : int
    batch_size : int or None
        None for full batches.
    learning_rate, weight_decay : float or Schedule
        Of AdamW; biases do not decay.
    patience : int or None
        Epochs without a better validation score after which a member stops; None for never.
    verbose : bool
        Show a progress bar.
    checkpoint : Path or None
        File that a killed run resumes from.
    keeps_checkpoint : bool
        Whether the file stays when the run has ended, so that the same run is not trained again.
    ends_at : float or None
        When training must have ended, by `time.perf_counter`: steps for which there is no time are left out.
    """

    max_epochs: int = 200
    batch_size: int | None = 64
    learning_rate: float | Schedule = 5e-3
    weight_decay: float | Schedule = 1e-4
    patience: int | None = 30
    verbose: bool = False
    checkpoint: Path | None = None
    keeps_checkpoint: bool = False
    ends_at: float | None = None

    @property
    def ends_at_zero(self) -> bool:
        """Whether the learning rate falls to zero, so that stopping before the end would leave out the best."""
        return isinstance(self.learning_rate, Schedule) and self.learning_rate.ends_at_zero


@dataclass(frozen=True)
class TrainingResult:
    """The course of a run of M members.

    Attributes
    ----------
    validation_curve : ndarray, (epochs, M)
        Mean loss of the validation rows after each epoch, in the user's units; no columns without validation rows.
    training_curve : ndarray, (epochs, M)
        Mean over the steps of each epoch of what was made small, in the user's units: the loss of training rows as they
        were mixed, by the weights before the step. Rows without labels have no part in it. No columns for the CRPS of
        several targets.
    best_epoch : ndarray, (M,)
        The epoch, from 1, whose weights the member has; 0 if no epoch was better than the start, the distribution of
        the targets without features.
    n_epochs : ndarray, (M,)
        Epochs until the member stopped, or was stopped.
    n_threads : int
        That worked at a time, in a step or at groups of members beside each other.
    interrupted : bool
        Whether the user ended the run.
    mixup_until : ndarray, (M,), or None
        The last epoch in which the member mixed its rows, for a mixup that may end before the run.
    """

    validation_curve: NDArray[np.float64]
    training_curve: NDArray[np.float64]
    best_epoch: NDArray[np.int64]
    n_epochs: NDArray[np.int64]
    n_threads: int
    interrupted: bool
    mixup_until: NDArray[np.int64] | None = None
