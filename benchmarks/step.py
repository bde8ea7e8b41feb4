"""Time of a training epoch per member, in one run.

    python benchmarks/step.py [--batch-size 64] [--rounds 7] [--threads 1]

Compares, on one regression problem with an MLP of 128 and 32 hidden units:

- a plain PyTorch loop over a DataLoader, one network at a time;
- a plain PyTorch loop over slices of a permutation, one network at a time;
- probmix at M = 1 and M = 20, ERM and the methods that `--methods` names;
- for m-probmix, whose variance network adds products, ERM with a second layer that is wider by as many;
- the matrix products of M = 20 alone, forward and backward: what no other bookkeeping could beat.

All variants train the same network on the same number of rows with AdamW. They take turns within every round, so that
a change of the machine's speed meets all of them; medians and ratios of medians are printed. Batches, partners, weights
and the optimiser are part of every epoch; validation is not, in none of them, nor what is done once before the first
epoch: every variant is run for a few epochs and for more, and the difference counts.
"""

import argparse
import time
from collections.abc import Callable
from itertools import pairwise
from statistics import median

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from probmix import families
from probmix.mixup import preset
from probmix.networks import DensityNetwork
from probmix.random import KeyedRandom, member_keys
from probmix.training import TrainingData, TrainingOptions, train

ROWS, FEATURES, HIDDEN = 512, 13, (128, 32)
# a variance network of 128 x 128 on the first layer costs as much as so many more units in the second
WIDER = (128, round((128 * 128 + 128 * 32 + 32 * 2) / (128 + 2)))
FEW, MORE = 2, 12


def make_problem(device: torch.device) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(ROWS, FEATURES, generator=generator, dtype=torch.float64)
    y = x[:, 0] + 0.5 * torch.randn(ROWS, generator=generator, dtype=torch.float64)
    return x.to(device), y.to(device)


def plain_network(device: torch.device) -> nn.Sequential:
    sizes = [FEATURES, *HIDDEN]
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise(sizes):
        layers += [nn.Linear(fan_in, fan_out), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(HIDDEN[-1], 2)).to(device)


def plain_step(network: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor) -> None:
    optimizer.zero_grad()
    mean, log_variance = network(x).unbind(-1)
    nn.functional.gaussian_nll_loss(mean, y, log_variance.exp()).backward()
    optimizer.step()


def dataloader_epochs(x: Tensor, y: Tensor, batch_size: int, epochs: int) -> None:
    network = plain_network(x.device)
    optimizer = torch.optim.AdamW(network.parameters(), lr=5e-3)
    loader = DataLoader(TensorDataset(x.float(), y.float()), batch_size=batch_size, shuffle=True)
    for _ in range(epochs):
        for rows_x, rows_y in loader:
            plain_step(network, optimizer, rows_x, rows_y)


def sliced_epochs(x: Tensor, y: Tensor, batch_size: int, epochs: int) -> None:
    network = plain_network(x.device)
    optimizer = torch.optim.AdamW(network.parameters(), lr=5e-3)
    x, y = x.float(), y.float()
    for _ in range(epochs):
        order = torch.randperm(len(x), device=x.device)
        for rows in order.split(batch_size):
            plain_step(network, optimizer, x[rows], y[rows])


def probmix_epochs(x: Tensor, y: Tensor, batch_size: int, members: int, method: str, epochs: int) -> None:
    mixup = preset("erm" if method == "wider erm" else method)
    family, keys = families.get("gaussian"), member_keys(0, members).to(x.device)
    rows = KeyedRandom(keys).permutations(len(x))
    hidden = WIDER if method == "wider erm" else HIDDEN
    network = DensityNetwork(family, FEATURES, hidden, None, members, mixup.embedding).to(x.device)
    data = TrainingData(x, y, None, rows, rows[:, :0], rows)
    options = TrainingOptions(max_epochs=epochs, batch_size=batch_size, patience=None)
    train(network, family, data, mixup, options, keys)


def product_epochs(x: Tensor, batch_size: int, members: int, epochs: int) -> None:
    """The products of all layers: outputs, gradients of the weights, and gradients of the inputs but for the first."""
    sizes = [FEATURES, *HIDDEN, 2]
    layers = list(pairwise(sizes))
    inputs = [torch.randn(members, batch_size, fan_in, device=x.device) for fan_in, _ in layers]
    weights = [torch.randn(members, fan_in, fan_out, device=x.device) for fan_in, fan_out in layers]
    errors = [torch.randn(members, batch_size, fan_out, device=x.device) for _, fan_out in layers]
    for _ in range(epochs * (len(x) // batch_size)):
        for layer, (activation, weight, error) in enumerate(zip(inputs, weights, errors, strict=True)):
            torch.bmm(activation, weight)
            torch.bmm(activation.transpose(1, 2), error)
            if layer:
                torch.bmm(error, weight.transpose(1, 2))


def timed(work: Callable[[int], None], epochs: int, device: torch.device) -> float:
    start = time.perf_counter()
    work(epochs)
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--members", type=int, default=20)
    parser.add_argument("--methods", default="erm,mixup,probmix,local-probmix,manifold-mixup,m-probmix")
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device, batch_size, many = torch.device(arguments.device), arguments.batch_size, arguments.members
    x, y = make_problem(device)
    methods = arguments.methods.split(",")
    if "m-probmix" in methods:
        methods.insert(methods.index("m-probmix"), "wider erm")

    variants: dict[str, tuple[int, Callable[[int], None]]] = {
        "DataLoader loop": (1, lambda epochs: dataloader_epochs(x, y, batch_size, epochs)),
        "sliced loop": (1, lambda epochs: sliced_epochs(x, y, batch_size, epochs)),
    }
    for members in (1, many):
        for method in methods:
            variants[f"probmix {method}, M = {members}"] = (
                members,
                lambda epochs, members=members, method=method: probmix_epochs(
                    x, y, batch_size, members, method, epochs
                ),
            )
    variants[f"matrix products, M = {many}"] = (many, lambda epochs: product_epochs(x, batch_size, many, epochs))

    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for round_number in range(arguments.rounds + 1):
        for name, (members, work) in variants.items():
            few, more = (timed(work, epochs, device) for epochs in (FEW, MORE))
            if round_number:  # the first round warms up
                seconds[name].append((more - few) / (MORE - FEW) / members)
    medians = {name: median(values) for name, values in seconds.items()}

    where = torch.cuda.get_device_name() if device.type == "cuda" else f"CPU, {arguments.threads} thread(s)"
    print(
        f"torch {torch.__version__}, {where}, {arguments.rounds} rounds; {ROWS} rows, batch {batch_size}, MLP {HIDDEN}"
    )
    print(f"{'':34s}{'ms / epoch / member':>20s}{'DataLoader / this':>19s}{'this / products':>17s}")
    products, loader = medians[f"matrix products, M = {many}"], medians["DataLoader loop"]
    for name, value in medians.items():
        print(f"{name:34s}{1e3 * value:20.3f}{loader / value:19.1f}{value / products:17.2f}")
    for members in (1, many):
        for method in methods if "erm" in methods else []:
            other = "wider erm" if method == "m-probmix" else "erm"
            rounds = zip(
                seconds[f"probmix {method}, M = {members}"], seconds[f"probmix {other}, M = {members}"], strict=True
            )
            ratios = sorted(one / two for one, two in rounds)
            spread = f"{ratios[len(ratios) // 4]:.2f} to {ratios[-1 - len(ratios) // 4]:.2f}"
            print(f"step of {method} / step of {other} at M = {members}: {median(ratios):.2f} (quartiles {spread})")


if __name__ == "__main__":
    main()
