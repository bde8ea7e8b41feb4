"""The end of training in a fit that has a time limit."""

from time import perf_counter

# So many steps are made even where there is no time for any.
_FEWEST_STEPS = 30


class Deadline:
    """When the steps of some members must have ended, whatever was planned: the machine may have become slower.

    Parameters
    ----------
    seconds : float or None
        From now; None for no end.
    """

    def __init__(self, seconds: float | None) -> None:
        self._start, self._seconds = perf_counter(), seconds
        self._steps = 0

    def count_step(self) -> None:
        """A step has been made."""
        self._steps += 1

    @property
    def progress(self) -> float:
        """The share of the time that has passed, by which schedules come to their end with it; 0 without an end."""
        if self._seconds is None:
            return 0.0
        passed = (perf_counter() - self._start) / self._seconds if self._seconds > 0 else 1.0
        return min(passed, 1.0, self._steps / _FEWEST_STEPS)

    @property
    def is_over(self) -> bool:
        """Whether there is no time for another step."""
        return self.progress >= 1.0
