"""Scores and mixtures of binned distributions in closed form."""

import math

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import Distribution, MixtureSameFamily

from .._blocks import in_blocks
from .._shapes import broadcast_shapes
from .._special import ndtr
from .binned import Binned, split_mass
from .members import weights_last
from .normal import square_below
from .pools import mixture_over_members, pooled
from .scoring import (
    ROUNDING,
    generic_crps,
    generic_crps_with_bound,
    generic_window_crps,
    marginal_crps,
    marginal_crps_with_bound,
    marginal_window_crps,
    mixture_crps,
    mixture_crps_with_bound,
    mixture_window_crps,
    rounding_error,
)


@marginal_crps.register
def _(distribution: Binned, y: Tensor) -> Tensor:
    return binned_crps(distribution.log_probs.exp(), *distribution.table(), y)


@marginal_crps_with_bound.register
def _(distribution: Binned, y: Tensor) -> tuple[Tensor, Tensor]:
    value = marginal_crps(distribution, y)
    return value, _error(distribution, y, value, distribution.logits.shape[-1])


@marginal_window_crps.register
def _(distribution: Binned, y: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    return binned_crps(distribution.log_probs.exp(), *distribution.table(), y, lower, upper)


@mixture_crps.register
def _(component: Binned, mixture: MixtureSameFamily, y: Tensor) -> Tensor:
    pooled = _pooled_component(component, mixture)
    return generic_crps(mixture, y) if pooled is None else binned_crps(*pooled, y)


@mixture_crps_with_bound.register
def _(component: Binned, mixture: MixtureSameFamily, y: Tensor) -> tuple[Tensor, Tensor]:
    if _pooled_component(component, mixture) is None:
        return generic_crps_with_bound(mixture, y)
    value = mixture_crps(component, mixture, y)
    return value, _error(mixture, y, value, component.logits.shape[-1])


@mixture_window_crps.register
def _(component: Binned, mixture: MixtureSameFamily, y: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    pooled = _pooled_component(component, mixture)
    if pooled is None:
        return generic_window_crps(mixture, y, lower, upper)
    return binned_crps(*pooled, y, lower, upper)


def _error(distribution: Distribution, y: Tensor, value: Tensor, bins: int) -> Tensor:
    return ROUNDING * bins * value.detach() + rounding_error(distribution, y).detach()


def binned_crps(
    probs: Tensor, edges: Tensor, tails: Tensor, y: Tensor, lower: Tensor | None = None, upper: Tensor | None = None
) -> Tensor:
    r"""The integral of :math:`(F(x) - 1[x \ge y])^2`, between two thresholds if there are such; all in float64.

    Within a bin F is linear: over a piece of it on which it rises from a to b the integral of :math:`F^2` is
    :math:`\tfrac13(a^2 + ab + b^2)` times the length, and above y it is that of :math:`(1 - F)^2`, from sums of their
    own. No term is negative. Of the tails the integrals are those of a normal distribution function.

    Parameters
    ----------
    probs : Tensor, (*B, n)
    edges, tails : Tensor, (n + 1,) and (2,) or (*B, n + 1) and (*B, 2)
    y, lower, upper : Tensor, (*B,)
    """
    shape = broadcast_shapes(y.shape, probs.shape[:-1])
    ends = torch.tensor(torch.inf, dtype=y.dtype, device=y.device)
    tables = (t.expand(*shape, t.shape[-1]).reshape(-1, t.shape[-1]) for t in (probs, edges, tails))
    single = (-ends if lower is None else lower, ends if upper is None else upper)
    flat = (t.expand(shape).reshape(-1) for t in (y, *single))
    return in_blocks(_crps, *tables, *flat).reshape(shape)


def _crps(probs: Tensor, edges: Tensor, tails: Tensor, y: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    below, inside, above = split_mass(probs)
    start, stop, at = (t.unsqueeze(-1) for t in (lower, upper, y))
    low, high = edges[..., :-1], edges[..., 1:]
    left, right = (torch.minimum(torch.maximum(end, low), high) for end in (start, stop))
    meet = torch.minimum(torch.maximum(at, left), right)
    width = high - low
    slope = inside / torch.where(width > 0, width, 1.0)
    f_low = (below + inside.cumsum(-1)) - inside
    # 1 - F as a sum of its own keeps its digits where F is nearly one
    g_high = (above + inside.flip(-1).cumsum(-1).flip(-1)) - inside
    a, b = f_low + slope * (left - low), f_low + slope * (meet - low)
    c, d = g_high + slope * (high - meet), g_high + slope * (high - right)
    bins = (meet - left) * (a.square() + a * b + b.square()) + (right - meet) * (c.square() + c * d + d.square())
    first, last = edges[..., 0], edges[..., -1]
    lower_tail = _tail(below[..., 0], tails[..., 0], y - first, lower - first, upper - first)
    upper_tail = _tail(above[..., 0], tails[..., 1], last - y, last - upper, last - lower)
    return bins.sum(-1) / 3 + lower_tail + upper_tail


def _tail(mass: Tensor, scale: Tensor, y: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    r"""The part of the CRPS below an edge at zero, where :math:`F(x) = 2 m \Phi(x / \sigma)`.

    With :math:`I(z) = \int_{-\infty}^z \Phi = z\Phi(z) + \varphi(z)` it is, in units of the scale,

    .. math:: 4 m^2 \int_l^u \Phi^2 + (u - v) - 4 m [I(u) - I(v)],

    where v is the place next to y in the window from l to u.
    """
    low, high = ((end / scale).clamp(max=0) for end in (lower, upper))
    at = torch.minimum(torch.maximum(y / scale, low), high)
    apart = at < high
    u, v = torch.where(apart, high, 0.0), torch.where(apart, at, 0.0)
    above = (u - v) - 4 * mass * (_normal_integral(u) - _normal_integral(v))
    return scale * (4 * mass.square() * square_below(low, high) + above)


def _normal_integral(z: Tensor) -> Tensor:
    return z * ndtr(z) + torch.exp(-0.5 * z.square()) / math.sqrt(2 * math.pi)


# -- mixtures ----------------------------------------------------------------------------------------------------------


@pooled.register
def _(distribution: Binned, weights: Tensor) -> dist.TorchDistribution:
    """One Binned if all members have the same bins."""
    table = _one_table(distribution.table(), distribution.batch_shape, -1)
    if table is None:
        return mixture_over_members(distribution, weights)
    log_probs = distribution.log_probs.to(distribution.logits.dtype)
    logits = (weights.log().unsqueeze(-1) + log_probs).logsumexp(-2)
    edges, tails = (distribution.edges, distribution.tails) if isinstance(distribution.edges, tuple) else table
    return Binned(logits, edges, tails, validate_args=False)


def _pooled_component(component: Binned, mixture: MixtureSameFamily) -> tuple[Tensor, Tensor, Tensor] | None:
    """Probabilities (*B, *event, n), edges and tails of a mixture whose members have the same bins."""
    axis = -1 - len(mixture.event_shape)
    table = _one_table(component.table(), component.batch_shape, axis)
    if table is None:
        return None
    probs = component.log_probs.exp().movedim(axis - 1, -2)
    return ((weights_last(mixture).unsqueeze(-1) * probs).sum(-2), *table)


def _one_table(table: tuple[Tensor, Tensor], batch: torch.Size, axis: int) -> tuple[Tensor, Tensor] | None:
    """Edges and tails without a batch axis along which they are the same, or None if they are not."""
    if all(t.ndim == 1 for t in table):
        return table
    whole = [t.expand(*batch, t.shape[-1]).movedim(axis - 1, 0) for t in table]
    if not all(bool((t == t[:1]).all()) for t in whole):
        return None
    return whole[0][0], whole[1][0]
