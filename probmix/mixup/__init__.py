"""Mixup: where rows are mixed, with which others, with what weights, and the loss of what comes of it."""

from .classes import ClassBalanced
from .config import Mixup
from .distance_partners import BatchNeighbours, DistanceKernel, WithinDistance
from .graph_partners import GraphPartners
from .label_kernel import LabelKernel
from .loss import mixup_loss
from .partners import NearestNeighbours, PartnerLaw, UniformPartners
from .presets import as_mixup, preset, preset_names
from .weights import BetaWeights, WeightLaw

__all__ = [
    "BatchNeighbours",
    "BetaWeights",
    "ClassBalanced",
    "DistanceKernel",
    "GraphPartners",
    "LabelKernel",
    "Mixup",
    "NearestNeighbours",
    "PartnerLaw",
    "UniformPartners",
    "WeightLaw",
    "WithinDistance",
    "as_mixup",
    "mixup_loss",
    "preset",
    "preset_names",
]
