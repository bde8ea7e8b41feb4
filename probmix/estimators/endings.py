"""What there is to say of how training ended."""

from pathlib import Path

from sklearn.exceptions import ConvergenceWarning

from .._told import warn
from ..training import TrainingOptions, TrainingResult


def warn_of_end(result: TrainingResult, options: TrainingOptions, of: str = "") -> None:
    """Warn if the user ended the run, if members learned nothing, or if they may not have learned all there is.

    The name of one of several fits comes first.
    """
    best, members = result.best_epoch, len(result.best_epoch)
    if result.interrupted:
        waiting = int((result.n_epochs == 0).sum())
        begun = f" {waiting} of {members} members had not begun: they predict the distribution of y." if waiting else ""
        warn(
            f"{of}training was interrupted after {result.n_epochs.max()} of at most {options.max_epochs} epochs, and "
            f"the estimator is fitted with the best weights so far.{begun}{_of_checkpoint(options.checkpoint)}"
        )
        return
    if not result.validation_curve.shape[1]:
        return
    idle, late = int((best == 0).sum()), int((best == options.max_epochs).sum())
    if idle:
        warn(
            f"{of}{idle} of {members} members never beat the distribution of y without X, and predict it for all rows. "
            "Lower `learning_rate`, raise `patience` or `max_epochs`, or see whether X tells anything of y.",
            ConvergenceWarning,
        )
    if late and options.patience is not None and not options.ends_at_zero:
        warn(
            f"{of}{late} of {members} members were best in the last epoch, max_epochs={options.max_epochs}, and may "
            "still get better. Raise `max_epochs`.",
            ConvergenceWarning,
        )


def _of_checkpoint(path: Path | None) -> str:
    if path is None or not path.exists():
        return ""
    return f" The same fit goes on from the checkpoint {str(path)!r}; remove it if it shall not."
