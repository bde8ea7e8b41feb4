"""The distribution that is uniform within bins, with half-normal tails beyond the outer ones."""

import math
from collections.abc import Sequence
from functools import reduce
from typing import Any, ClassVar

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import constraints

from .._special import ndtr
from ._rows import RowValues
from .inversion import with_ends
from .marginals import Marginals, cdf, icdf
from .panel_crps import kinks
from .quadrature import CUTS, cuts, quantiles

# Of the mass of an outer bin, what lies beyond it.
TAIL_SHARE = 0.1
_HALF_NORMAL_MEAN = math.sqrt(2 / math.pi)


class Binned(Marginals, dist.TorchDistribution):
    r"""A histogram as a distribution: bins with probabilities, uniform inside, and two half-normal tails.

    Of the probability of the first bin a tenth lies below it and nine tenths in it, and so above the last one:

    .. math:: f(y) = \frac{c_k\,p_k}{e_{k+1} - e_k}\ \text{in bin } k,\qquad
        f(y) = \frac{2\,p_0}{10\,\sigma_0}\,\varphi\Bigl(\frac{e_0 - y}{\sigma_0}\Bigr)\ \text{for } y < e_0,

    with :math:`c_k` 1, of the outer bins 0.9, and in the same way above :math:`e_n`. Nothing has probability zero.
    Everything has a closed form, the CRPS too.

    Parameters
    ----------
    logits : Tensor, (*B, n)
        Log-probabilities of the bins, up to a constant.
    edges : sequence of float or Tensor, (n + 1,) or (*B, n + 1)
        Increasing. Those that all rows share are kept in float64 whatever the dtype of the logits. Those of each row's
        own, in float64, make all of it so; some of these may coincide where the bin between them has a logit of minus
        infinity.
    tails : sequence of float or Tensor, (2,) or (*B, 2)
        Scales of the lower and the upper tail, positive.

    Raises
    ------
    ValueError
        If there are fewer than two bins, not one edge more than bins, edges that do not increase, or a scale that is
        not positive.

    Examples
    --------
    >>> import torch
    >>> from probmix.distributions import Binned
    >>> bars = Binned(torch.tensor([0.2, 0.5, 0.3]).log(), [0.0, 1.0, 2.0, 4.0], [1.0, 2.0])
    >>> bars.cdf(torch.tensor(1.5)), bars.icdf(torch.tensor(0.45)), bars.log_prob(torch.tensor(1.5)).exp()
    (tensor(0.4500), tensor(1.5000), tensor(0.5000))
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {
        "logits": constraints.real_vector,
        "edges": constraints.real_vector,
        "tails": constraints.real_vector,
    }
    support = constraints.real
    has_rsample = True

    def __init__(
        self,
        logits: Tensor,
        edges: Sequence[float] | Tensor,
        tails: Sequence[float] | Tensor,
        validate_args: bool | None = None,
    ) -> None:
        self.logits = logits
        # those of all rows as numbers: the dtype of a distribution is that of its tensors, and edges keep their digits
        self.edges, self.tails = _shared(edges), _shared(tails)
        if isinstance(self.edges, Tensor) or isinstance(self.tails, Tensor):
            # float64 if any is so, lest edges coincide
            tables = [torch.as_tensor(t, device=logits.device) for t in (edges, tails)]
            dtype = reduce(torch.promote_types, (t.dtype for t in tables), logits.dtype)
            self.logits, self.edges, self.tails = (t.to(dtype) for t in (logits, *tables))
        super().__init__(logits.shape[:-1], validate_args=False)
        if validate_args is not None:
            self._validate_args = validate_args
        _check_shapes(logits, *self.table())
        if self._validate_args:
            _check_values(logits, *self.table())

    def __repr__(self) -> str:
        return f"Binned({self.logits.shape[-1]} bins, batch shape {tuple(self.batch_shape)})"

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        new = self._get_checked_instance(Binned, _instance)
        new.logits = self.logits.expand(*batch_shape, self.logits.shape[-1])
        new.edges, new.tails = self.edges, self.tails
        super(Binned, new).__init__(torch.Size(batch_shape), validate_args=False)
        new._validate_args = self._validate_args
        return new

    def table(self) -> tuple[Tensor, Tensor]:
        """Edges and scales of the tails in float64, (n + 1,) and (2,) or (*B, n + 1) and (*B, 2)."""
        device = self.logits.device
        edges, tails = (torch.as_tensor(t, dtype=torch.float64, device=device) for t in (self.edges, self.tails))
        return edges, tails

    @property
    def log_probs(self) -> Tensor:
        """Log-probabilities of the bins, with their tails, in float64: (*B, n)."""
        return self.logits.double().log_softmax(-1)

    @property
    def probs(self) -> Tensor:
        """Probabilities of the bins, with their tails: (*B, n)."""
        return self.log_probs.exp().to(self.logits.dtype)

    @property
    def mean(self) -> Tensor:
        return self._mean().to(self.logits.dtype)

    def _mean(self) -> Tensor:
        edges, tails = self.table()
        below, inside, above = split_mass(self.log_probs.exp())
        middle = 0.5 * (edges[..., 1:] + edges[..., :-1])
        lower, upper = _tail_ends(edges, _HALF_NORMAL_MEAN * tails)
        return (inside * middle).sum(-1) + below[..., 0] * lower + above[..., 0] * upper

    @property
    def variance(self) -> Tensor:
        edges, tails = self.table()
        below, inside, above = split_mass(self.log_probs.exp())
        mean = self._mean()
        left, right = (edge - mean.unsqueeze(-1) for edge in (edges[..., :-1], edges[..., 1:]))
        bins = (inside * (left.square() + left * right + right.square()) / 3).sum(-1)
        lower, upper = _tail_ends(edges, _HALF_NORMAL_MEAN * tails)
        spread = (1 - 2 / math.pi) * tails.square()
        low, high = (lower - mean).square() + spread[..., 0], (upper - mean).square() + spread[..., 1]
        return (bins + below[..., 0] * low + above[..., 0] * high).to(self.logits.dtype)

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        values = RowValues(value, self.batch_shape)
        edges, tails = self.table()
        y = values.last.double()
        found = self.log_probs.expand(*values.rows, -1).gather(-1, bin_of(edges, y)) + log_within(edges, tails, y)
        return values.back(found).to(self.logits.dtype)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(torch.Size(sample_shape))
        return icdf(self, torch.rand(shape, dtype=torch.float64, device=self.logits.device))


# -- bins and their edges ----------------------------------------------------------------------------------------------


def bin_of(edges: Tensor, y: Tensor) -> Tensor:
    """The bin in which values lie, the outer ones with their tails; an edge belongs to the bin above, the last to none.

    Parameters
    ----------
    edges : Tensor, (n + 1,) or (*B, n + 1)
    y : Tensor, (*B, L)
    """
    inner = edges[..., 1:-1]
    if inner.ndim > 1:
        inner = inner.expand(*y.shape[:-1], -1)
    return torch.searchsorted(inner.contiguous(), y.detach().contiguous(), right=True)


def log_within(edges: Tensor, tails: Tensor, y: Tensor) -> Tensor:
    """The log-density of values given their bin, with arguments as of `bin_of` and `tails`, (2,) or (*B, 2)."""
    first, last = edges[..., :1], edges[..., -1:]
    share = torch.ones_like(edges[..., 1:])
    share[..., 0], share[..., -1] = 1 - TAIL_SHARE, 1 - TAIL_SHARE
    # a bin of no width is that of no value
    width = edges.diff(dim=-1)
    flat = (share.log() - torch.where(width > 0, width, 1.0).log()).expand(*y.shape[:-1], -1)
    below = y < first
    distance = torch.where(below, first - y, y - last).clamp(min=0)
    scale = torch.where(below, tails[..., :1], tails[..., 1:])
    beyond = -0.5 * (distance / scale).square() - scale.log() + math.log(TAIL_SHARE * _HALF_NORMAL_MEAN)
    return torch.where(below | (y > last), beyond, flat.gather(-1, bin_of(edges, y)))


def split_mass(probs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What lies below the first edge, in the bins, and above the last edge: (*B, n) -> (*B, 1), (*B, n), (*B, 1)."""
    inner = probs[..., 1:-1]
    lower, upper = probs[..., :1], probs[..., -1:]
    inside = torch.cat([(1 - TAIL_SHARE) * lower, inner, (1 - TAIL_SHARE) * upper], -1)
    return TAIL_SHARE * lower, inside, TAIL_SHARE * upper


