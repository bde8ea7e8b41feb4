"""The papers' experiments: units of work whose results are on disk at once, so that a killed run goes on."""

from .base import Experiment, Outcome, Picture
from .counts import CountsExperiment
from .leaderboard import LeaderboardExperiment
from .run import report_on, reproduce
from .stocks import StockExperiment
from .store import Result, ResultStore, Unit
from .theory import TheoryExperiment
from .toy_classification import ToyClassificationExperiment
from .toy_regression import ToyRegressionExperiment
from .uci import UCIExperiment

__all__ = [
    "CountsExperiment",
    "Experiment",
    "LeaderboardExperiment",
    "Outcome",
    "Picture",
    "Result",
    "ResultStore",
    "StockExperiment",
    "TheoryExperiment",
    "ToyClassificationExperiment",
    "ToyRegressionExperiment",
    "UCIExperiment",
    "Unit",
    "report_on",
    "reproduce",
]
