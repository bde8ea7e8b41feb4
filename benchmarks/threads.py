"""What a second thread gains in training, and what it loses beside other work.

    python benchmarks/threads.py [--threads 2] [--epochs 2]

Fits with one of torch's threads and with several, whatever a fit would choose: alone, and while another process keeps
one processor busy. That process is in a session of its own, as those of another user or container are, so that where
Linux divides the processors among sessions both threads may have to share one. Seconds by the clock; to be run where
nothing else is.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
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


def seconds(rows: int, network: NetworkSpec | None, threads: int, epochs: int) -> float:
    X, y = table(rows, 13, "positive")
    model = DensityRegressor("gaussian-mixture", network=network, max_epochs=epochs, random_state=0)
    torch.set_num_threads(threads)
    with patch.object(choice, "_WORTH_SHARING", 0):
        start = time.perf_counter()
        model.fit(X, y)
        return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=2)
    options = parser.parse_args()
    lines = []
    for name, (rows, network) in NETWORKS.items():
        alone = [seconds(rows, network, threads, options.epochs) for threads in (1, options.threads)]
        with busy():
            beside = [seconds(rows, network, threads, options.epochs) for threads in (1, options.threads)]
        lines.append([name, *alone, alone[0] / alone[1], *beside, beside[0] / beside[1]])
    several = f"{options.threads} threads"
    columns = ["network", "alone: 1 thread", several, "times as fast", "beside: 1 thread", several, "times as fast"]
    print(pd.DataFrame(lines, columns=columns).round(2).to_string(index=False))


if __name__ == "__main__":
    main()
