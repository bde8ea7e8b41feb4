"""alternating-line: midpoints of points on a line cannot be fitted.

Data: the points 0, 1 and 2 have the classes 1, 2 and 1; each stands 100 times. Mixed points near 1 are of the pair 0
and 2, both of class 1, or of 1 with itself; with alpha to infinity two of three are of the former.

Training: a perceptron with two layers of 64 ReLU units; mixup with weights Beta(alpha, alpha); full batches, AdamW
without decay at a rate of 0.002, 500 epochs; no rows are held out. Longer training bends the network around the
middle point, which is there with a positive probability: to 0.47 for alpha = 128 after 1000 epochs at 0.001.

"near" is no network: it is the share of class 1 in the labels of mixed points within 0.14 of the middle, by
quadrature.

Chidambaram, Wang, Hu, Wu and Ge (2022), Towards Understanding the Data Dependency of Mixup-style Training, ICLR.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.special import betaincinv

from ...estimators import DensityClassifier
from ...mixup import preset
from ..base import Outcome, Picture
from ..store import Result, Unit
from .part import Part, reference

PROTOCOL = (__doc__ or "").strip()
ALPHAS = (1.0, 32.0, 128.0)
_POINTS, _CLASSES = np.array([0.0, 1.0, 2.0]), np.array([1, 2, 1])
_NETWORK, _NEAR = "network", "near"
_RADIUS = 0.14
_COPIES = 100
_DRAWN = np.linspace(-0.25, 2.25, 101)
_REFERENCE = {
    f"alpha = {alpha:g}": {_NETWORK: text} for alpha, text in zip(ALPHAS, ("0.17", "0.60", "0.65"), strict=True)
}


def share_near(alpha: float, centre: float, radius: float) -> float:
    """Mean probability of class 1 in the labels of mixed points within a radius of a point, over all nine pairs."""
    weights = betaincinv(alpha, alpha, (np.arange(20_000) + 0.5) / 20_000)
    first = (_CLASSES == 1).astype(float)
    inside, labels = 0.0, 0.0
    for i in range(3):
        for j in range(3):
            mixed = weights * _POINTS[i] + (1 - weights) * _POINTS[j]
            label = weights * first[i] + (1 - weights) * first[j]
            near = np.abs(mixed - centre) <= radius
            inside, labels = inside + float(near.sum()), labels + float(label[near].sum())
    return labels / inside


_PUBLISHED = {"middle": reference(_REFERENCE, "of a network")}


@dataclass(frozen=True)
class AlternatingLine(Part):
    """Probability of the wrong class at the middle point, under the protocol that this module describes."""

    epochs: int = 500

    name = "alternating-line"
    protocol = PROTOCOL
    published = _PUBLISHED

    @property
    def settings(self) -> dict[str, int]:
        """Epochs."""
        return asdict(self)

    def units(self, n_seeds: int) -> list[Unit]:
        """All values of alpha."""
        units: list[Unit] = []
        for alpha in ALPHAS:
            case = f"alpha = {alpha:g}"
            units += [{"case": case, "method": _NETWORK, "seed": seed} for seed in range(n_seeds)]
            units.append({"case": case, "method": _NEAR, "seed": 0})
        return units

    def cost(self, unit: Unit) -> float:
        """Of a fit, and of a sum."""
        return 1000.0 if unit["method"] == _NETWORK else 10.0

    def work(self, units: Sequence[Unit]) -> list[Outcome]:
        """Fit each."""
        return [self._outcome(unit) for unit in units]

    def _outcome(self, unit: Unit) -> Outcome:
        alpha = float(str(unit["case"]).removeprefix("alpha = "))
        if unit["method"] == _NEAR:
            return Outcome({"middle": share_near(alpha, 1.0, _RADIUS)})
        model = self._fitted(alpha, int(unit["seed"]))
        drawn = model.predict_proba(_DRAWN[:, np.newaxis])[:, 0]
        middle = model.predict_proba(np.ones((1, 1)))[0, 0]
        return Outcome({"middle": float(middle)}, {"x": _DRAWN.tolist(), "probability": drawn.tolist()})

    def _fitted(self, alpha: float, seed: int) -> DensityClassifier:
        X: NDArray[np.float64] = np.tile(_POINTS, _COPIES)[:, np.newaxis]
        return DensityClassifier(
            mixup=preset("mixup", alpha=alpha),
            hidden_layer_sizes=(64, 64),
            max_epochs=self.epochs,
            batch_size=None,
            learning_rate=2e-3,
            weight_decay=0.0,
            validation_fraction=0.0,
            patience=None,
            device="cpu",
            random_state=seed,
            preset="plain",
        ).fit(X, np.tile(_CLASSES, _COPIES))

    def pictures(self, results: Sequence[Result]) -> Iterator[Picture]:
        """Probability of class 1 along the line."""
        drawn = [result for result in results if result.details]
        if not drawn:
            return
        figure = Figure(figsize=(6.5, 4.0), dpi=110, layout="constrained")
        ax = figure.subplots()
        for number, case in enumerate(dict.fromkeys(str(result.unit["case"]) for result in drawn)):
            for result in drawn:
                if result.unit["case"] == case:
                    label = case if result.unit["seed"] == 0 else None
                    ax.plot(
                        result.details["x"],
                        result.details["probability"],
                        color=f"C{number}",
                        linestyle=("-", "--", "-.")[number % 3],
                        label=label,
                    )
        ax.plot(_POINTS, _CLASSES == 1, "o", color="black", label="training points")
        ax.axhline(0.5, color="black", linewidth=0.7, linestyle=":")
        ax.set_xlabel("x")
        ax.set_ylabel("probability of class 1")
        figure.legend(loc="outside lower center", ncols=4, frameon=False)
        yield Picture(
            "alternating-line",
            "Probability of class 1 along the line under mixup, a line a seed: the more weights are near 1/2, the less "
            "is the middle point fitted.",
            figure,
        )
