"""The papers' experiments: units of work whose results are on disk at once, so that a killed run goes on."""

from .base import Experiment, Outcome
from .run import reproduce
from .stocks import StockExperiment
from .store import Result, ResultStore, Unit

__all__ = ["Experiment", "Outcome", "Result", "ResultStore", "StockExperiment", "Unit", "reproduce"]
