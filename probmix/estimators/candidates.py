"""The candidates of a stack: which they are, what "auto" stands for, and what they are called."""

from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .._given import scaled
from ..columns.numbers import median
from ..families import Categorical, Family, canonical_name, get
from ..mixup import Mixup, as_mixup, preset
from ..mixup.presets import preset_names

# Rows as they are, and ProbMix with a clean share, whose labels are both of the observed ones with their weights.
AUTO_MIXUPS: tuple[str | Mixup, ...] = ("erm", Mixup(at="output", label_pool="linear", clean=0.5))


@dataclass(frozen=True)
class BySupport:
    """Names of families for each kind of targets, the first of which is taken where nothing is compared."""

    real: tuple[str, ...]
    positive: tuple[str, ...]
    totals: tuple[str, ...]
    shares: tuple[str, ...]
    counts: tuple[str, ...]
    counts_with_zeros: tuple[str, ...]
    binary: tuple[str, ...] = ("bernoulli",)


_POSITIVE = ("gamma", "lognormal", "gamma-mixture", "lognormal-mixture")
_COUNTS = ("poisson", "negative-binomial", "poisson-mixture")
# What "auto" stands for.
AUTO_FAMILIES = BySupport(
    real=("gaussian", "student-t", "gaussian-mixture", "histogram"),
    positive=_POSITIVE,
    totals=("tweedie", *(f"zero-adjusted-{name}" for name in _POSITIVE)),
    shares=("beta", "beta-mixture", "gaussian-mixture", "histogram"),
    counts=_COUNTS,
    counts_with_zeros=(*_COUNTS, "zero-inflated-poisson"),
)
# Whole numbers are amounts in whole units, not counts, where all are large and far from zero, or where their variance
# is so small a share of the mean that families of counts, whose variance is the mean at least, are too wide for them.
_LARGE, _FAR, _NARROW = 1000, 0.01, 0.5
# Positive targets within a decade do not tell of zero.
_DECADE = 10


def is_several(value: object) -> bool:
    """Whether a parameter names candidates, in place of the one thing."""
    return isinstance(value, list | tuple | BySupport) or (isinstance(value, str) and value == "auto")


def mixups_of(value: Any) -> list[str | Mixup]:
    """The mixups that a parameter names.

    Raises
    ------
    ValueError
        For an empty list, and for an unknown name.
    """
    several = list(AUTO_MIXUPS) if isinstance(value, str) and value == "auto" else _listed("mixup", value)
    for one in several:
        as_mixup(one)
    return several


def families_of(value: Any, y: NDArray[np.float64] | None, weight: Tensor | None, exposed: bool) -> list[str | Family]:
    """The families that a parameter names, for targets, (n,) or (n, d), where "auto" asks for them.

    Raises
    ------
    ValueError
        For an empty list, and for an unknown name.
    """
    if is_by_support(value):
        # a family that takes any numbers says what is wrong with targets that are none
        return ["gaussian"] if y is None else list(suitable(y, weight, exposed, _lists(value)))
    several = _listed("family", value)
    for one in several:
        refuse_classes(one)
        get(one)
    return several


def refuse_classes(family: object) -> None:
    """Refuse the categorical family, which needs to know how many classes there are, for numbers."""
    if isinstance(family, Categorical) or (isinstance(family, str) and canonical_name(family) == "categorical"):
        raise ValueError("the categorical family is for classes; use DensityClassifier.")


def _listed(name: str, value: Any) -> list[Any]:
    several = list(value) if is_several(value) else [value]
    if not several:
        raise ValueError(f"`{name}` must name at least one candidate; got an empty list. Pass 'auto' or names.")
    return several


def is_by_support(value: object) -> bool:
    """Whether families are chosen by the support of the targets."""
    return isinstance(value, BySupport) or (isinstance(value, str) and value == "auto")


def _lists(value: object) -> BySupport:
    return value if isinstance(value, BySupport) else AUTO_FAMILIES


