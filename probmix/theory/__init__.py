"""What theory says of a model under mixup: its perturbed risk, expansions of it, linearity and intrusion."""

from ..mixup import Strength, strength
from .adversarial import AdversarialTerms, adversarial_terms, kept_label_risk
from .exact_risk import MixupRisk, mixup_risk
from .expansion import quadratic_expansion
from .expansion_result import QuadraticExpansion
from .intrusion import Intrusion, intrusion
from .linearity import Linearity, linearity
from .perturbed import PerturbedERM, perturbed_erm

__all__ = [
    "AdversarialTerms",
    "Intrusion",
    "Linearity",
    "MixupRisk",
    "PerturbedERM",
    "QuadraticExpansion",
    "Strength",
    "adversarial_terms",
    "intrusion",
    "kept_label_risk",
    "linearity",
    "mixup_risk",
    "perturbed_erm",
    "quadratic_expansion",
    "strength",
]
