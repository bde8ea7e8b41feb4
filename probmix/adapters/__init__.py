"""Other libraries' models and predictions as torch distributions.

Nothing here imports NGBoost or skpro: their objects are told by the modules that their classes come from.
"""

from .models import AdaptedModel, adapt, predicts_distributions
from .predictions import as_distribution, is_prediction

__all__ = ["AdaptedModel", "adapt", "as_distribution", "is_prediction", "predicts_distributions"]
