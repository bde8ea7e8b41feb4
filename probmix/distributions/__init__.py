"""What torch's distributions lack: cdf and icdf on the device, and log-densities that do not cancel.

`cdf` and `icdf` accept any torch or Pyro distribution; the classes here are Pyro distributions that have both as
methods. Both work on marginals: for an `Independent` distribution or a mixture of such they act on each coordinate.
"""

from . import binned_scores as binned_scores
from . import laplace as laplace  # torch's own classes
from . import normal as normal
from .bernoulli import Bernoulli
from .beta import Beta
from .binned import Binned
from .blend import Blend, blend
from .categorical import Categorical
from .concatenation import Joined, concatenate
from .empirical import Empirical
from .exponential import Exponential
from .gamma import Gamma
from .inflated import Hurdle, ZeroInflated
from .inverse_gaussian import InverseGaussian
from .lognormal import LogNormal
from .marginals import cdf, cdf_below, icdf
from .mixture import Independent, Mixture
from .negative_binomial import NegativeBinomial
from .parts import is_discrete
from .point_masses import atoms, has_atoms
from .poisson import Poisson
from .quantile_function import QuantileFunction
from .student_t import StudentT
from .transformed import MonotoneMap, Transformed
from .tweedie import Tweedie
from .zero_adjusted import ZeroAdjusted

__all__ = [
    "Bernoulli",
    "Beta",
    "Binned",
    "Blend",
    "Categorical",
    "Empirical",
    "Exponential",
    "Gamma",
    "Hurdle",
    "Independent",
    "InverseGaussian",
    "Joined",
    "LogNormal",
    "Mixture",
    "MonotoneMap",
    "NegativeBinomial",
    "Poisson",
    "QuantileFunction",
    "StudentT",
    "Transformed",
    "Tweedie",
    "ZeroAdjusted",
    "ZeroInflated",
    "atoms",
    "blend",
    "cdf",
    "cdf_below",
    "concatenate",
    "has_atoms",
    "icdf",
    "is_discrete",
]
