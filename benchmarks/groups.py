"""Full batches: members in groups that stay in the cache, against all at a time.

    python benchmarks/groups.py [--rows 500,2000,8000] [--members 20] [--methods erm,m-probmix] [--rounds 5]

Printed are milliseconds per epoch and member of both, the ratio, how many members the engine trains at a time, and how
many pages of memory the process had to be given anew per epoch and member (`resource.getrusage`, Linux): the C library
hands large blocks back to the system. Both take turns within every round; medians and quartiles are printed.
"""

import resource
from collections.abc import Callable
from functools import partial
from statistics import median

import torch
from common import (
    FEW,
    MORE,
    all_members_at_a_time,
    describe,
    epoch_seconds,
    integers,
    make_members,
    make_parser,
    make_problem,
    names,
    ratio_of_rounds,
    take_turns,
)

from probmix.training.memory import members_at_once

LINE = "{:12s}{:>7s}{:>11s}{:>12s}{:>12s}{:>18s}{:>18s}   {}"


def epochs(rows: int, members: int, method: str, device: torch.device) -> Callable[[int], None]:
    """Trains that many epochs from the start."""
    x, y = make_problem(rows, device)
    return lambda count: make_members(x, y, members, method).train(count, None)


def all_at_a_time(work: Callable[[int], None], device: torch.device) -> float:
    with all_members_at_a_time():
        return epoch_seconds(work, device)


def main() -> None:
    parser = make_parser(__doc__, rounds=5)
    parser.add_argument("--rows", type=integers, default="500,2000,8000")
    parser.add_argument("--members", type=int, default=20)
    parser.add_argument("--methods", type=names, default="erm,m-probmix")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device, members = torch.device(arguments.device), arguments.members
    print(f"{describe(device)}, {arguments.rounds} rounds; {members} members, full batches")
    print(LINE.format("", "rows", "at a time", "groups, ms", "all, ms", "pages, groups", "pages, all", "all / groups"))
    for method in arguments.methods:
        for rows in arguments.rows:
            work = epochs(rows, members, method, device)
            variants = {"groups": partial(epoch_seconds, work, device), "all": partial(all_at_a_time, work, device)}
            faults: dict[str, float] = dict.fromkeys(variants, 0.0)

            def counted(name: str, measure: Callable[[], float], faults: dict[str, float] = faults) -> float:
                before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
                seconds = measure()
                faults[name] = (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / (FEW + MORE)
                return seconds

            turns = {name: partial(counted, name, measure) for name, measure in variants.items()}
            measured = take_turns(turns, arguments.rounds)
            setup = make_members(*make_problem(rows, device), members, method)
            times = [f"{1e3 * median(measured[name]) / members:.2f}" for name in variants]
            pages = [f"{faults[name] / members:.0f}" for name in variants]
            chosen = str(members_at_once(setup.network, setup.task(None)))
            ratio = ratio_of_rounds(measured["all"], measured["groups"])
            print(LINE.format(method, str(rows), chosen, *times, *pages, ratio), flush=True)


if __name__ == "__main__":
    main()
