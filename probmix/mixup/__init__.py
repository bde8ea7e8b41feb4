"""Mixup: where rows are mixed, with which others, with what weights, and the loss of what comes of it."""

from .adaptive_weights import LearnedWeights, SimilarityWeights
from .classes import ClassBalanced
from .config import Mixup
from .consistency import consistency_loss
from .distance_partners import BatchNeighbours, DistanceKernel, WithinDistance
from .graph_partners import GraphPartners
from .label_kernel import LabelKernel
from .loss import mixup_loss
from .partners import NearestNeighbours, PartnerLaw, PreparedPartners, UniformPartners
from .plain_weights import FixedWeights, TwoPointWeights, UniformWeights
from .presets import as_mixup, preset, preset_names
from .registry import register_law
from .rescaling import Rescaled
from .strength import Strength, strength
from .teacher import Consistency, Teacher
from .weights import BetaWeights, DirichletWeights, FoldedBetaWeights, WeightLaw, WWeights

__all__ = [
    "BatchNeighbours",
    "BetaWeights",
    "ClassBalanced",
    "Consistency",
    "DirichletWeights",
    "DistanceKernel",
    "FixedWeights",
    "FoldedBetaWeights",
    "GraphPartners",
    "LabelKernel",
    "LearnedWeights",
    "Mixup",
    "NearestNeighbours",
    "PartnerLaw",
    "PreparedPartners",
    "Rescaled",
    "SimilarityWeights",
    "Strength",
    "Teacher",
    "TwoPointWeights",
    "UniformPartners",
    "UniformWeights",
    "WWeights",
    "WeightLaw",
    "WithinDistance",
    "as_mixup",
    "consistency_loss",
    "mixup_loss",
    "preset",
    "preset_names",
    "register_law",
    "strength",
]
