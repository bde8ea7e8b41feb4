"""The time that a fit may take: what there is time for, and what an epoch takes."""

from dataclasses import replace
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from ..training import DivergenceError, Task, TrainingData
from .checks import check_time_limit

# Of the time limit; the rest is for what follows: out-of-fold densities, weights of a stack and their scores.
_FOR_TRAINING = 0.9
# An epoch of a large table is as long as so many batches of it tell.
_TIMED_BATCHES = 16


class Clock:
    """How many epochs there is time for.

    Parameters
    ----------
    limit : float or None
        Seconds, from when the clock is made.
    """

    def __init__(self, limit: float | None) -> None:
        self._end = None if limit is None else perf_counter() + limit
        self._paces: dict[int, float] = {}

    @property
    def is_limited(self) -> bool:
        """Whether there is a limit."""
        return self._end is not None

    def note(self, number: int, epochs: int, seconds: float) -> None:
        """What epochs of a candidate took."""
        self._paces[number] = seconds / max(1, epochs)

    def epochs(self, number: int, planned: int, share: float = 1.0) -> int:
        """How many of the planned epochs of a candidate there is time for, in its share of what is left."""
        if self._end is None or not self._paces:
            return planned
        pace = self._paces.get(number, sum(self._paces.values()) / len(self._paces))
        return max(0, min(planned, int(share * (self._end - perf_counter()) / max(pace, 1e-9))))

    def end(self, share: float = 1.0) -> float | None:
        """When a run must end that has a share of the time that is left, None without a limit."""
        if self._end is None:
            return None
        now = perf_counter()
        return now + share * (self._end - now)


def clock_for(estimator: Any) -> Clock:
    """The clock of the training in a fit that begins now."""
    limit = check_time_limit(estimator.time_limit)
    return Clock(None if limit is None else _FOR_TRAINING * limit)


def measure_pace(estimator: Any, task: Task, clock: Clock) -> None:
    """Note what an epoch takes, from runs of one and of three that are then forgotten; of many rows by some of them.

    Raises
    ------
    KeyboardInterrupt
        If the user ended such a run: nothing is fitted that could be kept.
    """
    data, share = some_rows(task.data, task.options.batch_size)
    seconds = []
    for epochs in (1, 3):
        start = perf_counter()
        options = replace(task.options, max_epochs=epochs, checkpoint=None, verbose=False)
        try:
            _, _, result = estimator._train(replace(task, data=data, options=options))
        except DivergenceError:
            # the run itself says so
            return
        if result.interrupted:
            raise KeyboardInterrupt
        seconds.append(perf_counter() - start)
    # their difference, since the first has the start of a run in it as well
    clock.note(-1, 2, max(seconds[1] - seconds[0], seconds[1] / 10) / share)


def some_rows(data: TrainingData, batch_size: int | None) -> tuple[TrainingData, float]:
    """Data with as many training rows of each member as some batches have, and the share of all that they are."""
    fewest, judges, _ = (min(sizes) for sizes in zip(*data.sizes_of_members(), strict=True))
    if batch_size is None or fewest <= _TIMED_BATCHES * batch_size:
        return data, 1.0
    share = _TIMED_BATCHES * batch_size / fewest
    train = _evenly(data.train_rows[:, :fewest], _TIMED_BATCHES * batch_size)
    validation = _evenly(data.validation_rows[:, :judges], min(judges, max(1, round(share * judges))))
    # the start of a run looks at all rows that there are
    numbers = torch.cat([train.flatten(), validation.flatten()]).unique()
    train, validation = (torch.searchsorted(numbers, part) for part in (train, validation))
    some = TrainingData(data.rows.take(numbers), train, validation, train, unlabelled=data.unlabelled)
    return some, share


def _evenly(rows: Tensor, count: int) -> Tensor:
    """Columns of (M, n), evenly spaced: rows are sorted, and neighbours alike."""
    places = torch.linspace(0, max(0, rows.shape[1] - 1), count, dtype=torch.float64, device=rows.device)
    return rows[:, places.round().long()]
