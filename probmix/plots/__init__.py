"""Pictures of predictions, as Display classes in scikit-learn's manner; matplotlib is imported on first use."""

from .bands import PredictiveBandDisplay
from .pit import PITHistogramDisplay

__all__ = ["PITHistogramDisplay", "PredictiveBandDisplay"]
