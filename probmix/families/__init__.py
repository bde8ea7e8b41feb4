"""Families of densities, most of them exponential: stateless mathematics on tensors."""

from .bernoulli import Bernoulli
from .beta import Beta
from .categorical import Categorical
from .exponential import Exponential
from .exponential_family import ExponentialFamily
from .family import Family, LabelPool
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
    "Family",
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
