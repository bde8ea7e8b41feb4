"""Results in a folder: one file for all that was worked out together, there whole or not at all."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from .._files import make_folder, write_atomically

# What one result is of: for example its dataset, method and split.
Unit = Mapping[str, str | int | float]


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
        Its share of the time that the work took.
    machine : str
        Class of the machine that did it.
    """

    unit: dict[str, str | int | float]
    scores: dict[str, float]
    details: dict[str, Any]
    seconds: float
    machine: str


class ResultStore:
    """A folder of results that belong to the same settings.

    Parameters
    ----------
    folder : Path
        Made where it does not exist. Results are in its folder ``units``, as JSON.
    settings : dict
        All that determines a result, besides its unit and its inputs, as JSON can hold it.

    Raises
    ------
    ValueError
        If there are results of other settings in the folder, or files that are no results.

    Notes
    -----
    Every file holds the settings that its results were made under, comes into being in one step, and is never changed
    afterwards: more results make more files. So a process may be killed at any time, and several processes may work in
    one folder.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from probmix.experiments import Result, ResultStore
    >>> unit = {"method": "erm", "seed": 0}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     store = ResultStore(Path(folder), {"epochs": 10})
    ...     store.save({"method": "erm"}, [Result(unit, {"nll": 1.5}, {}, 0.1, "2 CPU cores")])
    ...     again = ResultStore(Path(folder), {"epochs": 10})
    ...     again.load(unit).scores, again.load({"method": "erm", "seed": 1})
    ({'nll': 1.5}, None)
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        self.folder = folder
        self.settings = _as_stored(settings)
        self._units = folder / "units"
        make_folder(self._units)
        # by unit: the result, its inputs and its file
        self._found: dict[str, tuple[Result, dict[str, Any], str]] = {}
        for path in sorted(self._units.glob("*.json")):
            content = _read(path)
            self._check(content["settings"], self.settings, path.name)
            for entry in content["results"]:
                self._found[_key(entry["unit"])] = Result(**entry), content["inputs"], path.name

    def load(self, unit: Unit, inputs: Mapping[str, Any] | None = None) -> Result | None:
        """The result of that unit, or None where there was none when the store was opened, or saved since.

        Raises
        ------
        ValueError
            If it was made with other inputs.
        """
        found = self._found.get(_key(unit))
        if found is None:
            return None
        result, before, name = found
        self._check(before, _as_stored(inputs or {}), name)
        return result

    def save(self, job: Unit, results: Sequence[Result], inputs: Mapping[str, Any] | None = None) -> None:
        """Write results to one file; from then on they are there whole, whatever happens to the process.

        Parameters
        ----------
        job : dict
            What the results have in common, by which the file is named.
        results : sequence of Result
        inputs : dict, optional
            What they depend on besides settings and units.
        """
        entries = [asdict(result) for result in results]
        before = _as_stored(inputs or {})
        content = {"settings": self.settings, "inputs": before, "results": entries}
        # other units of the same job are another file: none is ever written over
        which = hashlib.sha256(json.dumps([entry["unit"] for entry in entries]).encode()).hexdigest()[:8]
        path = self._units / f"{file_stem(job)}__{which}.json"
        write_atomically(path, json.dumps(content).encode())
        for result in results:
            self._found[_key(result.unit)] = result, before, path.name

    def _check(self, found: Mapping[str, Any], now: Mapping[str, Any], file: str) -> None:
        names = [name for name in {**found, **now} if found.get(name) != now.get(name)]
        if names:
            differences = ", ".join(f"{name}={found.get(name)!r}, now {now.get(name)!r}" for name in names)
            raise ValueError(
                f"the results in '{self.folder}' were made with other settings: {differences} (in {file}). "
                "Pass the same settings, or choose another folder."
            )


def file_stem(unit: Unit) -> str:
    """Name of the files of a unit or a job.

    Examples
    --------
    >>> file_stem({"dataset": "BRK/B", "method": "erm", "seed": 0})
    'BRK%2FB__erm__0'
    """
    return "__".join(quote(str(value), safe=" ") for value in unit.values())


def _key(unit: Unit) -> str:
    return json.dumps(dict(unit))


def _as_stored(values: Mapping[str, Any]) -> dict[str, Any]:
    """As they come back from a file: tuples are lists there."""
    stored: dict[str, Any] = json.loads(json.dumps(dict(values)))
    return stored


def _read(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_bytes())
        entries = [content[name] for name in ("settings", "inputs")] + content["results"]
        if not all(isinstance(entry, dict) for entry in entries):
            raise ValueError("not as they are saved")
        for entry in content["results"]:
            Result(**entry)
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"'{path}' holds no results of an experiment. Remove it, and they are made again.") from error
    return content
