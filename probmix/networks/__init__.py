"""Networks with a member axis."""

from .density import DensityNetwork
from .mlp import MLP

__all__ = ["MLP", "DensityNetwork"]
