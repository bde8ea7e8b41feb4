"""CRPS of Normals and of mixtures of Normals, in closed form."""

import math

import torch
from torch import Tensor

# Elements of one block of pairs of members: 32 MiB of float64.
_BLOCK = 2**22


def normal_crps(loc: Tensor, scale: Tensor, y: Tensor) -> Tensor:
    return _mean_absolute(y - loc, scale) - scale / math.sqrt(math.pi)


def normal_mixture_crps(weights: Tensor, loc: Tensor, scale: Tensor, y: Tensor) -> Tensor:
    """Parameters are broadcastable to ``y.shape + (M,)``; memory is bounded by blocks of rows."""
    members = (*y.shape, torch.broadcast_shapes(weights.shape, loc.shape, scale.shape)[-1])
    weights, loc, scale = (p.expand(members).reshape(-1, members[-1]) for p in (weights, loc, scale))
    to_y = (weights * _mean_absolute(y.reshape(-1, 1) - loc, scale)).sum(-1)
    rows = max(1, _BLOCK // members[-1] ** 2)
    blocks = zip(weights.split(rows), loc.split(rows), scale.split(rows), strict=True)
    between = torch.cat([_mean_distance(*block) for block in blocks])
    return (to_y - 0.5 * between).reshape(y.shape)


def _mean_distance(weights: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
    """E|Y - Y'| of two independent draws from each mixture: (rows, M) -> (rows,)."""
    difference = loc.unsqueeze(-1) - loc.unsqueeze(-2)
    pairs = _mean_absolute(difference, torch.hypot(scale.unsqueeze(-1), scale.unsqueeze(-2)))
    return (weights.unsqueeze(-1) * weights.unsqueeze(-2) * pairs).sum((-2, -1))


def _mean_absolute(mean: Tensor, scale: Tensor) -> Tensor:
    r"""E|Z| of a Normal, :math:`2 s\varphi(m/s) + m(2\Phi(m/s) - 1)`."""
    z = mean / scale
    return scale * math.sqrt(2 / math.pi) * torch.exp(-0.5 * z.square()) + mean * torch.erf(z / math.sqrt(2))
