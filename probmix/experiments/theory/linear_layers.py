"""linear-layers: how linear layers are between rows and how fast a network learns, with mixup and without.

Data: the digits of scikit-learn, 8 x 8 pixels divided by 16: 100 rows for training, 1000 without labels and the other
697 for tests; a seed draws them.

Training: a perceptron with four layers of 128 ReLU units; AdamW without decay at a rate of 0.001; 1000 steps, each on
all rows with labels. mixup is at the input and probmix at the output, both with weights Beta(1, 1). "consistency" is
erm with the unsupervised term, on 100 rows without labels drawn for every step: the prediction of a mixed row is to
be the pool of the predictions that a teacher, the moving average of the network with a decay of 0.99, makes for its
two rows; its weight rises from 0 to 1 over the first quarter. "both" is mixup with that term.

Scores: distance from linearity of the layers as of `probmix.theory.linearity`, on test rows with weights Beta(1, 1);
accuracy and NLL of the test rows at the end; steps until their accuracy is 80 %, looked at after every 10 steps,
where the number of steps stands for never.

Chaudhry, Menon, Veit, Jayasumana, Ramalingam and Kumar (2022), When Does Mixup Promote Local Linearity in Learned
Representations?
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from sklearn.datasets import load_digits
from torch import Tensor, nn

from ...families import Categorical
from ...mixup import Consistency, Teacher, consistency_loss, mixup_loss, preset
from ...theory import linearity
from ..base import Outcome, Picture
from ..scoring import class_scores
from ..store import Result, Unit
from .part import Part
from .perceptron import perceptron

PROTOCOL = (__doc__ or "").strip()

_MIXUP = preset("mixup", alpha=1.0, unlabelled=Consistency(ema=0.99))
METHODS = {
    "erm": preset("erm"),
    "mixup": _MIXUP,
    "probmix": preset("probmix", alpha=1.0),
    "consistency": preset("erm"),
    "both": _MIXUP,
}
_UNSUPERVISED = ("consistency", "both")
_HIDDEN = (128, 128, 128, 128)
_LAYERS = (*(f"hidden{number}" for number in range(1, len(_HIDDEN) + 1)), "output")
_CLASSES = 10
_TEST_ROWS = 697
_RATE = 1e-3
_EVERY, _ENOUGH = 10, 0.8
_WHOLE = "network"


@dataclass(frozen=True)
class Rows:
    """Rows for training, without labels, and for tests."""

    x: Tensor
    y: Tensor
    unlabelled: Tensor
    x_test: Tensor
    y_test: Tensor


@dataclass(frozen=True)
class LinearLayers(Part):
    """Linearity by layer and speed, under the protocol that this module describes."""

    n: int = 100
    steps: int = 1000

    name = "linear-layers"
    protocol = PROTOCOL

    @property
    def settings(self) -> dict[str, int]:
        """Rows and steps."""
        return asdict(self)

    def units(self, n_seeds: int) -> list[Unit]:
        """Layers, then the network as a whole."""
        return [
            {"case": case, "method": method, "seed": seed}
            for case in (*_LAYERS, _WHOLE)
            for method in METHODS
            for seed in range(n_seeds)
        ]

    def job(self, unit: Unit) -> Unit:
        """All layers of a network."""
        return {key: value for key, value in unit.items() if key != "case"}

    def cost(self, unit: Unit) -> float:
        """Of a network, shared by its layers."""
        return 500.0

    def work(self, units: Sequence[Unit]) -> list[Outcome]:
        """Train one network and look at it."""
        seed = int(units[0]["seed"])
        rows = self.rows(seed)
        network = perceptron((rows.x.shape[1], *_HIDDEN, _CLASSES), nn.ReLU, seed)
        accuracies = self._train(network, rows, str(units[0]["method"]), seed)
        layers = linearity(network, rows.x_test, layers=_LAYERS)
        with torch.no_grad():
            forecast = Categorical(_CLASSES).distribution(network(rows.x_test))
        scores = {name: value for name, value in class_scores(forecast, rows.y_test.numpy()).items() if name != "brier"}
        reached = [place for place, accuracy in enumerate(accuracies) if accuracy >= _ENOUGH]
        scores["steps"] = float(_EVERY * (reached[0] + 1)) if reached else float(self.steps)
        whole = Outcome(scores, {"every": _EVERY, "accuracy": accuracies})
        return [
            whole if unit["case"] == _WHOLE else Outcome({"nonlinearity": layers[str(unit["case"])]}) for unit in units
        ]

    def rows(self, seed: int) -> Rows:
        """Digits, drawn without replacement."""
        X, classes = load_digits(return_X_y=True)
        order = np.random.default_rng(seed).permutation(len(X))
        x = torch.tensor(X[order] / 16, dtype=torch.float32)
        y = torch.tensor(classes[order])
        return Rows(x[: self.n], y[: self.n], x[self.n : -_TEST_ROWS], x[-_TEST_ROWS:], y[-_TEST_ROWS:])

    def _train(self, network: nn.Module, rows: Rows, method: str, seed: int) -> list[float]:
        """Accuracies on the test rows, after every few steps."""
        generator = torch.Generator().manual_seed(seed)
        family = Categorical(_CLASSES)
        optimizer = torch.optim.AdamW(network.parameters(), lr=_RATE, weight_decay=0.0)
        teacher = Teacher(network, _MIXUP.unlabelled) if method in _UNSUPERVISED else None
        accuracies = []
        for step in range(self.steps):
            optimizer.zero_grad()
            loss = mixup_loss(network, family, rows.x, rows.y, METHODS[method], generator=generator)
            if teacher is not None:
                chosen = rows.unlabelled[torch.randint(len(rows.unlabelled), (len(rows.x),), generator=generator)]
                weight = _MIXUP.unlabelled.at(step / self.steps)
                loss = loss + weight * consistency_loss(network, teacher, family, chosen, _MIXUP, generator=generator)
            loss.backward()
            optimizer.step()
            if teacher is not None:
                teacher.update(network)
            if (step + 1) % _EVERY == 0:
                with torch.no_grad():
                    accuracies.append(float((network(rows.x_test).argmax(-1) == rows.y_test).double().mean()))
        return accuracies

    def pictures(self, results: Sequence[Result]) -> Iterator[Picture]:
        """Linearity by layer, and accuracy over the steps; means of the seeds."""
        methods = list(dict.fromkeys(str(result.unit["method"]) for result in results))
        figure = Figure(figsize=(10.0, 4.0), dpi=110, layout="constrained")
        left, right = figure.subplots(1, 2)
        for number, method in enumerate(methods):
            own = [result for result in results if result.unit["method"] == method]
            style: dict[str, Any] = {
                "color": f"C{number}",
                "linestyle": ("-", "--", "-.", ":")[number % 4],
                "label": method,
            }
            by_layer = [[one.scores["nonlinearity"] for one in own if one.unit["case"] == layer] for layer in _LAYERS]
            left.errorbar(
                range(len(_LAYERS)),
                [float(np.mean(values)) for values in by_layer],
                yerr=[float(np.std(values)) for values in by_layer],
                marker="o",
                markersize=4,
                capsize=2,
                **style,
            )
            runs = [one.details for one in own if one.unit["case"] == _WHOLE]
            mean = np.mean([run["accuracy"] for run in runs], axis=0)
            right.plot(runs[0]["every"] * np.arange(1, len(mean) + 1), mean, **style)
        left.set_xticks(range(len(_LAYERS)), _LAYERS)
        left.set_ylim(bottom=0)
        left.set_ylabel("distance from linearity")
        right.axhline(_ENOUGH, color="black", linewidth=0.7, linestyle=":")
        right.set_xscale("log")
        right.set_xlabel("step")
        right.set_ylabel("accuracy on test rows")
        for ax in (left, right):
            ax.grid(linewidth=0.4, alpha=0.6)
        left.legend(frameon=False)
        yield Picture(
            "linear-layers",
            "Left: distance from linearity of each layer, mean and standard deviation over seeds; 0 is linear. Right: "
            "accuracy on test rows while the network trains, mean over seeds.",
            figure,
        )
