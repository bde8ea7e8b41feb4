"""A density as points with weights, by which expectations under it are sums."""

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, MultivariateNormal

from ..distributions import cdf, has_atoms, icdf, is_discrete
from ..distributions.supports import support_ends

# A Gauss rule on (0, 1): its nodes and weights, and between which levels whole numbers are counted.
_NODES, _WIDTHS = np.polynomial.legendre.leggauss(32)
_LEVELS, _SHARES = ((_NODES + 1) / 2).tolist(), (_WIDTHS / 2).tolist()
_TAIL = [1e-6, 1e-4, 1e-3]
_BOUNDS = [*_TAIL, *np.cumsum(_WIDTHS / 2)[:-1].tolist(), *(1 - level for level in reversed(_TAIL))]
# Of points of vectors on either side of the middle; twice as many as targets at least, for a covariance of full rank.
_PAIRS = 128
# A level beyond which quantiles may be infinite by rounding.
_MOST = 1 - 1e-14


def density_points(distribution: Distribution, device: torch.device) -> tuple[Tensor, Tensor]:
    r"""Points and their weights, (\*B, P) and (\*B, P) or (P,), of a distribution of batch shape (\*B, 1), float64.

    Of vectors the points are (\*B, P, d), of equal weights, as `_vectors` says.

    Of a density these are the quantiles at the nodes of a Gauss rule over the levels; a mass at zero is a point of its
    own. Of whole numbers they are all that matter, each with its mass; where these are too many, one number of each
    half of a range between quantiles, with the mass of the half.
    """
    if distribution.event_shape:
        points = _vectors(distribution, device)
        return points, points.new_full((points.shape[-2],), 1 / points.shape[-2])
    if is_discrete(distribution):
        return _whole_numbers(distribution, device)
    levels, shares = (torch.tensor(one, dtype=torch.float64, device=device) for one in (_LEVELS, _SHARES))
    if not has_atoms(distribution):
        return _inside(distribution, icdf(distribution, levels)), shares
    zero = cdf(distribution, torch.zeros(1, dtype=torch.float64, device=device))
    beyond = icdf(distribution, (zero + (1 - zero) * levels).clamp(max=_MOST))
    return torch.cat([torch.zeros_like(zero), beyond], -1), torch.cat([zero, (1 - zero) * shares], -1)


def _vectors(distribution: Distribution, device: torch.device) -> Tensor:
    """Points all over a density of vectors, as many on one side of its middle as on the other.

    Those of a Gaussian have its mean and its covariance, and expectations of quadratic functions are exact.
    """
    (d,) = distribution.event_shape
    levels = torch.quasirandom.SobolEngine(d, scramble=True, seed=0).draw(max(_PAIRS, 2 * d), dtype=torch.float64)
    levels = levels.clamp(1 - _MOST, _MOST).to(device)
    if isinstance(distribution, Independent):
        return icdf(distribution, torch.cat([levels, 1 - levels]))
    if not isinstance(distribution, MultivariateNormal):
        raise NotImplementedError(
            f"expectations are sums over points for vectors of independent targets and for Gaussian ones; got a "
            f"{type(distribution).__name__}. Its family must implement `density_label`."
        )
    normal = torch.special.ndtri(levels)
    root = torch.linalg.cholesky(normal.mT @ normal / len(normal))
    normal = torch.linalg.solve_triangular(root, normal.mT, upper=False).mT
    return distribution.loc + torch.cat([normal, -normal]) @ distribution.scale_tril.squeeze(-3).mT


def _inside(distribution: Distribution, y: Tensor) -> Tensor:
    """Quantiles that by rounding are an end of the support, where a density may be infinite, as the next number."""
    infinite = torch.full((), torch.inf, dtype=y.dtype, device=y.device)
    lower, upper = (end.to(y) for end in support_ends(distribution))
    return y.clamp(torch.nextafter(lower, infinite), torch.nextafter(upper, -infinite))


def _whole_numbers(distribution: Distribution, device: torch.device) -> tuple[Tensor, Tensor]:
    lower, upper = (end.to(device) for end in support_ends(distribution))
    # the least number may be more probable than the next ones, and has a range of its own, as have both tails
    least = cdf(distribution, lower.reshape(1))
    levels = torch.tensor(_BOUNDS, dtype=torch.float64, device=device)
    bounds = icdf(distribution, (least + (1 - least) * levels).clamp(max=_MOST)).clamp(min=lower + 1)
    halves = torch.stack([bounds[..., :-1], (bounds[..., :-1] + bounds[..., 1:]).div(2).ceil()], -1).flatten(-2)
    first, second = lower.expand_as(least), (lower + 1).expand_as(least)
    starts = torch.cat([first, second, halves, bounds[..., -1:]], -1)
    ends = starts[..., 1:] - 1
    masses = torch.cat([cdf(distribution, ends), torch.ones_like(least)], -1).diff(dim=-1, prepend=0 * least)
    # middles are rounded down and up in turn
    turn = torch.arange(ends.shape[-1] - 2, device=device) % 2
    middle = (starts[..., 2:-1] + ends[..., 2:] + turn).div(2, rounding_mode="floor")
    points = torch.cat([first, ends[..., 1:2], middle, starts[..., -1:]], -1)
    return points.maximum(starts).clamp(max=upper), masses.clamp(min=0)
