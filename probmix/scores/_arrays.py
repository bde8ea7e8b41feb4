"""CRPS of draws and of quantiles as distributions."""

import torch
from torch import Tensor

from ..distributions.empirical import Empirical
from ..distributions.quantile_function import QuantileFunction
from .crps import marginal_crps
from .samples import crps_samples


@marginal_crps.register
def _(distribution: Empirical, y: Tensor) -> Tensor:
    return crps_samples(distribution.samples.double(), y, fair=False)


@marginal_crps.register
def _(distribution: QuantileFunction, y: Tensor) -> Tensor:
    return piecewise_linear_crps(distribution.quantiles.double(), distribution.levels, y)


def piecewise_linear_crps(quantiles: Tensor, levels: Tensor, y: Tensor) -> Tensor:
    r"""CRPS of a cdf that is linear between quantiles and jumps to 0 and 1 at the outer ones; all in float64.

    .. math:: \max(x_1 - y, 0) + \max(y - x_Q, 0) + \sum_k\Bigl[
              \tfrac{u_k}3(\alpha_k^2 + \alpha_k c_k + c_k^2) + \tfrac{v_k}3(\bar c_k^2 + \bar c_k\bar\alpha_{k+1}
              + \bar\alpha_{k+1}^2)\Bigr]

    where :math:`u_k` and :math:`v_k` are the lengths of the part of :math:`[x_k, x_{k+1}]` below and above y,
    :math:`c_k` is F where they meet and :math:`\bar\alpha = 1 - \alpha`. No term is negative, so nothing cancels.
    """
    x, y = quantiles, y.unsqueeze(-1)
    low, high = x[..., :-1], x[..., 1:]
    meet = torch.minimum(torch.maximum(y, low), high)
    below, above, width = meet - low, high - meet, high - low
    a, b = levels[:-1], levels[1:]
    # which of the levels counts does not matter where the width is zero
    at = a + (b - a) * below / torch.where(width > 0, width, 1.0)
    rest, end = 1 - at, 1 - b
    inside = below * (a.square() + a * at + at.square()) + above * (rest.square() + rest * end + end.square())
    outside = (y - torch.minimum(torch.maximum(y, x[..., :1]), x[..., -1:])).abs().squeeze(-1)
    return inside.sum(-1) / 3 + outside
