"""The scores that tables and pictures know."""

from dataclasses import dataclass
from math import floor, log10

# Of a mean, unless the score is in units that may be small.
_DIGITS = 3


@dataclass(frozen=True)
class ScoreKind:
    """How a score is called and read.

    Attributes
    ----------
    heading : str
        With the unit, and what is best.
    axis : str
        For pictures.
    best : float or None
        The best value, where there is one inside the range; else the smallest or the largest is best.
    larger : bool
        Whether larger is better.
    compared : bool
        Whether differences between methods and ranks mean something.
    in_target_units : bool
        Whether it may be small or large by the unit of the target alone.
    judged : bool
        Whether one value is better than another at all; if not none is the best of its row.
    whole : bool
        Whether it counts something: one digit of its mean is enough.
    """

    heading: str
    axis: str
    best: float | None = None
    larger: bool = False
    compared: bool = True
    in_target_units: bool = False
    judged: bool = True
    whole: bool = False

    def loss(self, mean: float) -> float:
        """How far a mean is from the best; smaller is better."""
        if self.best is not None:
            return abs(mean - self.best)
        return -mean if self.larger else mean

    def digits(self, means: list[float]) -> int:
        """Digits after the point that tell these means apart."""
        if self.whole:
            return 1
        sizes = [abs(mean) for mean in means if mean and abs(mean) < float("inf")]
        if not (self.in_target_units and sizes):
            return _DIGITS
        return max(_DIGITS, 2 - floor(log10(min(sizes))))


KINDS = {
    "nll": ScoreKind("NLL (nats; smaller is better)", "NLL, nats"),
    "crps": ScoreKind("CRPS (units of the target; smaller is better)", "CRPS", in_target_units=True),
    "rmse": ScoreKind(
        "RMSE of the predictive mean (units of the target; smaller is better)", "RMSE", in_target_units=True
    ),
    "accuracy": ScoreKind("Accuracy (share of classes predicted; larger is better)", "accuracy", larger=True),
    "brier": ScoreKind("Brier score (0 to 2; smaller is better)", "Brier score"),
    "coverage90": ScoreKind(
        "Coverage of the central 90 % interval (0.9 is best)", "coverage of the 90 % interval", best=0.9, compared=False
    ),
    "calibration": ScoreKind(
        "Calibration error (mean of |empirical - nominal coverage| over levels; smaller is better)", "calibration error"
    ),
    # of `probmix reproduce leaderboard`
    "interval90": ScoreKind(
        "Interval score of the central 90 % interval (units of the target; smaller is better)",
        "interval score",
        compared=False,
        in_target_units=True,
    ),
    "claimed90": ScoreKind(
        "Probability of the central 90 % interval as predicted, more than 0.9 over whole numbers",
        "probability of the 90 % interval, as predicted",
        compared=False,
        judged=False,
    ),
    "worst_nll": ScoreKind("NLL of the worst test row (nats; smaller is better)", "worst NLL", compared=False),
    "mean_ratio": ScoreKind(
        "Largest predicted mean, in largest training targets", "largest mean", compared=False, judged=False
    ),
    "fit_seconds": ScoreKind("Seconds of a fit", "seconds of a fit", compared=False, in_target_units=True),
    "predict_seconds": ScoreKind(
        "Seconds of a prediction of the test rows", "seconds of a prediction", compared=False, in_target_units=True
    ),
    "memory": ScoreKind(
        "Peak memory of fit and prediction, beyond what the process had (MiB)", "MiB", compared=False, whole=True
    ),
    # of `probmix reproduce theory`
    "rare": ScoreKind(
        "Accuracy on points with the rare feature (larger is better)", "accuracy", larger=True, compared=False
    ),
    "common": ScoreKind(
        "Accuracy on points with the common feature (larger is better)", "accuracy", larger=True, compared=False
    ),
    "middle": ScoreKind(
        "Probability of class 1 at the middle point, which is of class 2 (smaller is better)",
        "probability of class 1",
        compared=False,
    ),
    "ece": ScoreKind("Expected calibration error (smaller is better)", "expected calibration error", compared=False),
    "nonlinearity": ScoreKind("Distance from linearity (0 is linear)", "distance from linearity", compared=False),
    "steps": ScoreKind(
        "Steps until the accuracy on test rows is 80 % (fewer are better)", "steps", compared=False, whole=True
    ),
    "moment": ScoreKind("Moments of the larger weight", "moment", compared=False, in_target_units=True, judged=False),
    "risk": ScoreKind("Risk under mixing", "risk", compared=False, in_target_units=True, judged=False),
}
