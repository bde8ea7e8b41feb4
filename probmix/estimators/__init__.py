"""Estimators in scikit-learn's manner."""

from .classifier import DensityClassifier
from .loading import load
from .regressor import DensityRegressor

__all__ = ["DensityClassifier", "DensityRegressor", "load"]
