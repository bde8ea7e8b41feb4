"""Smooth maps from an unbounded network output to a bounded parameter, with their inverses.

Each map is finite, with finite gradients, for every finite float32 input.
"""

import torch
from torch import Tensor
from torch.nn.functional import softplus


def soft_limit(raw: Tensor, limit: float) -> Tensor:
    """Map the real line to (-limit, limit); the identity to float32 precision while ``|raw| < limit / 1000``."""
    return limit * torch.tanh(raw / limit)


def soft_limit_inverse(value: Tensor, limit: float) -> Tensor:
    return limit * torch.atanh(value / limit)


def soft_bound(raw: Tensor, low: Tensor, high: Tensor) -> Tensor:
    r"""The identity from `low` to `high`, and outside a smooth curve that ends half a unit further on.

    At a distance d beyond it is :math:`\tfrac12 t / \sqrt{1 + t^2}` with t = 2 d: twice differentiable, and with a
    gradient that fades slowly enough to come back.
    """
    inside = raw.clamp(low, high)
    # beyond this, a square would overflow in float32, and the curve has long ended
    beyond = (2 * (raw - inside)).clamp(-1e15, 1e15)
    return inside + 0.5 * beyond * (1 + beyond.square()).rsqrt()


def inverse_square(raw: Tensor, floor: float, least: float) -> Tensor:
    """Map the real line to (least, least + floor^-2): the inverse square of a softplus with a floor."""
    return (floor + softplus(raw)).pow(-2) + least


def inverse_square_inverse(value: Tensor, floor: float, least: float) -> Tensor:
    rise = (value - least).pow(-0.5) - floor
    return rise + torch.log(-torch.expm1(-rise))


def soft_clamp(raw: Tensor, low: float, high: float) -> Tensor:
    """Map the real line to (low, high); the identity, up to exp(-distance), away from the two ends."""
    below_high = high - softplus(high - raw)
    return low + softplus(below_high - low)


def soft_clamp_inverse(value: Tensor, low: float, high: float) -> Tensor:
    below_high = low + torch.log(torch.expm1(value - low))
    return high - torch.log(torch.expm1(high - below_high))
