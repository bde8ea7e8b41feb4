"""What more threads gain in training, and what they lose beside other work.

    python benchmarks/threads.py [--threads 2] [--epochs 2] [--networks 5]

Fits by one thread, by several in each step, and by several that train groups of members beside each other, whatever a
fit would choose: alone, and while another process keeps one processor busy. That process is in a session of its own, as
those of another user or container are, so that where Linux divides the processors among sessions all threads may have
to share one. Seconds by the clock; to be run where nothing else is.
"""

import argparse
import math
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from unittest.mock import patch

import pandas as pd
import torch
from presets import table

from probmix import DensityRegressor
from probmix.networks import MLP
from probmix.networks.specs import NetworkSpec
from probmix.training import threads as choice

NETWORKS: dict[str, tuple[int, NetworkSpec | None]] = {
    "the default's, 10,000 rows": (10_000, None),
    "MLP((512, 256)), 10,000 rows": (10_000, MLP((512, 256))),
    "MLP((512, 256)), 4,000 rows": (4_000, MLP((512, 256))),
    "MLP((1024, 512)), 4,000 rows": (4_000, MLP((1024, 512))),
    "MLP((2048, 1024)), 4,000 rows": (4_000, MLP((2048, 1024))),
}


@contextmanager
def busy() -> Iterator[None]:
    """Beside a process that never waits."""
    other = subprocess.Popen([sys.executable, "-c", "while True: pass"], start_new_session=True)
    try:
        yield
    finally:
        other.kill()
        other.wait()


# From how many multiplications in a step on it is shared by threads.
SHARED = {"one": math.inf, "in a step": 0, "groups": math.inf}


def seconds(rows: int, network: NetworkSpec | None, way: str, threads: int, epochs: int) -> tuple[float, int]:
    """Of a fit, and how many threads it had at a time."""
    X, y = table(rows, 13, "positive")
    model = DensityRegressor("gaussian-mixture", network=network, max_epochs=epochs, random_state=0)
    torch.set_num_threads(1 if way == "one" else threads)
    with patch.object(choice, "_WORTH_SHARING", SHARED[way]):
        start = time.perf_counter()
        model.fit(X, y)
        return time.perf_counter() - start, model.params_["n_threads"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--networks", type=int, default=len(NETWORKS), help="only the first so many")
    options = parser.parse_args()
    lines = []
    for name, (rows, network) in list(NETWORKS.items())[: options.networks]:
        line: list[str | float] = [name]
        for beside in (nullcontext(), busy()):
            with beside:
                found = {way: seconds(rows, network, way, options.threads, options.epochs) for way in SHARED}
            one, step, groups = (took for took, _ in found.values())
            line += [one, step, groups, one / step, one / groups]
        # where all members are one group there is nothing beside it
        lines.append([*line, found["groups"][1]])
    columns = [*SHARED, "gain in a step", "gain of groups"]
    beside_columns = [f"beside: {column}" for column in columns]
    table_ = pd.DataFrame(lines, columns=["network", *columns, *beside_columns, "groups at a time"])
    print(table_.round(2).to_string(index=False))


if __name__ == "__main__":
    main()
