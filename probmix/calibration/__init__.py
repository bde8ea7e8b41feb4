"""Calibration of fitted models on held-out rows: recalibrated distributions and conformal prediction intervals."""

from .conformal import ConformalRegressor
from .distribution import Recalibrated
from .pit_map import PITMap, fit_pit_map
from .recalibrated import RecalibratedRegressor

__all__ = ["ConformalRegressor", "PITMap", "Recalibrated", "RecalibratedRegressor", "fit_pit_map"]
