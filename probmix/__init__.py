"""Conditional densities with neural networks, regularised by probabilistic mixup."""

from . import families
from .heads import NaturalHead
from .pooling import linear_pool, log_linear_pool

__version__ = "0.1.0"

__all__ = ["NaturalHead", "families", "linear_pool", "log_linear_pool"]
