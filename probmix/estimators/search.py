"""Training the candidates of a stack: all of them, or by successive halving, within a time if there is one."""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count, groupby
from pathlib import Path
from time import perf_counter
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from .._told import warn
from ..training import DivergenceError
from .clock import Clock, measure_pace
from .stack_weighing import Candidate, described

# By how much a round must lower the loss for another one: in nats, or as a share of the CRPS.
_WORTH = 0.005


@dataclass(frozen=True)
class Search:
    """Successive halving: candidates are trained for a share of the epochs, the best of them for a larger one.

    A run of few epochs is a whole one, at whose end the learning rate has come down, and not the beginning of a longer
    one: some tables are learned in few steps, and what comes after is noise. So the search ends when more epochs have
    made the best candidate hardly better, by less than 0.005 nats or half a percent of the CRPS, or where its members
    were best before 60 % of the epochs, on the mean, and what followed was noise. The runs of the round with the best
    of all are stacked. Short runs beside long ones are not: a member by itself, by which weights are told, looks better
    after a short run, and the pool of all is better after a long one.

    Attributes
    ----------
    shares : tuple of float
        Of the epochs, in each round.
    kept : tuple of int
        How many candidates there are in each round after the first.
    by_network : bool
        Whether in the first round every network but the first is tried with the family and the mixup of the best so
        far alone, and not with all: what is behind with one network is hardly ever ahead with another.

    References
    ----------
    Jamieson & Talwalkar (2016), Non-stochastic Best Arm Identification and Hyperparameter Optimization, AISTATS.
    """

    # Where members were best before such a share of their epochs, on the mean, more epochs are hardly of use.
    early: ClassVar[float] = 0.6

    shares: tuple[float, ...] = (1.0,)
    kept: tuple[int, ...] = ()
    by_network: bool = False

    def rounds(self, n_candidates: int, max_epochs: int) -> list[tuple[int, int]]:
        """Epochs and the number of candidates of each round; of rounds with equal epochs there is one."""
        rounds: dict[int, int] = {}
        for share, size in zip(self.shares, (n_candidates, *self.kept), strict=True):
            rounds.setdefault(max(1, round(share * max_epochs)), min(size, n_candidates))
        return list(rounds.items())


@dataclass(frozen=True)
class ThoroughSearch(Search):
    """One that goes on where the members of the best candidate were best early: what follows need not be noise.

    On 640 rows of airfoil such members, of 84 epochs, were better by 0.08 nats after 334.
    """

    early: ClassVar[float] = 0.0


class Runs:
    """Candidates that are trained one after the other.

    Attributes
    ----------
    done : list of Candidate
        In the order in which they were trained, without those that diverged.
    whole : bool
        Whether all had their turn; by Ctrl-C not.
    """

    def __init__(self) -> None:
        self.done: list[Candidate] = []
        self.whole = True
        self._failure: DivergenceError | None = None
        self._files: list[Path] = []

    def train(self, one: Candidate, rest: Sequence[Candidate] = (), again: bool = False) -> bool:
        """Train a candidate; gives whether there is a run of it.

        If the user ends the training, it and those that follow are named; where there have been shorter runs of them,
        `again`, it is told how long these were.

        Raises
        ------
        KeyboardInterrupt
            If the user ended the training before there was anything.
        """
        start = perf_counter()
        if (path := one.task.options.checkpoint) is not None:
            self._files.append(path)
        try:
            network, scaler, one.result = one.estimator._train(one.task)
            one.estimator._take_over(one.task, one.parts, network, scaler, one.result)
        except DivergenceError as error:
            self._failure = error
            warn(f"{one.label} is left out: {error}")
            return False
        except KeyboardInterrupt:
            if not self.done:
                raise
            if again:
                warn(
                    f"training was interrupted, and a run of {one.label} for {one.epochs} epochs is lost: the "
                    "estimator is fitted with the best weights of the runs before it, which had at most "
                    f"{max(run.epochs for run in self.done)} epochs."
                )
            self._end([] if again else [one, *rest])
            return False
        one.seconds = perf_counter() - start
        self.done.append(one)
        if one.result.interrupted:
            self._end(rest)
        return True

    def forget_files(self) -> None:
        """Remove what was kept of the runs, unless they are to go on."""
        if self.whole:
            for path in self._files:
                path.unlink(missing_ok=True)

    def check(self) -> None:
        """Raise what went wrong if there is no run."""
        if not self.done:
            self.forget_files()
            assert self._failure is not None  # there is a candidate, and each is fitted or has failed
            raise self._failure

    def _end(self, rest: Sequence[Candidate]) -> None:
        self.whole = False
        if rest:
            labels = ", ".join(one.label for one in rest)
            warn(f"training was interrupted, and the stack is without the candidates that had not begun: {labels}.")


def train_all(candidates: Sequence[Candidate]) -> Runs:
    """Train every candidate for all of its epochs.

    Raises
    ------
    DivergenceError
        If all of them diverged.
    """
    runs = Runs()
    for number, one in enumerate(candidates):
        runs.train(one, candidates[number + 1 :])
        if not runs.whole:
            break
    runs.check()
    return runs


