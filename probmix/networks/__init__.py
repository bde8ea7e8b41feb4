"""Networks with a member axis, and encoders to build on."""

from .concatenated import Concatenated
from .density import DensityNetwork
from .embedding import EmbeddingKind, GaussianEmbedding
from .input_embeddings import Periodic
from .inputs import InputUnits
from .layout import ColumnLayout
from .members import EMBEDDING, MemberNetwork, channel_axis
from .mlp import MemberLinear, MemberMLP
from .piecewise import PiecewiseLinear
from .sequences import LSTMEncoder, TransformerEncoder
from .specs import MLP, NetworkSpec, ResNet, SharedMLP
from .stacked import NetworkLike, StackedNetwork

__all__ = [
    "EMBEDDING",
    "MLP",
    "ColumnLayout",
    "Concatenated",
    "DensityNetwork",
    "EmbeddingKind",
    "GaussianEmbedding",
    "InputUnits",
    "LSTMEncoder",
    "MemberLinear",
    "MemberMLP",
    "MemberNetwork",
    "NetworkLike",
    "NetworkSpec",
    "Periodic",
    "PiecewiseLinear",
    "ResNet",
    "SharedMLP",
    "StackedNetwork",
    "TransformerEncoder",
    "channel_axis",
]
