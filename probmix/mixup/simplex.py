"""Symmetric random weights on the simplex from uniform numbers, in a fixed number of operations."""

import math

import numpy as np
import torch
from scipy.special import betaln, gammaincc, gammainccinv, gammaincinv
from torch import Tensor

from ..random import Uniform


def symmetric_logit(alpha: float | Tensor, numbers: Tensor) -> Tensor:
    r"""The logit of a Beta(alpha, alpha) variable from four uniform numbers each: (\*B, 4) -> (\*B,).

    In closed form, so that any source of uniform numbers will do and no rejection loop waits for the device: Ulrich's
    formula gives :math:`B \sim \mathrm{Beta}(\alpha + 1, \alpha + 1)`, and with
    :math:`G_\alpha = G_{\alpha+1} U^{1/\alpha}` for Gamma variables the logit of :math:`\lambda` is
    :math:`\mathrm{logit}\,B + (\log U_1 - \log U_2)/\alpha`.

    References
    ----------
    Devroye (1986), Non-Uniform Random Variate Generation, chapters IX.3.5 and IX.4.2.
    """
    angle, radius, first, second = numbers.unbind(-1)
    # twice Ulrich's variable, less one
    centred = torch.cos(2 * torch.pi * angle) * torch.sqrt(-torch.expm1(radius.log() / (alpha + 0.5)))
    return torch.log((1 + centred) / (1 - centred)) + torch.log(first / second) / alpha


def dirichlet(alpha: float, shape: tuple[int, ...], uniform: Uniform, order: int) -> Tensor:
    r"""Weights of K rows from the Dirichlet distribution with one concentration for all, (\*L, \*shape, K).

    The sum of the first half of :math:`2^m` components is Beta distributed with equal parameters, and so is each half
    of a half. The first K of them, divided by their sum, are Dirichlet distributed as well.
    """
    if order == 2:
        logit = symmetric_logit(alpha, uniform((*shape, 4)))
        return torch.sigmoid(torch.stack([logit, -logit], -1))
    halvings = (order - 1).bit_length()
    log_weights = None
    for level in range(halvings):
        # each part is cut in two halves of 2^(halvings - 1 - level) components
        numbers = uniform((*shape, 2**level, 4))
        logit = symmetric_logit(alpha * 2 ** (halvings - 1 - level), numbers)
        halves = torch.nn.functional.logsigmoid(torch.stack([logit, -logit], -1))
        log_weights = (halves if log_weights is None else log_weights.unsqueeze(-1) + halves).flatten(-2)
    assert log_weights is not None  # there are three rows at least
    return log_weights[..., :order].softmax(-1)


def dirichlet_fold(alpha: float, order: int) -> tuple[float, float]:
    r"""Mean and variance of the largest weight, :math:`\theta = \max_k w_k`.

    For K = 2 :math:`\bar\theta = \tfrac12 + 4^{-\alpha} / (\alpha B(\alpha, \alpha))` and
    :math:`E[(\theta - \tfrac12)^2] = 1 / (4 (2\alpha + 1))`. For more, with K independent Gamma variables of shape
    alpha, whose sum is independent of the weights,

    .. math:: E[\theta^j] = \frac{E[\max_k G_k^j]}{E[(\sum_k G_k)^j]},\qquad
        E[\max_k G_k^j] = \int_0^\infty j x^{j-1} \bigl(1 - F(x)^K\bigr)\,dx
    """
    if order == 2:
        mean = 0.5 + math.exp(-alpha * math.log(4) - math.log(alpha) - float(betaln(alpha, alpha)))
        return mean, 1 / (4 * (2 * alpha + 1)) - (mean - 0.5) ** 2
    # in t = log x, in which the integrand is smooth for small alpha too, and falls like exp(t)
    low = max(math.log(max(float(gammaincinv(alpha, 1e-18)), 1e-300)), -60.0)
    high = math.log(float(gammainccinv(alpha, 1e-18)))
    nodes, widths = np.polynomial.legendre.leggauss(64)
    edges = np.linspace(low, high, 65)
    half = np.diff(edges) / 2
    t = ((edges[:-1] + half)[:, None] + half[:, None] * nodes).ravel()
    shares = (half[:, None] * widths).ravel()
    x = np.exp(t)
    # 1 - F^K without cancellation in the tail
    upper = gammaincc(alpha, x)
    beyond = np.where(upper < 0.5, -np.expm1(order * np.log1p(-np.minimum(upper, 0.5))), 1 - (1 - upper) ** order)
    first, second = (
        float((shares * power * np.exp(power * t) * beyond).sum()) + math.exp(power * low) for power in (1, 2)
    )
    total = order * alpha
    mean = first / total
    return mean, max(second / (total * (total + 1)) - mean**2, 0.0)


def with_heavier_first(weights: Tensor) -> Tensor:
    """The weights of each group, the largest first."""
    return weights.sort(-1, descending=True).values
