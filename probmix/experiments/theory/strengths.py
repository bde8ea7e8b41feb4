"""strength: how strongly laws of the weights regularise, by the moments of the larger weight theta.

theta-bar and s2 are mean and variance of theta; g2 = s2 + (1 - theta-bar)^2. A point of the training data is moved
towards the mean of all by the factor theta-bar, and its perturbation has the covariance s2 (x - x-bar) (x - x-bar)' +
g2 Cov(x); in units of the moved points these are s2 / theta-bar^2 and (s2 + g2) / theta-bar^2. Neither alone is the
strength. No training, no seeds.

The W law has theta = (1 + X) / 2 with X of a Beta law; RegMixup has theta = 1 with probability 1/2; the two-point law
is the one with the largest s2 / theta-bar^2 that there is; K rows have Dirichlet weights, of which theta is the
largest.

Carratino, Cissé, Jenatton and Vert (2022), On Mixup Regularization, JMLR.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from ...mixup import (
    BetaWeights,
    DirichletWeights,
    Mixup,
    TwoPointWeights,
    WeightLaw,
    WWeights,
    preset,
    strength,
)
from ..base import Outcome, Picture
from ..store import Result, Unit
from .part import Part, reference

PROTOCOL = (__doc__ or "").strip()

LAWS: dict[str, tuple[WeightLaw | Mixup, int | None]] = {
    "Beta(0.5)": (BetaWeights(0.5), None),
    "Beta(1), uniform": (BetaWeights(1.0), None),
    "Beta(10)": (BetaWeights(10.0), None),
    "W, X ~ Beta(0.5)": (WWeights(0.5), None),
    "W, X ~ Beta(0.1)": (WWeights(0.1), None),
    "RegMixup(10)": (preset("regmixup"), None),
    "two-point": (TwoPointWeights(), None),
    "Dirichlet(0.5), K = 3": (DirichletWeights(0.5), 3),
    "Dirichlet(0.5), K = 4": (DirichletWeights(0.5), 4),
    "Dirichlet(0.5), K = 5": (DirichletWeights(0.5), 5),
}
QUANTITIES = ("theta-bar", "s2", "s2 / theta-bar^2", "(s2 + g2) / theta-bar^2")
_TEXTS = {
    "Beta(0.5)": "0.8183 0.02368 0.0354 0.120",
    "Beta(1), uniform": "0.75 0.0208 0.0370 0.185",
    "Beta(10)": "0.588 0.0041 0.0120 0.515",
    "W, X ~ Beta(0.5)": "0.75 0.03125 0.0556 0.222",
    "W, X ~ Beta(0.1)": "0.75 0.0521 0.0926 0.296",
    "RegMixup(10)": "0.794 0.0445 0.0706 0.208",
}
REFERENCE = {
    **{law: dict(zip(QUANTITIES, texts.split(), strict=True)) for law, texts in _TEXTS.items()},
    "two-point": {QUANTITIES[2]: "0.125"},
    "Dirichlet(0.5), K = 3": {QUANTITIES[2]: "0.056"},
    "Dirichlet(0.5), K = 4": {QUANTITIES[2]: "0.068"},
    "Dirichlet(0.5), K = 5": {QUANTITIES[2]: "0.076"},
}
_PUBLISHED = {"moment": reference(REFERENCE, "rounded")}


@dataclass(frozen=True)
class Strengths(Part):
    """The strength of laws, under the protocol that this module describes."""

    name = "strength"
    protocol = PROTOCOL
    published = _PUBLISHED

    def units(self, n_seeds: int) -> list[Unit]:
        """All laws, with one seed."""
        return [{"case": law, "method": quantity, "seed": 0} for law in LAWS for quantity in QUANTITIES]

    def job(self, unit: Unit) -> Unit:
        """All quantities of a law."""
        return {"case": unit["case"]}

    def cost(self, unit: Unit) -> float:
        """Little."""
        return 5.0

    def work(self, units: Sequence[Unit]) -> list[Outcome]:
        """In closed form or by quadrature."""
        law, order = LAWS[str(units[0]["case"])]
        found = strength(law, order)
        values = (found.theta_bar, found.s2, found.relative_variance, found.relative_spread)
        by_name = dict(zip(QUANTITIES, values, strict=True))
        return [Outcome({"moment": float(by_name[str(unit["method"])])}) for unit in units]

    def pictures(self, results: Sequence[Result]) -> Iterator[Picture]:
        """Both measures of strength, a law a point."""
        values = {(one.unit["case"], one.unit["method"]): one.scores["moment"] for one in results}
        figure = Figure(figsize=(6.5, 4.2), dpi=110, layout="constrained")
        ax = figure.subplots()
        for law in dict.fromkeys(str(one.unit["case"]) for one in results):
            place = values[law, QUANTITIES[3]], values[law, QUANTITIES[2]]
            ax.plot(*place, "o", color="C0", markersize=5)
            # those of the W law are next to those of three rows
            below = law.startswith(("Beta(0.5)", "Dirichlet"))
            ax.annotate(law, place, (6, -11 if below else 3), textcoords="offset points", fontsize="small")
        ax.axhline(1 / 8, color="black", linewidth=0.7, linestyle=":")
        ax.margins(x=0.25)
        ax.set_ylim(0, 0.14)
        ax.set_xlabel("(s² + γ²) / θ̄²")
        ax.set_ylabel("s² / θ̄²")
        ax.grid(linewidth=0.4, alpha=0.6)
        yield Picture(
            "strength",
            "Laws of the weights by their two measures of strength; dotted is the largest variance a law can have.",
            figure,
        )
