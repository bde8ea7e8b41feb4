"""Time of the splits of one data set of a table: a plain loop over splits, and probmix with all splits as one.

    python benchmarks/table1.py [--dataset yacht] [--epochs 200] [--splits 20] [--data FOLDER] [--rounds 5]

Compares, on the published splits of a UCI data set (or of "diabetes", which needs no folder of data sets):

- plain PyTorch, one split after the other;
- `probmix.fit_together` on all splits, ERM;
- `probmix.fit_together` on the first split alone.

All do the same: features and targets are standardised by the training rows; 20 % of these are held out; an MLP of 128
and 32 hidden units with a mean and a variance is trained in full batches by AdamW at a rate of 0.005 without decay;
after every epoch the held-out rows are judged, and the best weights are kept. Nothing stops early. Start and held-out
rows are drawn by each in its own way, so that the test NLL agree but for that; links of the variance differ as well
(the plain one is exponential, with a standard deviation of at least 0.1 % of that of y in both).

Variants take turns within every round; medians and the quartiles of the ratios of rounds are printed. Reading and
testing are not timed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import torch
from common import (
    LEARNING_RATE,
    Table,
    describe,
    fit_splits,
    gaussian_loss,
    load_table,
    make_parser,
    plain_network,
    plain_step,
    ratio_of_rounds,
    take_turns,
    timed,
)
from numpy.typing import NDArray
from torch import Tensor, nn

HELD_OUT = 0.2
LINE = "{:34s}{:>10s}{:>26s}"


@dataclass(frozen=True)
class PlainFit:
    """A trained network with the units of its training rows."""

    network: nn.Module
    x_mean: Tensor
    x_sd: Tensor
    y_mean: Tensor
    y_sd: Tensor

    @torch.no_grad()
    def nll(self, x: Tensor, y: Tensor) -> float:
        """Mean NLL of rows in the units of the data."""
        output = self.network(((x - self.x_mean) / self.x_sd).float()).double()
        return float(gaussian_loss(output, (y - self.y_mean) / self.y_sd, full=True) + self.y_sd.log())


def fit_plain(x: Tensor, y: Tensor, epochs: int, seed: int) -> PlainFit:
    """Fit one network to one split, as one would write it."""
    torch.manual_seed(seed)
    x_mean, x_sd, y_mean, y_sd = x.mean(0), x.std(0, correction=0), y.mean(), y.std(correction=0)
    x_sd = torch.where(x_sd > 0, x_sd, torch.ones_like(x_sd))
    order = torch.randperm(len(x), device=x.device)
    held_out, rows = order.split([round(HELD_OUT * len(x)), len(x) - round(HELD_OUT * len(x))])
    x, y = ((x - x_mean) / x_sd).float(), ((y - y_mean) / y_sd).float()
    x_train, y_train, x_held_out, y_held_out = x[rows], y[rows], x[held_out], y[held_out]

    network = plain_network(x.shape[1], x.device)
    optimizer = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE, weight_decay=0.0)
    best, best_state = float("inf"), {name: tensor.clone() for name, tensor in network.state_dict().items()}
    for _ in range(epochs):
        plain_step(network, optimizer, x_train, y_train)
        with torch.no_grad():
            score = float(gaussian_loss(network(x_held_out), y_held_out))
        if score < best:
            best, best_state = score, {name: tensor.clone() for name, tensor in network.state_dict().items()}
    network.load_state_dict(best_state)
    return PlainFit(network, x_mean, x_sd, y_mean, y_sd)


def fit_plain_splits(table: Table, epochs: int, device: torch.device) -> list[PlainFit]:
    """Split by split; the number of a split is its seed."""
    x, y = torch.from_numpy(table.x).to(device), torch.from_numpy(table.y).to(device)
    return [fit_plain(x[rows], y[rows], epochs, seed) for seed, (rows, _) in enumerate(table.splits)]


def compare_scores(table: Table, epochs: int, device: torch.device) -> str:
    """Test NLL of both, and of their differences split by split."""
    x, y = torch.from_numpy(table.x).to(device), torch.from_numpy(table.y).to(device)
    plain_fits, fits = (
        fit_plain_splits(table, epochs, device),
        fit_splits(table, len(table.splits), epochs, "erm", device),
    )
    tests = [rows for _, rows in table.splits]
    plain = np.array([fit.nll(x[rows], y[rows]) for fit, rows in zip(plain_fits, tests, strict=True)])
    together = np.array([-fit.score(table.x[rows], table.y[rows]) for fit, rows in zip(fits, tests, strict=True)])
    return (
        f"mean test NLL: plain {_mean(plain)} (median {np.median(plain):.3f}), "
        f"probmix {_mean(together)} (median {np.median(together):.3f}), difference by split {_mean(together - plain)}"
    )


def _mean(values: NDArray[np.float64]) -> str:
    """Mean and its standard error."""
    error = values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else float("nan")
    return f"{values.mean():.3f} ± {error:.3f}"


def main() -> None:
    parser = make_parser(__doc__, rounds=5)
    parser.add_argument("--dataset", default="yacht")
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--splits", type=int, default=20)
    parser.add_argument("--data", type=Path, help="folder of data sets (default: the variable PROBMIX_DATA)")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device, epochs, splits = torch.device(arguments.device), arguments.epochs, arguments.splits
    table = load_table(arguments.dataset, splits, arguments.data)

    plain, together, alone = f"plain PyTorch, {splits} splits", f"probmix, {splits} splits as one", "probmix, one split"
    work: dict[str, Callable[[], object]] = {
        plain: partial(fit_plain_splits, table, epochs, device),
        together: partial(fit_splits, table, splits, epochs, "erm", device),
        alone: partial(fit_splits, table, 1, epochs, "erm", device),
    }
    seconds = take_turns({name: partial(timed, fit, device) for name, fit in work.items()}, arguments.rounds)

    n, features = table.x.shape
    print(
        f"{describe(device)}, {arguments.rounds} rounds; {arguments.dataset}: {n} rows, {features} features, "
        f"{splits} splits, {epochs} epochs, full batches"
    )
    print(LINE.format("", "seconds", "ms / epoch / split"))
    for name, values in seconds.items():
        fits = 1 if name == alone else splits
        print(LINE.format(name, f"{median(values):.3f}", f"{1e3 * median(values) / epochs / fits:.3f}"))
    print(f"plain, {splits} splits / probmix, {splits} splits: {ratio_of_rounds(seconds[plain], seconds[together])}")
    print(f"probmix, {splits} splits / probmix, one split: {ratio_of_rounds(seconds[together], seconds[alone])}")
    print(compare_scores(table, epochs, device))


if __name__ == "__main__":
    main()
