"""Pictures of predictions, as Display classes in scikit-learn's manner; matplotlib is imported on first use."""

from .bands import PredictiveBandDisplay
from .comparison import ScoreComparisonDisplay
from .coverage import CoverageDisplay
from .densities import DensityDisplay
from .effects import EffectDisplay
from .fusion import FusionDisplay
from .importance import ImportanceDisplay
from .intervals import IntervalDisplay
from .pit import PITHistogramDisplay
from .reliability import ReliabilityDisplay
from .training import TrainingDisplay

__all__ = [
    "CoverageDisplay",
    "DensityDisplay",
    "EffectDisplay",
    "FusionDisplay",
    "ImportanceDisplay",
    "IntervalDisplay",
    "PITHistogramDisplay",
    "PredictiveBandDisplay",
    "ReliabilityDisplay",
    "ScoreComparisonDisplay",
    "TrainingDisplay",
]
