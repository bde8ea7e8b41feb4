"""Every distribution tells everything about itself: its tables cannot drift apart."""

import pyro.distributions as dist
import pytest
from torch.distributions import Distribution

from probmix import distributions
from probmix.calibration import Recalibrated
from probmix.distributions import counts, marginals, normal_scores, point_masses, quadrature, scoring, truncated

MODULES = (marginals, point_masses, normal_scores, counts, quadrature, scoring, truncated)
GENERICS = {
    name: function
    for module in MODULES
    for name, function in vars(module).items()
    if hasattr(function, "registry") and function.__module__ == module.__name__
}

# Why the general form of a function is right for a class, and of which functions that may be said.
REASONS = {
    "has methods of its own": {"cdf", "icdf"},
    "no point masses": {"atoms"},
    "discrete": {"atoms"},
    "no counts": {"masses", "smooth_cdf", "counted", "summed_counts", "sample_positive"},
    "not of counts alone": {"masses", "smooth_cdf", "counted", "summed_counts", "sample_positive"},
    "few values, all summed": {"masses", "smooth_cdf", "counted", "summed_counts", "sample_positive"},
    "probabilities by log_prob": {"masses"},
    "counts of its own": {"counted"},
    "counts as its parts": {"summed_counts"},
    "an integral from 256 on": {"summed_counts"},
    "positive draws by quantiles": {"sample_positive"},
    "normal score by the cdf": {"normal_score", "from_normal_score"},
    "quantiles from scores by the cdf": {"from_normal_score"},
    "smooth between its quantiles": {"cuts"},
    "log_prob keeps its digits": {"marginal_nll"},
    "no density": {"marginal_nll"},
    "no closed form": {"marginal_crps", "marginal_crps_with_bound"},
    "the general bound holds": {"mixture_crps_with_bound"},
    "no closed form for pairs": {"mixture_crps", "mixture_crps_with_bound"},
    "thresholds by quadrature or sums": {"marginal_window_crps", "mixture_window_crps"},
    "thresholds by quadrature alone": {"marginal_window_crps"},
    "thresholds of mixtures by quadrature": {"mixture_window_crps"},
    "never a component": {"mixture_crps", "mixture_crps_with_bound", "mixture_window_crps"},
    "made of others": {
        "mixture_crps",
        "mixture_crps_with_bound",
        "mixture_window_crps",
        "summed_counts",
        "sample_positive",
    },
}
SMOOTH = "no point masses; no counts; smooth between its quantiles"
COUNTS = "discrete; normal score by the cdf; smooth between its quantiles; thresholds by quadrature or sums"
# One line for every class, of this package or of torch's that it knows.
GENERAL = {
    "Bernoulli": "discrete; normal score by the cdf; smooth between its quantiles; few values, all summed; "
    "thresholds by quadrature or sums",
    "Beta": f"{SMOOTH}; normal score by the cdf",
    "Binned": "no point masses; no counts; normal score by the cdf; log_prob keeps its digits",
    "Blend": "never a component; counts as its parts; positive draws by quantiles",
    "Categorical": "discrete; normal score by the cdf; smooth between its quantiles; few values, all summed",
    "Empirical": "has methods of its own; no counts; normal score by the cdf; smooth between its quantiles; no density",
    "Exponential": f"{SMOOTH}; normal score by the cdf; thresholds by quadrature or sums",
    "Gamma": f"{SMOOTH}; normal score by the cdf; thresholds by quadrature or sums",
    "Hurdle": f"{COUNTS}; an integral from 256 on; positive draws by quantiles; no closed form for pairs",
    "Independent": "made of others",
    "InverseGaussian": f"{SMOOTH}; normal score by the cdf; log_prob keeps its digits; no closed form; "
    "no closed form for pairs; thresholds by quadrature or sums",
    "Joined": "has methods of its own; not of counts alone; never a component",
    "LogNormal": f"{SMOOTH}; thresholds by quadrature or sums",
    "Mixture": "made of others",
    "NegativeBinomial": f"{COUNTS}; counts of its own; the general bound holds",
    "Poisson": f"{COUNTS}; counts of its own; probabilities by log_prob; an integral from 256 on; "
    "the general bound holds",
    "QuantileFunction": "has methods of its own; no counts; normal score by the cdf; smooth between its quantiles; "
    "no density; never a component",
    "StudentT": "no point masses; no counts; thresholds by quadrature alone",
    "Transformed": "has methods of its own; no counts; log_prob keeps its digits; no closed form; "
    "thresholds by quadrature or sums; never a component",
    "Tweedie": "no counts; normal score by the cdf; no closed form; thresholds by quadrature alone",
    "ZeroAdjusted": "no counts; thresholds by quadrature or sums",
    "ZeroInflated": f"{COUNTS}; an integral from 256 on; positive draws by quantiles; no closed form for pairs",
    "Normal": f"{SMOOTH}; log_prob keeps its digits; thresholds of mixtures by quadrature",
    "MultivariateNormal": f"{SMOOTH}; log_prob keeps its digits; thresholds of mixtures by quadrature",
    "Laplace": f"has methods of its own; {SMOOTH}; normal score by the cdf; log_prob keeps its digits; no closed form; "
    "no closed form for pairs; thresholds by quadrature or sums",
    "Recalibrated": "has methods of its own; no counts; normal score by the cdf; smooth between its quantiles; "
    "log_prob keeps its digits; never a component",
}


def is_distribution(thing: object) -> bool:
    return isinstance(thing, type) and issubclass(thing, Distribution)


KNOWN = {name: thing for name in distributions.__all__ if is_distribution(thing := getattr(distributions, name))}
KNOWN |= {cls.__name__: cls for cls in (dist.Normal, dist.Laplace, dist.MultivariateNormal, Recalibrated)}


def test_reasons_are_given_for_classes_and_functions_that_there_are():
    assert set(GENERAL) == set(KNOWN)
    assert set().union(*REASONS.values()) == set(GENERICS)


@pytest.mark.parametrize("name", KNOWN)
def test_every_distribution_has_every_function_or_a_reason(name):
    """Where this fails, register the function in the distribution's file, or say above why not."""
    general = {g for g, function in GENERICS.items() if function.dispatch(KNOWN[name]) is function.dispatch(object)}
    assert general == set().union(*(REASONS[reason] for reason in GENERAL[name].split("; ")))
