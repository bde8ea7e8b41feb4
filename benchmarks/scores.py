"""Time and memory of the CRPS here and in other libraries, in one run.

    python benchmarks/scores.py [--rows 1000000] [--draws 100] [--rounds 3] [--threads 1] [--dtypes float32,float64]

Two problems: Gaussian predictions, ten times `--rows` of them, in closed form; and `--rows` rows of `--draws` draws.
Others are properscoring, scoringrules with each of its estimators and backends, torchmetrics, Pyro, and for Gaussians
the formula in plain torch: the element-wise operations that the score needs, without any check, in the same dtype.
Those that are not installed are named and left out. With numba installed, properscoring uses it, and scoringrules has
one backend more.

All variants get the same numbers in the form that suits them best, which is made beforehand. They take turns within
every round, each with probmix right before it, since a shared machine changes its speed within a round. Printed are
medians of the time per row and of its ratio to that of probmix, and what a variant adds to the resident memory at its
peak, its result included (Linux). Those that compare all pairs of draws at once get as few rows as keep that below a
GiB or so. The estimators "akr" compare each draw with one other: they are approximations of the score.
"""

import ctypes
import importlib
import math
import sys
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import torch
from common import describe, make_parser, names, ratio_of_rounds, take_turns, timed
from torch import Tensor

from probmix.scores import crps, crps_samples

# pairs of draws that a variant that holds all of them at once may meet
PAIRS = 2**25
CPU = torch.device("cpu")
ESTIMATORS = ("qd", "pwm", "fair", "int", "nrg", "akr", "akr_circperm")
PEERS = ("properscoring", "scoringrules", "torchmetrics", "numba")
LINE = "{:38s}{:>10s}{:>10s}{:>36s}{:>12s}"


# work and its number of rows, by name; probmix is the first
Variants = dict[str, tuple[Callable[[], Any], int]]


# -- the variants ------------------------------------------------------------------------------------------------------


def plain_gaussian(loc: Tensor, scale: Tensor, y: Tensor) -> Tensor:
    """The closed form as one writes it down."""
    z = (y - loc) / scale
    density = torch.exp(-0.5 * z.square()) / math.sqrt(2 * math.pi)
    return scale * (z * torch.erf(z / math.sqrt(2)) + 2 * density - 1 / math.sqrt(math.pi))


def gaussian(rows: int, dtype: torch.dtype) -> Variants:
    generator = torch.Generator().manual_seed(0)
    loc, scale, y = (torch.randn(rows, generator=generator, dtype=dtype) for _ in range(3))
    scale.abs_().add_(0.1)
    arrays = [t.numpy() for t in (y, loc, scale)]
    work: dict[str, Callable[[], Any]] = {
        "probmix": partial(crps, torch.distributions.Normal(loc, scale), y),
        "formula in torch": partial(plain_gaussian, loc, scale, y),
        "formula in torch, float64 inside": lambda: plain_gaussian(loc.double(), scale.double(), y.double()).to(dtype),
    }
    if library := installed("properscoring"):
        work["properscoring.crps_gaussian"] = partial(library.crps_gaussian, *arrays)
    if library := scoringrules():
        work["scoringrules.crps_normal, numpy"] = partial(library.crps_normal, *arrays, backend="numpy")
        work["scoringrules.crps_normal, torch"] = partial(library.crps_normal, y, loc, scale, backend="torch")
    return {name: (one, rows) for name, one in work.items()}


