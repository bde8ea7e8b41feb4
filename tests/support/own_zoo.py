"""Networks as users write them, the rows they take, and what they are like."""

from collections import OrderedDict
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from probmix import DensityRegressor
from probmix.networks import LSTMEncoder, TransformerEncoder

ROWS = 48


def flat_mlp(shape):
    """Builds an MLP with named layers."""
    encoder = nn.Sequential(nn.Linear(int(np.prod(shape)), 8), nn.ReLU())
    return nn.Sequential(OrderedDict(flat=nn.Flatten(), encoder=encoder, last=nn.Linear(8, 4)))


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.block = nn.Linear(3, 6), nn.Linear(6, 6)

    def forward(self, x):
        hidden = self.first(x).relu()
        return hidden + self.block(hidden).tanh()


class Recurrent(nn.Module):
    """Some other layer, then a recurrent one, up to which `torch.vmap` follows."""

    def __init__(self, kind=nn.LSTM, first=None):
        super().__init__()
        self.first, self.rnn = first or nn.Identity(), kind(3, 5, batch_first=True)

    def forward(self, x):
        return self.rnn(self.first(x))[0][:, -1]


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.project, self.attention = nn.Linear(3, 4), nn.MultiheadAttention(4, 2, batch_first=True)

    def forward(self, x):
        hidden = self.project(x)
        return self.attention(hidden, hidden, hidden)[0].mean(1)


class Keeping(nn.Module):
    """Keeps what it computed, which is neither a parameter nor a buffer."""

    def __init__(self):
        super().__init__()
        self.linear, self.kept = nn.Linear(3, 4), None

    def forward(self, x):
        self.kept = self.linear(x).relu()
        return self.kept


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(3, 3), nn.Linear(3, 3)
        self.two.weight = self.one.weight

    def forward(self, x):
        return self.two(self.one(x).relu())


class Dictionary(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleDict({"one": nn.Linear(3, 5), "a/b": nn.Linear(5, 4)})

    def forward(self, x):
        return self.layers["a/b"](self.layers["one"](x).tanh())


class Counting(nn.Module):
    """An integer buffer that is changed in place, a float one that is assigned anew, a constant that is not stored."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 4)
        self.register_buffer("steps", torch.tensor(0))
        self.register_buffer("mean", torch.zeros(3))
        self.register_buffer("offset", torch.full((3,), 0.5), persistent=False)
        self.register_buffer("nothing", None)

    def forward(self, x):
        if self.training:
            self.steps += 1
            self.mean = 0.5 * self.mean + 0.5 * x.mean(0)
        return self.linear(x - self.mean + self.offset).relu()


class Branching(nn.Module):
    """Where it goes depends on the numbers it sees."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 4)

    def forward(self, x):
        return self.linear(x).relu() if x.sum() > 0 else self.linear(x).tanh()


class NoisyAlways(nn.Module):
    """Dropout that does not end with training."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 8)

    def forward(self, x):
        return nn.functional.dropout(self.linear(x), 0.3, training=True)


class Named(nn.Module):
    """One hidden layer of a chosen name, and more behind it."""

    def __init__(self, name):
        super().__init__()
        self.name = name
        self.add_module(name, nn.Linear(3, 6))
        self.behind = nn.Linear(6, 4)

    def forward(self, x):
        return self.behind(self.get_submodule(self.name)(x).relu())


def conv1d(shape=(2, 6)):
    """No bias before the normalisation: its gradient is zero, and AdamW would make a random walk of rounding errors."""
    return nn.Sequential(nn.Conv1d(2, 3, 3, bias=False), nn.BatchNorm1d(3), nn.ReLU(), nn.Flatten())


def conv2d():
    return nn.Sequential(nn.Conv2d(2, 3, 3, bias=False), nn.BatchNorm2d(3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten())


def dropout():
    return nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.3), nn.ReLU())


def frozen():
    network = nn.Sequential(nn.Linear(3, 6), nn.BatchNorm1d(6, affine=False), nn.ReLU(), nn.Linear(6, 4))
    network[0].requires_grad_(False)
    return network


def lazy():
    return nn.Sequential(nn.LazyLinear(6), nn.ReLU())


small_lstm_encoder = partial(LSTMEncoder, hidden_size=4, embedding_size=3)
small_transformer = partial(TransformerEncoder, hidden_size=4, embedding_size=3, n_layers=1)


class Case(NamedTuple):
    """A network, or what builds it; the shape of its rows; and whether torch.vmap can follow it."""

    network: Any
    shape: tuple[int, ...]
    followed: bool = True
    random: bool = False


def cases():
    """The zoo; modules are made anew by every call."""
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return {
            "module": Case(flat_mlp((3,)), (3,)),
            "builder": Case(flat_mlp, (3,)),
            "residual": Case(Residual(), (3,)),
            "conv1d": Case(conv1d(), (2, 6)),
            "conv2d": Case(conv2d(), (2, 5, 6)),
            "lstm": Case(Recurrent(), (6, 3), followed=False),
            "gru": Case(Recurrent(nn.GRU), (6, 3), followed=False),
            "normalised gru": Case(Recurrent(nn.GRU, nn.BatchNorm1d(6)), (6, 3), followed=False),
            "lstm encoder": Case(small_lstm_encoder, (6, 3), followed=False),
            "transformer": Case(small_transformer, (6, 3)),
            "attention": Case(Attention(), (6, 3), followed=False),
            "keeping": Case(Keeping(), (3,)),
            "tied": Case(Tied(), (3,)),
            "dictionary": Case(Dictionary(), (3,)),
            "dropout": Case(dropout(), (3,), random=True),
            "recurrent dropout": Case(Recurrent(first=nn.Dropout(0.3)), (6, 3), followed=False, random=True),
            "lazy": Case(lazy(), (3,)),
            "frozen": Case(frozen(), (3,)),
            "counting": Case(Counting(), (3,)),
            "branching": Case(Branching(), (3,), followed=False),
            "no parameters": Case(nn.Flatten(), (2, 3)),
        }


def rows(shape, n=ROWS):
    """Features in units of their own, and targets that depend on the mean of a channel, with noise of size one."""
    rng = np.random.default_rng(0)
    X = 3 * rng.normal(size=(n, *shape)) + 5
    channel = X[..., 0] if len(shape) == 2 else X[:, 0]
    mean = channel.reshape(n, -1).mean(1)
    return X, 3 * (mean - 5) / mean.std() + rng.normal(size=n)


FAST = {"max_epochs": 3, "batch_size": 16, "random_state": 0, "n_draws": 5}


def fitted(network=flat_mlp, shape=(3,), **params):
    X, y = rows(shape)
    return DensityRegressor(network=network, **FAST | params, preset="plain").fit(X, y)
