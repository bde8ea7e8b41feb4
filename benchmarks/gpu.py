"""How much of a GPU training uses, by members and batch size; and the splits of a small table against one of them.

    python benchmarks/gpu.py [--members 1,20,160] [--batches 64,512,full] [--rows 4096] [--rounds 5]

First the sweep: an MLP of 128 and 32 hidden units, ERM and M-ProbMix, timed by epochs (the difference between a run of
a few and one of more, so that nothing counts that is done once). For each case are printed the members that the engine
trains at a time, ms per step of those, ms per epoch and member, and what share of the GPU that is:

- FLOP/s: those of the matrix products that training really did, counted by torch, over those of one large float32
  product in the same run, with TF32 off;
- bytes/s: an estimate of what a step has to move, over what a large copy moves in the same run (read and written). Per
  row and number of the network (its inputs, hidden units and outputs; for Gaussian embeddings three more for each unit
  of the first layer: precision, draw and mixture) 5 times 4 bytes: written and read in the forward pass, read again in
  the backward pass, and its gradient written and read. Per weight 10 times 4 bytes in a step: read in both passes,
  gradient written and read, weight and two moments read and written by AdamW. Kernels that are not fused move more.

Where both shares are small, time goes into launching kernels.

Then the splits: `probmix.fit_together` on all splits of one data set, and on the first alone, in full batches.

Without a GPU it says so and stops; `--device cpu` tries the script itself, with small sizes:

    python benchmarks/gpu.py --device cpu --members 1,4 --rows 256 --product 512 --copy 64 --epochs 20 --rounds 1
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

import torch
from common import (
    FEATURES,
    FEW,
    HIDDEN,
    Members,
    Table,
    batch_name,
    batch_sizes,
    describe,
    epoch_seconds,
    fit_splits,
    integers,
    load_table,
    make_members,
    make_parser,
    make_problem,
    names,
    ratio_of_rounds,
    take_turns,
    timed,
)
from torch.utils.flop_counter import FlopCounterMode

from probmix.mixup import preset
from probmix.training.memory import members_at_once

NUMBER_BYTES, ROW_PASSES, WEIGHT_PASSES = 4, 5, 10
LINE = "{:12s}{:>6s}{:>7s}{:>11s}{:>11s}{:>21s}{:>12s}{:>10s}{:>13s}{:>11s}"


@dataclass(frozen=True)
class Peaks:
    """What the device does at best."""

    flops: float
    bytes: float


def measure_peaks(size: int, mebibytes: int, rounds: int, device: torch.device) -> Peaks:
    """FLOP/s of a product of two square matrices, and bytes/s of a copy, at the median."""
    a, b = torch.randn(size, size, device=device), torch.randn(size, size, device=device)
    product = torch.empty_like(a)
    source = torch.ones(mebibytes << 18, device=device)
    target = torch.empty_like(source)
    seconds = take_turns(
        {
            "product": lambda: timed(lambda: torch.mm(a, b, out=product), device),
            "copy": lambda: timed(lambda: target.copy_(source), device),
        },
        max(5, rounds),
    )
    copied = 2 * NUMBER_BYTES * source.numel()
    return Peaks(2 * size**3 / median(seconds["product"]), copied / median(seconds["copy"]))


def epoch_flops(setup: Members, batch_size: int | None) -> float:
    """FLOP of the matrix products of an epoch of all members."""

    def count(epochs: int) -> int:
        with FlopCounterMode(display=False) as counter:
            setup.train(epochs, batch_size)
        flops: int = counter.get_total_flops()
        return flops

    return (count(FEW + 1) - count(1)) / FEW


def epoch_bytes(setup: Members, method: str, steps: int) -> float:
    """What an epoch of all members has to move, as estimated above."""
    numbers = FEATURES + sum(HIDDEN) + 2
    if preset(method).embedding != "point":
        numbers += 3 * HIDDEN[0]
    rows = setup.data.train_rows.numel()
    weights = sum(tensor.numel() for tensor in setup.network.state.values())
    return NUMBER_BYTES * (ROW_PASSES * numbers * rows + WEIGHT_PASSES * weights * steps)


def sweep(
    methods: list[str],
    members: list[int],
    batches: list[int | None],
    rows: int,
    rounds: int,
    peaks: Peaks,
    device: torch.device,
) -> None:
    """Print a line for each method, batch size and M."""
    x, y = make_problem(rows, device)
    print(
        LINE.format(
            "", "batch", "M", "at a time", "ms / step", "ms / epoch / member", "TFLOP/s", "of peak", "GB/s", "of peak"
        )
    )
    for method in methods:
        for batch_size in batches:
            for m in members:
                setup = make_members(x, y, m, method)
                work = partial(setup.train, batch_size=batch_size)
                seconds = median(take_turns({"": partial(epoch_seconds, work, device)}, rounds)[""])
                at_a_time = members_at_once(setup.network, setup.task(batch_size))
                steps = -(-rows // (batch_size or rows))
                groups = -(-m // at_a_time)
                flops = epoch_flops(setup, batch_size) / seconds
                moved = epoch_bytes(setup, method, steps) / seconds
                numbers = (
                    f"{1e3 * seconds / steps / groups:.3f}",
                    f"{1e3 * seconds / m:.4f}",
                    f"{flops / 1e12:.3f}",
                    f"{flops / peaks.flops:.1%}",
                    f"{moved / 1e9:.2f}",
                    f"{moved / peaks.bytes:.1%}",
                )
                print(LINE.format(method, batch_name(batch_size), str(m), str(at_a_time), *numbers), flush=True)


def compare_splits(table: Table, methods: list[str], epochs: int, rounds: int, device: torch.device) -> None:
    """Print seconds of all splits as one and of one split, and their ratio."""
    splits = len(table.splits)
    for method in methods:
        fits = {number: partial(fit_splits, table, number, epochs, method, device) for number in (splits, 1)}
        seconds = take_turns({str(number): partial(timed, fit, device) for number, fit in fits.items()}, rounds)
        every, alone = seconds[str(splits)], seconds["1"]
        print(
            f"{method}: {splits} splits {median(every):.3f} s, one split {median(alone):.3f} s, "
            f"ratio {ratio_of_rounds(every, alone)}"
        )


def main() -> None:
    parser = make_parser(__doc__, device="cuda", rounds=5)
    parser.add_argument("--members", type=integers, default="1,20,160")
    parser.add_argument("--batches", type=batch_sizes, default="64,512,full")
    parser.add_argument("--methods", type=names, default="erm,m-probmix")
    parser.add_argument("--rows", type=int, default=4096)
    parser.add_argument("--product", type=int, default=8192, help="rows and columns of the large product")
    parser.add_argument("--copy", type=int, default=1024, help="MiB of the large copy")
    parser.add_argument("--dataset", default="diabetes", help="of the splits; a UCI data set needs --data")
    parser.add_argument("--data", type=Path, help="folder of data sets (default: the variable PROBMIX_DATA)")
    parser.add_argument("--splits", type=int, default=20)
    parser.add_argument("--epochs", type=int, default=200, help="of the fits of the splits")
    arguments = parser.parse_args()
    device, rounds = torch.device(arguments.device), arguments.rounds
    if device.type == "cuda" and not torch.cuda.is_available():
        print("this benchmark needs a GPU, and torch sees none; --device cpu tries the script itself")
        return
    torch.set_num_threads(arguments.threads)
    # full float32, in the large product as in training
    torch.set_float32_matmul_precision("highest")

    peaks = measure_peaks(arguments.product, arguments.copy, rounds, device)
    print(f"{describe(device)}, {rounds} rounds; {arguments.rows} rows, MLP {HIDDEN}")
    print(
        f"at best: {peaks.flops / 1e12:.2f} TFLOP/s (float32 product of {arguments.product} x {arguments.product}), "
        f"{peaks.bytes / 1e9:.0f} GB/s (copy of {arguments.copy} MiB, read and written)"
    )
    sweep(arguments.methods, arguments.members, arguments.batches, arguments.rows, rounds, peaks, device)

    table = load_table(arguments.dataset, arguments.splits, arguments.data)
    print(f"\n{arguments.dataset}: {len(table.y)} rows, {arguments.epochs} epochs, full batches")
    compare_splits(table, arguments.methods, arguments.epochs, rounds, device)


if __name__ == "__main__":
    main()
