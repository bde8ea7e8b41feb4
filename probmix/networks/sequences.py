"""Encoders of sequences, plain modules without a member axis: (N, T, C) -> (N, embedding_size)."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn


class LSTMEncoder(nn.Module):
    """A recurrent network with one layer of LSTM cells, whose outputs at all time steps make the embedding.

    The outputs of all steps are flattened and compressed linearly, as in the paper's stock forecasts. The class is a
    builder for ``DensityRegressor(network=LSTMEncoder)``.

    Parameters
    ----------
    input_shape : (int, int)
        Time steps T and channels C of an input.
    hidden_size : int
        Number of cells.
    embedding_size : int

    Attributes
    ----------
    lstm : nn.LSTM
        Returns a tuple: (outputs (N, T, hidden_size), last states).
    compress : nn.Linear
        Its output is the embedding.

    Raises
    ------
    ValueError
        For a shape that is not (T, C), or a size that is no positive integer.

    Notes
    -----
    torch has no batching rule for its LSTM: under `torch.vmap` it raises "Batching rule not implemented for
    aten::lstm.input". Several members have to be run one after the other.

    References
    ----------
    Hochreiter and Schmidhuber (1997), Long short-term memory, Neural Computation 9, 1735-1780.
    El-Laham et al. (2025), Mixup Regularization: A Probabilistic Perspective, UAI.

    Examples
    --------
    >>> import torch
    >>> from probmix.networks import LSTMEncoder
    >>> LSTMEncoder((42, 4))(torch.zeros(8, 42, 4)).shape
    torch.Size([8, 64])
    """

    def __init__(self, input_shape: Sequence[int], hidden_size: int = 64, embedding_size: int = 64) -> None:
        super().__init__()
        steps, channels = _steps_and_channels(input_shape)
        _check_sizes(hidden_size=hidden_size, embedding_size=embedding_size)
        self.lstm = nn.LSTM(channels, hidden_size, batch_first=True)
        self.compress = nn.Linear(steps * hidden_size, embedding_size)

    def forward(self, x: Tensor) -> Tensor:
        """Embeddings: (N, T, C) -> (N, embedding_size)."""
        embedding: Tensor = self.compress(self.lstm(x)[0].flatten(-2))
        return embedding


class TransformerEncoder(nn.Module):
    r"""A transformer over the time steps, whose outputs at all steps make the embedding.

    Every step is projected to `hidden_size` numbers, the positions are added in sines and cosines,

    .. math::
        P_{t, 2k} = \sin(t\,\omega_k),\quad P_{t, 2k+1} = \cos(t\,\omega_k),\quad \omega_k = 10000^{-2k/D},

    with D the hidden size, and the layers follow, in which every step attends to every other. Their outputs are
    flattened and compressed linearly, as in the paper's stock forecasts. The class is a builder for
    ``DensityRegressor(network=TransformerEncoder)``.

    Parameters
    ----------
    input_shape : (int, int)
        Time steps T and channels C of an input.
    hidden_size : int
        D, even, and a multiple of `n_heads`.
    embedding_size : int
    n_heads, n_layers : int
    feedforward_size : int, optional
        Width of the perceptron in each layer; by default `hidden_size`.
    dropout : float in [0, 1)
        In training, on what each half of a layer adds.

    Attributes
    ----------
    layers : nn.Sequential
        The transformer's layers, (N, T, D) -> (N, T, D).
    compress : nn.Linear
        Its output is the embedding.

    Raises
    ------
    ValueError
        For a shape that is not (T, C), or sizes that are no positive integers or do not divide.

    Notes
    -----
    Attention is written out as matrix products and a softmax, which `torch.vmap` follows in training and in evaluation;
    under it torch's own fused attention falls back to a loop, with a warning. Dropout above zero needs
    ``vmap(..., randomness="different")``.

    References
    ----------
    Vaswani et al. (2017), Attention is all you need, NeurIPS.
    El-Laham et al. (2025), Mixup Regularization: A Probabilistic Perspective, UAI.

    Examples
    --------
    >>> import torch
    >>> from probmix.networks import TransformerEncoder
    >>> TransformerEncoder((42, 4))(torch.zeros(8, 42, 4)).shape
    torch.Size([8, 64])
    """

    positions: Tensor

    def __init__(
        self,
        input_shape: Sequence[int],
        hidden_size: int = 64,
        embedding_size: int = 64,
        n_heads: int = 2,
        n_layers: int = 2,
        feedforward_size: int | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        steps, channels = _steps_and_channels(input_shape)
        feedforward_size = hidden_size if feedforward_size is None else feedforward_size
        _check_sizes(
            hidden_size=hidden_size,
            embedding_size=embedding_size,
            n_heads=n_heads,
            n_layers=n_layers,
            feedforward_size=feedforward_size,
        )
        if hidden_size % 2 or hidden_size % n_heads:
            raise ValueError(
                "`hidden_size` must be even and a multiple of `n_heads`; "
                f"got hidden_size={hidden_size} and n_heads={n_heads}."
            )
        if not 0 <= dropout < 1:
            raise ValueError(f"`dropout` must be a number in [0, 1); got {dropout!r}.")
        self.project = nn.Linear(channels, hidden_size)
        # follows from the sizes: nothing to store
        self.register_buffer("positions", _sinusoids(steps, hidden_size), persistent=False)
        self.layers = nn.Sequential(
            *(_TransformerLayer(hidden_size, n_heads, feedforward_size, dropout) for _ in range(n_layers))
        )
        self.compress = nn.Linear(steps * hidden_size, embedding_size)

    def forward(self, x: Tensor) -> Tensor:
        """Embeddings: (N, T, C) -> (N, embedding_size)."""
        embedding: Tensor = self.compress(self.layers(self.project(x) + self.positions).flatten(-2))
        return embedding


class _TransformerLayer(nn.Module):
    """Attention and a perceptron, each added to its input and normalised after, as in the original transformer."""

    def __init__(self, hidden_size: int, n_heads: int, feedforward_size: int, dropout: float) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.attend = nn.Linear(hidden_size, 3 * hidden_size)
        self.merge = nn.Linear(hidden_size, hidden_size)
        self.perceptron = nn.Sequential(
            nn.Linear(hidden_size, feedforward_size), nn.ReLU(), nn.Linear(feedforward_size, hidden_size)
        )
        self.norm_attention = nn.LayerNorm(hidden_size)
        self.norm_perceptron = nn.LayerNorm(hidden_size)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(N, T, D) -> (N, T, D)."""
        x = self.norm_attention(x + self.dropout(self.attention(x)))
        out: Tensor = self.norm_perceptron(x + self.dropout(self.perceptron(x)))
        return out

    def attention(self, x: Tensor) -> Tensor:
        r"""Every step attends to every step: softmax(Q K^T / sqrt(D / heads)) V, head by head."""
        # (N, T, 3 D) -> three of (N, heads, T, D / heads)
        heads = self.attend(x).unflatten(-1, (3 * self.n_heads, -1)).transpose(-2, -3)
        query, key, value = heads.chunk(3, -3)
        scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
        merged: Tensor = self.merge((scores.softmax(-1) @ value).transpose(-2, -3).flatten(-2))
        return merged


def _sinusoids(steps: int, size: int) -> Tensor:
    """Positions as sines and cosines, (T, D)."""
    frequency = torch.exp(-math.log(10_000.0) / size * torch.arange(0, size, 2, dtype=torch.float64))
    angle = torch.arange(steps, dtype=torch.float64)[:, None] * frequency
    return torch.stack([angle.sin(), angle.cos()], -1).flatten(-2).to(torch.get_default_dtype())


def _steps_and_channels(input_shape: Sequence[int]) -> tuple[int, int]:
    shape = tuple(input_shape)
    if len(shape) != 2 or min(shape) < 1:
        raise ValueError(
            f"`input_shape` must be (T, C), time steps and channels; got {shape}. "
            "Pass X of shape (n, T, C), as from probmix.datasets.windows."
        )
    return shape


def _check_sizes(**sizes: int) -> None:
    for name, size in sizes.items():
        if not isinstance(size, int) or isinstance(size, bool) or size < 1:
            raise ValueError(f"`{name}` must be an integer of at least 1; got {size!r}.")
