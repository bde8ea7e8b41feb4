"""Proper scores and calibration: functions of (distribution, y), one value per row, on the tensors' device."""

from .brier import brier
from .calibration import coverage, pit
from .crps import crps
from .moments import dawid_sebastiani
from .nll import nll
from .quantiles import crps_quantiles, interval_score, quantile_score, weighted_interval_score
from .ranked import ranked_probability_score
from .samples import crps_samples, energy_score
from .scorers import neg_crps_scorer, neg_nll_scorer

__all__ = [
    "brier",
    "coverage",
    "crps",
    "crps_quantiles",
    "crps_samples",
    "dawid_sebastiani",
    "energy_score",
    "interval_score",
    "neg_crps_scorer",
    "neg_nll_scorer",
    "nll",
    "pit",
    "quantile_score",
    "ranked_probability_score",
    "weighted_interval_score",
]
