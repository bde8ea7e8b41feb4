"""expansion: the quadratic expansion of the mixup risk beside the exact risk.

Data: the cubic of `probmix.datasets.toy_cubic` with 60 points, standardised, under squared loss |u - y|^2 / 2; and 60
points of `probmix.datasets.three_rings` under cross-entropy.

Training: a perceptron with two layers of 16 tanh units, in double precision; mixup at the input with weights
Beta(alpha, alpha); AdamW without decay at a rate of 0.01, 500 steps, each on all points. "untrained" is the network
before it, at alpha = 1.

"exact" is the risk over all pairs by quadrature, `probmix.theory.mixup_risk`; "expansion" is that of
`probmix.theory.quadratic_expansion`, "without R2" leaves out its Hessian term; "moved points" is its first part, the
loss of the points and labels moved towards their means; "no mixing" is the empirical risk.

Carratino, Cissé, Jenatton and Vert (2022), On Mixup Regularization, JMLR.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from ...datasets import three_rings, toy_cubic
from ...families import Categorical, Family, get
from ...mixup import BetaWeights, mixup_loss, preset
from ...theory import mixup_risk, quadratic_expansion
from ..base import Outcome, Picture
from ..store import Result, Unit
from .part import Part
from .perceptron import perceptron

PROTOCOL = (__doc__ or "").strip()

ALPHAS = (0.1, 0.5, 1.0, 5.0)
QUANTITIES = ("exact", "expansion", "without R2", "moved points", "no mixing")
LOSSES = ("squared", "classes")
_UNTRAINED, _ALPHA = "untrained", "alpha = "
_POINTS, _RATE = 60, 0.01


def simulated(loss: str, seed: int) -> tuple[Tensor, Tensor]:
    """Inputs (n, F) and targets (n,)."""
    if loss == "classes":
        X, y = three_rings(_POINTS, random_state=seed)
        return torch.tensor(X), torch.tensor(y)
    x, targets = map(torch.tensor, toy_cubic(_POINTS, random_state=seed))
    return (x - x.mean(0)) / x.std(0), (targets - targets.mean()) / targets.std()


@dataclass(frozen=True)
class Expansions(Part):
    """The expansion beside the exact risk, under the protocol that this module describes."""

    steps: int = 500

    name = "expansion"
    protocol = PROTOCOL

    @property
    def settings(self) -> dict[str, int]:
        """Steps."""
        return asdict(self)

    def units(self, n_seeds: int) -> list[Unit]:
        """Both losses, untrained and at all values of alpha."""
        return [
            {"case": f"{loss}, {state}", "method": quantity, "seed": seed}
            for loss in LOSSES
            for state in (_UNTRAINED, *(f"{_ALPHA}{alpha:g}" for alpha in ALPHAS))
            for quantity in QUANTITIES
            for seed in range(n_seeds)
        ]

    def job(self, unit: Unit) -> Unit:
        """All quantities of a network."""
        return {key: value for key, value in unit.items() if key != "method"}

    def cost(self, unit: Unit) -> float:
        """Of a network, shared by its quantities."""
        return 250.0

    def work(self, units: Sequence[Unit]) -> list[Outcome]:
        """Train one network, and compute its risks."""
        loss, _, state = str(units[0]["case"]).partition(", ")
        x, y = simulated(loss, int(units[0]["seed"]))
        is_trained = state != _UNTRAINED
        law = BetaWeights(float(state.removeprefix(_ALPHA)) if is_trained else 1.0)
        network = self._network(x, y, loss, law, int(units[0]["seed"]), self.steps if is_trained else 0)
        family: str | Family = "squared" if loss == "squared" else Categorical(3)
        exact = mixup_risk(network, x, y, law, family=family)
        expanded = quadratic_expansion(network, x, y, law, family=family)
        risks = {
            "exact": exact.risk,
            "expansion": expanded.risk,
            "without R2": expanded.risk - float(expanded.r2.mean()),
            "moved points": float(expanded.base.mean()),
            "no mixing": exact.clean_risk,
        }
        return [Outcome({"risk": risks[str(unit["method"])]}) for unit in units]

    def _network(self, x: Tensor, y: Tensor, loss: str, law: BetaWeights, seed: int, steps: int) -> nn.Module:
        generator = torch.Generator().manual_seed(seed)
        network = perceptron((x.shape[1], 16, 16, 1 if loss == "squared" else 3), nn.Tanh, seed).double()
        optimizer = torch.optim.AdamW(network.parameters(), lr=_RATE, weight_decay=0.0)
        mixup = preset("mixup", weights=law)
        for _ in range(steps):
            optimizer.zero_grad()
            if loss == "squared":
                # a Gaussian of variance one, whose natural parameters are its mean and -1/2
                value = mixup_loss(_UnitVariance(network), get("gaussian"), x, y, mixup, generator=generator)
            else:
                value = mixup_loss(network, Categorical(3), x, y, mixup, generator=generator)
            value.backward()
            optimizer.step()
        return network

    def pictures(self, results: Sequence[Result]) -> Iterator[Picture]:
        """Distance of the expansion and of its parts from the exact risk over alpha."""
        figure = Figure(figsize=(9.0, 3.8), dpi=110, layout="constrained")
        for ax, loss in zip(figure.subplots(1, 2), LOSSES, strict=True):
            for number, quantity in enumerate(QUANTITIES):
                means = [_mean(results, f"{loss}, {_ALPHA}{alpha:g}", quantity) for alpha in ALPHAS]
                ax.plot(ALPHAS, means, marker="osv^D"[number], markersize=4, color=f"C{number}", label=quantity)
            ax.set_xscale("log")
            ax.set_xticks(ALPHAS, [f"{alpha:g}" for alpha in ALPHAS])
            ax.minorticks_off()
            ax.set_xlabel("alpha")
            ax.set_ylabel("risk")
            ax.set_title("squared loss" if loss == "squared" else "cross-entropy", fontsize="medium")
            ax.grid(linewidth=0.4, alpha=0.6)
        handles, labels = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
        yield Picture(
            "expansion",
            "Mixup risk of networks trained under mixup, exact and by its quadratic expansion, over the strength; "
            "means over seeds.",
            figure,
        )


class _UnitVariance(nn.Module):
    """Natural parameters of Gaussians of variance one."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        mean = self.network(x)
        return torch.cat([mean, torch.full_like(mean, -0.5)], -1)


def _mean(results: Sequence[Result], case: str, quantity: str) -> float:
    values = [one.scores["risk"] for one in results if (one.unit["case"], one.unit["method"]) == (case, quantity)]
    return sum(values) / len(values) if values else float("nan")
