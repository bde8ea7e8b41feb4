"""crossover: mixup hurts the calibration of a few dimensions, and helps that of many.

Model: two classes y = -1 and 1, as probable as each other, x = y theta + N(0, I) in p dimensions with |theta| = 1.5,
and n training points. The mean m of y x over them estimates theta, and the predicted probability of class 1 is 1 / (1
+ exp(-2 m'x)). With labels and inputs mixed by weights Beta(alpha, alpha) the mean is c m in expectation, c =
E[lambda^2 + (1 - lambda)^2] = (alpha + 1) / (2 alpha + 1), of points and labels of mean zero.

Score: the expected calibration error without bins, E|predicted - true probability given the prediction|, both of
which are known in this model, by quadrature; mean over 200 training sets. A seed gives the training sets, the same
for all alpha.

Zhang, Deng, Kawaguchi and Zou (2022), When and How Mixup Improves Calibration, ICML.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.polynomial.hermite_e import hermegauss
from numpy.typing import NDArray
from scipy.special import expit

from ...mixup import BetaWeights, strength
from ..base import Outcome, Picture
from ..store import Result, Unit
from .part import Part, reference

PROTOCOL = (__doc__ or "").strip()
ALPHAS = (0.0, 0.2, 0.5, 1.0, 5.0)
SHAPES = {"p = 5, n = 50": (5, 50), "p = 200, n = 100": (200, 100)}
_NORM = 1.5
_NODES, _WEIGHTS = hermegauss(200)
_REFERENCE = {
    case: {f"alpha = {alpha:g}": text for alpha, text in zip(ALPHAS, texts.split(), strict=True)}
    for case, texts in {
        "p = 5, n = 50": ".009 .010 .019 .031 .054",
        "p = 200, n = 100": ".064 .052 .040 .029 .011",
    }.items()
}


def shrinkage(alpha: float) -> float:
    """E[lambda^2 + (1 - lambda)^2] of Beta(alpha, alpha) weights, by moments of the larger one; 1 for alpha = 0."""
    if alpha == 0:
        return 1.0
    law = strength(BetaWeights(alpha))
    return float(2 * (law.s2 + law.theta_bar**2) - 2 * law.theta_bar + 1)


def calibration_error(means: NDArray[np.float64], factor: float) -> NDArray[np.float64]:
    """E|predicted - true probability given the prediction| for estimates of theta: (R, p) -> (R,).

    The score s = m'x has the law N(y m'theta, |m|^2), so that the true log-odds are 2 s m'theta / |m|^2; theta has the
    direction of the first axis.
    """
    squares, product = (means**2).sum(1, keepdims=True), _NORM * means[:, :1]
    # by symmetry the error given y = -1 is the same
    scores = product + np.sqrt(squares) * _NODES
    errors = np.abs(expit(2 * factor * scores) - expit(2 * scores * product / squares))
    means_of_errors: NDArray[np.float64] = errors @ _WEIGHTS / _WEIGHTS.sum()
    return means_of_errors


_PUBLISHED = {"ece": reference(_REFERENCE, "of the same model, its |theta| not stated")}


@dataclass(frozen=True)
class Crossover(Part):
    """Calibration by dimension and strength, under the protocol that this module describes."""

    training_sets: int = 200

    name = "crossover"
    protocol = PROTOCOL
    published = _PUBLISHED

    @property
    def settings(self) -> dict[str, int]:
        """Number of training sets."""
        return asdict(self)

    def units(self, n_seeds: int) -> list[Unit]:
        """All values of alpha for each shape."""
        return [
            {"case": case, "method": f"alpha = {alpha:g}", "seed": seed}
            for case in SHAPES
            for alpha in ALPHAS
            for seed in range(n_seeds)
        ]

    def cost(self, unit: Unit) -> float:
        """Little."""
        return 5.0

    def work(self, units: Sequence[Unit]) -> list[Outcome]:
        """Each by quadrature."""
        outcomes = []
        for unit in units:
            means = self.estimates(*SHAPES[str(unit["case"])], int(unit["seed"]))
            alpha = float(str(unit["method"]).removeprefix("alpha = "))
            outcomes.append(Outcome({"ece": float(calibration_error(means, shrinkage(alpha)).mean())}))
        return outcomes

    def estimates(self, p: int, n: int, seed: int) -> NDArray[np.float64]:
        """The mean of y x over n training points, which has the law N(theta, I / n), for each training set: (R, p)."""
        means = np.random.default_rng(seed).normal(scale=n**-0.5, size=(self.training_sets, p))
        means[:, 0] += _NORM
        return means

    def pictures(self, results: Sequence[Result]) -> Iterator[Picture]:
        """Calibration error over the shrinkage, with the strengths of the table marked."""
        figure = Figure(figsize=(6.5, 4.0), dpi=110, layout="constrained")
        ax = figure.subplots()
        factors = np.linspace(0.5, 1.0, 51)
        for number, (case, shape) in enumerate(SHAPES.items()):
            means = self.estimates(*shape, 0)
            style: dict[str, Any] = {"color": f"C{number}", "linestyle": ("-", "--")[number % 2]}
            ax.plot(factors, [calibration_error(means, factor).mean() for factor in factors], label=case, **style)
            found = [result for result in results if result.unit["case"] == case]
            places = [shrinkage(float(str(result.unit["method"]).removeprefix("alpha = "))) for result in found]
            ax.plot(places, [result.scores["ece"] for result in found], "o", color=f"C{number}", markersize=4)
        for alpha in ALPHAS:
            place = shrinkage(alpha), 0
            ax.annotate(f"α = {alpha:g}", place, (0, 3), textcoords="offset points", ha="center", fontsize="small")
        ax.set_ylim(0, None)
        ax.invert_xaxis()
        ax.set_xlabel("shrinkage c of the mean")
        ax.set_ylabel("expected calibration error")
        ax.legend(frameon=False)
        yield Picture(
            "crossover",
            "Expected calibration error by the shrinkage of the mean that mixup makes: lines by quadrature over it, "
            "dots the seeds at the strengths of the table. No mixing is at the left.",
            figure,
        )