def train_best(candidates: Sequence[Candidate], search: Search, clock: Clock) -> tuple[Runs, list[Candidate]]:
    """Train candidates by a search, each once in every round that it is in.

    Parameters
    ----------
    candidates : sequence of Candidate
        On the same rows. They are left as they are.
    search : Search
    clock : Clock

    Returns
    -------
    runs : Runs
        Of all rounds.
    stacked : list of Candidate
        The runs of the round with the best of all.

    Raises
    ------
    DivergenceError
        If all diverged in the first round.
    """
    if clock.is_limited:
        measure_pace(candidates[0].estimator, candidates[0].task, clock)
    runs, files, before = Runs(), count(), np.inf
    stacked: list[Candidate] = []
    turns = _turns(candidates, search)
    rounds = _affordable(len(turns), candidates[0].task.options.max_epochs, search, clock)
    turns = turns[: rounds[0][1]]
    field: list[int] = []
    for stage, (epochs, size) in enumerate(rounds):
        ahead = sum(most * min(others, len(field) if stage else size) for most, others in rounds[stage:])
        scores: dict[int, float] = {}
        begun = len(runs.done)
        for place, number in enumerate(field[:size] if stage else _one_of_each(turns, candidates, scores)):
            share = epochs / max(epochs, ahead - place * epochs)
            affordable = clock.epochs(number, epochs, share)
            if not affordable and runs.done:
                continue
            run = _run(candidates[number], max(1, affordable), next(files), clock.end(share))
            rest = [] if stage else [candidates[other] for turn in turns for other in turn if other > number]
            if runs.train(run, rest, again=stage > 0):
                clock.note(number, run.epochs, run.seconds)
                scores[number] = loss_of(run)
            if not runs.whole:
                break
        if not scores:
            break
        field = sorted(scores, key=lambda number: scores[number])
        if (best := scores[field[0]]) < before or not stacked:
            stacked = runs.done[begun:]
        leading = runs.done[begun + list(scores).index(field[0])]
        if not runs.whole or not _is_better(best, before, leading) or was_best_early(leading, search.early):
            break
        before = best
    runs.check()
    return runs, stacked


def _turns(candidates: Sequence[Candidate], search: Search) -> list[list[int]]:
    """The first round, in each turn of which one of several is trained; with the first network each has its own."""
    if not search.by_network:
        return [[number] for number in range(len(candidates))]
    numbers = groupby(range(len(candidates)), key=lambda number: candidates[number].estimator.network)
    first, *others = (list(turn) for _, turn in numbers)
    return [[number] for number in first] + others


def _one_of_each(
    turns: Sequence[Sequence[int]], candidates: Sequence[Candidate], scores: dict[int, float]
) -> Iterator[int]:
    """Of each turn that with the family and the mixup of the best so far; all, while none has scores, which follow."""

    def without_network(number: int) -> tuple[Any, Any]:
        estimator = candidates[number].estimator
        return getattr(estimator, "family", None), estimator.mixup

    for turn in turns:
        if scores:
            best = without_network(min(scores, key=lambda number: scores[number]))
            yield next((number for number in turn if without_network(number) == best), turn[0])
            continue
        for number in turn:
            yield number
            if scores:
                break


def _affordable(n_candidates: int, max_epochs: int, search: Search, clock: Clock) -> list[tuple[int, int]]:
    """The rounds with as many candidates as there is time for, in at least half of the epochs that they should have.

    Where there is less time than one candidate takes, it is trained once.
    """
    for size in range(n_candidates, 0, -1):
        rounds = search.rounds(size, max_epochs)
        work = sum(epochs * others for epochs, others in rounds)
        if clock.epochs(0, work) >= work / 2:
            return rounds
    return [(max_epochs, 1)]


def search_table(runs: Runs) -> pd.DataFrame:
    """A line of each run: what it is, its epochs, the loss of rows that judge it at its best epochs, and seconds."""
    lines = [
        {
            **described(run.estimator),
            "epochs": run.epochs,
            "loss": loss_of(run),
            "seconds": run.seconds,
        }
        for run in runs.done
    ]
    return pd.DataFrame(lines)


def _run(one: Candidate, epochs: int, number: int, ends_at: float | None) -> Candidate:
    """A candidate that is trained for so many epochs, with a file of its own if there is one."""
    options = replace(one.task.options, max_epochs=epochs, ends_at=ends_at)
    if options.checkpoint is not None:
        file = options.checkpoint.with_name(f"{options.checkpoint.name}.{number}")
        options = replace(options, checkpoint=file, keeps_checkpoint=True)
    estimator = with_parameters(one.estimator, max_epochs=epochs)
    return Candidate(estimator, one.label, replace(one.task, options=options), one.parts)


def with_parameters(estimator: Any, **changes: Any) -> Any:
    """A copy with other parameters, whatever a subclass lets be passed to it."""
    copied = copy.copy(estimator)
    for name, value in changes.items():
        setattr(copied, name, value)
    return copied


def _is_better(loss: float, before: float, one: Candidate) -> bool:
    """Whether more epochs made a difference that is worth still more of them."""
    # log scores have no zero, and their differences no unit; before the first round it was infinite
    return loss < (before - _WORTH if one.estimator._loss == "nll" else (1 - _WORTH) * before)


def was_best_early(run: Candidate, share: float) -> bool:
    """Whether members had learned what there is before such a share of the epochs, on the mean."""
    assert run.result is not None
    return bool(run.result.best_epoch.mean() < share * run.epochs)


def loss_of(run: Candidate) -> float:
    """Mean loss of the rows that judge, each member at its best epoch."""
    assert run.result is not None
    curve = run.result.validation_curve
    return float(np.min(curve, axis=0, initial=np.inf, where=np.isfinite(curve)).mean())
