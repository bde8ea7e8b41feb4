"""Training of all members as one."""

from .data import TrainingData
from .loop import train
from .options import TrainingOptions, TrainingResult, batch_size_for, patience_for

__all__ = ["TrainingData", "TrainingOptions", "TrainingResult", "batch_size_for", "patience_for", "train"]
