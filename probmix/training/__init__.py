"""Training of all members as one."""

from .data import TrainingData
from .loop import train
from .options import TrainingOptions, TrainingResult, batch_size_for, patience_for
from .rows import Rows

__all__ = ["Rows", "TrainingData", "TrainingOptions", "TrainingResult", "batch_size_for", "patience_for", "train"]
