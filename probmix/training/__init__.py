"""Training of all members as one."""

from .course import DivergenceError
from .data import TrainingData
from .loop import train
from .options import Epochs, TrainingOptions, TrainingResult, batch_size_for, patience_for
from .rows import Rows, Unlabelled
from .schedules import Constant, Cosine, CosLog4, FlatThenCosine, Schedule
from .task import Task

__all__ = [
    "Constant",
    "CosLog4",
    "Cosine",
    "DivergenceError",
    "Epochs",
    "FlatThenCosine",
    "Rows",
    "Schedule",
    "Task",
    "TrainingData",
    "TrainingOptions",
    "TrainingResult",
    "Unlabelled",
    "batch_size_for",
    "patience_for",
    "train",
]