def _tail_ends(edges: Tensor, distance: Tensor) -> tuple[Tensor, Tensor]:
    """Places so far beyond both outer edges."""
    return edges[..., 0] - distance[..., 0], edges[..., -1] + distance[..., 1]


def _shared(values: Sequence[float] | Tensor) -> tuple[float, ...] | Tensor:
    """One sequence for all rows as numbers, one for each row as a tensor."""
    if isinstance(values, Tensor):
        return values if values.ndim > 1 else tuple(values.double().tolist())
    return tuple(float(value) for value in values)


def _check_shapes(logits: Tensor, edges: Tensor, tails: Tensor) -> None:
    bins = logits.shape[-1] if logits.ndim else 0
    if bins < 2 or edges.shape[-1] != bins + 1 or tails.shape[-1] != 2:
        raise ValueError(
            "a Binned needs the logits of at least two bins, one edge more than bins, and two scales of tails; got the "
            f"shapes {tuple(logits.shape)}, {tuple(edges.shape)} and {tuple(tails.shape)}."
        )


def _check_values(logits: Tensor, edges: Tensor, tails: Tensor) -> None:
    width = edges.diff(dim=-1)
    empty = (width == 0) & (logits == -torch.inf) if edges.ndim > 1 else torch.zeros_like(width, dtype=torch.bool)
    if not bool((edges.isfinite().all(-1, keepdim=True) & ((width > 0) | empty)).all()):
        raise ValueError("the `edges` of a Binned must be finite and increase. Sort them, and drop repeated ones.")
    if not bool((tails.isfinite() & (tails > 0)).all()):
        raise ValueError("the `tails` of a Binned, scales of what lies beyond the bins, must be finite and positive.")
    if bool(logits.isnan().any()):
        raise ValueError("the `logits` of a Binned must not be NaN.")


