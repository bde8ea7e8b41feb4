"""Fitting a stack: every candidate on the same rows, then the weights, from what each says of rows that judge it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from .._numbers import as_numpy
from .._told import warn
from ..families import Family, get
from ..mixup import as_mixup
from ..mixup.objectives import objective
from ..training import Task
from .candidates import families_of, family_label, is_by_support, is_several, mixup_label, mixups_of, network_label
from .checks import check_network, check_seed
from .clock import clock_for
from .endings import warn_of_end
from .given import Given
from .marginal_share import MarginalShare
from .parameters import checked_parameters
from .presets import Settings
from .search import Runs, Search, search_table, train_all, train_best, with_parameters
from .stack_weighing import Candidate, weighed

# Larger floats are whole numbers all of them, and count nothing.
_LARGEST_COUNT = 2.0**53


def fit_stack(
    estimator: Any, given: Given, held_out: Given, X_unlabelled: Any
) -> tuple[list[Any], pd.DataFrame, pd.DataFrame, MarginalShare | None]:
    """Fit the candidates of an estimator, and weigh them.

    Parameters
    ----------
    estimator : DensityRegressor or DensityClassifier
        Whose `family`, `mixup` or `network` names several, itself or by its preset.
    given, held_out, X_unlabelled
        As `fit` was given them.

    Returns
    -------
    candidates : list of estimators
        Fitted; without those whose training diverged.
    table : DataFrame
        A line of each: what it is, its weight, scores by the rows that judge, and seconds.
    runs : DataFrame
        A line of all that was trained.
    marginal : MarginalShare or None
        Where the preset names the families; of those that the user names the stack is the mixture, and of no more.
    """
    clock = clock_for(estimator)
    candidates = _prepared(estimator, given, held_out, X_unlabelled)
    search = _search(estimator._settings, len(candidates))
    if not candidates[0].task.validates:
        raise ValueError(
            "the candidates of a stack are weighed by rows that judge them and do not train them, and there are none "
            f"with validation_fraction={estimator.validation_fraction}. Raise it, or pass `X_val` and `y_val`."
        )
    _check_one_measure(candidates)
    if search is None and not clock.is_limited:
        runs = train_all(candidates)
        stacked = runs.done
    else:
        runs, stacked = train_best(candidates, search or Search(), clock)
        if clock.is_limited and not _listed_by_preset(estimator._settings):
            _warn_of_late(candidates, runs)
    table = weighed(stacked, estimator._loss)
    used = {id(one) for one, weight in zip(stacked, table["weight"], strict=True) if weight > 0}
    for one in runs.done:
        assert one.result is not None
        # a run that the user ended may be left out, being worse than a shorter one
        if id(one) in used or one.result.interrupted:
            warn_of_end(one.result, one.task.options, f"{one.label}: ")
    runs.forget_files()
    if estimator.verbose:
        print(_told(table, len({run.label for run in runs.done})))
    first = stacked[int(table["weight"].to_numpy().argmax())]
    marginal = None
    if _chooses_family(estimator._settings):
        marginal = MarginalShare.fitted(first.estimator, first.task, first.parts, _n_rows(estimator, given))
    return [one.estimator for one in stacked], table, search_table(runs), marginal


# -- before any work ---------------------------------------------------------------------------------------------------


def _prepared(estimator: Any, given: Given, held_out: Given, X_unlabelled: Any) -> list[Candidate]:
    """All candidates with their tasks, whose rows are the same."""
    chosen = estimator._settings
    families: list[str | Family | None] = [None]
    y = weight = None
    if hasattr(estimator, "family"):
        if is_by_support(chosen.family):
            y, weight = _support(estimator, given)
        families = [*families_of(chosen.family, y, weight, given.exposure is not None)]
        if is_by_support(chosen.family) and estimator.pool == "log-linear":
            # what the user has not named should do what the user asks for
            families = [one for one in families if one is None or get(one).pools_log_linearly] or families
    settings: list[dict[str, Any]] = [
        {"mixup": mixup} | network | ({} if family is None else {"family": family})
        # where there is no time for all of them, every family has its turn
        for network in _networks(chosen.network)
        for family in families
        for mixup in mixups_of(chosen.mixup_for(family))
    ]
    if y is not None:
        settings = _trainable(settings, estimator._loss, torch.tensor(y))
    check_network(estimator.network, estimator.hidden_layer_sizes)
    checked_parameters(with_parameters(estimator, **settings[0]))
    seed = check_seed(estimator.random_state)
    candidates: list[Candidate] = []
    errors: list[ValueError] = []
    built: list[dict[str, Any]] = []
    for number, own in enumerate(settings):
        if candidates and _as_built(own, candidates[0]) in built:
            continue
        kept = {"random_state": seed, "checkpoint": _checkpoint(estimator, number)}
        one = with_parameters(estimator, **own, **kept)
        try:
            task, parts = one._prepare(given, held_out, X_unlabelled)
        except ValueError as error:
            errors.append(_named(error, own))
            continue
        if candidates:
            task, parts = _on_the_rows_of(candidates[0], task), candidates[0].parts
        task = replace(task, options=replace(task.options, keeps_checkpoint=True))
        candidates.append(Candidate(one, _label(own), task, parts))
        built.append(_as_built(own, candidates[0]))
    if errors:
        # what none of them can do is no matter of the candidate
        alike = not candidates and len({str(error.__cause__) for error in errors}) == 1
        raise errors[0].__cause__ if alike and errors[0].__cause__ is not None else errors[0]
    return candidates


def _trainable(settings: list[dict[str, Any]], loss: str, y: Tensor) -> list[dict[str, Any]]:
    """Those whose loss is defined; of a mixup under which it is for no family all, and the fit says why it is not."""
    goals = {name: objective(loss, get(name).for_targets(y)) for name in {own["family"] for own in settings}}

    def is_defined(own: dict[str, Any]) -> bool:
        try:
            goals[own["family"]].check(as_mixup(own["mixup"]))
        except ValueError:
            return False
        return True

    defined = [own for own in settings if is_defined(own)]
    mixups = [own["mixup"] for own in defined]
    return [own for own in settings if own in defined or own["mixup"] not in mixups]


def _as_built(own: dict[str, Any], first: Candidate) -> dict[str, Any]:
    """What a candidate comes to for these rows: without numbers there is nothing to embed."""
    columns = first.estimator.columns_
    network: Any = own.get("network")
    if columns is None or columns.layout.n_numbers or getattr(network, "embedding", None) is None:
        return own
    return own | {"network": replace(network, embedding=None)}


def _networks(network: Any) -> list[dict[str, Any]]:
    """What candidates have for a network of their own, if there are several."""
    return [{"network": one, "hidden_layer_sizes": None} for one in network] if is_several(network) else [{}]


def _support(estimator: Any, given: Given) -> tuple[NDArray[np.float64] | None, Tensor | None]:
    """Targets and weights by which "auto" chooses, None where they are no such; what is wrong with them a fit says."""
    try:
        y = np.asarray(estimator._validate_targets(as_numpy(given.y)), dtype=np.float64)
        weight = given.with_checked_weights(len(y)).sample_weight
    except (ValueError, TypeError):
        return None, None
    return y, weight


def _checkpoint(estimator: Any, number: int) -> Path | None:
    """The file of a candidate, beside that of the stack."""
    return None if estimator.checkpoint is None else Path(f"{estimator.checkpoint}.{number}")


def _label(own: dict[str, Any]) -> str:
    family = f"{family_label(own['family'])!r} with " if "family" in own else ""
    network = f" and network {network_label(own['network'])}" if "network" in own else ""
    return f"candidate {family}mixup {mixup_label(own['mixup'])!r}{network}"


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


def _warn_of_late(candidates: list[Candidate], runs: Runs) -> None:
    """Warn of candidates that the user has named and that there was no time for."""
    begun = {one.label for one in runs.done}
    if late := [one.label for one in candidates if one.label not in begun]:
        warn(f"`time_limit` left no time for {', '.join(late)}. Raise it, or list fewer.")


def _listed_by_preset(settings: Settings) -> bool:
    """Whether the candidates, or some, come from a list of the preset."""
    return bool(settings.unset & _lists(settings))


def _lists(settings: Settings) -> set[str]:
    return {name for name in ("family", "mixup", "network") if is_several(getattr(settings, name))}


def _search(settings: Settings, count: int) -> Search | None:
    """How candidates are trained: what the preset lists is searched, and what the user lists is all trained."""
    if settings.search is None:
        return None
    if _listed_by_preset(settings):
        # of what the user lists every combination is a candidate
        own = {name for name in _lists(settings) - settings.unset if not is_by_support(getattr(settings, name))}
        return replace(settings.search, by_network=settings.search.by_network and not own)
    if "max_epochs" not in settings.unset:
        return None
    return replace(settings.search, kept=(count,) * len(settings.search.kept), by_network=False)


# -- what was chosen ---------------------------------------------------------------------------------------------------


def _chooses_family(settings: Settings) -> bool:
    """Whether the preset chooses the family by the targets."""
    return "family" in settings.unset and is_by_support(settings.family)


def _n_rows(estimator: Any, given: Given) -> int:
    """How many rows a fit has, as `MarginalShare` counts them."""
    y, weight = _support(estimator, given)
    assert y is not None  # there has been a fit
    if weight is None:
        return len(y)
    is_count = torch.equal(weight, weight.round()) and bool(weight.sum() < _LARGEST_COUNT)
    return int(weight.sum() if is_count else weight.count_nonzero())


def _told(table: pd.DataFrame, count: int) -> str:
    """What was chosen, in a line."""
    used = table[table["weight"] > 0].sort_values("weight", ascending=False)
    told = [name for name in ("mixup", "network") if name in used]
    parts = [
        f"{one.weight:.2f} {one.family} ({', '.join(getattr(one, name) for name in told)}, {one.epochs} epochs)"
        for one in used.itertuples()
    ]
    return f"stack of {len(used)} of {max(count, len(table))} candidates: {', '.join(parts)}"
