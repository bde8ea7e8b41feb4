"""What an experiment is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from .store import Result, Unit


@dataclass(frozen=True)
class Outcome:
    """What the work on a unit gives: scores, and details such as forecasts."""

    scores: dict[str, float]
    details: dict[str, Any] = field(default_factory=dict)


class Experiment(Protocol):
    """What `reproduce` needs of an experiment.

    Attributes
    ----------
    title : str
    protocol : str
        Everything that the numbers depend on, in words.
    settings : dict
        The same in numbers, for JSON; results of other settings are never mixed.
    rows : sequence of str
        The keys of a unit that name a row of the tables; its key "method" names the column.
    repeat : str
        The key over which means and standard errors are taken, such as "seed".
    """

    @property
    def title(self) -> str: ...
    @property
    def protocol(self) -> str: ...
    @property
    def settings(self) -> Mapping[str, Any]: ...
    @property
    def rows(self) -> Sequence[str]: ...
    @property
    def repeat(self) -> str: ...

    def units(self) -> Sequence[Unit]:
        """All units, in the order of work."""

    def work(self, unit: Unit) -> Outcome:
        """Do a unit; the same unit and settings give the same scores. A `RuntimeError` says that it failed."""

    def draw(self, results: Sequence[Result], folder: Path) -> None:
        """Draw figures of these results into a folder."""