def suitable(
    y: NDArray[np.float64], weight: Tensor | None = None, exposed: bool = False, lists: BySupport = AUTO_FAMILIES
) -> tuple[str, ...]:
    """Names of families by the support of the targets.

    Those are left out that have no exposure where there is one, and that cannot follow the targets,
    `Family.beyond_bounds`.

    Parameters
    ----------
    y : ndarray, (n,) or (n, d), finite
    weight : Tensor, (n,), optional
    exposed : bool
        Whether there are exposures.
    lists : BySupport
        What there is for each kind of targets.

    Raises
    ------
    ValueError
        If there are exposures of targets that are no counts and no totals.
    """
    targets = torch.tensor(y)
    if weight is not None:
        targets, weight = targets[weight > 0], torch.from_numpy(scaled(weight[weight > 0].numpy()))
    of_cells = None if weight is None else weight.reshape(-1, *(1,) * (y.ndim - 1))
    times = None if of_cells is None else of_cells.expand_as(targets).numpy().reshape(-1)
    names: tuple[str, ...] = getattr(lists, _kind(targets.numpy().reshape(-1), times, exposed))
    if exposed:
        names = tuple(name for name in names if _has_exposure(name))
        if not names:
            raise ValueError(
                "`family` is not named, and none that suits the targets has an exposure, which belongs to counts and "
                "totals that are not negative. Divide y by the exposure and pass it as `sample_weight`."
            )
    following = (name for name in names if not get(name).for_targets(targets, weight).beyond_bounds(targets, of_cells))
    return tuple(following) or names


def _kind(y: NDArray[np.float64], weight: NDArray[np.float64] | None, exposed: bool) -> str:
    """The field of `BySupport` that targets, (n,), belong to."""
    low, high = (y.min(), y.max()) if len(y) else (-1.0, 1.0)
    if low < 0:
        return "real"
    is_whole = bool((y == np.floor(y)).all())
    if is_whole and high <= 1 and not exposed:
        return "binary"
    if is_whole and (exposed or _are_counts(y, weight)):
        return "counts_with_zeros" if low == 0 else "counts"
    if low == 0:
        return "real" if high <= 1 and (y == 1).any() else "totals"
    if exposed:
        return "totals"
    if high < 1:
        return "shares"
    return "real" if high < _DECADE * low else "positive"


def _are_counts(y: NDArray[np.float64], weight: NDArray[np.float64] | None) -> bool:
    """Whether whole numbers, none negative, are like counts."""
    mean = np.average(y, weights=weight)
    variance = np.average((y - mean) ** 2, weights=weight)
    return bool(variance >= _NARROW * mean and (y.max() < _LARGE or y.min() <= _FAR * median(y, weight)))


def _has_exposure(name: str) -> bool:
    family = get(name)
    try:
        family.expose(torch.zeros(family.num_params), torch.zeros(()))
    except ValueError:
        return False
    return True


def family_label(family: str | Family) -> str:
    """What a family is called: by its name if that says all."""
    if isinstance(family, str):
        return canonical_name(family)
    try:
        return family.name if get(family.name) == family else repr(family)
    except (ValueError, TypeError):
        return repr(family)


def mixup_label(mixup: str | Mixup) -> str:
    """What a mixup is called: the preset that it is, or is nearest to, and what is changed in it.

    Examples
    --------
    >>> mixup_label("erm"), mixup_label(preset("probmix", clean=0.5))
    ('erm', 'probmix(clean=0.5)')
    """
    if isinstance(mixup, str):
        return mixup
    differing = {name: _changes(preset(name), mixup) for name in preset_names()}
    nearest = min(differing, key=lambda name: (len(differing[name]), len(name)))
    changes = ", ".join(f"{name}={value!r}" for name, value in differing[nearest].items())
    return f"{nearest}({changes})" if changes else nearest


def network_label(network: Any) -> str:
    """What a network is called: a specification by its name and what is not as usual in it.

    Examples
    --------
    >>> from probmix.networks import MLP, Periodic
    >>> network_label(MLP(embedding=Periodic()))
    'MLP(embedding=Periodic())'
    """
    return _told_in_short(network) if is_dataclass(network) else type(network).__name__


def _told_in_short(value: Any) -> str:
    if isinstance(value, tuple):
        parts = [_told_in_short(one) for one in value]
        return f"({', '.join(parts)}{',' if len(parts) == 1 else ''})"
    if not is_dataclass(value):
        return repr(value)
    changes = [
        f"{one.name}={_told_in_short(own)}" for one in fields(value) if (own := getattr(value, one.name)) != one.default
    ]
    return f"{type(value).__name__}({', '.join(changes)})"


def _changes(base: Mixup, mixup: Mixup) -> dict[str, Any]:
    names = [one.name for one in fields(mixup)]
    return {name: getattr(mixup, name) for name in names if getattr(mixup, name) != getattr(base, name)}
