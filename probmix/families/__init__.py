"""Exponential families: stateless mathematics on tensors."""

from .base import ExponentialFamily, LabelPool
from .bernoulli import Bernoulli
from .beta import Beta
from .categorical import Categorical
from .exponential import Exponential
from .gamma import Gamma
from .gaussian import Gaussian
from .inverse_gaussian import InverseGaussian
from .label import Label, TargetScaler
from .lognormal import LogNormal
from .poisson import Poisson
from .registry import get, names, register

__all__ = [
    "Bernoulli",
    "Beta",
    "Categorical",
    "Exponential",
    "ExponentialFamily",
    "Gamma",
    "Gaussian",
    "InverseGaussian",
    "Label",
    "LabelPool",
    "LogNormal",
    "Poisson",
    "TargetScaler",
    "get",
    "names",
    "register",
]
