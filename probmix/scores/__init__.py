"""Proper scores and calibration: functions of (distribution, y), one value per row, on the tensors' device."""

from .brier import brier
from .calibration import coverage, pit
from .crps import crps
from .nll import nll
from .scorers import neg_crps_scorer, neg_nll_scorer

__all__ = ["brier", "coverage", "crps", "neg_crps_scorer", "neg_nll_scorer", "nll", "pit"]
