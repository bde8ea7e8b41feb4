"""One fit in a process of its own: its seconds, and a peak of memory that nothing before it has raised."""

import multiprocessing
import os
import sys
import threading
import warnings
from multiprocessing.connection import Connection
from time import perf_counter
from typing import Any

import numpy as np
import torch

from .measures import measures
from .methods import Method, Training
from .sets import Rows

# What a process has imported when it begins, so that this is done once; torch imports the last at the first use.
_IMPORTED = [
    "probmix.experiments.leaderboard.process",
    "probmix.experiments.leaderboard.ours",
    "torch.fx.experimental.symbolic_shapes",
]
_MEBIBYTE = 2**20


def run_alone(method: Method, training: Training, test: Rows) -> dict[str, Any]:
    """Fit a method and score it, in a fresh process.

    Returns
    -------
    dict
        "scores": those of `measures`, "fit_seconds" and "predict_seconds", and where the system tells it "memory", by
        how many MiB the peak of fit and prediction is above what the process had with everything imported. "chosen":
        what the method chose.

    Raises
    ------
    RuntimeError
        If the fit failed, or its process ended.
    """
    context = _context()
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_report, args=(sender, method, training, test))
    process.start()
    sender.close()
    try:
        found = receiver.recv()
    except EOFError:
        process.join()
        raise RuntimeError(
            f"the process ended with the exit code {process.exitcode}, before there was a result"
        ) from None
    except BaseException:
        # stopped by the user, who does not want the rest
        process.terminate()
        raise
    finally:
        receiver.close()
        process.join()
    if isinstance(found, str):
        raise RuntimeError(found)
    result: dict[str, Any] = found
    return result


def _context() -> Any:
    """Processes that begin with all imports done, where the system has such."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_IMPORTED)
    return context


def _report(sender: Connection, method: Method, training: Training, test: Rows) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        found: dict[str, Any] | str = measured(method, training, test)
    except Exception as error:
        found = f"{type(error).__name__}: {error}"
    sender.send(found)
    sender.close()


def _end_with_parent() -> None:
    """End this process with the one that waits for it, which a signal may end without a word."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def measured(method: Method, training: Training, test: Rows) -> dict[str, Any]:
    """Fit a method and score it, here; see `run_alone`."""
    fit = method.load()
    before = _peak_memory()
    with warnings.catch_warnings():
        # of rows far out, of members that were best in the last epoch, of peers about their own versions
        warnings.simplefilter("ignore")
        start = perf_counter()
        fitted = fit(training)
        middle = perf_counter()
        law = fitted.predict(test.X, test.exposure)
        end = perf_counter()
        after = _peak_memory()
        scores = measures(law, test.y, float(np.abs(training.rows.y).max()))
    scores |= {"fit_seconds": middle - start, "predict_seconds": end - middle}
    if before is not None and after is not None:
        scores["memory"] = after - before
    return {"scores": scores, "chosen": dict(fitted.chosen)}


def threads() -> int:
    """What a fit may use, as torch has it in this process."""
    return torch.get_num_threads()


def _peak_memory() -> float | None:
    """The most memory that this process has had, in MiB; None where the system does not tell."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # in bytes there, else in KiB
    return peak / _MEBIBYTE if sys.platform == "darwin" else peak * 1024 / _MEBIBYTE
