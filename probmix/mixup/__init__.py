"""Mixup: where inputs meet, with whom, with what weight, and the loss of the meeting."""

from .config import Mixup, as_mixup, preset, preset_names
from .loss import mixup_loss
from .partners import NearestNeighbours, PartnerLaw, UniformPartners
from .weights import BetaWeights, WeightLaw

__all__ = [
    "BetaWeights",
    "Mixup",
    "NearestNeighbours",
    "PartnerLaw",
    "UniformPartners",
    "WeightLaw",
    "as_mixup",
    "mixup_loss",
    "preset",
    "preset_names",
]
