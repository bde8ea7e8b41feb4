"""What an experiment is."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .published import Published
from .store import Result, Unit

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from .tables import Table


@dataclass(frozen=True)
class Outcome:
    """What the work on a unit gives: scores, and details such as forecasts."""

    scores: dict[str, float]
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Picture:
    """A figure with the name of its file, without ending, and the words below it."""

    name: str
    caption: str
    figure: "Figure"


class Experiment(ABC):
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
    ranked_over : str or None
        The key among `rows` over which ranks are averaged, if any; the other keys make rankings of their own.
    apart : str or None
        The key among `rows` whose values have pictures of their own, where `ranked_over` is None.
    section : str or None
        The key among `rows` by which tables are set apart, if any: where its values have scores of their own.
    test_to_train : float
        Where repeats are random splits of the same rows: test rows for each training row. 0 where they share none.
    published : dict of str to Published
        Figures of the paper, by the name of the score.
    baseline : str
        The method that the others are compared with.
    remarks : sequence of str
        What is to be said before the work and in the report, such as which methods are left out.
    """

    title: str
    protocol: str
    settings: Mapping[str, Any]
    rows: Sequence[str]
    repeat: str
    ranked_over: str | None = None
    apart: str | None = None
    section: str | None = None
    test_to_train: float = 0.0
    published: Mapping[str, Published] = {}
    baseline: str = "erm"
    remarks: Sequence[str] = ()

    @abstractmethod
    def units(self) -> Sequence[Unit]:
        """All units, in the order of work. A unit is what has a line of its own in the results."""

    @abstractmethod
    def work(self, units: Sequence[Unit]) -> Sequence[Outcome]:
        """Do some or all units of one job; the same units and settings give the same scores.

        Raises
        ------
        RuntimeError
            If the work failed.
        """

    def job(self, unit: Unit) -> Unit:
        """The keys that a unit shares with those it is done and stored together with; by default it is alone."""
        return unit

    def inputs(self, unit: Unit) -> Mapping[str, Any]:
        """What a unit depends on besides the settings, for JSON, such as a hash of its data; one for all of a job."""
        return {}

    def cost(self, unit: Unit) -> float:
        """About how much work a unit is, in any measure; the estimate of the time that is left uses it."""
        return 1.0

    def pictures(self, results: Sequence[Result]) -> Iterable[Picture]:
        """Pictures of this experiment alone, besides those that every experiment gets."""
        return ()

    def own_tables(self, results: Sequence[Result]) -> Iterable["Table"]:
        """Tables of this experiment alone, before those that every experiment gets."""
        return ()

    def test_to_train_of(self, row: Mapping[str, Any]) -> float:
        """Test rows for each training row in a row of the tables."""
        return self.test_to_train
