"""Fitting a stack: every candidate on the same rows, then the weights, from what each says of rows that judge it."""

import time
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from .._given import checked_weights
from .._numbers import as_numpy
from ..families import Family
from ..training import DivergenceError, Task
from .candidates import families_of, family_label, mixup_label, mixups_of
from .checks import check_seed
from .endings import warn_of_end
from .given import Given
from .stack_weighing import Candidate, weighed


def fit_stack(estimator: Any, given: Given, held_out: Given, X_unlabelled: Any) -> tuple[list[Any], pd.DataFrame]:
    """Fit all candidates of an estimator, and weigh them.

    Parameters
    ----------
    estimator : DensityRegressor or DensityClassifier
        Whose `family` or `mixup` names several.
    given, held_out, X_unlabelled
        As `fit` was given them.

    Returns
    -------
    candidates : list of estimators
        Fitted; without those whose training diverged.
    table : DataFrame
        A line of each: what it is, its weight, scores by the rows that judge, and seconds.
    """
    candidates = _prepared(estimator, given, held_out, X_unlabelled)
    if not candidates[0].task.validates:
        raise ValueError(
            "the candidates of a stack are weighed by rows that judge them and do not train them, and there are none "
            f"with validation_fraction={estimator.validation_fraction}. Raise it, or pass `X_val` and `y_val`."
        )
    _check_one_measure(candidates)
    fitted, is_whole = _trained(candidates)
    table = weighed(fitted, estimator._loss)
    for one, weight in zip(fitted, table["weight"], strict=True):
        assert one.result is not None
        if weight > 0 or one.result.interrupted:
            warn_of_end(one.result, one.task.options, f"{one.label}: ", stacklevel=5)
    if is_whole:
        for one in candidates:
            if (path := one.task.options.checkpoint) is not None:
                path.unlink(missing_ok=True)
    if estimator.verbose:
        print(_told(table))
    return [one.estimator for one in fitted], table


# -- before any work ---------------------------------------------------------------------------------------------------


def _prepared(estimator: Any, given: Given, held_out: Given, X_unlabelled: Any) -> list[Candidate]:
    """All candidates with their tasks, whose rows are the same."""
    params = estimator.get_params(deep=False)
    chosen = estimator._settings
    mixups = mixups_of(chosen.mixup)
    families: list[str | Family | None] = [None]
    if "family" in params:
        automatic = isinstance(chosen.family, str) and chosen.family == "auto"
        y, weight = _support(estimator, given) if automatic else (None, None)
        families = [*families_of(chosen.family, y, weight, given.exposure is not None)]
    settings: list[dict[str, Any]] = [
        {"mixup": mixup} | ({} if family is None else {"family": family}) for family in families for mixup in mixups
    ]
    type(estimator)(**params | settings[0])._check_parameters()
    seed = check_seed(estimator.random_state)
    candidates: list[Candidate] = []
    errors: list[ValueError] = []
    for number, own in enumerate(settings):
        one = type(estimator)(**params | own | {"random_state": seed, "checkpoint": _checkpoint(params, number)})
        try:
            task, parts = one._prepare(given, held_out, X_unlabelled)
        except ValueError as error:
            errors.append(_named(error, own))
            continue
        if candidates:
            task, parts = _on_the_rows_of(candidates[0], task), candidates[0].parts
        task = replace(task, options=replace(task.options, keeps_checkpoint=True))
        candidates.append(Candidate(one, _label(own), task, parts))
    if errors:
        # what none of them can do is no matter of the candidate
        alike = not candidates and len({str(error.__cause__) for error in errors}) == 1
        raise errors[0].__cause__ if alike and errors[0].__cause__ is not None else errors[0]
    return candidates


