"""Mixup: where rows are mixed, with which others, with what weights, and the loss of what comes of it."""

from .config import Mixup
from .loss import mixup_loss
from .partners import NearestNeighbours, PartnerLaw, UniformPartners
from .presets import as_mixup, preset, preset_names
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
