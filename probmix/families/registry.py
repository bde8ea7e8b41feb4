"""Families by name."""

from collections.abc import Callable
from functools import partial
from typing import Any

from .._names import unknown_name
from .bernoulli import Bernoulli
from .beta import Beta
from .categorical import Categorical
from .exponential import Exponential
from .family import Family
from .gamma import Gamma
from .gaussian import Gaussian
from .inflated import Hurdle, ZeroInflated
from .inverse_gaussian import InverseGaussian
from .lognormal import LogNormal
from .multivariate_gaussian import MultivariateGaussian
from .negative_binomial import FixedNegativeBinomial, NegativeBinomial
from .poisson import Poisson

_FAMILIES: dict[str, Callable[..., Family]] = {
    "gaussian": Gaussian,
    "poisson": Poisson,
    "gamma": Gamma,
    "categorical": Categorical,
    "bernoulli": Bernoulli,
    "beta": Beta,
    "exponential": Exponential,
    "lognormal": LogNormal,
    "inverse-gaussian": InverseGaussian,
    "multivariate-gaussian": MultivariateGaussian,
    "negative-binomial": NegativeBinomial,
    "fixed-negative-binomial": FixedNegativeBinomial,
    "zero-inflated-poisson": ZeroInflated,
    "zero-inflated-negative-binomial": partial(ZeroInflated, base=NegativeBinomial()),
    "hurdle-poisson": Hurdle,
    "hurdle-negative-binomial": partial(Hurdle, base=NegativeBinomial()),
}


# Names of these say what they are made of; those of the bases above are among the names.
_GATED: dict[str, Callable[..., Family]] = {"zero-inflated-": ZeroInflated, "hurdle-": Hurdle}


def names() -> list[str]:
    """Names of all registered families, sorted."""
    return sorted(_FAMILIES)


def register(name: str, factory: Callable[..., Family]) -> None:
    """Make a family available by name, for `get` and for the estimators.

    Parameters
    ----------
    name : str
        A name that is not taken.
    factory : callable
        Called with the keyword arguments of `get`; usually the class itself.

    Raises
    ------
    ValueError
        If the name is taken by another factory.
    """
    if _FAMILIES.get(name, factory) is not factory:
        raise ValueError(f"the family name {name!r} is taken by {_FAMILIES[name]!r}. Choose another name.")
    _FAMILIES[name] = factory


def get(family: str | Family, **options: Any) -> Family:
    """A family by name; a `Family` is returned as it is.

    Parameters
    ----------
    family : str or Family
    **options
        What the family needs to know, such as ``num_classes`` for "categorical".

    Raises
    ------
    ValueError
        For an unknown name, with the near misses.

    Examples
    --------
    >>> from probmix import families
    >>> families.get("gaussian")
    Gaussian()
    >>> families.get("categorical", num_classes=3)
    Categorical(num_classes=3)
    """
    if isinstance(family, Family):
        return family
    if not isinstance(family, str):
        raise TypeError(f"a family must be a name or an instance such as families.Gaussian(); got {family!r}.")
    for prefix, gated in _GATED.items():
        base = family.removeprefix(prefix)
        if family not in _FAMILIES and base != family and base in _FAMILIES:
            return gated(**{"base": get(base)} | options)
    if family not in _FAMILIES:
        raise unknown_name("family", family, _FAMILIES)
    try:
        return _FAMILIES[family](**options)
    except TypeError as error:
        raise TypeError(f"the family {family!r} cannot be made from {options}: {error}.") from error
