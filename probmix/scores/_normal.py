"""CRPS of Normals and of mixtures of Normals, in closed form."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from ._blocks import in_blocks
from ._quadrature import gauss_legendre

# Elements of one block of pairs of members: 32 MiB of float64.
_BLOCK = 2**22
_WIDEST = 40.0
# Of an interval shorter than one standard deviation.
_NODES, _RULE = gauss_legendre(16)


def normal_crps(loc: Tensor, scale: Tensor, y: Tensor) -> Tensor:
    """In float64, which is made block by block from parameters of another dtype."""
    flat = (t.reshape(-1) for t in torch.broadcast_tensors(loc, scale, y))
    return in_blocks(_normal_crps, *flat).reshape(torch.broadcast_shapes(loc.shape, scale.shape, y.shape))


def _normal_crps(loc: Tensor, scale: Tensor, y: Tensor) -> Tensor:
    loc, scale, y = (t.double() for t in (loc, scale, y))
    return _mean_absolute(y - loc, scale) - scale / math.sqrt(math.pi)


def normal_mixture_crps(weights: Tensor, loc: Tensor, scale: Tensor, y: Tensor) -> Tensor:
    """Parameters are broadcastable to ``y.shape + (M,)``; memory is bounded by blocks of rows."""
    to_y = (weights * _mean_absolute(y.unsqueeze(-1) - loc, scale)).sum(-1)
    return to_y - 0.5 * sum_over_pairs(_mean_distance, y.shape, weights, loc, scale)


def sum_over_pairs(function: Callable[..., Tensor], rows: torch.Size, weights: Tensor, *parameters: Tensor) -> Tensor:
    """Sum of w_i w_j function(i, j) over all ordered pairs of members, for a block of rows at a time.

    Parameters
    ----------
    function : callable
        Takes the parameters of the first members, (n, M, 1), then those of the second, (n, 1, M), to (n, M, M).
    rows : torch.Size
    weights, parameters : Tensor, broadcastable to ``rows + (M,)``

    Returns
    -------
    Tensor of shape `rows`
    """
    members = (*rows, torch.broadcast_shapes(*(p.shape for p in (weights, *parameters)))[-1])
    flat = [p.expand(members).reshape(-1, members[-1]) for p in (weights, *parameters)]
    size = max(1, _BLOCK // members[-1] ** 2)

    def block(weights: Tensor, *parameters: Tensor) -> Tensor:
        first, second = ([p.unsqueeze(dim) for p in parameters] for dim in (-1, -2))
        pairs = weights.unsqueeze(-1) * weights.unsqueeze(-2)
        return (pairs * function(*first, *second)).sum((-2, -1))

    blocks = zip(*(p.split(size) for p in flat), strict=True)
    return torch.cat([block(*parts) for parts in blocks]).reshape(rows)


def normal_window_crps(loc: Tensor, scale: Tensor, y: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    r"""The integral of :math:`(F(x) - 1[x \ge y])^2` from `lower` to `upper`.

    With :math:`J(z) = \int_{-\infty}^z \Phi^2 = z\Phi(z)^2 + 2\varphi(z)\Phi(z) - \Phi(\sqrt2 z)/\sqrt\pi` and m the
    point of the window next to y, in standard units, it is
    :math:`\sigma [J(m) - J(l) + J(-m) - J(-u)]`. Where the difference would cancel, quadrature takes its place.
    """
    low, high = ((end - loc) / scale for end in (lower, upper))
    at_y = torch.minimum(torch.maximum((y - loc) / scale, low), high)
    return scale * (_square_below(low, at_y) + _square_below(-high, -at_y))


def _square_below(low: Tensor, high: Tensor) -> Tensor:
    r"""The integral of :math:`\Phi^2` over an interval that may start at minus infinity."""
    # below -40 the square of Phi is 0 in float64
    low, high = low.clamp(min=-_WIDEST), high.clamp(min=-_WIDEST)
    width = high - low
    near = width < 1
    apart = _square_from_below(high) - _square_from_below(low)
    nodes, rule = (torch.from_numpy(t).to(low) for t in (_NODES, _RULE[0]))
    start, step = torch.where(near, low, 0.0), torch.where(near, width, 0.0)
    inside = _below(start.unsqueeze(-1) + step.unsqueeze(-1) * nodes).square()
    return torch.where(near, step * (rule * inside).sum(-1), apart)


def _square_from_below(z: Tensor) -> Tensor:
    below = _below(z)
    density = torch.exp(-0.5 * z.square()) / math.sqrt(2 * math.pi)
    return below * (z * below + 2 * density) - _below(math.sqrt(2) * z) / math.sqrt(math.pi)


def _below(z: Tensor) -> Tensor:
    """Phi, which torch's ndtr takes from one in the lower tail."""
    return 0.5 * torch.erfc(-z / math.sqrt(2))


def _mean_distance(loc: Tensor, scale: Tensor, other_loc: Tensor, other_scale: Tensor) -> Tensor:
    """E|Y - Y'| of two independent Normals."""
    return _mean_absolute(loc - other_loc, torch.hypot(scale, other_scale))


def _mean_absolute(mean: Tensor, scale: Tensor) -> Tensor:
    r"""E|Z| of a Normal, :math:`2 s\varphi(m/s) + m(2\Phi(m/s) - 1)`."""
    z = mean / scale
    return scale * math.sqrt(2 / math.pi) * torch.exp(-0.5 * z.square()) + mean * torch.erf(z / math.sqrt(2))
