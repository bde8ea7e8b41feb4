"""A network and a training loop of your own, in PyTorch and in Pyro.

python examples/own_network.py [--epochs 10] [--seed 0]

What the estimators do works on any `nn.Module`. On the diabetes data of scikit-learn:

1. A residual network that ends in a `NaturalHead` is trained in a plain loop with `mixup_loss`. Maximum likelihood
   ("erm"), manifold mixup and M-ProbMix, where rows are mixed as Gaussian densities at a layer, differ in one argument;
   densities also need a `GaussianEmbedding`, whose parameters the optimiser gets as well.
2. M-ProbMix predicts the mixture over draws of z from q(z | x), the density of a row that is not mixed.
3. The same loop with a loss written out by hand shows what `mixup_loss` does with `fuse_at`.
4. The same network with a Bayesian last layer is a Pyro model, and `fuse_at` around its call mixes rows there
   too: at a layer, or at the natural parameters (ProbMix).

The table holds test scores in the units of y, as mean and standard error over a few splits of one small data set, with
one setting for all and no early stopping. It shows how things are done, not which method is best.
"""

import argparse
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from typing import NamedTuple

import pandas as pd
import pyro
import pyro.distributions as dist
import torch
from pyro.infer import SVI, Predictive, Trace_ELBO
from pyro.infer.autoguide import AutoNormal
from pyro.nn import PyroModule, PyroSample
from pyro.nn.module import to_pyro_module_
from sklearn.datasets import load_diabetes
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

from probmix import GaussianEmbedding, Mixup, NaturalHead, families, fuse_at, linear_pool, mixup_loss
from probmix.families import ExponentialFamily
from probmix.mixup import preset
from probmix.random import generator_uniform, seeded
from probmix.scores import crps, nll

FAMILY = families.get("gaussian")
WIDTH, BATCH, LEARNING_RATE, ALPHA, DRAWS, SPLITS = 32, 64, 2e-3, 0.2, 100, 5
# A whole block, with its skip connection: at a layer inside its branch, rows would slip past each other.
LAYER = "blocks.lower"
METHODS = {
    "erm": preset("erm"),
    "manifold-mixup": preset("manifold-mixup", at=LAYER, alpha=ALPHA),
    "m-probmix": preset("m-probmix", at=LAYER, alpha=ALPHA),
}
# Where rows are mixed in the Pyro model.
PLACES = {"erm": None, "manifold-mixup": LAYER, "probmix": "output"}


class Block(nn.Module):
    """A residual block."""

    def __init__(self) -> None:
        super().__init__()
        self.branch = nn.Sequential(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, WIDTH), nn.SiLU(), nn.Linear(WIDTH, WIDTH))

    def forward(self, hidden: Tensor) -> Tensor:
        return hidden + self.branch(hidden)


class ResidualNetwork(nn.Module):
    """Features (N, F) to natural parameters (N, K)."""

    def __init__(self, in_features: int) -> None:
        super().__init__()
        self.stem = nn.Linear(in_features, WIDTH)
        self.blocks = nn.Sequential(OrderedDict(lower=Block(), upper=Block()))
        self.head = NaturalHead(FAMILY, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.blocks(self.stem(x)))


class Data(NamedTuple):
    """A split: standardised features; targets in training units for training, and in their own for testing."""

    x: Tensor
    y: Tensor
    x_test: Tensor
    y_test: Tensor
    scaler: families.TargetScaler


def split(seed: int) -> Data:
    X, X_test, *targets = train_test_split(*load_diabetes(return_X_y=True), random_state=seed)
    standardise = StandardScaler().fit(X).transform
    x, x_test = (torch.tensor(standardise(rows), dtype=torch.float32) for rows in (X, X_test))
    y, y_test = map(torch.tensor, targets)
    scaler = FAMILY.scaler(y)
    return Data(x, scaler.transform(y).float(), x_test, y_test, scaler)


def scores(eta: Tensor, data: Data) -> dict[str, float]:
    """Test scores, in the units of y, of the equal mixture over natural parameters (N, draws, K)."""
    mixture = linear_pool(FAMILY.distribution(FAMILY.rescale(eta, data.scaler)))
    return {"NLL": nll(mixture, data.y_test).mean().item(), "CRPS": crps(mixture, data.y_test).mean().item()}


class Fit(NamedTuple):
    """A trained network, the precision of its embedding if it has one, and the loss of every batch."""

    network: ResidualNetwork
    embedding: GaussianEmbedding | None
    losses: list[float]


def train(data: Data, mixup: Mixup, epochs: int, seed: int, loss: Callable[..., Tensor] = mixup_loss) -> Fit:
    with seeded(seed):
        network = ResidualNetwork(data.x.shape[1])
        embedding = GaussianEmbedding(WIDTH) if mixup.embedding == "gaussian" else None
    optimizer = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE)
    if embedding is not None:
        optimizer.add_param_group({"params": embedding.parameters()})

    losses, generator = [], torch.Generator().manual_seed(seed)
    for _ in range(epochs):
        for rows in torch.randperm(len(data.x), generator=generator).split(BATCH):
            optimizer.zero_grad()
            value = loss(network, FAMILY, data.x[rows], data.y[rows], mixup, embedding=embedding, generator=generator)
            value.backward()
            optimizer.step()
            losses.append(value.item())
    return Fit(network, embedding, losses)


