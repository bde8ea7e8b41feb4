"""Fitting one family with one mixup and one network."""

from dataclasses import replace
from typing import Any

from .clock import Clock, clock_for, measure_pace
from .endings import warn_of_end
from .given import Given
from .search import Search, loss_of, train_best
from .stack_weighing import Candidate


def fit_single(estimator: Any, given: Given, held_out: Given, X_unlabelled: Any) -> None:
    """Fit an estimator that is no stack: in one run, or in several of more and more epochs, of which the best is taken.

    Parameters
    ----------
    estimator : DensityRegressor or DensityClassifier
        Becomes fitted.
    given, held_out, X_unlabelled
        As `fit` was given them.
    """
    clock, settings = clock_for(estimator), estimator._settings
    task, parts = estimator._prepare(given, held_out, X_unlabelled)
    if settings.search is not None and "max_epochs" in settings.unset and task.validates:
        _fit_best(estimator, Candidate(estimator, "the network", task, parts), settings.search, clock)
        return
    if clock.is_limited:
        measure_pace(estimator, task, clock)
        epochs = max(1, clock.epochs(0, task.options.max_epochs))
        task = replace(task, options=replace(task.options, max_epochs=epochs, ends_at=clock.end()))
    network, scaler, result = estimator._train(task)
    estimator._take_over(task, parts, network, scaler, result)
    warn_of_end(result, task.options)


def _fit_best(estimator: Any, one: Candidate, search: Search, clock: Clock) -> None:
    """Take over the best of the runs of a search."""
    runs, _ = train_best([one], search, clock)
    best = min(runs.done, key=loss_of)
    fitted = {name: value for name, value in vars(best.estimator).items() if name.endswith("_")}
    vars(estimator).update(fitted)
    estimator.params_ = estimator.params_ | {"max_epochs": best.task.options.max_epochs}
    last = runs.done[-1]
    assert last.result is not None
    told = last if last.result.interrupted else best
    assert told.result is not None
    warn_of_end(told.result, told.task.options)
    runs.forget_files()
