"""Exponential families: stateless mathematics on tensors."""

from .base import ExponentialFamily, LabelPool
from .categorical import Categorical
from .gamma import Gamma
from .gaussian import Gaussian
from .label import Label, TargetScaler
from .poisson import Poisson
from .registry import get, names, register

__all__ = [
    "Categorical",
    "ExponentialFamily",
    "Gamma",
    "Gaussian",
    "Label",
    "LabelPool",
    "Poisson",
    "TargetScaler",
    "get",
    "names",
    "register",
]
