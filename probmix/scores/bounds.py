"""The CRPS together with a bound of its numerical error."""

from functools import singledispatch

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, MixtureSameFamily

from ..distributions import is_discrete
from ..distributions.beta import concentrations
from ..distributions.smooth import has_smooth_cdf
from ._beta_mixtures import beta_mixture_crps
from ._inputs import checked_targets, innermost, mean_over_event, to_dtype_of, widen
from ._members import members_last, mixture_weights
from ._quadrature import TAIL, quadrature_window, quantiles
from ._sums import SMOOTH_FROM
from .crps import lacks_cdf, marginal_crps

# Rounding of a sum of a few functions that are good to the last digits, in units of its largest term.
_ROUNDING = 4e-15
# Error of a cdf where no more is known of it: that of the incomplete gamma functions.
_CDF_ERROR = 1e-12
# Relative error of the Euler-Maclaurin formula.
_SMOOTH_ERROR = 1e-8


def crps_with_bound(distribution: Distribution, y: Tensor) -> tuple[Tensor, Tensor]:
    r"""CRPS and an upper bound of its absolute numerical error, both in the unit of y.

    Parameters
    ----------
    distribution : torch or Pyro distribution
        Any that `crps` accepts.
    y : Tensor, broadcastable to batch shape + event shape
        Whole numbers where the distribution is discrete.

    Returns
    -------
    value : Tensor, (*batch_shape,), in the dtype of the distribution
        As `crps`.
    bound : Tensor, (*batch_shape,), in the dtype of the distribution
        The CRPS of the distribution, its parameters taken as exact, lies within this distance of `value`. No gradient.

    Raises
    ------
    ValueError, NotImplementedError
        As `crps`.

    Notes
    -----
    Closed forms: the rounding of their terms, about 1e-14 of :math:`|y| + E|Y - y|`, plus the error of the incomplete
    gamma (1e-12) and beta functions (1e-13, growing with the concentrations). Quadrature: the coefficients of the
    integrand that every panel resolves last; the mass below 1e-10 that the members of a mixture may hide between nodes,
    and that below 1e-12 in either tail, if it is no heavier than a Cauchy's; and the error of the cdf, which is taken
    to be 1e-12 for families that are not of this package. Mixtures of Poissons above 256: 1e-8 of the value. In
    float32 rounding to that dtype outweighs all.

    The estimates of the panels are no proof: a cdf with a step that lies between all nodes escapes them.

    Examples
    --------
    >>> import torch
    >>> from probmix.distributions import InverseGaussian
    >>> from probmix.scores import crps_with_bound
    >>> one = torch.ones(1, dtype=torch.float64)
    >>> value, bound = crps_with_bound(InverseGaussian(one, one), 2 * one)
    >>> round(value.item(), 4), bool(bound < 1e-10 * value)
    (0.815, True)
    """
    y = checked_targets(distribution, y).double()
    value, error = _with_bound(distribution, y)
    value, error = (mean_over_event(distribution, t) for t in (value, error.detach()))
    rounded = to_dtype_of(distribution, value)
    eps = torch.finfo(rounded.dtype).eps
    return rounded, to_dtype_of(distribution, error + eps * value.detach().abs())


@singledispatch
def _with_bound(distribution: Distribution, y: Tensor) -> tuple[Tensor, Tensor]:
    """CRPS of every coordinate and the bound, in float64, of shape batch + event."""
    wide = widen(distribution)
    try:
        return _sum_with_bound(wide, y) if is_discrete(wide) else _quadrature_with_bound(wide, y)
    except NotImplementedError as error:
        raise lacks_cdf(distribution) from error


@_with_bound.register(Independent)
def _(distribution: Independent[Distribution], y: Tensor) -> tuple[Tensor, Tensor]:
    return _with_bound(distribution.base_dist, y)


