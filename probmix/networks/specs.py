"""Specifications of built-in networks: plain frozen values, by the names of their classes."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, is_dataclass, replace
from typing import Any, Protocol, Self, TypeVar, runtime_checkable

from torch import nn

from .._checks import check_integer, check_real
from .._names import unknown_name
from .activations import ACTIVATIONS
from .mlp import MemberMLP
from .resnet import MemberResNet
from .shared import MemberSharedMLP
from .trunk import InputEmbedding, Trunk

_SPECS: dict[str, type] = {}

Spec = TypeVar("Spec", bound=type)


@runtime_checkable
class EmbeddingSpec(Protocol):
    """Specification of what numbers become before the first layer."""

    @property
    def n_bins(self) -> int:
        """Bins between quantiles of the training rows that it asks for, by ``set_bins_``; 0 for none."""
        ...

    def build(self, n_members: int, n_numbers: int) -> nn.Module:
        """A module of standardised numbers, (M, N, n_numbers) -> (M, N, out_features)."""
        ...


@dataclass(frozen=True)
class NetworkSpec(ABC):
    """Specification of a built-in network, for ``network=`` of the estimators."""

    @property
    @abstractmethod
    def embedding_spec(self) -> EmbeddingSpec | None:
        """What numbers become before the first layer."""

    @property
    def n_predictions(self) -> int:
        """How many predictions a member makes of a row, which are pooled linearly."""
        return 1

    @abstractmethod
    def _trunk(self, embedding: InputEmbedding | None, in_features: int, out_features: int, n_members: int) -> Trunk:
        """The layers of M members."""

    def beside_variance_network(self) -> Self:
        """The same with room for a separate variance network beside its first hidden layer."""
        return self

    def build(self, n_numbers: int, n_others: int, out_features: int, n_members: int) -> Trunk:
        """The layers of M members.

        Parameters
        ----------
        n_numbers, n_others : int
            How many standardised columns are numbers, which come first, and how many are not.
        out_features, n_members : int
        """
        embedding = None
        if self.embedding_spec is not None and n_numbers:
            embedding = InputEmbedding(self.embedding_spec.build(n_members, n_numbers), n_numbers, n_others)
        return self._trunk(embedding, n_numbers + n_others, out_features, n_members)


def register_spec(spec: Spec) -> Spec:
    """Make a specification known by the name of its class, so that it can be saved; may be used as a decorator."""
    _SPECS[spec.__name__] = spec
    return spec


def is_spec(value: Any) -> bool:
    """Whether something is a specification that is known by its name."""
    return is_dataclass(value) and _SPECS.get(type(value).__name__) is type(value)


def spec_named(name: str) -> type:
    """The class of a specification.

    Raises
    ------
    ValueError
        For an unknown name.
    """
    if name not in _SPECS:
        raise unknown_name("specification of a network", name, _SPECS)
    return _SPECS[name]


def check_sizes(name: str, sizes: object) -> tuple[int, ...]:
    """The sizes of hidden layers as a tuple."""
    if not isinstance(sizes, Iterable) or isinstance(sizes, str):
        raise ValueError(f"`{name}` must be a sequence of integers such as (128, 64); got {sizes!r}.")
    sizes = tuple(sizes)
    for size in sizes:
        check_integer(name, size, 1)
    return tuple(int(size) for size in sizes)


def _check_common(activation: object, dropout: object, embedding: object) -> None:
    if not isinstance(activation, str) or activation not in ACTIVATIONS:
        raise unknown_name("activation", activation, ACTIVATIONS)
    check_real("dropout", dropout, 0.0, 1.0)
    if embedding is not None and (isinstance(embedding, type) or not isinstance(embedding, EmbeddingSpec)):
        raise TypeError(
            "`embedding` must be a specification of what numbers become, such as Periodic(), or None; got "
            f"{embedding!r}."
        )


def _with_half_the_first(sizes: tuple[int, ...]) -> tuple[int, ...]:
    return (max(1, sizes[0] // 2), *sizes[1:]) if sizes else ()


@register_spec
@dataclass(frozen=True)
class MLP(NetworkSpec):
    """A multilayer perceptron.

    Parameters
    ----------
    sizes : sequence of int
        Of the hidden layers; empty for a linear model.
    activation : {"relu", "silu", "mish", "gelu", "tanh"}
    dropout : float in [0, 1)
        Share of what each hidden layer gives that is dropped in training.
    embedding : Periodic or PiecewiseLinear, optional
        What numbers become before the first layer.

    Notes
    -----
    Layers, where a mixup can mix rows: "hidden.0", "hidden.1", ... and "input_embedding"; "embedding" is the first
    hidden layer.

    Examples
    --------
    >>> import numpy as np
    >>> from probmix import DensityRegressor
    >>> from probmix.networks import MLP
    >>> X = np.linspace(-1, 1, 40)[:, None]
    >>> model = DensityRegressor(network=MLP((32, 32), "silu", dropout=0.1), max_epochs=2, random_state=0)
    >>> model.fit(X, X[:, 0]).predict(X).shape
    (40,)
    """

    sizes: tuple[int, ...] = (128, 64)
    activation: str = "relu"
    dropout: float = 0.0
    embedding: EmbeddingSpec | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "sizes", check_sizes("sizes", self.sizes))
        _check_common(self.activation, self.dropout, self.embedding)

    @property
    def embedding_spec(self) -> EmbeddingSpec | None:
        return self.embedding

    def beside_variance_network(self) -> Self:
        """With half the first hidden layer: a variance network of that width stands beside it."""
        return replace(self, sizes=_with_half_the_first(self.sizes))

    def _trunk(self, embedding: InputEmbedding | None, in_features: int, out_features: int, n_members: int) -> Trunk:
        return MemberMLP(in_features, self.sizes, out_features, n_members, self.activation, self.dropout, embedding)


@register_spec
@dataclass(frozen=True)
class ResNet(NetworkSpec):
    """A residual network for tables.

    A linear layer, blocks, normalisation, activation, and a linear layer; a block adds to what it is given what the
    branch normalise, linear, activation, dropout, linear makes of it. As of Gorishniy et al., but that layers are
    normalised row by row: what is said of a row depends on no other.

    Parameters
    ----------
    width : int
        Of what goes from block to block.
    n_blocks : int
    hidden_factor : float
        How many times as wide the branches are inside.
    activation : {"relu", "silu", "mish", "gelu", "tanh"}
    dropout : float in [0, 1)
        Inside the branches.
    embedding : Periodic or PiecewiseLinear, optional
        What numbers become before the first layer.

    References
    ----------
    Gorishniy et al. (2021), Revisiting Deep Learning Models for Tabular Data, NeurIPS.

    Notes
    -----
    Layers, where a mixup can mix rows: "first", "blocks.0", "blocks.1", ..., "last", parts of them such as
    "blocks.0.branch.1", and "input_embedding"; "embedding" is the first block. A separate variance network stands
    beside a network of full width.

    Examples
    --------
    >>> from probmix.networks import ResNet
    >>> ResNet(64, n_blocks=3)
    ResNet(width=64, n_blocks=3, hidden_factor=2.0, activation='relu', dropout=0.0, embedding=None)
    """

    width: int = 128
    n_blocks: int = 2
    hidden_factor: float = 2.0
    activation: str = "relu"
    dropout: float = 0.0
    embedding: EmbeddingSpec | None = None

    def __post_init__(self) -> None:
        check_integer("width", self.width, 1)
        check_integer("n_blocks", self.n_blocks, 1)
        check_real("hidden_factor", self.hidden_factor, 0.0, open_low=True)
        _check_common(self.activation, self.dropout, self.embedding)

    @property
    def embedding_spec(self) -> EmbeddingSpec | None:
        return self.embedding

    def _trunk(self, embedding: InputEmbedding | None, in_features: int, out_features: int, n_members: int) -> Trunk:
        inside = max(1, round(self.width * self.hidden_factor))
        return MemberResNet(
            in_features, self.width, self.n_blocks, inside, out_features, n_members, self.activation, self.dropout,
            embedding,
        )  # fmt: skip


@register_spec
@dataclass(frozen=True)
class SharedMLP(NetworkSpec):
    r"""A perceptron that makes k predictions, whose layers share their weights up to scalings: TabM.

    A layer computes :math:`((x \odot r_j) W) \odot s_j + b_j` for prediction j; each has a last layer of its own. The
    scalings r of the first layer start as random signs, all others at one. What is made small is the mean of the
    losses of the k predictions, and the prediction of a member is their mixture; that of several members is the
    mixture of all, or pools them log-linearly one by one. Mixing rows, each prediction mixes its own.

    Parameters
    ----------
    sizes : sequence of int
        Of the hidden layers.
    k : int
    activation : {"relu", "silu", "mish", "gelu", "tanh"}
    dropout : float in [0, 1)
        Share of what each hidden layer gives that is dropped in training, in each prediction by itself.
    embedding : Periodic or PiecewiseLinear, optional
        What numbers become before the first layer, for all predictions alike.

    References
    ----------
    Gorishniy, Kotelnikov & Babenko (2025), TabM: Advancing Tabular Deep Learning with Parameter-Efficient Ensembling,
    ICLR, arXiv 2410.24210.

    Notes
    -----
    Layers as of `MLP`. After M-ProbMix a member's prediction is the mixture over `n_draws` draws of each of the k. A
    mixup with the quadratic criterion is refused. Tools of `probmix.theory` take prediction j of member m by the number
    ``member=m * k + j``.

    Examples
    --------
    >>> import numpy as np
    >>> from probmix import DensityRegressor
    >>> from probmix.networks import SharedMLP
    >>> X = np.linspace(-1, 1, 40)[:, None]
    >>> network = SharedMLP((16,), k=4)
    >>> model = DensityRegressor("gaussian", network=network, n_members=1, max_epochs=2, random_state=0).fit(X, X[:, 0])
    >>> model.predict_natural_params(X).shape
    torch.Size([4, 40, 2])
    """

    sizes: tuple[int, ...] = (128, 64)
    k: int = 8
    activation: str = "relu"
    dropout: float = 0.0
    embedding: EmbeddingSpec | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "sizes", check_sizes("sizes", self.sizes))
        check_integer("k", self.k, 1)
        _check_common(self.activation, self.dropout, self.embedding)

    @property
    def embedding_spec(self) -> EmbeddingSpec | None:
        return self.embedding

    @property
    def n_predictions(self) -> int:
        """The number k."""
        return self.k

    def beside_variance_network(self) -> Self:
        """With half the first hidden layer: a variance network of that width stands beside it."""
        return replace(self, sizes=_with_half_the_first(self.sizes))

    def _trunk(self, embedding: InputEmbedding | None, in_features: int, out_features: int, n_members: int) -> Trunk:
        return MemberSharedMLP(
            in_features, self.sizes, self.k, out_features, n_members, self.activation, self.dropout, embedding
        )
