"""What the scores need of a distribution: its NLL, its CRPS, that between thresholds, and a bound of the CRPS's error.

Every distribution registers its closed forms in its own file; without any, the density, the cdf and the quantiles do.
Mixtures look for the form of their components: `mixture_crps` and the like dispatch on the class of one coordinate of
one component, and get the mixture as well.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import singledispatch

import torch
from torch import Tensor
from torch.distributions import Distribution, MixtureSameFamily

from .counts import SMOOTH_FROM, has_smooth_cdf
from .marginals import prepared
from .parts import innermost, is_discrete, widen
from .quadrature import TAIL, quadrature_crps, quadrature_window, quantiles
from .sums import counts_within, sum_crps, sum_window

# Rounding of a sum of a few functions that are good to the last digits, in units of its largest term.
ROUNDING = 4e-15
# Error of a cdf where no more is known of it: that of the incomplete gamma functions.
CDF_ERROR = 1e-12
# Relative error of the Euler-Maclaurin formula.
_SMOOTH_ERROR = 1e-8


@singledispatch
def marginal_nll(distribution: Distribution, y: Tensor) -> Tensor:
    """Negative log-likelihood of every row, in float64 unless the class is exact in its own dtype; `y` is not checked.

    Coordinates that are independent count together. Infinite outside of the support, also for torch's own classes.
    """
    return -widen(distribution).log_prob(y.double())


@singledispatch
def marginal_crps(distribution: Distribution, y: Tensor) -> Tensor:
    """CRPS of every coordinate, float64, of shape batch + event; `y` is float64 of that shape and is not checked."""
    return generic_crps(distribution, y)


@singledispatch
def marginal_crps_with_bound(distribution: Distribution, y: Tensor) -> tuple[Tensor, Tensor]:
    """The `marginal_crps` and a bound of its error."""
    return generic_crps_with_bound(distribution, y)


@singledispatch
def marginal_window_crps(distribution: Distribution, y: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    """The integral of the CRPS between two thresholds, float64 as `y`, of every coordinate."""
    return generic_window_crps(distribution, y, lower, upper)


@singledispatch
def mixture_crps(component: Distribution, mixture: MixtureSameFamily, y: Tensor) -> Tensor:
    """`marginal_crps` of a mixture of such components."""
    return generic_crps(mixture, y)


@singledispatch
def mixture_crps_with_bound(component: Distribution, mixture: MixtureSameFamily, y: Tensor) -> tuple[Tensor, Tensor]:
    """`marginal_crps_with_bound` of a mixture of such components."""
    return generic_crps_with_bound(mixture, y)


@singledispatch
def mixture_window_crps(
    component: Distribution, mixture: MixtureSameFamily, y: Tensor, lower: Tensor, upper: Tensor
) -> Tensor:
    """`marginal_window_crps` of a mixture of such components."""
    return generic_window_crps(mixture, y, lower, upper)


def generic_crps(distribution: Distribution, y: Tensor) -> Tensor:
    """`marginal_crps` from the cdf and the quantiles: a sum over counts, else an integral."""
    with _cdf_needed(distribution):
        wide = prepared(distribution)
        return sum_crps(wide, y) if is_discrete(wide) else quadrature_crps(wide, y)


def generic_window_crps(distribution: Distribution, y: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    """`marginal_window_crps` in the same way."""
    with _cdf_needed(distribution):
        wide = prepared(distribution)
        if is_discrete(wide):
            return sum_window(wide, y, lower, upper)
        return quadrature_window(wide, y, lower, upper)[0]


def generic_crps_with_bound(distribution: Distribution, y: Tensor) -> tuple[Tensor, Tensor]:
    """`marginal_crps_with_bound` in the same way."""
    with _cdf_needed(distribution):
        wide = prepared(distribution)
        return _sum_with_bound(wide, y) if is_discrete(wide) else _quadrature_with_bound(wide, y)


def rounding_error(distribution: Distribution, y: Tensor, unit: Tensor | float = ROUNDING) -> Tensor:
    """Error of a closed form whose terms are of the size of the distance to y and of the spread, in this unit."""
    wide = widen(distribution)
    return unit * ((y - wide.mean).abs() + wide.stddev)


def incomplete_gamma_error(distribution: Distribution, y: Tensor) -> Tensor:
    """Error of a closed form that holds a cdf of a positive variable, known to CDF_ERROR."""
    wide = widen(distribution)
    return CDF_ERROR * ((y - wide.mean).abs() + torch.minimum(wide.stddev, wide.mean))


def validate(distribution: Distribution, y: Tensor) -> None:
    """Raise, as `log_prob` would, where y is outside the support of a distribution that validates."""
    if distribution._validate_args:
        distribution._validate_sample(y)


@contextmanager
def _cdf_needed(distribution: Distribution) -> Iterator[None]:
    try:
        yield
    except NotImplementedError as error:
        name = type(innermost(distribution)).__name__
        raise NotImplementedError(
            f"the CRPS of {name} has no closed form here and needs its cdf and icdf. "
            f"Register them with `probmix.distributions.cdf.register({name})` and `icdf.register({name})`."
        ) from error


def _quadrature_with_bound(distribution: Distribution, y: Tensor) -> tuple[Tensor, Tensor]:
    ends = torch.full_like(y, torch.inf)
    value, error = quadrature_window(distribution, y, -ends, ends)
    return value, error + error_from_cdf(distribution, value)


def error_from_cdf(distribution: Distribution, value: Tensor) -> Tensor:
    """Error of a CRPS by quadrature that the errors of the cdf make, each as large as CDF_ERROR."""
    low, high = quantiles(distribution, (TAIL, 1 - TAIL))
    return _from_cdf(value.detach(), high - low)


def _sum_with_bound(distribution: Distribution, y: Tensor) -> tuple[Tensor, Tensor]:
    value = marginal_crps(distribution, y)
    low, high = counts_within(distribution)
    error = _from_cdf(value.detach(), high - low + 1) + TAIL**2 * (high - low)
    # beyond the quantiles F counts as 0 or 1
    error = error + 4 * TAIL * value.detach()
    if has_smooth_cdf(distribution):
        error = error + torch.where(high >= SMOOTH_FROM, _SMOOTH_ERROR * value.detach(), 0.0)
    return value, error


def _from_cdf(value: Tensor, length: Tensor) -> Tensor:
    """What errors of the cdf do to the integral of its square over such a length, by Cauchy and Schwarz."""
    return ROUNDING * value + 2 * CDF_ERROR * (value * length).sqrt()
