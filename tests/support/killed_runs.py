"""A program that starts runs and kills them with SIGKILL at random moments; prints what it saw as JSON.

    python killed_runs.py FOLDER KILLS

One process starts all runs by forking, so that none has to import everything again. A run is killed a moment after it
has begun so many jobs, and waits for it if it gets ahead: how far it comes does not depend on the machine's speed.
"""

import json
import os
import random
import signal
import sys
import threading
import time
from pathlib import Path

import pandas as pd
import torch
from tables_folder import write_tables
from tqdm import tqdm

from probmix.experiments import UCIExperiment, reproduce
from probmix.experiments.methods import METHODS


class Small(UCIExperiment):
    """Fits that take no time, with a line in a log when one begins."""

    hidden_layer_sizes = (4,)

    def __init__(self, data, log):
        methods = [*METHODS, *(f"{method}:linear" for method in METHODS if method != "erm")]
        super().__init__(["yacht", "energy"], methods, 2, 2, 0.5, 0.0, device="cpu", data=data)
        self.log = log
        self.jobs_left = None

    def work(self, units):
        if self.jobs_left == 0:
            signal.pause()
        if self.jobs_left is not None:
            self.jobs_left -= 1
        line = json.dumps(self.job(units[0])) + "\n"
        descriptor = os.open(self.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(descriptor, line.encode())
        os.close(descriptor)
        return super().work(units)


def main(folder, kills):
    torch.set_num_threads(1)
    chance = random.Random(0)
    data = write_tables(folder / "data", rows=30)
    seen = {"killed": 0, "ended": 0, "begun": 0, "begun_again": 0, "places": []}
    # what is done once in a process is done before it forks
    warm = Small(data, folder / "warm")
    warm.work(warm.units()[:2])
    jobs = len(warm.units()) // 2
    attempt, whole = 0, {}
    while seen["killed"] < kills:
        # where all is done, another run begins
        experiment = Small(data, folder / f"log{attempt}")
        out = folder / f"out{attempt}"
        begun = lines(experiment.log)
        code = start_and_kill(experiment, out, chance.randint(0, 3), chance.uniform(0.0, 0.05))
        new = lines(experiment.log)[len(begun) :]
        before, whole = whole, check_files(experiment, out)
        for path, content in before.items():
            assert whole[path] == content, f"{path} has changed"
        # what was begun before the last is there
        saved = {job_of(content) for content in whole.values()}
        assert set(new[:-1]) <= saved, f"lost: {set(new[:-1]) - saved}"
        seen["begun"] += len(new)
        seen["begun_again"] += len(set(new) & set(begun))
        if code == -signal.SIGKILL:
            seen["killed"] += 1
            seen["places"].append(len(whole))
        else:
            assert code == 0, f"a run ended with {code}"
            seen["ended"] += 1
        if len(whole) == jobs and seen["killed"] < kills:
            attempt, whole = attempt + 1, {}
    # of the last folder: the rest, and beside it a run that nobody kills
    finished, _ = reproduce(experiment, out, verbose=False)
    clean, _ = reproduce(Small(data, folder / "log"), folder / "clean", verbose=False)
    seen["equal"] = [one.scores for one in finished] == [one.scores for one in clean]
    seen["results"] = len(finished)
    print(json.dumps(seen))


def start_and_kill(experiment, out, jobs, moment):
    """The exit code of a run, or minus the signal that ended it, `moment` seconds after so many jobs had begun."""
    before = len(lines(experiment.log))
    child = os.fork()
    if child == 0:
        code = 1
        try:
            # a lock shared by all that are forked stays closed for ever where one is killed while it has it
            tqdm.set_lock(threading.RLock())
            experiment.jobs_left = jobs + 1
            reproduce(experiment, out, verbose=False)
            code = 0
        finally:
            os._exit(code)
    while len(lines(experiment.log)) < before + jobs:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.001)
    time.sleep(moment)
    os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def check_files(experiment, out):
    """Every file that has its name is whole; returns the results by path."""
    whole = {}
    for path in sorted(out.glob("units/*.json")):
        content = path.read_bytes()
        assert len(json.loads(content)["results"]) == 2, path
        whole[path] = content
    table = out / "results.csv"
    if table.exists():
        rows = pd.read_csv(table)
        assert not rows[["nll", "crps", "seconds"]].isna().any(axis=None), "a row is not whole"
        # the table is renewed right after a job
        assert 2 * (len(whole) - 1) <= len(rows) <= 2 * len(whole), (len(rows), len(whole))
    for name, ending in {"table.md": "\n", "report.html": "</html>"}.items():
        if (out / name).exists():
            assert (out / name).read_text().endswith(ending), name
    for path in out.glob("figures/*.png"):
        assert path.read_bytes().endswith(b"IEND\xaeB`\x82"), path
    return whole


def job_of(content):
    unit = json.loads(content)["results"][0]["unit"]
    return json.dumps({key: unit[key] for key in ("dataset", "method")})


def lines(path):
    return path.read_text().splitlines() if path.exists() else []


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
