"""Symmetric random weights on the simplex from uniform numbers, in a fixed number of operations."""

import math
from typing import NamedTuple

import numpy as np
import torch
from scipy.special import digamma, gammainc, gammaincc, gammainccinv, gammaincinv
from torch import Tensor

from .._checks import check_integer
from ..random import Uniform

# Gauss-Legendre on [0, 1].
_NODES, _WIDTHS = ((one + shift) / 2 for one, shift in zip(np.polynomial.legendre.leggauss(64), (1, 0), strict=True))
# Sums of a few logits of this size are finite in float32; those of the smallest concentration are below 1e34.
_FAR = 1e36


class FoldMoments(NamedTuple):
    r"""Moments of the largest weight theta of a group, and of the others.

    Attributes
    ----------
    theta_bar : float
        The mean of theta.
    s2 : float
        Its variance.
    g2 : float
        :math:`E[\sum_k w_k^2 - \theta^2]`, which is :math:`s^2 + (1 - \bar\theta)^2` for pairs.
    is_estimate : bool
        Whether they come from draws.
    """

    theta_bar: float
    s2: float
    g2: float
    is_estimate: bool = False


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
    check_integer("order", order, 2)
    if order == 2:
        logit = symmetric_logit(alpha, uniform((*shape, 4)))
        return torch.sigmoid(torch.stack([logit, -logit], -1))
    halvings = (order - 1).bit_length()
    log_weights = None
    for level in range(halvings):
        # each part that has any of the K components is cut in two halves of that many
        half = 2 ** (halvings - 1 - level)
        parts = -(-order // (2 * half))
        # where Ulrich's variable rounds to an end, the logit is infinite, and could be so for all that are kept
        logit = symmetric_logit(alpha * half, uniform((*shape, parts, 4))).clamp(-_FAR, _FAR)
        halves = torch.nn.functional.logsigmoid(torch.stack([logit, -logit], -1))
        log_weights = halves if log_weights is None else log_weights[..., :parts, None] + halves
        log_weights = log_weights.flatten(-2)
    assert log_weights is not None  # there are three rows at least
    return log_weights[..., :order].softmax(-1)


def dirichlet_fold(alpha: float, order: int) -> FoldMoments:
    r"""Moments of the largest weight, :math:`\theta = \max_k w_k`, and of the others.

    For K = 2 with :math:`h = \log\frac{\sqrt\pi\,\Gamma(\alpha + 1)}{\Gamma(\alpha + 1/2)}`

    .. math:: \bar\theta = \tfrac12 + \frac{4^{-\alpha}}{\alpha B(\alpha, \alpha)} = \tfrac12 + \tfrac12 e^{-h},\qquad
        s^2 = \frac{1}{4 (2\alpha + 1)} - \tfrac14 e^{-2h}.

    For more, the weights are K independent Gamma variables of shape alpha over their sum S, of which they are
    independent. With M the largest one, q the upper tail of one and p = 1 - q

    .. math:: I_j = E\Bigl[\sum_k G_k^j - M^j\Bigr]
        = \int_0^\infty j x^{j-1}\, q^2 \sum_{i=0}^{K-2} (K - 1 - i)\,p^i\,dx,

    from which nothing cancels for small alpha: :math:`1 - \bar\theta = I_1 / E[S]` and :math:`g^2 = I_2 / E[S^2]`.
    """
    if order == 2:
        return _beta_fold(alpha)
    first, second = _less_than_largest(alpha, order)
    total = order * alpha
    rest = first / total
    spread = second / (total * (total + 1))
    # E[(1 - theta)^2] = 2 E[1 - theta] - (1 - E[theta^2])
    square = 2 * rest - spread - (order - 1) * alpha / (total + 1)
    return FoldMoments(1 - rest, max(square - rest**2, 0.0), spread)


def _beta_fold(alpha: float) -> FoldMoments:
    if alpha < 1:
        # the derivative of h is the difference of two digamma functions
        t = alpha * _NODES
        h = float(alpha * (_WIDTHS @ (digamma(t + 1) - digamma(t + 0.5))))
    else:
        h = math.log(math.pi) / 2 + _log_gamma_step(alpha)
    rest = -0.5 * math.expm1(-h)
    s2 = 0.25 * math.exp(-2 * h) * math.expm1(2 * h - math.log1p(2 * alpha))
    return FoldMoments(1 - rest, s2, s2 + rest**2)


def _log_gamma_step(alpha: float) -> float:
    r""":math:`\log\Gamma(\alpha + 1) - \log\Gamma(\alpha + 1/2)`; for large alpha its asymptotic series."""
    if alpha < 30:
        return math.lgamma(alpha + 1) - math.lgamma(alpha + 0.5)
    # in 1 / (alpha + 1/4), in which the even powers are absent (Fields 1966; DLMF 5.11.14)
    inverse = (alpha + 0.25) ** -2
    return 0.5 * math.log(alpha + 0.25) + inverse * (1 / 64 - inverse * (5 / 2048 - inverse * 61 / 49152))


def _less_than_largest(alpha: float, order: int) -> tuple[float, float]:
    """The integrals I_1 and I_2."""
    # in t = log x, in which the integrand is smooth for small alpha too, and falls like exp(t)
    low = max(math.log(max(float(gammaincinv(alpha, 1e-18)), 1e-300)), -60.0)
    high = math.log(max(float(gammainccinv(alpha, 1e-18)), 45.0))
    edges = np.linspace(low, high, 65)
    width = np.diff(edges)[:, None]
    t = np.concatenate([[low], (edges[:-1, None] + width * _NODES).ravel()])
    p, q = gammainc(alpha, np.exp(t)), gammaincc(alpha, np.exp(t))
    powers = np.zeros_like(p)
    for i in range(order - 2, -1, -1):
        powers = powers * p + (order - 1 - i)
    less = q**2 * powers
    first, second = (
        # below the lowest node the integrand is as it is there
        float(less[0] * math.exp(j * low) + (width * _WIDTHS).ravel() @ (j * np.exp(j * t[1:]) * less[1:]))
        for j in (1, 2)
    )
    return first, second


def with_heavier_first(weights: Tensor) -> Tensor:
    """The weights of each group, the largest first."""
    return weights.sort(-1, descending=True).values
