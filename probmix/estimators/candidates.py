"""The candidates of a stack: which they are, what "auto" stands for, and what they are called."""

from dataclasses import fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..families import Family, canonical_name, get
from ..mixup import Mixup, as_mixup, preset
from ..mixup.presets import preset_names

# Rows as they are, and ProbMix with a clean share, whose labels are both of the observed ones with their weights.
AUTO_MIXUPS: tuple[str | Mixup, ...] = ("erm", Mixup(at="output", label_pool="linear", clean=0.5))

_REAL = ("gaussian", "student-t", "gaussian-mixture", "histogram")
_POSITIVE = ("gamma", "lognormal", "gamma-mixture", "lognormal-mixture")
_TOTALS = ("tweedie", *(f"zero-adjusted-{name}" for name in _POSITIVE))
_SHARES = ("beta", "beta-mixture", "gaussian-mixture", "histogram")
_COUNTS = ("poisson", "negative-binomial", "poisson-mixture")
# Whole numbers are amounts in whole units, not counts, where all are large and far from zero, or where their variance
# is so small a share of the mean that families of counts, whose variance is the mean at least, are too wide for them.
_LARGE, _FAR, _NARROW = 1000, 0.01, 0.5
# Positive targets within a decade do not tell of zero.
_DECADE = 10


def is_several(value: object) -> bool:
    """Whether a parameter names candidates, in place of the one thing."""
    return isinstance(value, list | tuple) or (isinstance(value, str) and value == "auto")


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
    if isinstance(value, str) and value == "auto":
        # a family that takes any numbers says what is wrong with targets that are none
        return ["gaussian"] if y is None else list(suitable(y, weight, exposed))
    several = _listed("family", value)
    for one in several:
        get(one)
    return several


def _listed(name: str, value: Any) -> list[Any]:
    several = list(value) if is_several(value) else [value]
    if not several:
        raise ValueError(f"`{name}` must name at least one candidate; got an empty list. Pass 'auto' or names.")
    return several


def suitable(y: NDArray[np.float64], weight: Tensor | None = None, exposed: bool = False) -> tuple[str, ...]:
    """What "auto" stands for: names of families by the support of the targets.

    Those are left out that have no exposure where there is one, and that cannot follow the targets,
    `Family.beyond_bounds`.

    Parameters
    ----------
    y : ndarray, (n,) or (n, d), finite
    weight : Tensor, (n,), optional
    exposed : bool
        Whether there are exposures.

    Raises
    ------
    ValueError
        If there are exposures of targets that are no counts and no totals.
    """
    targets = torch.tensor(y)
    if weight is not None:
        targets, weight = targets[weight > 0], weight[weight > 0]
    names = _by_support(targets.numpy().reshape(-1), exposed)
    if exposed:
        names = tuple(name for name in names if _has_exposure(name))
        if not names:
            raise ValueError(
                "`family` is 'auto', and no family of such targets has an exposure, which belongs to counts and totals "
                "that are not negative. Divide y by the exposure and pass it as `sample_weight`."
            )
    of_cells = None if weight is None else weight.reshape(-1, *(1,) * (y.ndim - 1))
    following = (name for name in names if not get(name).for_targets(targets, weight).beyond_bounds(targets, of_cells))
    return tuple(following) or names


def _by_support(y: NDArray[np.float64], exposed: bool) -> tuple[str, ...]:
    low, high = (y.min(), y.max()) if len(y) else (-1.0, 1.0)
    if low < 0:
        return _REAL
    is_whole = bool((y == np.floor(y)).all())
    if is_whole and high <= 1 and not exposed:
        return ("bernoulli",)
    if is_whole and (exposed or _are_counts(y)):
        return (*_COUNTS, "zero-inflated-poisson") if low == 0 else _COUNTS
    if low == 0:
        return _REAL if high <= 1 and (y == 1).any() else _TOTALS
    if exposed:
        return _TOTALS
    if high < 1:
        return _SHARES
    return _REAL if high < _DECADE * low else _POSITIVE


def _are_counts(y: NDArray[np.float64]) -> bool:
    """Whether whole numbers, none negative, are like counts."""
    return bool(y.var() >= _NARROW * y.mean() and (y.max() < _LARGE or y.min() <= _FAR * np.median(y)))


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


def _changes(base: Mixup, mixup: Mixup) -> dict[str, Any]:
    names = [one.name for one in fields(mixup)]
    return {name: getattr(mixup, name) for name in names if getattr(mixup, name) != getattr(base, name)}
