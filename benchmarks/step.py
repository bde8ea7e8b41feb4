"""Time of a training epoch per member, in one run.

    python benchmarks/step.py [--batch-size 64] [--members 20,100] [--rounds 7] [--threads 1]

Compares, on one regression problem with an MLP of 128 and 32 hidden units:

- skorch, one network at a time, without validation and callbacks; left out where it is not installed;
- a plain PyTorch loop over a DataLoader, one network at a time;
- a plain PyTorch loop over slices of a permutation, one network at a time;
- probmix at M = 1 and at each M that `--members` names, ERM and the methods that `--methods` names;
- for m-probmix, whose variance network adds products, ERM with a second layer that is wider by as many;
- the matrix products of each M > 1 alone, forward and backward: what no other bookkeeping could beat;
- the parts of networks and heads that `--parts` names, ERM with 8 members, beside the perceptron of those sizes and its
  Gaussian head: "periodic", an embedding of the 13 numbers; "piecewise", one of 48 bins; "resnet", two blocks of width
  128; "shared", 8 predictions that share weights; "dropout", of a tenth; "mixture", a head of five Gaussians.

All variants train the same network on the same number of rows with AdamW. They take turns within every round, so that
a change of the machine's speed meets all of them; medians and ratios of medians are printed. The last column divides by
the products of the same M, and for single networks by those of the first M. Batches, partners, weights and the
optimiser are part of every epoch; validation is not, in none of them, nor what is done once before the first epoch:
every variant is run for a few epochs and for more, and the difference counts.
"""

from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from itertools import pairwise
from statistics import median

import torch
from common import (
    FEATURES,
    HIDDEN,
    LEARNING_RATE,
    describe,
    epoch_seconds,
    gaussian_loss,
    integers,
    make_members,
    make_parser,
    make_problem,
    names,
    plain_network,
    plain_step,
    ratio_of_rounds,
    take_turns,
)
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from probmix import families
from probmix.families import Family
from probmix.networks import MLP, NetworkSpec, Periodic, PiecewiseLinear, ResNet, SharedMLP

ROWS = 512
# a variance network of 128 x 128 on the first layer costs as much as so many more units in the second
WIDER = (128, round((128 * 128 + 128 * 32 + 32 * 2) / (128 + 2)))


PART_MEMBERS = 8
PARTS: dict[str, tuple[NetworkSpec, str | Family]] = {
    "plain": (MLP(HIDDEN), "gaussian"),
    "periodic": (MLP(HIDDEN, embedding=Periodic()), "gaussian"),
    "piecewise": (MLP(HIDDEN, embedding=PiecewiseLinear()), "gaussian"),
    "resnet": (ResNet(), "gaussian"),
    "shared": (SharedMLP(HIDDEN), "gaussian"),
    "dropout": (MLP(HIDDEN, dropout=0.1), "gaussian"),
    "mixture": (MLP(HIDDEN), families.get("gaussian-mixture", n_components=5)),
}


class GaussianLoss(nn.Module):
    """The loss in the form that skorch asks for."""

    def forward(self, output: Tensor, y: Tensor) -> Tensor:
        """Mean NLL."""
        return gaussian_loss(output, y)


def skorch_epochs(x: Tensor, y: Tensor, batch_size: int, epochs: int) -> None:
    from skorch import NeuralNet

    net = NeuralNet(
        plain_network(FEATURES, x.device),
        criterion=GaussianLoss,
        optimizer=torch.optim.AdamW,
        lr=LEARNING_RATE,
        batch_size=batch_size,
        max_epochs=epochs,
        train_split=None,
        iterator_train__shuffle=True,
        callbacks="disable",
        verbose=0,
        device=x.device,
    )
    net.fit(x.float().cpu().numpy(), y.float().cpu().numpy())


def dataloader_epochs(x: Tensor, y: Tensor, batch_size: int, epochs: int) -> None:
    network = plain_network(FEATURES, x.device)
    optimizer = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE)
    loader = DataLoader(TensorDataset(x.float(), y.float()), batch_size=batch_size, shuffle=True)
    for _ in range(epochs):
        for rows_x, rows_y in loader:
            plain_step(network, optimizer, rows_x, rows_y)


