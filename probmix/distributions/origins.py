"""The names and parameters under which other libraries know a distribution; every distribution enters its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

import numpy as np
import pyro.distributions as dist
import torch
from numpy.typing import ArrayLike

# The other library's parameters by their names there.
Parameters: TypeAlias = dict[str, Any]
Translation: TypeAlias = Callable[[Parameters], dist.TorchDistribution]
_T = TypeVar("_T", bound=Translation)


@dataclass(frozen=True)
class Origin:
    """How the parameters of a distribution of another library translate, and the values that some of them must have."""

    translate: Translation
    fixed: dict[str, float] = field(default_factory=dict)

    def fits(self, parameters: Parameters) -> bool:
        """Whether the parameters have their fixed values, so that the class here is the same distribution."""
        return all(np.all(parameters[name] == value) for name, value in self.fixed.items())


SCIPY: dict[str, Origin] = {}
SKPRO: dict[str, Origin] = {}


def scipy_name(name: str, **fixed: float) -> Callable[[_T], _T]:
    """Enter a translation from SciPy's distribution of that name, where the `fixed` parameters have these values.

    SciPy's parameters are the shapes of the distribution by name, and `loc` and `scale`.
    """
    return _entering(SCIPY, name, fixed)


def skpro_name(name: str, **fixed: float) -> Callable[[_T], _T]:
    """Enter a translation from the class of skpro of that name."""
    return _entering(SKPRO, name, fixed)


def _entering(table: dict[str, Origin], name: str, fixed: dict[str, float]) -> Callable[[_T], _T]:
    def enter(translate: _T) -> _T:
        table[name] = Origin(translate, fixed)
        return translate

    return enter


def parametrised(kind: Callable[..., dist.TorchDistribution], **parameters: ArrayLike) -> dist.TorchDistribution:
    """A distribution of that kind in float64; targets outside its support have density zero, not an error.

    Raises
    ------
    ValueError
        By torch, if a parameter is outside its domain.
    """
    arrays = np.broadcast_arrays(*(np.asarray(value, dtype=np.float64) for value in parameters.values()))
    # copied: broadcast arrays are read-only views, of which torch warns
    tensors = {name: torch.tensor(array) for name, array in zip(parameters, arrays, strict=True)}
    kind(**tensors, validate_args=True)
    return kind(**tensors, validate_args=False)
