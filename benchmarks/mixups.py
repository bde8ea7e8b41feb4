"""What larger groups, a clean share, and laws of weights and partners cost, against the plain mixup of the same place.

    python benchmarks/mixups.py [--members 1,20] [--batch-size 64] [--rounds 7] [--threads 1]

Every variant trains the same members on the same rows, without validation; they take turns within every round, and
the medians of the ratios of rounds are printed, for a mixup at the output to ProbMix and for one at the input to mixup.
"""

from functools import partial
from statistics import median

import torch
from common import (
    describe,
    epoch_seconds,
    integers,
    make_members,
    make_parser,
    make_problem,
    ratio_of_rounds,
    take_turns,
)
from torch import Tensor

from probmix.mixup import (
    BatchNeighbours,
    BetaWeights,
    DistanceKernel,
    FixedWeights,
    LabelKernel,
    Mixup,
    NearestNeighbours,
    SimilarityWeights,
    WWeights,
)

ROWS = 2048
VARIANTS: dict[str, dict[str, object]] = {
    "as it is": {},
    "clean=0.5": {"clean": 0.5},
    "order=3": {"order": 3},
    "order=5": {"order": 5},
    "label_weights": {"label_weights": BetaWeights(1.0)},
    "WWeights": {"weights": WWeights()},
    "FixedWeights": {"weights": FixedWeights(0.7)},
    "SimilarityWeights": {"weights": SimilarityWeights()},
    "NearestNeighbours": {"partners": NearestNeighbours()},
    "LabelKernel": {"partners": LabelKernel()},
    "DistanceKernel": {"partners": DistanceKernel()},
    "BatchNeighbours": {"partners": BatchNeighbours(k=5)},
}


def epochs_of(x: Tensor, y: Tensor, mixup: Mixup, members: int, batch_size: int, epochs: int) -> None:
    make_members(x, y, members, mixup).train(epochs, batch_size)


def main() -> None:
    parser = make_parser(__doc__, rounds=7)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--members", type=integers, default="1,20")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device = torch.device(arguments.device)
    x, y = make_problem(ROWS, device)
    print(f"{describe(device)}, {arguments.rounds} rounds; {ROWS} rows, batch {arguments.batch_size}")
    for members in arguments.members:
        for base, place in ((Mixup(), "output"), (Mixup(at="input", label_pool="average"), "input")):
            fields = {"at": base.at, "label_pool": base.label_pool}
            mixups = {name: Mixup(**(fields | changes)) for name, changes in VARIANTS.items()}
            measured = take_turns(
                {
                    name: partial(epoch_seconds, partial(epochs_of, x, y, mixup, members, arguments.batch_size), device)
                    for name, mixup in mixups.items()
                },
                arguments.rounds,
            )
            for name, seconds in measured.items():
                ratio = ratio_of_rounds(seconds, measured["as it is"])
                milliseconds = 1e3 * median(seconds) / members
                print(
                    f"M = {members:3d} at the {place:6s} {name:18s} {milliseconds:9.2f} ms / epoch / member  {ratio}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
