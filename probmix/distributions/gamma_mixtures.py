"""Distances between the components of mixtures of Gammas, in closed form."""

import torch
from torch import Tensor

from .._incomplete_beta import incomplete_beta, log_kernel
from .._shapes import broadcast_shapes

# Pairs of components at a time: 1 MiB of float64 for each number that is held of them.
_BLOCK = 2**17


def mean_distance_between(weights: Tensor, a: Tensor, rate: Tensor) -> Tensor:
    r"""The sum over pairs i < j of :math:`w_i w_j E|X_i - X_j|` of independent Gammas, (..., M) -> (...).

    .. math:: E|X - X'| = (\mu - \mu')(1 - 2 I) + 2 k\,(1/b + 1/b'),\qquad I = I_s(a, a'),\quad s = \frac b{b + b'}

    with the means :math:`\mu = a/b` and :math:`k = s^a(1 - s)^{a'}/B(a, a')`. For :math:`P(X < X') = I_s(a, a')`, since
    :math:`bX/(bX + b'X')` has a beta distribution, and a Gamma weighted by itself is one of a shape larger by one,
    whose probability differs by k/a (DLMF 8.17.20).
    """
    members = weights.shape[-1]
    first, second = torch.triu_indices(members, members, 1, device=weights.device)
    rows = [t.expand(broadcast_shapes(*(t.shape for t in (weights, a, rate)))) for t in (weights, a, rate)]
    size = max(1, _BLOCK // max(1, len(first)))
    blocks = zip(*(t.reshape(-1, members).split(size) for t in rows), strict=True)
    return torch.cat([_sum(first, second, *block) for block in blocks]).reshape(rows[0].shape[:-1])


def _sum(first: Tensor, second: Tensor, weights: Tensor, a: Tensor, rate: Tensor) -> Tensor:
    p, q, b, c = a[:, first], a[:, second], rate[:, first], rate[:, second]
    share, rest = b / (b + c), c / (b + c)
    below, kernel = incomplete_beta(p, q, share, rest), log_kernel(share, p, q, rest).exp()
    distance = (p / b - q / c) * (1 - 2 * below) + 2 * kernel * (1 / b + 1 / c)
    return (weights[:, first] * weights[:, second] * distance).sum(-1)
