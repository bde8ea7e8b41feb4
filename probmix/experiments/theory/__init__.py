"""The theory of mixup, in numbers."""

from .alternating_line import AlternatingLine
from .crossover import Crossover
from .expansions import Expansions
from .experiment import PARTS, PROTOCOL, TheoryExperiment
from .linear_layers import LinearLayers
from .part import Part
from .perceptron import perceptron
from .rare_features import RareFeatures
from .strengths import Strengths

__all__ = [
    "PARTS",
    "PROTOCOL",
    "AlternatingLine",
    "Crossover",
    "Expansions",
    "LinearLayers",
    "Part",
    "RareFeatures",
    "Strengths",
    "TheoryExperiment",
    "perceptron",
]
