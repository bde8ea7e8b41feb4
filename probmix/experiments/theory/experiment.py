"""The theory of mixup, in numbers: what the works on mixup claim or prove, each in a problem small enough to see it.

A seed gives the data, the network and the draws. Numbers are of CPUs.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..base import Experiment, Outcome, Picture
from ..methods import check_names, check_positive
from ..published import Published
from ..store import Result, Unit
from ..tabular import versions
from .alternating_line import AlternatingLine
from .crossover import Crossover
from .expansions import Expansions
from .linear_layers import LinearLayers
from .part import Part
from .rare_features import RareFeatures
from .strengths import Strengths

ALL_PARTS: dict[str, Part] = {
    one.name: one for one in (RareFeatures(), AlternatingLine(), Crossover(), LinearLayers(), Strengths(), Expansions())
}
PARTS = tuple(ALL_PARTS)
PROTOCOL = "\n\n".join([(__doc__ or "").strip(), *(part.protocol for part in ALL_PARTS.values())])


class TheoryExperiment(Experiment):
    """All parts as one experiment, under the protocol that their modules describe.

    Parameters
    ----------
    parts : sequence of str or Part
        Names, or parts with settings of their own.
    n_seeds : int

    Raises
    ------
    ValueError
        For unknown names, with the near misses, and numbers out of range; before any work.
    """

    title = "Theory of mixup"
    protocol = PROTOCOL
    rows = ("part", "case")
    repeat = "seed"
    section = "part"

    def __init__(self, parts: Sequence[str | Part] = PARTS, n_seeds: int = 3) -> None:
        check_positive(n_seeds=n_seeds)
        names = [part if isinstance(part, str) else part.name for part in parts]
        given = {part.name: part for part in parts if isinstance(part, Part)}
        self._parts = {name: given.get(name) or ALL_PARTS[name] for name in check_names("part", names, ALL_PARTS)}
        self._n_seeds = n_seeds
        self.settings: dict[str, Any] = {"experiment": type(self).__name__, **versions()}
        self.published: Mapping[str, Published] = {
            score: Published({(part.name, *case): row for case, row in one.cells.items()}, one.note, one.source)
            for part in self._parts.values()
            for score, one in part.published.items()
        }

    def units(self) -> list[Unit]:
        """Part after part."""
        return [{"part": name, **unit} for name, part in self._parts.items() for unit in part.units(self._n_seeds)]

    def job(self, unit: Unit) -> Unit:
        """As the part has it."""
        return {"part": unit["part"], **self._part(unit).job(_inner(unit))}

    def inputs(self, unit: Unit) -> Mapping[str, Any]:
        """The settings of the part."""
        return self._part(unit).settings

    def cost(self, unit: Unit) -> float:
        """Milliseconds, about."""
        return self._part(unit).cost(_inner(unit))

    def work(self, units: Sequence[Unit]) -> Sequence[Outcome]:
        """Units of one part."""
        return self._part(units[0]).work([_inner(unit) for unit in units])

    def pictures(self, results: Sequence[Result]) -> Iterator[Picture]:
        """Those of all parts of which there are results."""
        for name, part in self._parts.items():
            own = [result for result in results if result.unit["part"] == name]
            if own:
                yield from part.pictures(own)

    def _part(self, unit: Unit) -> Part:
        return self._parts[str(unit["part"])]


def _inner(unit: Unit) -> Unit:
    return {key: value for key, value in unit.items() if key != "part"}
