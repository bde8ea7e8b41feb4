r"""CRPS of mixtures of Exponentials, LogNormals and Bernoullis, in closed forms that do not cancel.

For Y, y >= 0 the score is :math:`y(2F(y) - 1) - 2E[Y; Y < y] + E\min(Y, Y')`. No term is much larger than y or than the
score itself, unlike E|Y - y| and E|Y - Y'|, which both hold the upper tail.
"""

import torch
from torch import Tensor

from ._closed_forms import truncated_mean
from ._normal import sum_over_pairs


def exponential_mixture_crps(weights: Tensor, rate: Tensor, y: Tensor) -> Tensor:
    r""":math:`|y| - 2\sum_i w_i F_i(y)/r_i + \sum_{ij} w_i w_j/(r_i + r_j)`."""
    below = (weights * torch.expm1(-rate * y.clamp(min=0).unsqueeze(-1)) / rate).sum(-1)
    return y.abs() + 2 * below + sum_over_pairs(_mean_smaller_exponential, y.shape, weights, rate)


def lognormal_mixture_crps(weights: Tensor, loc: Tensor, scale: Tensor, y: Tensor) -> Tensor:
    r""":math:`y(2F(y) - 1) - 2\sum_i w_i m_i\Phi(z_i - \sigma_i) + 2\sum_{ij} w_i w_j m_i\Phi(z_{ij})`.

    With :math:`m_i = e^{\mu_i + \sigma_i^2/2}`, :math:`z_i = (\log y - \mu_i)/\sigma_i` and
    :math:`z_{ij} = (\mu_j - \mu_i - \sigma_i^2)/(\sigma_i^2 + \sigma_j^2)^{1/2}`.
    """
    inside = (y > 0).unsqueeze(-1)
    # the logarithm of any y will do outside
    z = (torch.where(inside, y.unsqueeze(-1), 1.0).log() - loc) / scale
    log_mean = loc + 0.5 * scale.square()
    distance = y.unsqueeze(-1) * torch.erf(z / 2**0.5) - 2 * truncated_mean(log_mean, scale - z)
    to_y = (weights * torch.where(inside, distance, -y.unsqueeze(-1))).sum(-1)
    return to_y + sum_over_pairs(_mean_smaller_lognormal, y.shape, weights, loc, scale)


def bernoulli_mixture_crps(weights: Tensor, logits: Tensor, y: Tensor) -> Tensor:
    """The squared probability of the other value."""
    inside = y.clamp(0, 1)
    other = torch.where(inside.unsqueeze(-1) > 0, -logits, logits).sigmoid()
    return (weights * other).sum(-1).square() + (y - inside).abs()


def _mean_smaller_exponential(rate: Tensor, other: Tensor) -> Tensor:
    return 1 / (rate + other)


def _mean_smaller_lognormal(loc: Tensor, scale: Tensor, other_loc: Tensor, other_scale: Tensor) -> Tensor:
    """Twice the part of E min(Y, Y') on Y < Y'; over all ordered pairs the parts add up to E min."""
    t = (loc - other_loc + scale.square()) / torch.hypot(scale, other_scale)
    return 2 * truncated_mean(loc + 0.5 * scale.square(), t)