# -- the distribution function -----------------------------------------------------------------------------------------


def _cumulative(probs: Tensor) -> Tensor:
    """F at the edges, (*B, n + 1)."""
    below, inside, _ = split_mass(probs)
    return torch.cat([below, inside], -1).cumsum(-1)


@cdf.register
def _(distribution: Binned, y: Tensor) -> Tensor:
    values = RowValues(y, distribution.batch_shape)
    rows, y = values.rows, values.last.double()
    edges, tails = distribution.table()
    probs = distribution.log_probs.exp()
    below, inside, above = (t.expand(*rows, -1) for t in split_mass(probs))
    place = bin_of(edges, y)
    low, width = (t.expand(*rows, -1).gather(-1, place) for t in (edges[..., :-1], edges.diff(dim=-1)))
    share = (y - low) / torch.where(width > 0, width, 1.0)
    within = _cumulative(probs).expand(*rows, -1).gather(-1, place) + inside.gather(-1, place) * share
    lower = 2 * below * ndtr(((y - edges[..., :1]) / tails[..., :1]).clamp(max=0))
    upper = 2 * above * ndtr(((edges[..., -1:] - y) / tails[..., 1:]).clamp(max=0))
    found = torch.where(y < edges[..., :1], lower, torch.where(y > edges[..., -1:], 1 - upper, within))
    return values.back(found.clamp(0, 1)).to(distribution.logits.dtype)


@icdf.register
def _(distribution: Binned, q: Tensor) -> Tensor:
    values = RowValues(q, distribution.batch_shape)
    rows, level = values.rows, values.last.double()
    edges, tails = distribution.table()
    probs = distribution.log_probs.exp()
    below, inside, above = (t.expand(*rows, -1) for t in split_mass(probs))
    at_edges = _cumulative(probs).expand(*rows, -1)
    place = torch.searchsorted(at_edges[..., 1:-1].detach().contiguous(), level.detach().contiguous())
    low, width = (t.expand(*rows, -1).gather(-1, place) for t in (edges[..., :-1], edges.diff(dim=-1)))
    mass = inside.gather(-1, place)
    share = (level - at_edges.gather(-1, place)) / torch.where(mass > 0, mass, 1.0)
    y = low + width * share.clamp(0, 1)
    under, over = level < at_edges[..., :1], level > at_edges[..., -1:]
    lower = _half_normal(level, below, under)
    upper = _half_normal(1 - level, above, over)
    y = torch.where(under, edges[..., :1] + tails[..., :1] * lower, y)
    y = torch.where(over, edges[..., -1:] - tails[..., 1:] * upper, y)
    ends = torch.full_like(y, torch.inf)
    return values.back(with_ends(y, level, -ends, ends)).to(distribution.logits.dtype)


def _half_normal(level: Tensor, mass: Tensor, there: Tensor) -> Tensor:
    """The quantile of a lower half-normal tail of a mass, at the scale 1; where it is not asked for, zero."""
    inside = there & (level > 0) & (level < mass)
    share = torch.where(inside, level, 0.5) / torch.where(inside, 2 * mass, 1.0)
    quantile: Tensor = torch.special.ndtri(share)
    return quantile


@kinks.register
def _(distribution: Binned) -> Tensor:
    edges = distribution.table()[0]
    return edges.expand(*distribution.batch_shape, edges.shape[-1]).movedim(-1, 0)


@cuts.register
def _(distribution: Binned, levels: tuple[float, ...] = CUTS) -> Tensor:
    # the density jumps at the edges
    return torch.cat([quantiles(distribution, levels), kinks(distribution)])
