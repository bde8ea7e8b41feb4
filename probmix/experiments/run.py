"""Runs an experiment: what is on disk is not done again, and the report is made of what is there then."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from joblib import Parallel, delayed
from tqdm import tqdm

from .._files import write_atomically
from .base import Experiment
from .report import write_report
from .store import Result, ResultStore, Unit
from .summary import results_table

# A job, its units, and their results or what went wrong with them.
_Attempt = tuple[Unit, Sequence[Unit], list[Result] | str]
# The bar counts what the work costs; results, which people count in, are told in words.
_BAR = "{desc} |{bar:20}| {elapsed}, about {remaining} left"


def reproduce(
    experiment: Experiment, out: str | Path, *, jobs: int = 1, command: str = "", verbose: bool = True
) -> tuple[list[Result], dict[str, str]]:
    """Do what is left of an experiment, and report on all of it.

    Parameters
    ----------
    experiment : Experiment
    out : path
        Folder of the results, made where it does not exist: ``units/`` has the results of a job at once when it is
        done, ``results.csv`` a row for each unit, renewed after every job; ``summary.csv``, ``table.md``, ``figures/``
        and ``report.html`` come at the end.
    jobs : int
        Number of processes that work at the same time. With more than one, each has its share of the cores.
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

        def calls() -> Iterator[Any]:
            for job, members in _jobs(experiment, left):
                bar.set_description_str(f"{done}/{len(units)} results, {_name(job)}")
                yield delayed(_attempt)(experiment, job, members)

        # a call is made when there is a process for it
        at_work = Parallel(n_jobs=jobs, return_as="generator_unordered", pre_dispatch="n_jobs")
        for job, members, results in at_work(calls()):
            if isinstance(results, str):
                failures[_name(job)] = results
            else:
                store.save(job, results, experiment.inputs(members[0]))
                done += len(members)
                _write_table(_finished(experiment, store), store.folder)
            bar.update(sum(map(experiment.cost, members)))
        bar.set_description_str(f"{done}/{len(units)} results")
    return report_on(experiment, out, command), failures


def report_on(experiment: Experiment, out: str | Path, command: str = "") -> list[Result]:
    """Report on what there is of an experiment, and do nothing of it.

    Parameters
    ----------
    experiment : Experiment
    out : path
        As in `reproduce`, where files are renewed.
    command : str
        What was called, for the head of the tables.

    Returns
    -------
    results : list of Result
        In the order of the units.

    Raises
    ------
    ValueError
        If `out` has results of other settings.
    """
    store = ResultStore(Path(out), experiment.settings)
    finished = _finished(experiment, store)
    _write_table(finished, store.folder)
    write_report(experiment, finished, store.folder, command)
    return finished


def _jobs(experiment: Experiment, units: Sequence[Unit]) -> list[tuple[Unit, list[Unit]]]:
    """Units by their job, jobs in the order of their first units."""
    jobs: dict[tuple[tuple[str, str | int | float], ...], list[Unit]] = {}
    for unit in units:
        jobs.setdefault(tuple(experiment.job(unit).items()), []).append(unit)
    return [(dict(job), members) for job, members in jobs.items()]


def _name(job: Unit) -> str:
    return " ".join(map(str, job.values()))


def _attempt(experiment: Experiment, job: Unit, units: Sequence[Unit]) -> _Attempt:
    """Do the units of a job; gives them with their results, or with what went wrong."""
    start = perf_counter()
    try:
        outcomes = experiment.work(units)
    except RuntimeError as error:
        return job, units, str(error)
    seconds = (perf_counter() - start) / len(units)
    results = [
        Result(dict(unit), outcome.scores, outcome.details, seconds, machine_class())
        for unit, outcome in zip(units, outcomes, strict=True)
    ]
    return job, units, results


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