def draws(rows: int, dtype: torch.dtype, number: int) -> Variants:
    generator = torch.Generator().manual_seed(0)
    samples = torch.randn(rows, number, generator=generator, dtype=dtype)
    y = torch.randn(rows, generator=generator, dtype=dtype)
    few, array, targets = max(1, min(rows, PAIRS // number**2)), samples.numpy(), y.numpy()
    work: Variants = {
        "probmix": (partial(crps_samples, samples, y), rows),
        "probmix, not fair": (partial(crps_samples, samples, y, fair=False), rows),
    }
    if library := installed("properscoring"):
        backend = "numba" if installed("numba") else "numpy"
        some = rows if backend == "numba" else few
        ensemble = partial(library.crps_ensemble, targets[:some], array[:some])
        work[f"properscoring.crps_ensemble, {backend}"] = ensemble, some
    if library := scoringrules():
        for backend in ("numpy", "torch", *(["numba"] if installed("numba") else [])):
            # the others are no faster on torch
            for estimator in ESTIMATORS if backend != "torch" else ESTIMATORS[:3]:
                # loops of numba hold no pairs
                some = few if estimator in ("fair", "nrg") and backend != "numba" else rows
                given = (y[:some], samples[:some]) if backend == "torch" else (targets[:some], array[:some])
                call = partial(library.crps_ensemble, *given, estimator=estimator, backend=backend)
                work[f"scoringrules {estimator}, {backend}"] = call, some
    if installed("torchmetrics"):
        metric = importlib.import_module("torchmetrics.functional.regression").continuous_ranked_probability_score
        work["torchmetrics"] = partial(metric, samples[:few], y[:few]), few
    empirical = importlib.import_module("pyro.ops.stats").crps_empirical
    # it wants the draws first
    work["pyro.ops.stats.crps_empirical"] = partial(empirical, samples.T.contiguous(), y), rows
    return work


def scoringrules() -> Any:
    """The library with its torch backend, or None."""
    if library := installed("scoringrules"):
        library.register_backend("torch")
    return library


def installed(name: str) -> Any:
    """The library, or None."""
    return importlib.import_module(name) if find_spec(name) else None


# -- memory ------------------------------------------------------------------------------------------------------------


def peak_of(work: Callable[[], Any]) -> int:
    """Bytes that it adds to the resident set at its peak, its result included; some MiB are noise."""
    # what the C library still holds of earlier work is given back, so that it does not hide what comes
    ctypes.CDLL(None).malloc_trim(0)
    # sets the peak to what there is now
    Path("/proc/self/clear_refs").write_text("5")
    before = most_resident()
    result = work()
    peak = most_resident() - before
    del result
    return peak


def most_resident() -> int:
    """The largest resident set since it was last reset, in bytes."""
    status = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))


# -- all of it ---------------------------------------------------------------------------------------------------------


def compare(title: str, variants: Variants, rounds: int) -> None:
    """Print the table of one problem."""
    ours, rows_of_ours = variants["probmix"]

    def measure(work: Callable[[], Any], rows: int) -> tuple[float, float]:
        """Nanoseconds per row, and over those of probmix right before it."""
        beside = timed(ours, CPU) / rows_of_ours
        own = timed(work, CPU) / rows
        return 1e9 * own, own / beside

    measured = take_turns({name: partial(measure, *variant) for name, variant in variants.items()}, rounds)
    peaks = {name: peak_of(work) for name, (work, _) in variants.items()}
    print(LINE.format(title, "rows", "ns / row", "this / probmix", "peak, MiB"))
    for name, pairs in measured.items():
        rows, peak = variants[name][1], peaks[name] / 2**20
        times, ratios = zip(*pairs, strict=True)
        ratio = ratio_of_rounds(ratios, [1.0] * rounds)
        print(LINE.format(name, str(rows), f"{median(times):.1f}", ratio, f"{peak:.1f}"))
    sys.stdout.flush()


def main() -> None:
    parser = make_parser(__doc__, rounds=3)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--draws", type=int, default=100)
    parser.add_argument("--dtypes", type=names, default="float32,float64")
    parser.add_argument("--problems", type=names, default="gaussian,draws")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    missing = [name for name in PEERS if not find_spec(name)]
    print(describe(CPU) + (f"; not installed, and left out: {', '.join(missing)}" if missing else ""))
    for problem in arguments.problems:
        for name in arguments.dtypes:
            dtype = getattr(torch, name)
            if problem == "gaussian":
                variants = gaussian(10 * arguments.rows, dtype)
            else:
                variants = draws(arguments.rows, dtype, arguments.draws)
            compare(f"{problem}, {name}", variants, arguments.rounds)


if __name__ == "__main__":
    main()
