"""The dispatch: cdf and icdf of any distribution, coordinate by coordinate."""

from functools import singledispatch

import torch
from torch import Tensor
from torch.distributions import Distribution

from .from_density import cdf_from_density, icdf_from_cdf, icdf_from_density, keep_panels
from .parts import innermost, is_discrete, to_dtype_of, widen
from .point_masses import mass_at
from .supports import support_ends


class Marginals(Distribution):
    """The functions `cdf` and `icdf` as methods."""

    def cdf(self, value: Tensor) -> Tensor:
        return cdf(self, value)

    def icdf(self, value: Tensor) -> Tensor:
        return icdf(self, value)


@singledispatch
def cdf(distribution: Distribution, y: Tensor) -> Tensor:
    """P(Y <= y), coordinate by coordinate.

    By what the class has: a function that is registered for it, a method, else its `log_prob`, which is integrated or
    summed over its `support`, to 1e-9.

    Parameters
    ----------
    distribution : torch or Pyro distribution
    y : Tensor, broadcastable to batch shape + event shape

    Returns
    -------
    Tensor of that shape

    Raises
    ------
    NotImplementedError
        If there is no cdf, and the density has no support that is known, or does not integrate to one.

    Examples
    --------
    >>> import torch
    >>> from probmix.distributions import Poisson, cdf
    >>> cdf(Poisson(torch.tensor(2.0)), torch.tensor(1.0))  # 3 exp(-2)
    tensor(0.4060)
    """
    found = _by_method(distribution, "cdf", y)
    if found is None:
        return to_dtype_of(distribution, cdf_from_density(distribution, y.double()))
    return _inside_support(distribution, y, found)


@singledispatch
def icdf(distribution: Distribution, q: Tensor) -> Tensor:
    """Quantiles: the smallest y with P(Y <= y) >= q, coordinate by coordinate.

    By what the class has: a function that is registered for it, a method, else by inversion of the cdf.

    Parameters
    ----------
    distribution : torch or Pyro distribution
    q : Tensor of probabilities in [0, 1], broadcastable to batch shape + event shape

    Examples
    --------
    >>> import torch
    >>> from probmix.distributions import Poisson, icdf
    >>> icdf(Poisson(torch.tensor(4.0)), torch.tensor([0.1, 0.5, 0.9]))
    tensor([2., 4., 7.])
    """
    found = _by_method(distribution, "icdf", q)
    if found is None:
        wide = widen(distribution)
        # levels are sought all over the support, and beyond its ends
        wide._validate_args = False
        try:
            found = icdf_from_cdf(wide, lambda y: _exact_cdf(wide, y), q.double())
        except NotImplementedError:
            found = icdf_from_density(wide, q.double())
        found = to_dtype_of(distribution, found)
    return found


def cdf_below(distribution: Distribution, y: Tensor) -> Tensor:
    """P(Y < y), coordinate by coordinate: the `cdf` less the probability of y itself."""
    if is_discrete(distribution):
        return cdf(distribution, y - 1)
    below = cdf(distribution, y)
    return (below - mass_at(distribution, y).to(below.dtype)).clamp(min=0)


def _inside_support(distribution: Distribution, y: Tensor, found: Tensor) -> Tensor:
    """The cdf found by a method, with 0 below and 1 above the support, where torch's own may be anything."""
    try:
        lower, upper = (end.to(y.device) for end in support_ends(distribution))
    except NotImplementedError:
        return found
    above = torch.where(y >= upper, torch.ones_like(found), found)
    return torch.where(y < lower, torch.zeros_like(found), above)


def _by_method(distribution: Distribution, name: str, value: Tensor) -> Tensor | None:
    """What a method of the class itself gives, if it has one."""
    try:
        return torch.as_tensor(getattr(distribution, name)(value)) if _has_method(distribution, name) else None
    except NotImplementedError:
        return None


def _has_method(distribution: Distribution, name: str) -> bool:
    return getattr(type(distribution), name) not in (getattr(Marginals, name), getattr(Distribution, name))


def prepared(distribution: Distribution) -> Distribution:
    """A copy in float64 for many evaluations of the cdf: a density alone is integrated once and not every time."""
    wide = widen(distribution)
    _keep_panels(wide)
    return wide


def _keep_panels(distribution: Distribution) -> None:
    inner = innermost(distribution)
    if not knows_cdf(inner):
        keep_panels(inner)
    for part in getattr(inner, "parts", ()):
        _keep_panels(part)


def knows_cdf(distribution: Distribution) -> bool:
    """Whether the class brings a cdf, so that none is made from its density."""
    inner = innermost(distribution)
    return cdf.dispatch(type(inner)) is not cdf.dispatch(object) or _has_method(inner, "cdf")


def _exact_cdf(distribution: Distribution, y: Tensor) -> Tensor:
    """The cdf that a class brings, or NotImplementedError."""
    if cdf.dispatch(type(distribution)) is not cdf.dispatch(object):
        return cdf(distribution, y)
    found = _by_method(distribution, "cdf", y)
    if found is None:
        raise NotImplementedError
    return found
