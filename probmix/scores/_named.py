"""Scores by their names, as tables of models take them: one value per row."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.distributions import Distribution

from .._names import unknown_name
from ..distributions import icdf
from ..distributions.members import class_probs
from ..distributions.parts import device_of, widen
from ._inputs import checked, mean_over_event
from .brier import brier
from .calibration import coverage
from .crps import crps
from .nll import nll
from .quantiles import interval_score, quantile_score
from .ranked import ranked_probability_score

Score = Callable[[Distribution, Tensor], Tensor]

# Scores that have a level in their names, in percent: the 90 % interval, the quantile at 2.5 %.
_LEVEL = re.compile(r"(coverage|interval|quantile|pinball)(\d+(?:\.\d+)?)")


def level_of(name: str) -> tuple[str, float] | None:
    """The kind of a score and the level in its name, if it has one.

    >>> level_of("interval90"), level_of("crps")
    (('interval', 0.9), None)
    """
    found = _LEVEL.fullmatch(name)
    return None if found is None else (found[1], float(found[2]) / 100)


def named_score(name: str, of_classes: bool) -> Score:
    """The score of that name.

    Raises
    ------
    ValueError
        If there is none, it is not for such predictions, or its level is no percentage of 1 and above.
    """
    known, other = (_OF_CLASSES, _OF_NUMBERS) if of_classes else (_OF_NUMBERS, _OF_CLASSES)
    level = level_of(name)
    if level is not None and not of_classes:
        kind, share = level
        if not 0 < share < 1:
            raise ValueError(
                f"the level in {name!r} must lie between 0 and 100 %, both excluded. Pass {kind + '90'!r} for 90 %."
            )
        if share < 0.01:
            # 0.9 % is hardly ever meant
            meant = f"{1e4 * share:g}"
            raise ValueError(
                f"the level in {name!r} must be at least 1: levels are in percent. Pass {kind + meant!r} for {meant} %."
            )
        return partial(_AT_LEVEL[kind], level=share)
    if name in known:
        return known[name]
    if name in other or level is not None:
        kind = "numbers" if of_classes else "classes"
        names = ", ".join(map(repr, (*known, *_EXAMPLES[of_classes])))
        raise ValueError(f"the score {name!r} is for predictions of {kind}; there are {names} for these.")
    raise unknown_name("score", name, (*known, *_EXAMPLES[of_classes]))


def default_scores(of_classes: bool) -> tuple[str, ...]:
    """The scores that are taken where none are asked for."""
    return ("nll", "brier", "rps", "accuracy") if of_classes else ("nll", "crps", "coverage90")


def _squared_error(distribution: Distribution, y: Tensor) -> Tensor:
    distribution, y = checked(distribution, y)
    return mean_over_event(distribution, (y.double() - widen(distribution).mean).square())


def _absolute_error(distribution: Distribution, y: Tensor) -> Tensor:
    distribution, y = checked(distribution, y)
    return mean_over_event(distribution, (y.double() - _quantile_at(distribution, 0.5)).abs())


def _accuracy(distribution: Distribution, y: Tensor) -> Tensor:
    distribution, y = checked(distribution, y)
    return mean_over_event(distribution, (class_probs(distribution).argmax(-1) == y).double())


def _coverage(distribution: Distribution, y: Tensor, level: float) -> Tensor:
    return mean_over_event(distribution, coverage(distribution, y, level))


def _interval(distribution: Distribution, y: Tensor, level: float) -> Tensor:
    distribution, y = checked(distribution, y)
    lower, upper = (_quantile_at(distribution, q) for q in ((1 - level) / 2, (1 + level) / 2))
    return mean_over_event(distribution, interval_score(lower, upper, y, level))


def _quantile(distribution: Distribution, y: Tensor, level: float) -> Tensor:
    distribution, y = checked(distribution, y)
    quantile = _quantile_at(distribution, level).unsqueeze(-1)
    return mean_over_event(distribution, quantile_score(quantile, y, [level]).squeeze(-1))


def _quantile_at(distribution: Distribution, level: float) -> Tensor:
    wide = widen(distribution)
    shape = distribution.batch_shape + distribution.event_shape
    return icdf(wide, torch.full(shape, level, dtype=torch.float64, device=device_of(wide)))


_OF_NUMBERS: dict[str, Score] = {"nll": nll, "crps": crps, "rmse": _squared_error, "mae": _absolute_error}
_OF_CLASSES: dict[str, Score] = {"nll": nll, "brier": brier, "rps": ranked_probability_score, "accuracy": _accuracy}
_AT_LEVEL = {"coverage": _coverage, "interval": _interval, "quantile": _quantile, "pinball": _quantile}
_EXAMPLES = {True: (), False: ("coverage90", "interval90", "quantile90", "pinball90")}