@torch.no_grad()
def predict(fit: Fit, x: Tensor, generator: torch.Generator) -> Tensor:
    """Natural parameters at draws of z from the unfused q(z | x), (N, draws, K); without an embedding there is one."""
    if fit.embedding is None:
        return fit.network(x).unsqueeze(1)
    noise = partial(torch.randn, generator=generator)
    with fuse_at(fit.network, LAYER, None, None, embedding=fit.embedding, noise=noise):
        return torch.stack([fit.network(x) for _ in range(DRAWS)], 1)


def loss_by_hand(
    network: nn.Module, family: ExponentialFamily, x: Tensor, y: Tensor, mixup: Mixup, *,
    embedding: GaussianEmbedding | None, generator: torch.Generator
) -> Tensor:  # fmt: skip
    """What `mixup_loss` does at a layer: which rows are mixed, how much of each, under what label, in one pass."""
    uniform = generator_uniform(generator, x.device)
    partners = uniform((len(x),)).argsort()
    weights = mixup.weights.sample((len(x),), uniform)
    pairs = torch.stack([y, y[partners]], -1)
    label = family.pool_labels(pairs, weights, mixup.label_spread, mixup.label_pool)
    noise = partial(torch.randn, generator=generator)
    with fuse_at(network, mixup.at, partners, weights, embedding=embedding, noise=noise):
        eta = network(x)
    return family.expected_nll(eta, label).mean()


class BayesianNetwork(PyroModule):
    """The network with a prior on the weights of its last layer; rows may be mixed at a place in it."""

    def __init__(self, network: ResidualNetwork, place: str | None) -> None:
        super().__init__()
        self.network, self.place = network, place
        to_pyro_module_(network)
        last = network.head.linear
        for name, weight in list(last.named_parameters()):
            setattr(last, name, PyroSample(dist.Normal(0.0, WIDTH**-0.5).expand(weight.shape).to_event()))

    def forward(self, x: Tensor, y: Tensor | None = None, groups: tuple[Tensor, Tensor] | None = None) -> Tensor:
        fusion = nullcontext()
        if groups is not None:
            partners, weights = groups
            fusion = fuse_at(self.network, self.place, partners, weights)
            # a site observes points: labels are averaged, which for a Gaussian is also their log-linear pool
            y = FAMILY.pool_labels(torch.stack([y, y[partners]], -1), weights, pool="average").value
        with fusion:
            eta = self.network(x)
        with pyro.plate("rows", len(x)):
            pyro.sample("y", FAMILY.distribution(eta), obs=y)
        return eta


def infer(data: Data, place: str | None, steps: int, seed: int) -> Tensor:
    """Natural parameters of the test rows at draws from the approximate posterior, (N, draws, K)."""
    n = len(data.x)
    # Pyro draws from torch's own generator, and keeps parameters in a store of its own
    with seeded(seed), pyro.get_param_store().scope():
        model = BayesianNetwork(ResidualNetwork(data.x.shape[1]), place)
        guide = AutoNormal(model, init_scale=0.01)
        svi = SVI(model, guide, pyro.optim.Adam({"lr": LEARNING_RATE}), Trace_ELBO())
        for _ in range(steps):
            share = dist.Beta(ALPHA, ALPHA).sample((n,))
            groups = None if place is None else (torch.randperm(n), torch.stack([share, 1 - share], -1))
            svi.step(data.x, data.y, groups)
        posterior = Predictive(model, guide=guide, num_samples=DRAWS, return_sites=("_RETURN",))
        return posterior(data.x_test)["_RETURN"].movedim(0, 1)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="A network and a training loop of your own, in PyTorch and in Pyro.")
    parser.add_argument("--epochs", type=int, default=10, help="passes over the training rows (default: 10)")
    parser.add_argument("--seed", type=int, default=0, help=f"of the first of the {SPLITS} splits (default: 0)")
    options = parser.parse_args(arguments)

    data, mixup = split(options.seed), METHODS["m-probmix"]
    once, by_hand = (train(data, mixup, 1, options.seed, loss).losses for loss in (mixup_loss, loss_by_hand))
    print("An epoch of M-ProbMix  first batch   last batch")
    print(f"with mixup_loss        {once[0]:11.6f}  {once[-1]:11.6f}")
    print(f"with fuse_at by hand   {by_hand[0]:11.6f}  {by_hand[-1]:11.6f}\n")

    lines = []
    for seed in range(options.seed, options.seed + SPLITS):
        data = split(seed)
        for name, mixup in METHODS.items():
            fit = train(data, mixup, options.epochs, seed)
            eta = predict(fit, data.x_test, torch.Generator().manual_seed(seed))
            lines.append({"loop": "PyTorch", "method": name} | scores(eta, data))
        for name, place in PLACES.items():
            # as many steps as the plain loop makes, on full batches
            eta = infer(data, place, len(fit.losses), seed)
            lines.append({"loop": "Pyro", "method": name} | scores(eta, data))
    table = pd.DataFrame(lines).groupby(["loop", "method"], sort=False).agg(["mean", "sem"])
    print(table.to_string(float_format="{:.3f}".format))


if __name__ == "__main__":
    main()
