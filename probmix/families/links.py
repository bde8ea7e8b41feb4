"""Smooth maps from an unbounded network output to a bounded parameter, with their inverses.

Each map is finite, with finite gradients, for every finite float32 input.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn.functional import softplus

from .expected import positional

# How far beyond its bounds `soft_bound` ends.
BEYOND = 0.5


def soft_limit(raw: Tensor, limit: float) -> Tensor:
    """Map the real line to (-limit, limit); the identity to float32 precision while ``|raw| < limit / 1000``."""
    return limit * torch.tanh(raw / limit)


def soft_limit_inverse(value: Tensor, limit: float) -> Tensor:
    return limit * torch.atanh(value / limit)


def soft_bound(raw: Tensor, low: Tensor, high: Tensor) -> Tensor:
    r"""The identity from `low` to `high`, and outside a smooth curve that ends half a unit further on.

    At a distance d beyond it is :math:`\tfrac12 t / \sqrt{1 + t^2}` with t = 2 d: twice differentiable, and with a
    gradient, :math:`(1 + t^2)^{-3/2}`, that fades slowly enough to come back.
    """
    curve = _curve if in_forward_mode() else _SoftBound.apply
    bounded: Tensor = curve(raw, low, high)[0]
    return bounded


def in_forward_mode() -> bool:
    """Whether derivatives are carried forward, as by `torch.func.jvp` and `torch.func.jacfwd`.

    Those of an `autograd.Function` would be constants to a second derivative, without a word: zero for a curvature.
    """
    # torch has no public name for this; without the private one the answer is that which is always right
    return getattr(forward_ad, "_current_level", 0) >= 0


class _SoftBound(torch.autograd.Function):
    """The curve with its gradient by theory, in a quarter of the operations of autograd's.

    The gradient is itself differentiable, in reverse.
    """

    generate_vmap_rule = True

    @staticmethod
    @positional
    def forward(raw: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        return _curve(raw, low, high)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, ...]) -> None:
        ctx.mark_non_differentiable(output[1])
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*inputs, output[1])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, None, None]:
        raw, low, high, scale = ctx.saved_tensors
        if gradients[0] is None:
            return None, None, None
        if torch.is_grad_enabled():
            # it is to be differentiated further, for which what was found then is a constant
            _, scale = _beyond(raw, raw.clamp(low, high))
        return (gradients[0] * scale.pow(3)).sum_to_size(raw.shape), None, None


def _curve(raw: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """The bounded value, and the inverse square root of 1 + t^2."""
    inside = raw.clamp(low, high)
    beyond, scale = _beyond(raw, inside)
    return inside + BEYOND * beyond * scale, scale


def _beyond(raw: Tensor, inside: Tensor) -> tuple[Tensor, Tensor]:
    """How far t outside, and the inverse square root of 1 + t^2."""
    # beyond this, a square would overflow in float32, and the curve has long ended
    beyond = ((raw - inside) / BEYOND).clamp(-1e15, 1e15)
    return beyond, (1 + beyond.square()).rsqrt()


def floored_log_softmax(logits: Tensor, floor: float) -> Tensor:
    """Logarithms of shares, (K, *B), of which none is below floor / K, from logits that do not overflow."""
    # torch's softmax is slow along so short an axis
    shares = logits.exp()
    shares = shares / shares.sum(0)
    return torch.add(floor / len(logits), shares, alpha=1 - floor).log()


def inverse_square(raw: Tensor, floor: float, least: float) -> Tensor:
    """Map the real line to (least, least + floor^-2): the inverse square of a softplus with a floor."""
    return (floor + softplus(raw)).pow(-2) + least


def inverse_square_inverse(value: Tensor, floor: float, least: float) -> Tensor:
    return softplus_inverse((value - least).pow(-0.5) - floor)


def softplus_inverse(value: Tensor) -> Tensor:
    return value + torch.log(-torch.expm1(-value))


def soft_clamp(raw: Tensor, low: float, high: float) -> Tensor:
    """Map the real line to (low, high); the identity, up to exp(-distance), away from the two ends."""
    below_high = high - softplus(high - raw)
    return low + softplus(below_high - low)


def soft_clamp_inverse(value: Tensor, low: float, high: float) -> Tensor:
    below_high = low + torch.log(torch.expm1(value - low))
    return high - torch.log(torch.expm1(high - below_high))
