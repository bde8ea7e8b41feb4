"""Partners by the label kernel for a million rows: seconds and peak memory.

    python benchmarks/partners.py [rows]

Each kind of targets is prepared and one partner drawn for all rows, in a process of its own on one thread; memory is
the peak of that process less what it had before, targets and all, as the operating system counts it.
"""

import multiprocessing
import resource
import sys
from time import perf_counter

import torch
from torch import Tensor

from probmix.mixup import LabelKernel
from probmix.random import KeyedRandom, member_keys


def targets(kind: str, n: int) -> Tensor:
    """Targets of a kind, (n,) or (n, d)."""
    draw = torch.Generator().manual_seed(0)
    normal = torch.randn(n, dtype=torch.float64, generator=draw)
    if kind == "normal":
        return normal
    if kind == "heavy tails":
        # Student's t with two degrees of freedom
        return normal / torch.rand(n, dtype=torch.float64, generator=draw).log().neg().sqrt()
    if kind == "counts":
        return torch.poisson(torch.exp(normal + 1), generator=draw)
    return torch.stack([normal, 0.8 * normal + 0.6 * torch.randn(n, dtype=torch.float64, generator=draw)], -1)


def measure(kind: str, n: int, bandwidth: float) -> None:
    """Print a line of the table."""
    torch.set_num_threads(1)
    y = targets(kind, n)
    before, start = _peak(), perf_counter()
    partners = LabelKernel(bandwidth).prepare([y[:, None]], [y])
    prepared = perf_counter()
    drawn = partners.draw(torch.randperm(n).unsqueeze(0), KeyedRandom(member_keys(0, 1)).uniform, 1)
    end = perf_counter()
    assert drawn.shape == (1, n, 1)
    print(
        f"{kind:12} {n:9,} rows  h = {bandwidth:<5g}  prepare {prepared - start:5.2f} s  draw {end - prepared:5.2f} s  "
        f"peak {_peak() - before:4.0f} MiB",
        flush=True,
    )


def _peak() -> float:
    """MiB; the system counts KiB on Linux."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


if __name__ == "__main__":
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    context = multiprocessing.get_context("spawn")
    for kind in ("normal", "heavy tails", "counts", "two targets"):
        for bandwidth in (0.5, 0.05):
            process = context.Process(target=measure, args=(kind, n, bandwidth))
            process.start()
            process.join()
