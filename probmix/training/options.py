"""How to train, and what came of it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class TrainingOptions:
    """Settings of the optimiser and of early stopping.

    Attributes
    ----------
    max_epochs : int
    batch_size : int or None
        None for full batches.
    learning_rate, weight_decay : float
        Of AdamW; biases do not decay.
    patience : int or None
        Epochs without a better validation score after which a member stops; None for never.
    verbose : bool
        Show a progress bar.
    checkpoint : Path or None
        File that a killed run resumes from.
    """

    max_epochs: int = 200
    batch_size: int | None = 64
    learning_rate: float = 5e-3
    weight_decay: float = 1e-4
    patience: int | None = 30
    verbose: bool = False
    checkpoint: Path | None = None


@dataclass(frozen=True)
class TrainingResult:
    """The course of a run of M members.

    Attributes
    ----------
    validation_curve : ndarray, (epochs, M)
        Mean loss of the validation rows after each epoch, in the user's units; no columns without validation rows.
    best_epoch : ndarray, (M,)
        The epoch, from 1, whose weights the member has; 0 if no epoch was better than the start.
    """

    validation_curve: NDArray[np.float64]
    best_epoch: NDArray[np.int64]
