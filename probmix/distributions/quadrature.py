"""CRPS from the cdf by adaptive quadrature, for all rows at once."""

from functools import singledispatch

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, MixtureSameFamily

from .marginals import cdf, icdf
from .panels import integrate_with_error
from .parts import device_of
from .point_masses import atoms

# Mass left out on either side; what it adds is of the order of its square.
TAIL = 1e-12
# Between two of these quantiles a cdf holds no surprise; every member of a mixture is cut at its own.
CUTS = (1e-10, 0.5, 1 - 1e-10)
# Edges of panels to start from, at most.
_MOST_EDGES = 24


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
    """Quantiles of the distribution or of all members of a mixture, along a new first axis, or places beyond.

    At levels close to 0 and 1 no more lies outside.

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

    All would cost the square of the number of members; of one member all count.
    """
    edges, jumps = cuts(distribution), some_of(atoms(distribution)[0].detach(), _MOST_EDGES)
    members = distribution.mixture_distribution.probs.shape[-1] if isinstance(distribution, MixtureSameFamily) else 1
    edges = some_of(edges, max(_MOST_EDGES, len(edges) // members))
    return torch.cat([edges, jumps]) if len(jumps) else edges


def some_of(places: Tensor, most: int) -> Tensor:
    """At most so many of the places in every row."""
    if len(places) <= most:
        return places
    chosen = torch.linspace(0, len(places) - 1, most, device=places.device).round().long()
    return places.sort(0).values[chosen]


def cells(distribution: Distribution) -> int:
    """Numbers behind one value of the cdf for every row: rows x targets x members, of all parts."""
    parts = [value for value in vars(distribution).values() if isinstance(value, Distribution)]
    return max((distribution.batch_shape + distribution.event_shape).numel(), sum(map(cells, parts)))