def _support(estimator: Any, given: Given) -> tuple[NDArray[np.float64] | None, Tensor | None]:
    """Targets and weights by which "auto" chooses, None where they are no such; what is wrong with them a fit says."""
    try:
        y = np.asarray(estimator._validate_targets(as_numpy(given.y)), dtype=np.float64)
        weight = None if given.sample_weight is None else checked_weights(given.sample_weight, (len(y),)).cpu()
    except (ValueError, TypeError):
        return None, None
    return y, weight


def _checkpoint(params: dict[str, Any], number: int) -> Path | None:
    """The file of a candidate, beside that of the stack."""
    path = params["checkpoint"]
    return None if path is None else Path(f"{path}.{number}")


def _label(own: dict[str, Any]) -> str:
    family = f"{family_label(own['family'])!r} with " if "family" in own else ""
    return f"candidate {family}mixup {mixup_label(own['mixup'])!r}"


def _named(error: ValueError, own: dict[str, Any]) -> ValueError:
    """The error of a candidate, with its name; caused by the error itself."""
    named = ValueError(f"{_label(own)}: {error}")
    named.__cause__ = error
    return named


def _on_the_rows_of(first: Candidate, task: Task) -> Task:
    """A task on the rows of the first candidate, which are equal and in memory once."""
    data = first.task.data
    if not torch.equal(data.train_rows, task.data.train_rows):
        raise ValueError(
            "the candidates of a stack must be trained and judged by the same rows, and `validation` gave others when "
            "it was asked again. Pass a splitter with a `random_state` that is an integer, or a list of its splits."
        )
    return replace(task, data=data)


def _check_one_measure(candidates: list[Candidate]) -> None:
    """Raise unless log scores can be compared: all densities, all probabilities, or all both, with a mass at zero."""
    kinds: dict[str, str] = {}
    for one in candidates:
        family = one.task.objective.family
        kind = "whole numbers" if family.is_discrete else "a mass beside a density" if family.has_atoms else "a density"
        kinds.setdefault(kind, family.name)
    if len(kinds) > 1:
        found = ", ".join(f"{name!r} ({kind})" for kind, name in kinds.items())
        raise ValueError(
            "the candidates of a stack are compared by log densities, which must be of one kind: densities, "
            f"probabilities of whole numbers, or both with a mass at zero; got {found}. Leave out those of one kind."
        )


# -- training ----------------------------------------------------------------------------------------------------------


def _trained(candidates: list[Candidate]) -> tuple[list[Candidate], bool]:
    """Those that have been fitted, all but those that diverged, and whether the turn of all has come, by Ctrl-C not."""
    fitted: list[Candidate] = []
    failure: DivergenceError | None = None
    for number, one in enumerate(candidates):
        start = time.perf_counter()
        try:
            network, scaler, one.result = one.estimator._train(one.task)
        except DivergenceError as error:
            failure = error
            warnings.warn(f"{one.label} is left out of the stack: {error}", UserWarning, stacklevel=5)
            continue
        except KeyboardInterrupt:
            if not fitted:
                raise
            _warn_of_rest(candidates[number:])
            return fitted, False
        one.estimator._take_over(one.task, one.parts, network, scaler, one.result)
        one.seconds = time.perf_counter() - start
        fitted.append(one)
        if one.result.interrupted:
            _warn_of_rest(candidates[number + 1 :])
            return fitted, False
    if not fitted:
        assert failure is not None  # there is a candidate, and each is fitted or has failed
        raise failure
    return fitted, True


def _warn_of_rest(rest: list[Candidate]) -> None:
    if rest:
        labels = ", ".join(one.label for one in rest)
        warnings.warn(
            f"training was interrupted, and the stack is without the candidates that had not begun: {labels}.",
            UserWarning,
            stacklevel=6,
        )


def _told(table: pd.DataFrame) -> str:
    """What was chosen, in a line."""
    used = table[table["weight"] > 0].sort_values("weight", ascending=False)
    parts = [f"{one.weight:.2f} {one.family} ({one.mixup})" for one in used.itertuples()]
    return f"stack of {len(used)} of {len(table)} candidates: {', '.join(parts)}"
