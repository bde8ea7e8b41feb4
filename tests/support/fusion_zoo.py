"""Architectures at whose layers rows are mixed."""

from collections import namedtuple
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.functional import relu

ROWS, FEATURES = 6, 8


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.block, self.last = (nn.Linear(FEATURES, FEATURES) for _ in range(3))

    def forward(self, x):
        hidden = relu(self.first(x))
        return self.last(hidden + self.block(hidden))


class Recurrent(nn.Module):
    def __init__(self, kind, batch_first):
        super().__init__()
        self.batch_first = batch_first
        self.rnn = kind(FEATURES, 5, batch_first=batch_first)
        self.last = nn.Linear(5, 2)

    def forward(self, x):  # (B, T, F)
        output = self.rnn(x if self.batch_first else x.transpose(0, 1))[0]
        return self.last(output[:, -1] if self.batch_first else output[-1])


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(FEATURES, 2, batch_first=True)
        self.last = nn.Linear(FEATURES, 2)

    def forward(self, x):
        return self.last(self.attention(x, x, x)[0].mean(1))


class Dictionary(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleDict({"one": nn.Linear(FEATURES, 4), "two": nn.Linear(4, 2)})

    def forward(self, x):
        return self.layers["two"](relu(self.layers["one"](x)))


@dataclass
class Output:
    hidden: torch.Tensor
    extra: int


Named = namedtuple("Named", ["extra", "hidden"])


class Structured(nn.Module):
    """A layer that wraps its output."""

    def __init__(self, kind):
        super().__init__()
        self.inner, self.last, self.kind = Wrapping(kind), nn.Linear(4, 2), kind

    def forward(self, x):
        out = self.inner(x)
        return self.last(out["hidden"] if self.kind is dict else out.hidden)


class Wrapping(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.linear, self.kind = nn.Linear(FEATURES, 4), kind

    def forward(self, x):
        return self.kind(hidden=self.linear(x), extra=1)


class Tied(nn.Module):
    """One layer under two names, run twice."""

    def __init__(self):
        super().__init__()
        self.first = self.second = nn.Linear(FEATURES, FEATURES)

    def forward(self, x):
        return self.second(relu(self.first(x)))


def seeded(build):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build()


def sequential(*layers):
    return lambda: nn.Sequential(*(layer() for layer in layers))


VECTOR, WINDOW = (ROWS, FEATURES), (ROWS, 7, FEATURES)
# builder, shape of the input, layer, options
ZOO = {
    "MLP": (sequential(lambda: nn.Linear(FEATURES, 5), nn.ReLU, lambda: nn.Linear(5, 2)), VECTOR, "1", {}),
    "residual block": (Residual, VECTOR, "block", {}),
    "Conv1d with BatchNorm": (
        sequential(
            lambda: nn.Conv1d(7, 4, 3), lambda: nn.BatchNorm1d(4), nn.ReLU, nn.Flatten, lambda: nn.Linear(24, 2)
        ), WINDOW, "1", {},
    ),
    "Conv2d with BatchNorm": (
        sequential(
            lambda: nn.Conv2d(3, 4, 3), lambda: nn.BatchNorm2d(4), nn.ReLU, nn.Flatten, lambda: nn.Linear(64, 2)
        ), (ROWS, 3, 6, 6), "0", {},
    ),
    "LSTM": (lambda: Recurrent(nn.LSTM, True), WINDOW, "rnn", {"element": 0}),
    "LSTM, sequence first": (lambda: Recurrent(nn.LSTM, False), WINDOW, "rnn", {"element": 0, "batch_dim": 1}),
    "GRU": (lambda: Recurrent(nn.GRU, True), WINDOW, "rnn", {"element": 0}),
    "transformer encoder": (
        lambda: nn.TransformerEncoder(
            nn.TransformerEncoderLayer(FEATURES, 2, 16, dropout=0.0, batch_first=True), 2, enable_nested_tensor=False
        ), WINDOW, "layers.0", {},
    ),
    "attention": (Attention, WINDOW, "attention", {"element": 0}),
    "ModuleDict": (Dictionary, VECTOR, "layers.one", {}),
    "dict output": (lambda: Structured(dict), VECTOR, "inner", {"element": "hidden"}),
    "dataclass output": (lambda: Structured(Output), VECTOR, "inner", {"element": "hidden"}),
    "named tuple output": (lambda: Structured(Named), VECTOR, "inner", {"element": 1}),
    "tied, first call": (Tied, VECTOR, "first", {"call": 0}),
    "tied, second call": (Tied, VECTOR, "second", {"call": 1}),
    "input": (Residual, VECTOR, "input", {}),
    "output": (Residual, VECTOR, "output", {}),
}  # fmt: skip
