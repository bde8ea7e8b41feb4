"""Results of units of work in a folder: one file for each, there whole or not at all."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from .._files import write_atomically

# What one fit is of: for example its dataset, encoder, method and seed.
Unit = Mapping[str, str | int]


@dataclass(frozen=True)
class Result:
    """What came out of a unit.

    Attributes
    ----------
    unit : dict
    scores : dict of str to float
    details : dict
        Anything that JSON can hold, such as forecasts to be drawn.
    seconds : float
        Time that the work took.
    machine : str
        Class of the machine that did it.
    """

    unit: dict[str, str | int]
    scores: dict[str, float]
    details: dict[str, Any]
    seconds: float
    machine: str


class ResultStore:
    """A folder of results that belong to the same settings.

    Parameters
    ----------
    folder : Path
        Made where it does not exist. Results are in its folder ``units``, one JSON file each.
    settings : dict
        All that determines a result, besides its unit, as JSON can hold it.

    Raises
    ------
    ValueError
        If there are results of other settings in the folder, or files that are no results.

    Notes
    -----
    Every file holds the settings that its result was made under, and comes into being in one step. So a process may be
    killed at any time, and several processes may work on different units of one folder.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from probmix.experiments import Result, ResultStore
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     store = ResultStore(Path(folder), {"epochs": 10})
    ...     store.save(Result({"method": "erm", "seed": 0}, {"nll": 1.5}, {}, 0.1, "2 CPU cores"))
    ...     again = ResultStore(Path(folder), {"epochs": 10})
    ...     again.load({"method": "erm", "seed": 0}).scores, again.load({"method": "erm", "seed": 1})
    ({'nll': 1.5}, None)
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        self.folder = folder
        # as they come back from a file: tuples are lists there
        self.settings: dict[str, Any] = json.loads(json.dumps(settings))
        self._units = folder / "units"
        self._units.mkdir(parents=True, exist_ok=True)
        for path in sorted(self._units.glob("*.json")):
            self._check(path, self._read(path)["settings"])

    def load(self, unit: Unit) -> Result | None:
        """The result of that unit, or None where there is none yet."""
        path = self._path(unit)
        if not path.exists():
            return None
        content = self._read(path)
        self._check(path, content.pop("settings"))
        return Result(**content)

    def save(self, result: Result) -> None:
        """Write a result; from then on it is there whole, whatever happens to the process."""
        content = {"settings": self.settings, **asdict(result)}
        write_atomically(self._path(result.unit), json.dumps(content).encode())

    def _path(self, unit: Unit) -> Path:
        return self._units / f"{file_stem(unit)}.json"

    def _read(self, path: Path) -> dict[str, Any]:
        try:
            content: dict[str, Any] = json.loads(path.read_bytes())
            if content.keys() != {"settings", *Result.__dataclass_fields__}:
                raise ValueError("other fields")
        except (ValueError, AttributeError) as error:
            raise ValueError(f"'{path}' is no result of an experiment. Remove it, and it is made again.") from error
        return content

    def _check(self, path: Path, found: dict[str, Any]) -> None:
        names = [name for name in {**found, **self.settings} if found.get(name) != self.settings.get(name)]
        if names:
            differences = ", ".join(f"{name}={found.get(name)!r}, now {self.settings.get(name)!r}" for name in names)
            raise ValueError(
                f"the results in '{self.folder}' were made with other settings: {differences} (in {path.name}). "
                "Pass the same settings, or choose another folder."
            )


def file_stem(unit: Unit) -> str:
    """Name of the files of a unit.

    Examples
    --------
    >>> file_stem({"dataset": "BRK/B", "method": "erm", "seed": 0})
    'BRK%2FB__erm__0'
    """
    return "__".join(quote(str(value), safe=" ") for value in unit.values())
