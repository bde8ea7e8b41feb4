"""What a fit by each preset takes as a whole process, with all imports, beside NGBoost with 500 rounds.

    python benchmarks/presets.py [--rows 1000,10000] [--features 13] [--methods default,fast,ngboost] [--rounds 1]
        [--targets positive]
    python benchmarks/presets.py --rows 1000000 --features 20 --methods default

The table is simulated, with positive targets, for which the default compares three candidates, or real ones, for which
it compares two. A process imports what it needs, fits, and predicts the mean of 1,000 rows. Printed are seconds by the
clock and of the processors, and the peak of memory of the whole process (Linux); of several rounds, in which methods
take turns, the medians.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from statistics import median

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
PREDICTED = 1_000


def table(rows: int, features: int, targets: str) -> tuple[Array, Array]:
    """A table of numbers, and targets whose place and spread depend on three of them."""
    random = np.random.default_rng(0)
    X = random.normal(size=(rows, features))
    spread = 0.2 + 0.1 * np.abs(X[:, 2])
    y = 0.5 * X[:, 0] + 0.5 * np.sin(3 * X[:, 1]) + spread * random.normal(size=rows)
    return X, y if targets == "real" else np.exp(y)


def fit(method: str, X: Array, y: Array) -> None:
    """Fit and predict; what is imported is a part of it."""
    if method == "ngboost":
        from ngboost import NGBRegressor

        NGBRegressor(n_estimators=500, verbose=False, random_state=0).fit(X, y).predict(X[:PREDICTED])
        return
    from probmix import DensityRegressor

    model = DensityRegressor(preset=method, random_state=0, verbose=True).fit(X, y)
    model.predict(X[:PREDICTED])


def measured(method: str, rows: int, features: int, targets: str) -> dict[str, float]:
    """One process."""
    start = time.perf_counter()
    case = [sys.executable, "-W", "ignore", __file__, "--case", json.dumps([method, rows, features, targets])]
    done = subprocess.run(case, capture_output=True, text=True, check=True)
    *told, last = done.stdout.strip().splitlines()
    print("\n".join(line for line in told if line.startswith("stack of")), file=sys.stderr)
    found: dict[str, float] = json.loads(last)
    return found | {"seconds": time.perf_counter() - start}


def case(method: str, rows: int, features: int, targets: str) -> None:
    """The work of a process, which tells what it took."""
    fit(method, *table(rows, features, targets))
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(json.dumps({"processor": used.ru_utime + used.ru_stime, "memory": used.ru_maxrss / 2**10}))


def listed(text: str) -> list[str]:
    """Words with commas between them. (`common` imports probmix, which is no part of NGBoost's process.)"""
    return text.split(",")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=listed, default=["1000", "10000"])
    parser.add_argument("--features", type=int, default=13)
    parser.add_argument("--methods", type=listed, default=["default", "fast", "ngboost"])
    parser.add_argument("--targets", choices=["positive", "real"], default="positive")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--case", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.case:
        case(*json.loads(arguments.case))
        return
    print(f"{'':10s}{'rows':>10s}{'seconds':>10s}{'of CPUs':>10s}{'MiB':>8s}")
    for rows in map(int, arguments.rows):
        found: dict[str, list[dict[str, float]]] = {method: [] for method in arguments.methods}
        for _ in range(arguments.rounds):
            for method in arguments.methods:
                found[method].append(measured(method, rows, arguments.features, arguments.targets))
        for method, runs in found.items():
            values = [median(run[name] for run in runs) for name in ("seconds", "processor", "memory")]
            print(f"{method:10s}{rows:10,}{values[0]:10.1f}{values[1]:10.1f}{values[2]:8.0f}", flush=True)


if __name__ == "__main__":
    main()
