"""Training of all members as one."""

from .data import TrainingData
from .loop import train
from .options import TrainingOptions, TrainingResult

__all__ = ["TrainingData", "TrainingOptions", "TrainingResult", "train"]
