"""How the learning rate, or weight decay, goes from step to step."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from .._checks import check_real


@dataclass(frozen=True)
class Schedule(ABC):
    """The course of a rate, as a function of the share of the training that is done.

    Attributes
    ----------
    rate : float
        The highest one.
    """

    rate: float
    # whether the last steps are so small that there is nothing to be gained by more of them
    ends_at_zero: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_real("rate", self.rate, 0.0)

    @abstractmethod
    def at(self, progress: float) -> float:
        """The rate at a share of all steps, from 0 to 1."""


@dataclass(frozen=True)
class Constant(Schedule):
    """The same rate in all steps; a plain number is one.

    Examples
    --------
    >>> from probmix.training import Constant
    >>> Constant(0.005).at(0.9)
    0.005
    """

    ends_at_zero: ClassVar[bool] = False

    def at(self, progress: float) -> float:
        return self.rate


@dataclass(frozen=True)
class Cosine(Schedule):
    r"""A short rise, and then half a wave of the cosine down to zero.

    .. math:: r \,\min(1, t/w)\,\tfrac12 (1 + \cos\pi t)

    Parameters
    ----------
    rate : float
        r.
    warmup : float
        w, the share of the steps in which the rate rises; 0 for none.

    References
    ----------
    Loshchilov & Hutter (2017), SGDR: Stochastic Gradient Descent with Warm Restarts, ICLR.

    Examples
    --------
    >>> from probmix.training import Cosine
    >>> [round(Cosine(0.01).at(progress), 4) for progress in (0, 0.01, 0.5, 1)]
    [0.0, 0.005, 0.005, 0.0]
    """

    warmup: float = 0.02

    def __post_init__(self) -> None:
        super().__post_init__()
        check_real("warmup", self.warmup, 0.0, 1.0)

    def at(self, progress: float) -> float:
        rise = min(1.0, progress / self.warmup) if self.warmup else 1.0
        return self.rate * rise * 0.5 * (1 + math.cos(math.pi * progress))


@dataclass(frozen=True)
class CosLog4(Schedule):
    r"""Four waves, each twice as long as the one before, from zero and back to zero: high rates and calm ends.

    .. math:: r\,\tfrac12 (1 - \cos(2\pi\log_2(1 + 15 t)))

    Parameters
    ----------
    rate : float
        r.

    References
    ----------
    Holzmüller, Grinsztajn & Steinwart (2024), Better by Default: Strong Pre-Tuned MLPs and Boosted Trees on Tabular
    Data, NeurIPS.

    Examples
    --------
    >>> from probmix.training import CosLog4
    >>> [round(CosLog4(0.01).at(t / 15), 4) for t in (0, 1, 3, 7, 15)]  # between the waves
    [0.0, 0.0, 0.0, 0.0, 0.0]
    """

    def at(self, progress: float) -> float:
        return self.rate * 0.5 * (1 - math.cos(2 * math.pi * math.log2(1 + 15 * progress)))


@dataclass(frozen=True)
class FlatThenCosine(Schedule):
    r"""Constant for a share of the steps, and then half a wave of the cosine down to zero: for weight decay.

    Parameters
    ----------
    rate : float
    flat : float
        The share of the steps in which it is constant.

    References
    ----------
    Holzmüller, Grinsztajn & Steinwart (2024), Better by Default: Strong Pre-Tuned MLPs and Boosted Trees on Tabular
    Data, NeurIPS.

    Examples
    --------
    >>> from probmix.training import FlatThenCosine
    >>> [round(FlatThenCosine(0.02).at(progress), 4) for progress in (0, 0.5, 0.75, 1)]
    [0.02, 0.02, 0.01, 0.0]
    """

    flat: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        check_real("flat", self.flat, 0.0, 1.0)

    def at(self, progress: float) -> float:
        beyond = max(0.0, progress - self.flat) / (1 - self.flat)
        return self.rate * 0.5 * (1 + math.cos(math.pi * beyond))


_SCHEDULES: dict[str, type[Schedule]] = {kind.__name__: kind for kind in (Constant, Cosine, CosLog4, FlatThenCosine)}


def schedule_named(name: str) -> type[Schedule]:
    """The class of a schedule that was saved."""
    return _SCHEDULES[name]


def rate_at(value: float | Schedule, progress: float) -> float:
    """A rate, constant or not, at a share of all steps."""
    return value.at(progress) if isinstance(value, Schedule) else value


def check_rate(name: str, value: object, open_low: bool = False) -> None:
    """Raise unless the parameter is a number of at least 0, or above, or one of the schedules."""
    if isinstance(value, Schedule):
        if type(value).__name__ not in _SCHEDULES:
            raise ValueError(f"`{name}` must be a number or one of {', '.join(_SCHEDULES)}; got {value!r}.")
        check_real(f"{name}.rate", value.rate, 0.0, open_low=open_low)
        return
    check_real(name, value, 0.0, open_low=open_low)


__all__ = ["Constant", "CosLog4", "Cosine", "FlatThenCosine", "Schedule"]
