"""Peak memory of training, by members and batch size.

    python benchmarks/memory.py [--members 1,20,100] [--batches 64,512,full] [--rows 8192] [--device cpu]

Every case trains an MLP of 128 and 32 hidden units for two epochs in a fresh process, twice: with as many members at a
time as the engine chooses, and with all of them at a time (on a GPU: as many as could fit it if nothing else were
there). Printed are how many members it chose, both peaks, their ratio, and the peak over that of the fewest members.

A peak is what training adds: data, networks, optimisers and steps, without the libraries. On the CPU it is the growth
of the resident set (`resource.getrusage`, Linux), on a GPU that of `torch.cuda.max_memory_allocated`. A process is
first warmed up by a small run, and filled up to the most that it ever had, so that nothing hides in what it had left.
Peaks below a few MiB are within the noise of the allocator.
"""

import json
import os
import resource
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from common import (
    HIDDEN,
    Members,
    all_members_at_a_time,
    batch_name,
    batch_sizes,
    describe,
    integers,
    make_members,
    make_parser,
    make_problem,
    names,
)
from numpy.typing import NDArray

from probmix.training import memory

EPOCHS, WARM_UP_ROWS = 2, 64
MIB = 1 << 20
LINE = "{:18s}{:>7s}{:>6s}{:>11s}{:>12s}{:>15s}{:>14s}{:>15s}"


@dataclass(frozen=True)
class Case:
    """One training run, to be done in a process of its own."""

    method: str
    members: int
    batch_size: int | None
    rows: int
    device: str
    threads: int
    all_at_a_time: bool


@dataclass(frozen=True)
class Outcome:
    """Bytes that training added at its peak, and the number of members that the engine chooses to train at a time."""

    peak: int
    at_a_time: int


def run_alone(case: Case) -> Outcome:
    """What a case comes to in a fresh process."""
    command = [sys.executable, __file__, "--case", json.dumps(asdict(case))]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return Outcome(**json.loads(done.stdout))


def run_here(case: Case) -> Outcome:
    """What a case comes to in this process, which has done nothing else."""
    torch.set_num_threads(case.threads)
    device = torch.device(case.device)
    make_members(*make_problem(WARM_UP_ROWS, device), 1, case.method).train(EPOCHS, case.batch_size)
    if device.type == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        setup = _train(case, device)
        peak = torch.cuda.max_memory_allocated() - before
    else:
        filling = _fill_up()
        before = _most_resident()
        setup = _train(case, device)
        peak = _most_resident() - before
        del filling
    # asked last, since it takes memory itself
    return Outcome(peak, memory.members_at_once(setup.network, setup.task(case.batch_size)))


def _train(case: Case, device: torch.device) -> Members:
    setup = make_members(*make_problem(case.rows, device), case.members, case.method)
    if case.all_at_a_time:
        with all_members_at_a_time():
            setup.train(EPOCHS, case.batch_size)
    else:
        setup.train(EPOCHS, case.batch_size)
    return setup


def _most_resident() -> int:
    """The largest resident set so far, in bytes; it begins with that of the process that started this one."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _fill_up() -> NDArray[np.uint8]:
    """Memory that brings the resident set to the largest one so far: whatever comes now makes it larger."""
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return np.ones(max(0, _most_resident() - resident), dtype=np.uint8)


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--members", type=integers, default="1,20,100")
    parser.add_argument("--batches", type=batch_sizes, default="64,512,full")
    parser.add_argument("--methods", type=names, default="erm,m-probmix")
    parser.add_argument("--rows", type=int, default=8192)
    parser.add_argument("--case", help="used by the script itself: one case, in this process")
    arguments = parser.parse_args()
    if arguments.case is not None:
        print(json.dumps(asdict(run_here(Case(**json.loads(arguments.case))))))
        return
    torch.set_num_threads(arguments.threads)
    print(f"{describe(torch.device(arguments.device))}; {arguments.rows} rows, MLP {HIDDEN}")
    print(LINE.format("", "batch", "M", "at a time", "peak, MiB", "all, MiB", "all / chosen", "M / fewest M"))
    for method in arguments.methods:
        for batch_size in arguments.batches:
            fewest = None
            for m in arguments.members:
                shared = method, m, batch_size, arguments.rows, arguments.device, arguments.threads
                chosen = run_alone(Case(*shared, all_at_a_time=False))
                # where the engine takes all anyhow, a second run would only measure the noise
                everyone = chosen if chosen.at_a_time >= m else run_alone(Case(*shared, all_at_a_time=True))
                fewest = fewest or chosen
                numbers = (
                    str(chosen.at_a_time),
                    f"{chosen.peak / MIB:.1f}",
                    f"{everyone.peak / MIB:.1f}",
                    f"{everyone.peak / max(1, chosen.peak):.2f}",
                    f"{chosen.peak / max(1, fewest.peak):.2f}",
                )
                print(LINE.format(method, batch_name(batch_size), str(m), *numbers), flush=True)


if __name__ == "__main__":
    main()
