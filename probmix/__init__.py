"""Conditional densities with neural networks, regularised by probabilistic mixup."""

from . import adapters, calibration, families, mixup, scores, stacking
from .calibration import ConformalRegressor, RecalibratedRegressor
from .estimators import DensityClassifier, DensityRegressor, fit_together, load
from .fusion import fuse_at
from .heads import NaturalHead
from .mixup import Mixup, mixup_loss
from .networks import GaussianEmbedding
from .pooling import linear_pool, log_linear_pool

__version__ = "0.1.0"

__all__ = [
    "ConformalRegressor",
    "DensityClassifier",
    "DensityRegressor",
    "GaussianEmbedding",
    "Mixup",
    "NaturalHead",
    "RecalibratedRegressor",
    "adapters",
    "calibration",
    "families",
    "fit_together",
    "fuse_at",
    "linear_pool",
    "load",
    "log_linear_pool",
    "mixup",
    "mixup_loss",
    "scores",
    "stacking",
]
