"""Families of densities, most of them exponential: stateless mathematics on tensors."""

from .bernoulli import Bernoulli
from .beta import Beta
from .categorical import Categorical
from .counts import CountFamily
from .divergence import divergence
from .exponential import Exponential
from .exponential_family import ExponentialFamily
from .family import Family, LabelPool
from .gamma import Gamma
from .gaussian import Gaussian
from .histogram import Histogram
from .inflated import Hurdle, ZeroInflated
from .inverse_gaussian import InverseGaussian
from .label import Label, TargetScaler
from .lognormal import LogNormal
from .mixture import Mixture
from .multivariate_gaussian import MultivariateGaussian
from .negative_binomial import FixedNegativeBinomial, NegativeBinomial
from .poisson import Poisson
from .registry import canonical_name, get, names, register
from .student_t import StudentT
from .tweedie import Tweedie
from .zero_adjusted import ZeroAdjusted

__all__ = [
    "Bernoulli",
    "Beta",
    "Categorical",
    "CountFamily",
    "Exponential",
    "ExponentialFamily",
    "Family",
    "FixedNegativeBinomial",
    "Gamma",
    "Gaussian",
    "Histogram",
    "Hurdle",
    "InverseGaussian",
    "Label",
    "LabelPool",
    "LogNormal",
    "Mixture",
    "MultivariateGaussian",
    "NegativeBinomial",
    "Poisson",
    "StudentT",
    "TargetScaler",
    "Tweedie",
    "ZeroAdjusted",
    "ZeroInflated",
    "canonical_name",
    "divergence",
    "get",
    "names",
    "register",
]
