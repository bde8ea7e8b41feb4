"""Runs an experiment: what is on disk is not done again, and the report is made of what is there then."""

import os
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter

import torch
from tqdm import tqdm

from .._files import write_atomically
from .base import Experiment
from .report import report, results_table
from .store import Result, ResultStore


def reproduce(
    experiment: Experiment, out: str | Path, *, command: str = "", verbose: bool = True
) -> tuple[list[Result], dict[str, str]]:
    """Do what is left of an experiment, and report on all of it.

    Parameters
    ----------
    experiment : Experiment
    out : path
        Folder of the results, made where it does not exist: ``units/`` has a file for each unit at once when it is
        done, ``results.csv`` a row for each, renewed after every unit; ``table.md`` and ``figures/`` come at the end.
    command : str
        What was called, for the head of the table.
    verbose : bool
        Show a progress bar with the time that is left.

    Returns
    -------
    results : list of Result
        In the order of the units.
    failures : dict of str to str
        What went wrong with the other units, by the name of the unit. They are not on disk: another run tries again.

    Raises
    ------
    ValueError
        If `out` has results of other settings, before any work.
    """
    store = ResultStore(Path(out), experiment.settings)
    units = list(experiment.units())
    results = [store.load(unit) for unit in units]
    done = sum(result is not None for result in results)
    failures: dict[str, str] = {}
    # without smoothing: the mean over all units done, which differ in length
    with tqdm(total=len(units), initial=done, unit="fit", smoothing=0, disable=not verbose) as bar:
        for index, unit in enumerate(units):
            if results[index] is not None:
                continue
            name = " ".join(str(value) for value in unit.values())
            bar.set_postfix_str(name)
            start = perf_counter()
            try:
                outcome = experiment.work(unit)
            except RuntimeError as error:
                failures[name] = str(error)
            else:
                seconds = perf_counter() - start
                result = Result(dict(unit), outcome.scores, outcome.details, seconds, machine_class())
                store.save(result)
                results[index] = result
                _write_table(results, store.folder)
            bar.update()
    finished = _write_table(results, store.folder)
    text = report(experiment, finished, command)
    write_atomically(store.folder / "table.md", text.encode())
    figures = store.folder / "figures"
    figures.mkdir(exist_ok=True)
    experiment.draw(finished, figures)
    return finished, failures


def _write_table(results: Sequence[Result | None], folder: Path) -> list[Result]:
    finished = [result for result in results if result is not None]
    write_atomically(folder / "results.csv", results_table(finished).to_csv(index=False).encode())
    return finished


def machine_class() -> str:
    """What kind of machine this is: its GPU, if torch sees one, else the number of its cores."""
    if torch.cuda.is_available():
        return f"one {torch.cuda.get_device_name()}"
    cores = os.cpu_count() or 1
    return f"{cores} CPU core{'s' if cores > 1 else ''}"
