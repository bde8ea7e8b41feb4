"""Estimators in scikit-learn's manner."""

from .classifier import DensityClassifier
from .loading import load
from .regressor import DensityRegressor
from .together import fit_together

__all__ = ["DensityClassifier", "DensityRegressor", "fit_together", "load"]
