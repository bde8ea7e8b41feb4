"""Proper scores and calibration: functions of (distribution, y) of any kind, one value per row, as a tensor."""

from .bounds import crps_with_bound
from .brier import brier
from .calibration import coverage, pit
from .comparison import compare_rows
from .confidence import expected_calibration_error
from .corp import Decomposition, corp_decomposition
from .cross_validation import cross_val_predict_dist
from .crps import crps
from .curves import CoverageCurve, calibration_error, coverage_curve
from .evaluate import evaluate, score_rows
from .moments import dawid_sebastiani
from .nll import nll
from .quantiles import crps_quantiles, interval_score, quantile_score, weighted_interval_score
from .ranked import ranked_probability_score
from .reliability import ReliabilityCurve, reliability_curve
from .samples import crps_samples, energy_score
from .scorers import neg_crps_scorer, neg_nll_scorer
from .sharpness import interval_width
from .threshold import threshold_weighted_crps, threshold_weighted_crps_samples

__all__ = [
    "CoverageCurve",
    "Decomposition",
    "ReliabilityCurve",
    "brier",
    "calibration_error",
    "compare_rows",
    "corp_decomposition",
    "coverage",
    "coverage_curve",
    "cross_val_predict_dist",
    "crps",
    "crps_quantiles",
    "crps_samples",
    "crps_with_bound",
    "dawid_sebastiani",
    "energy_score",
    "evaluate",
    "expected_calibration_error",
    "interval_score",
    "interval_width",
    "neg_crps_scorer",
    "neg_nll_scorer",
    "nll",
    "pit",
    "quantile_score",
    "ranked_probability_score",
    "reliability_curve",
    "score_rows",
    "threshold_weighted_crps",
    "threshold_weighted_crps_samples",
    "weighted_interval_score",
]
