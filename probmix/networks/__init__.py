"""Networks with a member axis, and encoders to build on."""

from .density import DensityNetwork
from .embedding import EmbeddingKind, GaussianEmbedding
from .inputs import InputUnits
from .layout import ColumnLayout
from .members import EMBEDDING, MemberNetwork, channel_axis
from .mlp import MLP, MemberLinear
from .sequences import LSTMEncoder, TransformerEncoder
from .stacked import NetworkLike, StackedNetwork

__all__ = [
    "EMBEDDING",
    "MLP",
    "ColumnLayout",
    "DensityNetwork",
    "EmbeddingKind",
    "GaussianEmbedding",
    "InputUnits",
    "LSTMEncoder",
    "MemberLinear",
    "MemberNetwork",
    "NetworkLike",
    "StackedNetwork",
    "TransformerEncoder",
    "channel_axis",
]
