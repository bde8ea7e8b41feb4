"""rare-features: a network that fits every training point learns the rare feature of a class only if labels are mixed.

Data: each class y in {1, 2} has a common feature v_y and a rare one v'_y, four orthonormal vectors in 1000
dimensions. A point has three patches: v_y, or v'_y for 20 of the 200 training points; 0.3 v_c for a random class c;
and noise N(0, 0.15^2) off the features. 1000 test points have the rare feature and 1000 the common one.

Training: F_k(x) = sum over patches p and ten filters r of <w_kr, x_p>^2 are the logits; filters start at N(0,
0.02^2); gradient descent at a rate of 0.2 for 1800 steps, each on all points and with new partners and weights.

Methods: mixup has weights Beta(1, 1), and so the larger one is uniform on (1/2, 1); "fixed 0.7" has weights (0.7,
0.3); "labels 0.75" mixes inputs as mixup does, and labels with weights (0.75, 0.25); "inputs 0.75" the other way
round; "inputs only" keeps the label of the row with the larger weight; "until 0.5" is mixup for the first half of the
steps and erm for the rest, "until 0.8" for four fifths.

Zou, Cao, Li and Gu (2023), The Benefits of Mixup for Feature Learning, ICML.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from ...families import Categorical
from ...mixup import BetaWeights, FixedWeights, Mixup, UniformWeights, mixup_loss, preset
from ..base import Outcome, Picture
from ..store import Result, Unit
from .part import Part, reference

PROTOCOL = (__doc__ or "").strip()
_CLASSES, _PATCHES, _FILTERS = 2, 3, 10
_CLUTTER, _NOISE, _START = 0.3, 0.15, 0.02
_RARE, _RATE, _TEST_ROWS = 0.1, 0.2, 1000
# Accuracies are drawn over this many points of time.
_MARKS = 36
_CASE = "two features a class"
# Of the larger weight.
_FOLDED = UniformWeights(0.5, 1.0)

METHODS = {
    "erm": preset("erm"),
    "mixup": preset("mixup", weights=BetaWeights(1.0)),
    "fixed 0.7": preset("mixup", weights=FixedWeights(0.7)),
    "labels 0.75": preset("mixup", weights=_FOLDED, label_weights=FixedWeights(0.75)),
    "inputs 0.75": preset("mixup", weights=FixedWeights(0.75), label_weights=_FOLDED),
    "inputs only": preset("mixup", weights=_FOLDED, label_weights=FixedWeights(1.0)),
    "until 0.5": preset("mixup", weights=BetaWeights(1.0), until=0.5),
    "until 0.8": preset("mixup", weights=BetaWeights(1.0), until=0.8),
}
_REFERENCE = {
    _CASE: {
        "erm": "0.49",
        "mixup": "0.94",
        "fixed 0.7": "1.00",
        "labels 0.75": "0.999",
        "inputs 0.75": "0.997",
        "inputs only": "0.49",
    }
}


class PatchNetwork(nn.Module):
    """Sums of squares of filters over patches, as logits: (N, patches, d) -> (N, 2)."""

    def __init__(self, num_inputs: int, generator: torch.Generator) -> None:
        super().__init__()
        self.filters = nn.Parameter(_START * torch.randn(num_inputs, _CLASSES * _FILTERS, generator=generator))

    def forward(self, x: Tensor) -> Tensor:
        responses = (x.flatten(0, 1) @ self.filters).square()
        return responses.view(len(x), -1, _CLASSES, _FILTERS).sum((1, 3))


def patches(n: int, num_inputs: int, rare: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Points (n, 3, d) and their classes (n,); a share `rare` of them has the rare feature of its class.

    The features are the first four coordinates, the common ones first.
    """
    classes = torch.randint(_CLASSES, (n,), generator=generator)
    is_rare = torch.randperm(n, generator=generator) < round(rare * n)
    clutter = torch.randint(_CLASSES, (n,), generator=generator)
    x, rows = torch.zeros(n, _PATCHES, num_inputs), torch.arange(n)
    x[rows, 0, classes + _CLASSES * is_rare] = 1.0
    x[rows, 1, clutter] = _CLUTTER
    x[:, 2, 2 * _CLASSES :] = _NOISE * torch.randn(n, num_inputs - 2 * _CLASSES, generator=generator)
    return x, classes


