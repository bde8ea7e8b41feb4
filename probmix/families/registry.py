"""Families by name."""

from collections.abc import Callable
from functools import partial
from typing import Any

from .._names import unknown_name
from .aliases import ALIASES, AMBIGUOUS, plain
from .bernoulli import Bernoulli
from .beta import Beta
from .categorical import Categorical
from .exponential import Exponential
from .family import Family
from .gamma import Gamma
from .gaussian import Gaussian
from .histogram import Histogram
from .inflated import Hurdle, ZeroInflated
from .inverse_gaussian import InverseGaussian
from .lognormal import LogNormal
from .mixture import Mixture
from .multivariate_gaussian import MultivariateGaussian
from .negative_binomial import FixedNegativeBinomial, NegativeBinomial
from .poisson import Poisson
from .student_t import StudentT
from .tweedie import Tweedie
from .zero_adjusted import ZeroAdjusted

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
    "student-t": StudentT,
    "tweedie": Tweedie,
    "histogram": Histogram,
    "zero-adjusted-gamma": ZeroAdjusted,
    "zero-adjusted-lognormal": partial(ZeroAdjusted, base=LogNormal()),
    "gaussian-mixture": partial(Mixture, base=Gaussian()),
    "lognormal-mixture": partial(Mixture, base=LogNormal()),
    "gamma-mixture": partial(Mixture, base=Gamma()),
    "poisson-mixture": partial(Mixture, base=Poisson()),
    "negative-binomial-mixture": partial(Mixture, base=NegativeBinomial()),
    "beta-mixture": partial(Mixture, base=Beta()),
}


# Names of these say what they are made of, as those of mixtures do; those of the bases above are among the names.
_GATED: dict[str, Callable[..., Family]] = {
    "zero-inflated-": ZeroInflated,
    "hurdle-": Hurdle,
    "zero-adjusted-": ZeroAdjusted,
}
_MIXTURE = "-mixture"


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
        If the name is taken by another factory, or means a family already.
    """
    if _FAMILIES.get(name, factory) is not factory:
        raise ValueError(f"the family name {name!r} is taken by {_FAMILIES[name]!r}. Choose another name.")
    if plain(name) in ALIASES:
        raise ValueError(f"the family name {name!r} means {ALIASES[plain(name)]!r}. Choose another name.")
    _FAMILIES[name] = factory


def canonical_name(name: str) -> str:
    """The name under which a family is registered, from another name of it; upper or lower case and hyphens are alike.

    Raises
    ------
    ValueError
        For an unknown name, with the near misses, and for one that several families go by.

    Examples
    --------
    >>> from probmix.families import canonical_name
    >>> canonical_name("normal"), canonical_name("Negative_Binomial"), canonical_name("hurdle-nb")
    ('gaussian', 'negative-binomial', 'hurdle-negative-binomial')
    >>> canonical_name("counts")
    Traceback (most recent call last):
    ...
    ValueError: the family name 'counts' may mean 'poisson' or 'negative-binomial'. Pass one of these.
    """
    known = _known(name)
    if known is not None:
        return known
    if plain(name) in AMBIGUOUS:
        *others, last = map(repr, AMBIGUOUS[plain(name)])
        raise ValueError(f"the family name {name!r} may mean {', '.join(others)} or {last}. Pass one of these.")
    raise unknown_name("family", name, _FAMILIES, ALIASES)


def _known(name: str) -> str | None:
    if name in _FAMILIES:
        return name
    form = plain(name)
    for one in _FAMILIES:
        if plain(one) == form:
            return one
    if form in ALIASES:
        return ALIASES[form]
    if form.endswith(_MIXTURE):
        base = _known(form.removesuffix(_MIXTURE))
        return None if base is None else base + _MIXTURE
    for prefix in _GATED:
        base = _known(form.removeprefix(prefix)) if form.startswith(prefix) else None
        if base is not None:
            return prefix + base
    return None


def get(family: str | Family, **options: Any) -> Family:
    """A family by name; a `Family` is returned as it is.

    Parameters
    ----------
    family : str or Family
        A name as in `names`, or another by which the family goes: "normal", "t", "negbin", "log-normal", ...; upper and
        lower case, hyphens, underscores and spaces are alike.
    **options
        What the family needs to know, such as ``num_classes`` for "categorical".

    Raises
    ------
    ValueError
        For an unknown name, with the near misses, and for one that several families go by.

    Examples
    --------
    >>> from probmix import families
    >>> families.get("gaussian")
    Gaussian()
    >>> families.get("normal")
    Gaussian()
    >>> families.get("categorical", num_classes=3)
    Categorical(num_classes=3)
    """
    if isinstance(family, Family):
        return family
    if not isinstance(family, str):
        raise TypeError(f"a family must be a name or an instance such as families.Gaussian(); got {family!r}.")
    family = canonical_name(family)
    if family not in _FAMILIES and family.endswith(_MIXTURE):
        return Mixture(**{"base": get(family.removesuffix(_MIXTURE))} | options)
    for prefix, gated in _GATED.items():
        if family not in _FAMILIES and family.startswith(prefix):
            return gated(**{"base": get(family.removeprefix(prefix))} | options)
    try:
        return _FAMILIES[family](**options)
    except TypeError as error:
        raise TypeError(f"the family {family!r} cannot be made from {options}: {error}.") from error