def sliced_epochs(x: Tensor, y: Tensor, batch_size: int, epochs: int) -> None:
    network = plain_network(FEATURES, x.device)
    optimizer = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE)
    x, y = x.float(), y.float()
    for _ in range(epochs):
        order = torch.randperm(len(x), device=x.device)
        for rows in order.split(batch_size):
            plain_step(network, optimizer, x[rows], y[rows])


def probmix_epochs(x: Tensor, y: Tensor, batch_size: int, members: int, method: str, epochs: int) -> None:
    is_wider = method == "wider erm"
    setup = make_members(x, y, members, "erm" if is_wider else method, MLP(WIDER if is_wider else HIDDEN))
    setup.train(epochs, batch_size)


def part_epochs(x: Tensor, y: Tensor, batch_size: int, spec: NetworkSpec, family: str | Family, epochs: int) -> None:
    make_members(x, y, PART_MEMBERS, "erm", spec, family).train(epochs, batch_size)


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


def main() -> None:
    parser = make_parser(__doc__, rounds=7)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--members", type=integers, default="20,100")
    parser.add_argument("--methods", type=names, default="erm,mixup,probmix,local-probmix,manifold-mixup,m-probmix")
    parser.add_argument("--parts", type=names, default=",".join(PARTS))
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device, batch_size = torch.device(arguments.device), arguments.batch_size
    x, y = make_problem(ROWS, device)
    methods: list[str] = arguments.methods
    if "m-probmix" in methods:
        methods.insert(methods.index("m-probmix"), "wider erm")
    many = [members for members in arguments.members if members > 1]

    work: dict[str, Callable[[int], None]] = {}
    members_of: dict[str, int] = {}

    def add(name: str, members: int, epochs_of_it: Callable[[int], None]) -> None:
        work[name], members_of[name] = epochs_of_it, members

    if find_spec("skorch") is None:
        print("skorch is not installed; its row is left out")
    else:
        add("skorch", 1, partial(skorch_epochs, x, y, batch_size))
    add("DataLoader loop", 1, partial(dataloader_epochs, x, y, batch_size))
    add("sliced loop", 1, partial(sliced_epochs, x, y, batch_size))
    for m in (1, *many):
        for method in methods:
            add(f"probmix {method}, M = {m}", m, partial(probmix_epochs, x, y, batch_size, m, method))
    for m in many:
        add(f"matrix products, M = {m}", m, partial(product_epochs, x, batch_size, m))
    parts = {name: f"part {name}, M = {PART_MEMBERS}" for name in dict.fromkeys(["plain", *arguments.parts])}
    for name, line in parts.items():
        add(line, PART_MEMBERS, partial(part_epochs, x, y, batch_size, *PARTS[name]))

    epochs = take_turns({name: partial(epoch_seconds, one, device) for name, one in work.items()}, arguments.rounds)
    seconds = {name: [value / members_of[name] for value in values] for name, values in epochs.items()}
    medians = {name: median(values) for name, values in seconds.items()}

    print(f"{describe(device)}, {arguments.rounds} rounds; {ROWS} rows, batch {batch_size}, MLP {HIDDEN}")
    print(f"{'':34s}{'ms / epoch / member':>20s}{'DataLoader / this':>19s}{'this / products':>17s}")
    loader = medians["DataLoader loop"]
    for name, value in medians.items():
        m = members_of[name] if members_of[name] > 1 else min(many, default=1)
        products = medians.get(f"matrix products, M = {m}", float("nan"))
        print(f"{name:34s}{1e3 * value:20.3f}{loader / value:19.1f}{value / products:17.2f}")
    for m in (1, *many):
        for method in methods if "erm" in methods else []:
            other = "wider erm" if method == "m-probmix" else "erm"
            ratio = ratio_of_rounds(seconds[f"probmix {method}, M = {m}"], seconds[f"probmix {other}, M = {m}"])
            print(f"step of {method} / step of {other} at M = {m}: {ratio}")
    for name, line in parts.items():
        ratio = ratio_of_rounds(seconds[line], seconds[parts["plain"]])
        print(f"step with {name} / plain step at M = {PART_MEMBERS}: {ratio}")


if __name__ == "__main__":
    main()
