"""CRPS of the Gamma distribution in closed form, differentiable in the shape."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .._special import gamma_log_prob, stirling_remainder

# The cube root of float64's precision, where truncation and rounding of a central difference balance (1e-10 relative).
_STEP = 6e-6


def gamma_crps(concentration: Tensor, rate: Tensor, y: Tensor) -> Tensor:
    r"""CRPS in float64 for any real y.

    The published form holds F(y; a) and F(y; a + 1), whose terms cancel for large shapes a; with
    :math:`F(y; a + 1) = F(y; a) - (b y)^a e^{-b y}/\Gamma(a + 1)` it becomes the form in `crps`.
    """
    mean = concentration / rate
    inside = y > 0
    y_inside = torch.where(inside, y, mean.detach())
    below = torch.where(inside, _IncompleteGamma.apply(concentration, rate * y_inside), 0.0)
    # (b y)^a e^{-b y} / Gamma(a + 1), the density times y / a
    step = (gamma_log_prob(y_inside, concentration, rate) + y_inside.log()).exp() / concentration
    step = torch.where(inside, step, 0.0)
    return (y - mean) * (2 * below - 1) + 2 * mean * step - mean * _relative_distance(concentration)


def _relative_distance(a: Tensor) -> Tensor:
    r"""Half of :math:`E|Y - Y'|` per mean, :math:`1/(a B(1/2, a)) = \Gamma(a + 1/2)/(\sqrt\pi\,\Gamma(a + 1))`."""
    remainder = stirling_remainder(a + 0.5) - stirling_remainder(a) + a * torch.log1p(0.5 / a) - 0.5
    return (remainder - 0.5 * a.log()).exp() / math.sqrt(math.pi)


class _IncompleteGamma(torch.autograd.Function):
    """torch's gammainc with the derivative in its first argument that torch lacks, by central differences."""

    generate_vmap_rule = True

    @staticmethod
    def forward(a: Tensor, x: Tensor) -> Tensor:
        value: Tensor = torch.special.gammainc(a, x)
        return value

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        a, x = ctx.saved_tensors
        # F changes over a distance of sqrt(a) in a, below one over a itself
        step = _STEP * torch.minimum(a, a.sqrt())
        rise = torch.special.gammainc(a + step, x) - torch.special.gammainc(a - step, x)
        in_a, in_x = gradient * rise / (2 * step), gradient * gamma_log_prob(x, a, torch.ones_like(a)).exp()
        return in_a.sum_to_size(a.shape), in_x.sum_to_size(x.shape)
