"""CRPS from the cdf by adaptive quadrature, for all rows at once."""

from collections.abc import Callable
from functools import singledispatch

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, MixtureSameFamily

from .marginals import cdf, icdf
from .parts import device_of
from .point_masses import atoms

# Mass left out on either side; what it adds is of the order of its square.
TAIL = 1e-12
# Between two of these quantiles a cdf holds no surprise; every member of a mixture is cut at its own.
CUTS = (1e-10, 0.5, 1 - 1e-10)
_NODES = 12
_TOLERANCE = 1e-10
# Edges of panels to start from, at most.
_MOST_EDGES = 24
# Halving can reach a step in the cdf to 1e-12 of the panel it lies in; at most so many panels are halved at a time.
_ROUNDS, _WORST = 40, 8
# Coefficients that fall by less than this factor from a third of the degrees to the last count as those of a kink.
_SLOW = 5.0
# Elements of one evaluation of the cdf: 32 MiB of float64.
BLOCK = 2**22


def quadrature_crps(distribution: Distribution, y: Tensor) -> Tensor:
    """CRPS of every coordinate from the cdf of a continuous float64 distribution."""
    return quadrature_window(distribution, y, torch.full_like(y, -torch.inf), torch.full_like(y, torch.inf))[0]


def quadrature_window(distribution: Distribution, y: Tensor, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
    r"""The integral of :math:`(F(x) - 1[x \ge y])^2` from `lower` to `upper`, and a bound of its error.

    The bound holds what the panels tell of themselves, what may hide between the nodes, and the tails: beyond the
    quantile at TAIL the integrand is at most its square, and taken to fall off within the distance of the quantiles.
    """
    low, high = cuts(distribution, (TAIL,)).amin(0), cuts(distribution, (1 - TAIL,)).amax(0)
    outside = step_outside(y, lower, upper, low, high)
    start, stop, inside = (torch.minimum(torch.maximum(x, low), high) for x in (lower, upper, y))
    edges = torch.cat([panel_edges(distribution), torch.stack([start, stop, inside])])
    edges = torch.minimum(torch.maximum(edges, start), stop).sort(0).values

    def integrand(x: Tensor) -> Tensor:
        return (cdf(distribution, x) - (x > inside).to(x.dtype)).square()

    value, error = integrate_with_error(integrand, edges, outside, cells(distribution))
    with torch.no_grad():
        error = error + 2 * TAIL**2 * (high - low)
        if isinstance(distribution, MixtureSameFamily):
            # what a narrow member does beyond its cuts can hide between two nodes; by Cauchy and Schwarz
            error = error + 2 * CUTS[0] * (value * (high - low)).sqrt()
    return value + outside, error


def step_outside(y: Tensor, lower: Tensor, upper: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Length of the window left of `low` and right of `high`, where F is 0 or 1, on which F is not the step at y."""
    before = torch.minimum(low, upper) - torch.maximum(y, lower)
    after = torch.minimum(y, upper) - torch.maximum(high, lower)
    return before.clamp(min=0) + after.clamp(min=0)


def quantiles(distribution: Distribution, levels: tuple[float, ...]) -> Tensor:
    """Quantiles stacked along a new first axis, as places to cut at: no gradient flows through them."""
    shape = distribution.batch_shape + distribution.event_shape
    q = torch.tensor(levels, dtype=torch.float64, device=device_of(distribution)).reshape((-1,) + (1,) * len(shape))
    with torch.no_grad():
        return icdf(distribution, q).double().expand((len(levels), *shape))


@singledispatch
def cuts(distribution: Distribution, levels: tuple[float, ...] = CUTS) -> Tensor:
    """Quantiles of the distribution or of all members of a mixture, along a new first axis.

    The quantiles of the mixture itself would not do: a narrow member can hide between two nodes beside a wide one.
    """
    return quantiles(distribution, levels)


@cuts.register(Independent)
def _(distribution: Independent[Distribution], levels: tuple[float, ...] = CUTS) -> Tensor:
    return cuts(distribution.base_dist, levels)


@cuts.register
def _(distribution: MixtureSameFamily, levels: tuple[float, ...] = CUTS) -> Tensor:
    members = cuts(distribution.component_distribution, levels)
    return members.movedim(-1 - len(distribution.event_shape), 0).flatten(0, 1)


def panel_edges(distribution: Distribution) -> Tensor:
    """The cuts and the point masses; of very many some in their order: a step between two is seen and halved down to.

    All would cost the square of the number of members.
    """
    edges, jumps = _some(cuts(distribution)), _some(atoms(distribution)[0].detach())
    return torch.cat([edges, jumps]) if len(jumps) else edges


def _some(places: Tensor) -> Tensor:
    """At most _MOST_EDGES of the places in every row."""
    if len(places) <= _MOST_EDGES:
        return places
    chosen = torch.linspace(0, len(places) - 1, _MOST_EDGES, device=places.device).round().long()
    return places.sort(0).values[chosen]


def cells(distribution: Distribution) -> int:
    """Numbers behind one value of the cdf for every row: rows x targets x members."""
    if isinstance(distribution, MixtureSameFamily):
        distribution = distribution.component_distribution
    return (distribution.batch_shape + distribution.event_shape).numel()


def integrate(
    function: Callable[[Tensor], Tensor], edges: Tensor, scale: Tensor, cells: int, tolerance: float = _TOLERANCE
) -> Tensor:
    """The integral of `integrate_with_error` alone."""
    return integrate_with_error(function, edges, scale, cells, tolerance)[0]


def integrate_with_error(
    function: Callable[[Tensor], Tensor], edges: Tensor, scale: Tensor, cells: int, tolerance: float = _TOLERANCE
) -> tuple[Tensor, Tensor]:
    """Integral over the panels between sorted edges by Gauss-Legendre quadrature, with halving of the bad panels.

    Parameters
    ----------
    function : callable
        (k, *B) -> (k, *B), non-negative, smooth inside the panels but for single steps and kinks.
    edges : Tensor, (panels + 1, *B)
    scale : Tensor, (*B,)
        What will be added to the integral: errors count relative to both.
    cells : int
        Numbers behind one value of `function` for every row; it is called for `BLOCK` of them at a time.
    tolerance : float
        Relative; panels are halved until the bound of the error is below.

    Returns
    -------
    Tensor, (*B,)
        The integral.
    Tensor, (*B,)
        A bound of its error.
    """
    left, right = edges[:-1], edges[1:]
    value, error = _panels(function, left, right, cells)
    for _ in range(_ROUNDS):
        allowed = tolerance * (value.sum(0) + scale) / value.shape[0]
        bad = (error > allowed).sum(0)
        worst = min(_WORST, int(bad.amax())) if bad.numel() else 0
        if worst == 0:
            break
        index = error.topk(worst, dim=0).indices
        low, high = left.gather(0, index), right.gather(0, index)
        middle = 0.5 * (low + high)
        halves, errors = _panels(function, torch.cat([low, middle]), torch.cat([middle, high]), cells)
        left, right = torch.cat([left, middle]), torch.cat([right.scatter(0, index, middle), high])
        value = torch.cat([value.scatter(0, index, halves[:worst]), halves[worst:]])
        error = torch.cat([error.scatter(0, index, errors[:worst]), errors[worst:]])
    return value.sum(0), error.sum(0)


def _panels(function: Callable[[Tensor], Tensor], left: Tensor, right: Tensor, cells: int) -> tuple[Tensor, Tensor]:
    """Integral over every panel and a bound of its error, in blocks of panels."""
    size = max(1, BLOCK // (_NODES * max(1, cells)))
    blocks = [_gauss(function, *block) for block in zip(left.split(size), right.split(size), strict=True)]
    value, error = zip(*blocks, strict=True)
    return torch.cat(value), torch.cat(error)


def _gauss(function: Callable[[Tensor], Tensor], left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    nodes, rule = torch.from_numpy(_GAUSS_NODES).to(left), torch.from_numpy(_GAUSS_RULE).to(left)
    width = right - left
    x = left.unsqueeze(1) + width.unsqueeze(1) * nodes.reshape((-1,) + (1,) * (left.ndim - 1))
    f = function(x.flatten(0, 1)).reshape(x.shape)
    value, *coefficients = torch.einsum("rk,pk...->rp...", rule, f) * width
    return value, gauss_error(coefficients)


def gauss_error(coefficients: list[Tensor]) -> Tensor:
    """A bound of the error of every panel, from the last four rules of `gauss_legendre`."""
    middle, highest = (torch.stack(pair).detach().abs().sum(0) for pair in (coefficients[:2], coefficients[2:]))
    # no division of zero by zero
    fall = highest / middle.clamp(min=torch.finfo(middle.dtype).tiny)
    return highest * (_SLOW * fall).clamp(max=1)


def gauss_legendre(nodes: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Nodes on [0, 1] and five rules: the integral, and four Legendre coefficients of the integrand.

    Two are the highest that the nodes resolve, two lie at a third of them. The rule is exact for twice as many degrees
    as it resolves: its error is of the size of the coefficients there. Where they fall as a power of the degree, at
    steps and kinks, the highest bound it; where they fall exponentially, their square over the ones at a third does.
    """
    x, weights = np.polynomial.legendre.leggauss(nodes)
    degrees = np.array([0, nodes // 3, nodes // 3 + 1, nodes - 2, nodes - 1])
    rules = np.polynomial.legendre.legvander(x, nodes - 1)[:, degrees].T * weights * (degrees[:, None] + 0.5)
    return (x + 1) / 2, rules


_GAUSS_NODES, _GAUSS_RULE = gauss_legendre(_NODES)
