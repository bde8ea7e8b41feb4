"""CRPS of mixtures of Betas: one quadrature for densities, cdf and score, without an incomplete beta function inside.

In the logit u of x every density is smooth and log-concave, and so cheap that the cdf is better integrated from it than
evaluated. Panels are placed once, from the parameters; rows that they do not resolve go to the adaptive quadrature.
"""

import math

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.distributions import Beta, Categorical, MixtureSameFamily

from .._incomplete_beta import incomplete_beta, log_kernel
from .._shapes import broadcast_shapes
from .panels import gauss_error, gauss_legendre
from .quadrature import quadrature_window, step_outside

_NODES = 16
# A member is cut at these multiples of its scale in the logit; panels are nowhere wider than _SPACING, at most _PANELS.
_MULTIPLES = (-8.0, -4.0, -1.5, 1.5, 4.0, 8.0)
_SPACING, _PANELS = 4.0, 64
# Beyond its cuts the integrand of a member falls to exp(-50) within this over its rate.
_DROP = 50.0
# Largest error relative to the score; rows beyond it are done again.
_TOLERANCE = 1e-9
# Densities held at once: 8 MiB of float64.
_BLOCK = 2**20


def beta_mixture_crps(weights: Tensor, a: Tensor, b: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """CRPS and a bound of its error; parameters are broadcastable to ``y.shape + (M,)``, everything in float64."""
    ends = torch.full_like(y, torch.inf)
    return beta_mixture_window(weights, a, b, y, -ends, ends)


def beta_mixture_window(
    weights: Tensor, a: Tensor, b: Tensor, y: Tensor, lower: Tensor, upper: Tensor
) -> tuple[Tensor, Tensor]:
    """The same between two thresholds, of the shape of `y`."""
    members = (*y.shape, broadcast_shapes(weights.shape, a.shape, b.shape)[-1])
    weights, a, b = (p.expand(members).reshape(-1, members[-1]) for p in (weights, a, b))
    points = tuple(t.reshape(-1) for t in (y, lower, upper))
    edges = _edges(a, b)
    rows = max(1, _BLOCK // (_NODES * (len(edges) + 3) * members[-1]))
    blocks = zip(*(t.split(rows) for t in (weights, a, b, *points)), edges.split(rows, 1), strict=True)
    value, error = (torch.cat(parts) for parts in zip(*(_panels(*block) for block in blocks), strict=True))
    # the negation catches NaN as well
    hard = ~(error <= _TOLERANCE * value.detach())
    if bool(hard.any()):
        (index,) = hard.nonzero(as_tuple=True)
        mixing = Categorical(probs=weights[index], validate_args=False)
        mixture = MixtureSameFamily(mixing, Beta(a[index], b[index], validate_args=False), validate_args=False)
        again = quadrature_window(mixture, *(t[index] for t in points))
        value, error = value.index_put((index,), again[0]), error.index_put((index,), again[1])
    return value.reshape(y.shape), error.reshape(y.shape)


@torch.no_grad()
def _edges(a: Tensor, b: Tensor) -> Tensor:
    """Edges in the logit, (panels + 1, rows).

    The integrand holds the square of a cdf times dx/du, and falls as a Beta does of parameters larger by one half.
    """
    left, right = a + 0.5, b + 0.5
    centre, scale = left.log() - right.log(), (1 / left + 1 / right).sqrt()
    steps = torch.tensor(_MULTIPLES, dtype=a.dtype, device=a.device).reshape(-1, 1, 1)
    cuts = (centre + steps * scale).movedim(-1, 1).flatten(0, 1)
    low = (centre + _MULTIPLES[0] * scale - 0.5 * _DROP / left).amin(-1)
    high = (centre + _MULTIPLES[-1] * scale + 0.5 * _DROP / right).amax(-1)
    widest = float((high - low).amax()) if len(a) else 0.0
    count = min(_PANELS, math.ceil(widest / _SPACING)) if math.isfinite(widest) else _PANELS
    grid = torch.linspace(0, 1, count + 1, dtype=a.dtype, device=a.device).unsqueeze(-1)
    return torch.cat([cuts, low + (high - low) * grid]).sort(0).values


def _panels(
    weights: Tensor, a: Tensor, b: Tensor, y: Tensor, lower: Tensor, upper: Tensor, edges: Tensor
) -> tuple[Tensor, Tensor]:
    """CRPS of rows between two thresholds, and a bound of its error."""
    low, high = edges[0], edges[-1]
    x_low, rest_high = low.sigmoid(), (-high).sigmoid()
    logit, start, stop = (_logit(t, low, high) for t in (y, lower, upper))
    edges = torch.cat([edges, torch.stack([logit, start, stop])]).sort(0).values
    left, width = edges[:-1].unsqueeze(1), edges.diff(dim=0).unsqueeze(1)
    nodes, rule, integral = (torch.from_numpy(t).to(y) for t in (_T, _RULE, _INTEGRAL))
    u = left + width * nodes.reshape(-1, 1)
    # members first and rows last: operations over long contiguous axes
    by_member = (p.t().contiguous()[:, None, None] for p in (weights, a, b))
    density = width * _density(u, *by_member)
    mass = torch.einsum("k,pkr->pr", rule[0], density)
    # F from the left and 1 - F from the right: sums of positive numbers, which keep their digits
    at_low = (weights * incomplete_beta(a, b, x_low.unsqueeze(-1))).sum(-1)
    at_high = (weights * incomplete_beta(b, a, rest_high.unsqueeze(-1))).sum(-1)
    below = at_low + torch.cat([torch.zeros_like(mass[:1]), mass.cumsum(0)])
    above = at_high + torch.cat([mass.flip(0).cumsum(0).flip(0), torch.zeros_like(mass[:1])])
    partial = torch.einsum("jk,pkr->pjr", integral, density)
    before = (edges[1:] <= logit).unsqueeze(1)
    distance = torch.where(before, below[:-1].unsqueeze(1) + partial, above[:-1].unsqueeze(1) - partial)
    integrand = distance.square() * u.sigmoid() * (-u).sigmoid()
    counts = ((edges[:-1] >= start) & (edges[1:] <= stop)).to(y.dtype)
    value, *coefficients = torch.einsum("ck,pkr->cpr", rule, integrand) * width.squeeze(1) * counts
    value = value.sum(0) + step_outside(y, lower, upper, x_low, 1 - rest_high)
    with torch.no_grad():
        unresolved = gauss_error(coefficients).sum(0)
        lost = (below[-1] + at_high - 1).abs() + 1e-15
        ends = 2 * (x_low * at_low.clamp(max=0.5) + rest_high * at_high.clamp(max=0.5))
        error = unresolved + 2 * lost * value.sqrt() + ends
    return value, error


def _logit(x: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """The logit inside of the panels."""
    inside = (x > 0) & (x < 1)
    logit = torch.where(inside, x, 0.5).logit()
    logit = torch.where(inside, logit, torch.where(x > 0, high, low))
    return torch.minimum(torch.maximum(logit, low), high)


def _density(u: Tensor, weights: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Density of the logit of a mixture, each member from its maximum outwards, where no term is large."""
    total, mode = a + b, a.log() - b.log()
    log_top = log_kernel(a / total, a, b, b / total)
    rate, distance = torch.where(u > mode, b, a), (u - mode).abs()
    fall = rate * distance + total * torch.log1p(rate / total * torch.expm1(-distance))
    return (weights * (log_top - fall).exp()).sum(0)


def _integration_matrix(nodes: int) -> npt.NDArray[np.float64]:
    """Integrals from 0 to every Gauss-Legendre node on [0, 1] of the polynomial through values at all of them."""
    x, weights = np.polynomial.legendre.leggauss(nodes)
    degrees = np.arange(nodes)
    # values -> Legendre coefficients -> integral from -1, by (2k + 1) P_k = (P_{k+1} - P_{k-1})'
    coefficients = np.polynomial.legendre.legvander(x, nodes - 1).T * weights * (degrees[:, None] + 0.5)
    values = np.polynomial.legendre.legvander(x, nodes)
    before = np.concatenate([-np.ones((nodes, 1)), values[:, : nodes - 1]], axis=1)
    matrix: npt.NDArray[np.float64] = ((values[:, 1:] - before) / (2 * degrees + 1)) @ coefficients / 2
    return matrix


_T, _RULE = gauss_legendre(_NODES)
_INTEGRAL = _integration_matrix(_NODES)
