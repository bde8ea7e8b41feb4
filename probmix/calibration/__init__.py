"""Calibration of fitted models: recalibrated distributions and conformal intervals, from held-out rows; rescaling."""

from .conformal import ConformalRegressor
from .distribution import Recalibrated
from .pit_map import PITMap, fit_pit_map
from .recalibrated import RecalibratedRegressor
from .rescaled import rescaled

__all__ = ["ConformalRegressor", "PITMap", "Recalibrated", "RecalibratedRegressor", "fit_pit_map", "rescaled"]
