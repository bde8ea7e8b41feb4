"""How the cost of training grows with rows, features, members and classes.

    python benchmarks/scaling.py [--methods erm,m-probmix] [--rounds 3] [--threads 1] [--device cpu]

One number grows at a time, the others stay at 2048 rows, 13 features, 4 members and a Gaussian target; an MLP of 128
and 32 hidden units throughout. Printed are milliseconds per epoch and member, and how many times those of the line
before. An epoch is all steps of it with their batches, partners and optimiser, without validation; what is done once
before the first one is left out. Lines take turns within every
round; medians are printed.
"""

from collections.abc import Callable, Sequence
from functools import partial
from statistics import median

import torch
from common import (
    FEATURES,
    batch_name,
    describe,
    epoch_seconds,
    make_members,
    make_parser,
    make_problem,
    names,
    take_turns,
)

from probmix import families

ROWS, MEMBERS = 2048, 4
GROWTH: dict[str, Sequence[int]] = {
    "rows": (512, 2048, 8192, 32768),
    "features": (8, 32, 128, 512),
    "members": (1, 5, 20, 100),
    "classes": (2, 10, 100, 1000),
}


def seconds(grows: str, size: int, batch_size: int | None, method: str, device: torch.device) -> float:
    """Seconds per epoch and member of one line."""
    sizes = {"rows": ROWS, "features": FEATURES, "members": MEMBERS} | {grows: size}
    x, y = make_problem(sizes["rows"], device, sizes["features"])
    family = families.get("gaussian")
    if grows == "classes":
        # as many rows of every class, which the first feature tells apart
        family, y = families.Categorical(size), (y.argsort().argsort() * size // len(y)).double()
    members = make_members(x, y, sizes["members"], method, family=family)
    return epoch_seconds(lambda epochs: members.train(epochs, batch_size), device) / sizes["members"]


def main() -> None:
    parser = make_parser(__doc__, rounds=3)
    parser.add_argument("--methods", type=names, default=["erm", "m-probmix"])
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device = torch.device(arguments.device)
    variants: dict[str, Callable[[], float]] = {}
    lines: list[tuple[str, bool]] = []
    for method in arguments.methods:
        for batch_size in (64, None):
            for grows, sizes in GROWTH.items():
                for number, size in enumerate(sizes):
                    name = f"{method}, batch {batch_name(batch_size)}, {size} {grows}"
                    variants[name] = partial(seconds, grows, size, batch_size, method, device)
                    lines.append((name, number == 0))
    measured = take_turns(variants, arguments.rounds)
    print(f"{describe(device)}, {arguments.rounds} rounds")
    print(f"{'':40s}{'ms / epoch / member':>20s}{'times the line before':>24s}")
    before = 0.0
    for name, is_first in lines:
        value = median(measured[name])
        print(f"{name:40s}{1e3 * value:20.3f}" + ("" if is_first else f"{value / before:24.2f}"))
        before = value


if __name__ == "__main__":
    main()
