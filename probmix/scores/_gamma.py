"""CRPS of the Gamma distribution in closed form, differentiable in the shape."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .._incomplete_gamma import incomplete_gamma, log_gamma_kernel, log_kernel_slope, log_less_digamma, shape_derivative
from .._special import stirling_remainder


def gamma_crps(concentration: Tensor, rate: Tensor, y: Tensor) -> Tensor:
    r"""CRPS in float64 for any real y.

    The published form holds F(y; a) and F(y; a + 1), whose terms cancel for large shapes a; with
    :math:`F(y; a + 1) = F(y; a) - (b y)^a e^{-b y}/\Gamma(a + 1)` it becomes the form in `crps`.
    """
    value: Tensor = _UnitRateCRPS.apply(concentration, rate * y)
    return value / rate


class _UnitRateCRPS(torch.autograd.Function):
    r""":math:`(x - a)(P - Q) + 2 a k - a d`, k the kernel of the incomplete gamma functions, d the distance below.

    The derivative in x is :math:`P - Q`, to which autograd would add two terms of the order of the density that cancel.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(a: Tensor, x: Tensor) -> Tensor:
        lower, upper = incomplete_gamma(a, x)
        return (x - a) * (lower - upper) + a * (2 * _kernel(a, x) - _relative_distance(a))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        a, x = ctx.saved_tensors
        lower, upper = incomplete_gamma(a, x)
        in_a = in_x = None
        if ctx.needs_input_grad[0]:
            kernel_slope = 2 * _kernel(a, x) * (1 + a * log_kernel_slope(a, torch.where(x > 0, x, 1.0)))
            slope = upper - lower + 2 * (x - a) * shape_derivative(a, x) + kernel_slope - _distance_slope(a)
            in_a = (gradient * slope).sum_to_size(a.shape)
        if ctx.needs_input_grad[1]:
            in_x = (gradient * (lower - upper)).sum_to_size(x.shape)
        return in_a, in_x


def _kernel(a: Tensor, x: Tensor) -> Tensor:
    r""":math:`x^a e^{-x}/\Gamma(a + 1)`, the density times x / a."""
    inside = x > 0
    return torch.where(inside, log_gamma_kernel(a, torch.where(inside, x, 1.0)).exp(), 0.0)


def _relative_distance(a: Tensor) -> Tensor:
    r"""Half of :math:`E|Y - Y'|` per mean, :math:`1/(a B(1/2, a)) = \Gamma(a + 1/2)/(\sqrt\pi\,\Gamma(a + 1))`."""
    remainder = stirling_remainder(a + 0.5) - stirling_remainder(a) + a * torch.log1p(0.5 / a) - 0.5
    return (remainder - 0.5 * a.log()).exp() / math.sqrt(math.pi)


def _distance_slope(a: Tensor) -> Tensor:
    r"""The derivative of a times the relative distance: that times :math:`\psi(a + 1/2) - \psi(a)`, about 1 / (2 a)."""
    rise = torch.log1p(0.5 / a) + log_less_digamma(a) - log_less_digamma(a + 0.5) + 0.5 / (a * (a + 0.5))
    return a * _relative_distance(a) * rise
