"""Runs an experiment: what is on disk is not done again, and the report is made of what is there then."""

import os
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter

import torch
from tqdm import tqdm

from .._files import write_atomically
from .base import Experiment
from .report import write_report
from .store import Result, ResultStore, Unit
from .summary import results_table

# The bar counts what the work costs; results, which people count in, are told in words.
_BAR = "{desc} |{bar:20}| {elapsed}, about {remaining} left"


def reproduce(
    experiment: Experiment, out: str | Path, *, command: str = "", verbose: bool = True
) -> tuple[list[Result], dict[str, str]]:
    """Do what is left of an experiment, and report on all of it.

    Parameters
    ----------
    experiment : Experiment
    out : path
        Folder of the results, made where it does not exist: ``units/`` has the results of a job at once when it is
        done, ``results.csv`` a row for each unit, renewed after every job; ``summary.csv``, ``table.md``, ``figures/``
        and ``report.html`` come at the end.
    command : str
        What was called, for the head of the tables.
    verbose : bool
        Show a progress bar with the time that is left.

    Returns
    -------
    results : list of Result
        In the order of the units.
    failures : dict of str to str
        What went wrong with the other units, by the name of their job. They are not on disk: another run tries again.

    Raises
    ------
    ValueError
        If `out` has results of other settings, before any work.
    """
    store = ResultStore(Path(out), experiment.settings)
    units = list(experiment.units())
    left = [unit for unit in units if store.load(unit, experiment.inputs(unit)) is None]
    done, failures = len(units) - len(left), {}
    # without smoothing: the mean over all that was done
    with tqdm(
        total=sum(map(experiment.cost, left)), bar_format=_BAR, smoothing=0, disable=not (verbose and left)
    ) as bar:
        for job, members in _jobs(experiment, left):
            name = " ".join(map(str, job.values()))
            bar.set_description_str(f"{done}/{len(units)} results, {name}")
            try:
                results = _work(experiment, members)
            except RuntimeError as error:
                failures[name] = str(error)
            else:
                store.save(job, results, experiment.inputs(members[0]))
                done += len(members)
                _write_table(_finished(experiment, store), store.folder)
            bar.update(sum(map(experiment.cost, members)))
        bar.set_description_str(f"{done}/{len(units)} results")
    finished = _finished(experiment, store)
    _write_table(finished, store.folder)
    write_report(experiment, finished, store.folder, command)
    return finished, failures


def _jobs(experiment: Experiment, units: Sequence[Unit]) -> list[tuple[Unit, list[Unit]]]:
    """Units by their job, jobs in the order of their first units."""
    jobs: dict[tuple[tuple[str, str | int | float], ...], list[Unit]] = {}
    for unit in units:
        jobs.setdefault(tuple(experiment.job(unit).items()), []).append(unit)
    return [(dict(job), members) for job, members in jobs.items()]


def _work(experiment: Experiment, units: Sequence[Unit]) -> list[Result]:
    start = perf_counter()
    outcomes = experiment.work(units)
    seconds = (perf_counter() - start) / len(units)
    return [
        Result(dict(unit), outcome.scores, outcome.details, seconds, machine_class())
        for unit, outcome in zip(units, outcomes, strict=True)
    ]


def _finished(experiment: Experiment, store: ResultStore) -> list[Result]:
    results = (store.load(unit, experiment.inputs(unit)) for unit in experiment.units())
    return [result for result in results if result is not None]


def _write_table(results: Sequence[Result], folder: Path) -> None:
    write_atomically(folder / "results.csv", results_table(results).to_csv(index=False).encode())


def machine_class() -> str:
    """What kind of machine this is: its GPU, if torch sees one, else the number of its cores."""
    if torch.cuda.is_available():
        return f"one {torch.cuda.get_device_name()}"
    cores = os.cpu_count() or 1
    return f"{cores} CPU core{'s' if cores > 1 else ''}"
