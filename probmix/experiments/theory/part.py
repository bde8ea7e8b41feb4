"""What a part of the experiment on the theory of mixup is."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..base import Outcome, Picture
from ..published import Published
from ..store import Result, Unit


class Part(ABC):
    """One question, with scores of its own.

    Attributes
    ----------
    name : str
        Also on the command line.
    protocol : str
        Everything that the numbers depend on, in words.
    published : dict of str to Published
        Figures to be shown beside ours, by score and by case.
    """

    name: str
    protocol: str
    published: Mapping[str, Published] = {}

    @property
    def settings(self) -> Mapping[str, Any]:
        """What its numbers depend on besides the case, the method and the seed, for JSON."""
        return {}

    @abstractmethod
    def units(self, n_seeds: int) -> Sequence[Unit]:
        """Units with the keys "case", which names a row of the tables, "method", which names a column, and "seed"."""

    @abstractmethod
    def work(self, units: Sequence[Unit]) -> Sequence[Outcome]:
        """Do some or all units of one job."""

    def job(self, unit: Unit) -> Unit:
        """The keys that a unit shares with those it is done with; by default it is alone."""
        return unit

    def cost(self, unit: Unit) -> float:
        """About how many milliseconds a unit takes, a whole number, so that sums are exact."""
        return 1000.0

    def pictures(self, results: Sequence[Result]) -> Iterable[Picture]:
        """Pictures of this part."""
        return ()


def reference(cells: Mapping[str, Mapping[str, str]], note: str) -> Published:
    """Figures by case and method, as a part has them."""
    return Published({(case,): row for case, row in cells.items()}, note, source="reference")