@_with_bound.register(torch.distributions.Normal)
@_with_bound.register(torch.distributions.Poisson)
@_with_bound.register(torch.distributions.NegativeBinomial)
@_with_bound.register(torch.distributions.Gamma)
@_with_bound.register(torch.distributions.Exponential)
@_with_bound.register(torch.distributions.LogNormal)
@_with_bound.register(torch.distributions.Bernoulli)
@_with_bound.register(torch.distributions.Beta)
@_with_bound.register(torch.distributions.Categorical)
def _(distribution: Distribution, y: Tensor) -> tuple[Tensor, Tensor]:
    return _closed_with_bound(distribution, y)


@_with_bound.register
def _(distribution: MixtureSameFamily, y: Tensor) -> tuple[Tensor, Tensor]:
    match innermost(distribution):
        case (
            torch.distributions.Normal()
            | torch.distributions.Exponential()
            | torch.distributions.LogNormal()
            | torch.distributions.Bernoulli()
            | torch.distributions.Categorical()
        ):
            return _closed_with_bound(distribution, y)
        case torch.distributions.Beta() as component:
            a, b = (members_last(distribution, p) for p in concentrations(component))
            value, error = beta_mixture_crps(mixture_weights(distribution), a, b, y)
            return value, error + _ROUNDING * value.detach() + 2 * (_beta_error(a, b).amax(-1) * value.detach().sqrt())
        case _:
            return _with_bound.dispatch(Distribution)(distribution, y)


def _closed_with_bound(distribution: Distribution, y: Tensor) -> tuple[Tensor, Tensor]:
    value = marginal_crps(distribution, y)
    with torch.no_grad():
        return value, _rounding(widen(distribution), y, value)


def _rounding(distribution: Distribution, y: Tensor, value: Tensor) -> Tensor:
    """Rounding of a closed form: that of its largest term."""
    match innermost(distribution):
        case torch.distributions.Bernoulli():
            return _ROUNDING * value
        case torch.distributions.Categorical() as component:
            return _ROUNDING * component.probs.shape[-1] * value
        case torch.distributions.Exponential():
            return _ROUNDING * (y.abs() + value)
        case torch.distributions.LogNormal() as component:
            # exp loses the digits that its argument has before the point
            digits = 1 + component.loc.abs() + component.scale.square()
            if isinstance(distribution, MixtureSameFamily):
                digits = members_last(distribution, digits).amax(-1)
            return _ROUNDING * digits * (y.abs() + value)
        case torch.distributions.Normal():
            return _ROUNDING * (_distance(distribution, y) + distribution.stddev)
        case torch.distributions.Beta() as component:
            a, b = concentrations(component)
            return _beta_error(a, b) * (_distance(distribution, y) + distribution.stddev)
        case _:
            spread = torch.minimum(distribution.stddev, distribution.mean)
            return _CDF_ERROR * (_distance(distribution, y) + spread)


def _distance(distribution: Distribution, y: Tensor) -> Tensor:
    return (y - distribution.mean).abs()


def _beta_error(a: Tensor, b: Tensor) -> Tensor:
    return 1e-13 + 1e-16 * (a + b)


def _quadrature_with_bound(distribution: Distribution, y: Tensor) -> tuple[Tensor, Tensor]:
    ends = torch.full_like(y, torch.inf)
    value, error = quadrature_window(distribution, y, -ends, ends)
    low, high = quantiles(distribution, (TAIL, 1 - TAIL))
    return value, error + _from_cdf(value.detach(), high - low)


def _sum_with_bound(distribution: Distribution, y: Tensor) -> tuple[Tensor, Tensor]:
    value = marginal_crps(distribution, y)
    low, high = quantiles(distribution, (TAIL, 1 - TAIL))
    error = _from_cdf(value.detach(), high - low + 1) + TAIL**2 * (high - low)
    # beyond the quantiles F counts as 0 or 1
    error = error + 4 * TAIL * value.detach()
    if has_smooth_cdf(distribution):
        error = error + torch.where(high >= SMOOTH_FROM, _SMOOTH_ERROR * value.detach(), 0.0)
    return value, error


def _from_cdf(value: Tensor, length: Tensor) -> Tensor:
    """What errors of the cdf do to the integral of its square over such a length, by Cauchy and Schwarz."""
    return _ROUNDING * value + 2 * _CDF_ERROR * (value * length).sqrt()