_PUBLISHED = {"rare": reference(_REFERENCE, "means over 3 seeds; mixup reaches 1.00 by 3000 steps")}


@dataclass(frozen=True)
class RareFeatures(Part):
    """Accuracy on points with rare features, under the protocol that this module describes."""

    n: int = 200
    num_inputs: int = 1000
    steps: int = 1800
    methods: tuple[str, ...] = tuple(METHODS)

    name = "rare-features"
    protocol = PROTOCOL
    published = _PUBLISHED

    @property
    def settings(self) -> dict[str, int]:
        """Sizes."""
        return {name: value for name, value in asdict(self).items() if name != "methods"}

    def units(self, n_seeds: int) -> list[Unit]:
        """All methods, then all seeds."""
        return [{"case": _CASE, "method": method, "seed": seed} for method in self.methods for seed in range(n_seeds)]

    def cost(self, unit: Unit) -> float:
        """Of a run."""
        return 5000.0

    def work(self, units: Sequence[Unit]) -> list[Outcome]:
        """Train each."""
        return [self._trained(METHODS[str(unit["method"])], int(unit["seed"])) for unit in units]

    def _trained(self, mixup: Mixup, seed: int) -> Outcome:
        generator = torch.Generator().manual_seed(seed)
        x, y = patches(self.n, self.num_inputs, _RARE, generator)
        rare = patches(_TEST_ROWS, self.num_inputs, 1.0, generator)
        common = patches(_TEST_ROWS, self.num_inputs, 0.0, generator)
        network = PatchNetwork(self.num_inputs, generator)
        optimizer = torch.optim.SGD(network.parameters(), lr=_RATE)
        family = Categorical(_CLASSES)
        every = max(1, self.steps // _MARKS)
        curve: dict[str, list[float]] = {"step": [], "rare": []}
        for step in range(self.steps):
            if step % every == 0:
                curve["step"].append(step)
                curve["rare"].append(_accuracy(network, *rare))
            optimizer.zero_grad()
            progress = step / self.steps
            mixup_loss(network, family, x, y, mixup, progress=progress, generator=generator).backward()
            optimizer.step()
        scores = {"rare": _accuracy(network, *rare), "common": _accuracy(network, *common)}
        return Outcome(scores, {"step": [*curve["step"], self.steps], "rare": [*curve["rare"], scores["rare"]]})

    def pictures(self, results: Sequence[Result]) -> Iterator[Picture]:
        """Accuracy on rare features over the steps, mean of the seeds and each seed."""
        figure = Figure(figsize=(7.5, 4.2), dpi=110, layout="constrained")
        ax = figure.subplots()
        for number, method in enumerate(dict.fromkeys(str(result.unit["method"]) for result in results)):
            runs = [result.details for result in results if result.unit["method"] == method]
            style: dict[str, Any] = {"color": f"C{number}", "linestyle": ("-", "--", "-.", ":")[number % 4]}
            steps, curves = runs[0]["step"], np.array([run["rare"] for run in runs])
            ax.plot(steps, curves.mean(0), linewidth=2, label=method, **style)
            for curve in curves:
                ax.plot(steps, curve, linewidth=0.5, alpha=0.5, **style)
        ax.axhline(0.5, color="black", linewidth=0.7, linestyle=":")
        ax.set_xlabel("step")
        ax.set_ylabel("accuracy on points with the rare feature")
        ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
        ax.grid(linewidth=0.4, alpha=0.6)
        yield Picture(
            "rare-features",
            "Accuracy on points with the rare feature while the network trains: mean over seeds, and thin each seed; "
            "dotted is chance.",
            figure,
        )


def _accuracy(network: nn.Module, x: Tensor, y: Tensor) -> float:
    with torch.no_grad():
        return float((network(x).argmax(-1) == y).double().mean())
