"""Networks with a member axis."""

from .density import DensityNetwork
from .mlp import MLP, MemberLinear

__all__ = ["MLP", "DensityNetwork", "MemberLinear"]
