"""What the benchmarks share: the problem, the plain network, members in training, clocks and ratios."""

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import median

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from probmix import DensityRegressor, families, fit_together
from probmix.datasets import load, uci_splits
from probmix.families import Family
from probmix.mixup import Mixup, as_mixup
from probmix.mixup.objectives import objective
from probmix.networks import MLP, DensityNetwork, NetworkSpec
from probmix.random import KeyedRandom, member_keys
from probmix.training import Rows, Task, TrainingData, TrainingOptions, memory, train

FEATURES, HIDDEN, LEARNING_RATE = 13, (128, 32), 5e-3
PERCEPTRON = MLP(HIDDEN)
# what is done once before the first epoch is no part of a step: epochs are timed by the difference of two runs
FEW, MORE = 2, 12


# -- the problem and the networks --------------------------------------------------------------------------------------


def make_problem(rows: int, device: torch.device, features: int = FEATURES) -> tuple[Tensor, Tensor]:
    """Features and targets of a regression problem, the same in every run."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(rows, features, generator=generator, dtype=torch.float64)
    y = x[:, 0] + 0.5 * torch.randn(rows, generator=generator, dtype=torch.float64)
    return x.to(device), y.to(device)


def plain_network(features: int, device: torch.device) -> nn.Sequential:
    """One network in plain PyTorch; gives a mean and a logarithm of a variance."""
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise([features, *HIDDEN]):
        layers += [nn.Linear(fan_in, fan_out), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(HIDDEN[-1], 2)).to(device)


def gaussian_loss(output: Tensor, y: Tensor, full: bool = False) -> Tensor:
    """Mean NLL; with `full` also its constant. A standard deviation is at least 1e-3, as in probmix."""
    mean, log_variance = output.unbind(-1)
    return nn.functional.gaussian_nll_loss(mean, y, log_variance.exp(), full=full)


def plain_step(network: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor) -> None:
    """One step of one network in plain PyTorch."""
    optimizer.zero_grad()
    gaussian_loss(network(x), y).backward()
    optimizer.step()


@dataclass(frozen=True)
class Members:
    """Members of probmix to be trained on all rows, without validation."""

    network: DensityNetwork
    family: Family
    data: TrainingData
    mixup: Mixup
    keys: Tensor

    def train(self, epochs: int, batch_size: int | None) -> None:
        """Train from the start."""
        train(self.network, self.task(batch_size, epochs))

    def task(self, batch_size: int | None, epochs: int = 1) -> Task:
        """What they are trained for."""
        options = TrainingOptions(max_epochs=epochs, batch_size=batch_size, learning_rate=LEARNING_RATE, patience=None)
        return Task(objective("nll", self.family), self.data, self.mixup, options, self.keys)


def make_members(
    x: Tensor,
    y: Tensor,
    members: int,
    method: str | Mixup,
    spec: NetworkSpec = PERCEPTRON,
    family: str | Family = "gaussian",
) -> Members:
    """Members with a mixup, or with that of a preset."""
    mixup, family = as_mixup(method), families.get(family)
    keys = member_keys(0, members).to(x.device)
    rows = KeyedRandom(keys).permutations(len(x))
    network = DensityNetwork(family, x.shape[1], spec, None, members, mixup.embedding).to(x.device)
    return Members(network, family, TrainingData(Rows(x=x, y=y), rows, rows[:, :0], rows), mixup, keys)


@contextmanager
def all_members_at_a_time() -> Iterator[None]:
    """Let the engine keep whatever all members need for a step."""
    before = memory._CPU_BYTES, memory._GPU_SHARE
    memory._CPU_BYTES, memory._GPU_SHARE = sys.maxsize, 1
    try:
        yield
    finally:
        memory._CPU_BYTES, memory._GPU_SHARE = before


# -- splits of a table -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Table:
    """A data set with its splits into training and test rows."""

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    splits: list[tuple[NDArray[np.int64], NDArray[np.int64]]]


def load_table(dataset: str, n_splits: int, data: Path | None) -> Table:
    """A UCI data set of the folder, or "diabetes", which needs none."""
    found = load(dataset if dataset == "diabetes" else f"uci/{dataset}", data)
    return Table(found.X.to_numpy(copy=True), found.y.astype(float), list(uci_splits(len(found.y), n_splits)))


def fit_splits(table: Table, splits: int, epochs: int, method: str, device: torch.device) -> list[DensityRegressor]:
    """The first splits of a table in full batches, all as one; the number of a split is its seed."""
    model = DensityRegressor(
        mixup=method,
        hidden_layer_sizes=HIDDEN,
        max_epochs=epochs,
        batch_size=None,
        learning_rate=LEARNING_RATE,
        weight_decay=0.0,
        patience=None,
        device=device,
        preset="plain",
    )
    return fit_together(model, table.x, table.y, [rows for rows, _ in table.splits[:splits]], range(splits))


# -- clocks ------------------------------------------------------------------------------------------------------------


def timed(work: Callable[[], object], device: torch.device) -> float:
    """Seconds that it takes, until a GPU is done with it as well."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def epoch_seconds(work: Callable[[int], None], device: torch.device) -> float:
    """Seconds of an epoch, of work that is given a number of epochs."""
    few, more = (timed(partial(work, epochs), device) for epochs in (FEW, MORE))
    return (more - few) / (MORE - FEW)


def take_turns(variants: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """What each variant measures, round by round, so that a change of the machine's speed meets all of them.

    One more round, the first, warms up and does not count.
    """
    measured: dict[str, list[float]] = {name: [] for name in variants}
    for number in range(rounds + 1):
        for name, measure in variants.items():
            value = measure()
            if number:
                measured[name].append(value)
    return measured


# -- what is printed ---------------------------------------------------------------------------------------------------


def ratio_of_rounds(ones: Sequence[float], others: Sequence[float]) -> str:
    """Median and quartiles of the ratios of rounds."""
    ratios = sorted(one / other for one, other in zip(ones, others, strict=True))
    spread = f"{ratios[len(ratios) // 4]:.2f} to {ratios[-1 - len(ratios) // 4]:.2f}"
    return f"{median(ratios):.2f} (quartiles {spread})"


def describe(device: torch.device) -> str:
    """Version and device, for the first line."""
    threads = torch.get_num_threads()
    where = torch.cuda.get_device_name() if device.type == "cuda" else f"CPU, {threads} thread(s)"
    return f"torch {torch.__version__}, {where}"


# -- the command line --------------------------------------------------------------------------------------------------


def make_parser(doc: str | None, device: str = "cpu", rounds: int | None = None) -> argparse.ArgumentParser:
    """A parser with the options that benchmarks share; there are rounds where a number of them is given."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default=device)
    parser.add_argument("--threads", type=int, default=1)
    if rounds is not None:
        parser.add_argument("--rounds", type=int, default=rounds)
    return parser


def integers(text: str) -> list[int]:
    """A list of positive integers, "20,100", in order and without repetition."""
    numbers = sorted({int(part) for part in text.split(",")})
    if numbers[0] < 1:
        raise argparse.ArgumentTypeError(f"must be positive integers; got {text!r}")
    return numbers


def batch_sizes(text: str) -> list[int | None]:
    """A list of batch sizes, "64,512,full"; None for full batches."""
    return [None if part == "full" else int(part) for part in text.split(",")]


def batch_name(batch_size: int | None) -> str:
    """As in the list."""
    return "full" if batch_size is None else str(batch_size)


def names(text: str) -> list[str]:
    """A list of names, "erm,m-probmix"."""
    return text.split(",")
