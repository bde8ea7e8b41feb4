"""Every distribution tells everything about itself: its tables cannot drift apart."""

import pyro.distributions as dist
import pytest
from torch.distributions import Distribution

from probmix import distributions
from probmix.calibration import Recalibrated
from probmix.distributions import (
    Bernoulli,
    Beta,
    Categorical,
    Empirical,
    Exponential,
    Gamma,
    Hurdle,
    Independent,
    InverseGaussian,
    LogNormal,
    Mixture,
    NegativeBinomial,
    Poisson,
    QuantileFunction,
    StudentT,
    ZeroAdjusted,
    ZeroInflated,
    counts,
    marginals,
    normal_scores,
    point_masses,
    quadrature,
    scoring,
    truncated,
)

COUNTS = (Poisson, NegativeBinomial, ZeroInflated, Hurdle)
# Classes of torch that the package knows, under its own name where it has one.
OTHERS = (dist.Normal, dist.Laplace, dist.MultivariateNormal, Recalibrated)
KNOWN = [
    *(c for name in distributions.__all__ if isinstance(c := getattr(distributions, name), type)),
    *OTHERS,
]
CONTINUOUS = [c for c in KNOWN if c not in (*COUNTS, Bernoulli, Categorical)]

# generic -> the classes for which its generic method is right, and why
GENERIC = {
    "atoms": {
        "it has none": (
            *(dist.Normal, dist.Laplace, dist.MultivariateNormal, StudentT),
            *(Gamma, InverseGaussian, LogNormal, Exponential, Beta),
        ),
        "discrete": (*COUNTS, Bernoulli, Categorical),
    },
    "cdf": {
        "the class's own method does": (Empirical, QuantileFunction, Recalibrated, dist.Laplace),
    },
    "icdf": {
        "the class's own method does": (Empirical, QuantileFunction, Recalibrated, dist.Laplace),
    },
    "normal_score": {
        "the normal score of the cdf, which has no simpler form": (
            *(c for c in KNOWN if c not in (dist.Normal, dist.MultivariateNormal, LogNormal, StudentT, Independent)),
        ),
    },
    "from_normal_score": {
        "the quantile at the probability, which has no simpler form": (
            *(c for c in KNOWN if c not in (dist.Normal, dist.MultivariateNormal, LogNormal, StudentT, Independent)),
        ),
    },
    "marginal_nll": {
        "log_prob in float64 keeps its digits": (
            *(dist.Normal, dist.Laplace, dist.MultivariateNormal, InverseGaussian, Recalibrated),
        ),
        "there is no density, and log_prob says so": (Empirical, QuantileFunction),
    },
    "marginal_crps": {"there is no closed form": (InverseGaussian, dist.Laplace)},
    "marginal_crps_with_bound": {
        "there is no closed form": (InverseGaussian, dist.Laplace),
    },
    "marginal_window_crps": {
        "the general quadrature or sum is exact and quick": (
            *(*COUNTS, Bernoulli, Gamma, Exponential, LogNormal, InverseGaussian, StudentT, ZeroAdjusted, dist.Laplace),
        ),
    },
    "mixture_crps": {
        "there is no closed form for pairs": (*COUNTS, Gamma, InverseGaussian, StudentT, ZeroAdjusted, dist.Laplace),
        "no pool makes a mixture of these": (QuantileFunction, Recalibrated),
    },
    "mixture_crps_with_bound": {
        "there is no closed form for pairs": (*COUNTS, Gamma, InverseGaussian, StudentT, ZeroAdjusted, dist.Laplace),
        "no pool makes a mixture of these": (QuantileFunction, Recalibrated),
    },
    "mixture_window_crps": {
        "the general quadrature or sum is exact and quick": (
            *(c for c in KNOWN if c not in (Beta, Categorical, Empirical, Independent, Mixture)),
        ),
    },
    "cuts": {"its quantiles": (*(c for c in KNOWN if c not in (Independent, Mixture, ZeroAdjusted)),)},
    "masses": {
        "the exponential of log_prob": (Poisson,),
        "sums from the cdf serve": (Bernoulli, Categorical),
        "not of counts": (*CONTINUOUS,),
    },
    "smooth_cdf": {
        "few values, all summed": (Bernoulli, Categorical),
        "not of counts": (*CONTINUOUS,),
    },
    "counted": {"its own counts": (*(c for c in KNOWN if c not in (ZeroInflated, Hurdle)),)},
    "sample_positive": {"by quantiles": (*(c for c in KNOWN if c not in (Poisson, NegativeBinomial)),)},
    "summed_counts": {
        "the integral is cheaper from the first count on": (*(c for c in KNOWN if c is not NegativeBinomial),),
    },
}
GENERICS = {
    name: function
    for module in (marginals, point_masses, normal_scores, counts, quadrature, scoring, truncated)
    for name, function in vars(module).items()
    if hasattr(function, "registry") and function.__module__ == module.__name__
}
# Made of others: mixtures dispatch on their components, the coordinates of a row on one of them.
PARTS = {"sample_positive", "mixture_crps", "mixture_crps_with_bound", "mixture_window_crps", "summed_counts"}


def is_registered(generic, cls: type[Distribution]) -> bool:
    return generic.dispatch(cls) is not generic.dispatch(object)


def excused(name: str, cls: type[Distribution]) -> bool:
    if cls in (Independent, Mixture) and name in PARTS:
        return True
    return any(cls in classes for classes in GENERIC[name].values())


def test_the_list_names_every_generic():
    assert set(GENERIC) == set(GENERICS)


@pytest.mark.parametrize("name", GENERICS)
def test_every_distribution_has_every_fact_or_a_reason(name):
    """Where this fails, register the generic function in the distribution's file, or say above why it needs none."""
    assert [c.__name__ for c in KNOWN if not (is_registered(GENERICS[name], c) or excused(name, c))] == []


@pytest.mark.parametrize("name", GENERICS)
def test_no_reason_is_out_of_date(name):
    single = [c for c in KNOWN if c not in (Independent, Mixture)]
    assert [c.__name__ for c in single if is_registered(GENERICS[name], c) and excused(name, c)] == []
