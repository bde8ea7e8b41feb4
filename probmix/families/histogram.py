"""The histogram: a categorical over bins, uniform inside, with half-normal tails."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, get_args

import torch
from torch import Tensor
from torch.nn.functional import softplus

from .._names import unknown_name
from .._shapes import broadcast_shapes
from .._told import warn
from ..distributions import Binned, Independent
from .bins import Bins, bins_of_targets, normal_bins, with_tails
from .exponential_family import ExponentialFamily
from .family import LabelPool
from .label import Label, by_point
from .tools import check_kind, check_support, stretched

# Of a family that has not seen its targets.
_FLOOR = 1e-3
# Of all bins, the standard deviation of a label that trains at most.
_MOST_SMOOTHING = 1 / 24
# Between which the share of all bins is kept that they have whatever the network says.
_FLOORS = 1e-6, 1e-2


@dataclass(frozen=True)
class Histogram(ExponentialFamily):
    r"""Histogram of a real target, :math:`\eta = \log p` of its bins, T one-hot.

    .. math:: A(\eta) = \log\sum_k e^{\eta_k},\qquad h(y) = \text{the density of y given its bin}

    Densities are uniform within a bin and have half-normal tails beyond the outer ones, see `distributions.Binned`: any
    shape, with as many humps and as skewed as the targets ask for. Logits are shift-invariant, and log-linear pooling
    is the weighted mean of the logits. Bins lie between the quantiles of the targets of a fit, in the user's units,
    which `for_targets` finds; rounded targets are in the middle of their bins, and no bin is narrower than the step of
    rounding.

    In training a label is spread over neighbouring bins as a normal density with a standard deviation of `smoothing`
    bins, for bins are neighbours, other than classes (Imani and White 2018; Farebrother et al. 2024); what judges is
    the density itself. Pooled labels: "average" is the label of the mean target, "linear" the mean of the labels,
    "log-linear" that of the mean on the line of the bins, on which the kernels around labels are normal densities of
    one width. `spread` widens them by this variance.

    Parameters
    ----------
    n_bins : int
        At most so many; fewer where there are few targets, five for each bin, or few different ones.
    edges : sequence of float, optional
        Increasing, one more than bins; those of the quantiles of the targets, by default, and before it has seen any
        those of the standard normal distribution. Of several targets a sequence for each.
    tails : pair of float, optional
        Scales of what lies below and above the bins; as wide as the outer bins by default. Of several targets a pair
        for each.
    smoothing : float
        In bins, 0 for none; it is at most a twenty-fourth of all bins, so that scores of few values stay what they are.
    floor : float
        Share of the probability that is spread over all bins alike whatever the network says; 1 / n after a fit of n
        rows. A row costs log n nats and the logarithm of the number of bins more than the best density at most, but
        for where it is in a tail.

    Examples
    --------
    >>> import torch
    >>> from probmix.families import Histogram
    >>> family = Histogram(4).for_targets(torch.arange(100.0).square())
    >>> family.edges
    (-0.5, 600.5, 2450.5, 5550.5, 9801.5)
    >>> family.sufficient_statistics(torch.tensor(100.0))
    tensor([1., 0., 0., 0.])

    References
    ----------
    Farebrother et al. (2024), Stop Regressing: Training Value Functions via Classification for Scalable Deep RL, ICML.
    Imani & White (2018), Improving Regression Performance with Distributional Losses, ICML.
    """

    n_bins: int = 64
    edges: tuple[Any, ...] | None = field(default=None, repr=False)
    tails: tuple[Any, ...] | None = field(default=None, repr=False)
    smoothing: float = 0.75
    floor: float = _FLOOR

    def __post_init__(self) -> None:
        if not isinstance(self.n_bins, int) or isinstance(self.n_bins, bool) or self.n_bins < 2:
            raise ValueError(f"`n_bins` must be an integer of at least 2, got {self.n_bins!r}.")
        if not (math.isfinite(self.smoothing) and self.smoothing >= 0):
            raise ValueError(f"`smoothing` must be a number of bins, zero or positive, got {self.smoothing!r}.")
        if not 0 < self.floor < 1:
            raise ValueError(f"`floor` must be a share between 0 and 1, both excluded, got {self.floor!r}.")
        for name in ("edges", "tails"):
            object.__setattr__(self, name, _plain(name, getattr(self, name)))
        if self.edges is None and self.tails is not None:
            raise ValueError("`tails` are those of `edges`, which are missing. Pass both or none.")
        for edges in _of_targets(self.edges):
            _check_edges(edges)
        for tails in _of_targets(self.tails):
            if len(tails) != 2 or not all(math.isfinite(scale) and scale > 0 for scale in tails):
                raise ValueError(f"`tails` must be two positive numbers, got {tails}.")
        if self.tails is not None and len(_of_targets(self.tails)) != len(_of_targets(self.edges)):
            raise ValueError("`tails` must be a pair for each target, as `edges` are one sequence for each.")

    @property
    def name(self) -> str:
        return "histogram"

    @property
    def event_dim(self) -> int:
        return int(self.edges is not None and isinstance(self.edges[0], tuple))

    @property
    def num_params(self) -> int:
        return sum(self._counts)

    @property
    def _bins(self) -> list[Bins]:
        """Those of each target."""
        if self.edges is None:
            return [normal_bins(self.n_bins)]
        edges = _of_targets(self.edges)
        if self.tails is None:
            return [with_tails(one) for one in edges]
        return [Bins(*both) for both in zip(edges, _of_targets(self.tails), strict=True)]

    @property
    def _counts(self) -> list[int]:
        if self.edges is None:
            return [self.n_bins]
        return [len(edges) - 1 for edges in _of_targets(self.edges)]

    def for_targets(self, y: Tensor, weights: Tensor | None = None) -> "Histogram":
        if self.edges is not None or not bool(y.isfinite().all()):
            return self
        found = [bins_of_targets(one, weights, self.n_bins) for one in (y.unbind(1) if y.ndim > 1 else [y])]
        edges, tails = (tuple(getattr(bins, name) for bins, _ in found) for name in ("edges", "tails"))
        floor = min(max(1 / max(rows for _, rows in found), _FLOORS[0]), _FLOORS[1])
        if y.ndim == 1:
            (edges,), (tails,) = edges, tails
        return replace(self, edges=edges, tails=tails, floor=floor)

    def for_training(self) -> "Histogram":
        return _Softened(self.n_bins, self.edges, self.tails, self.smoothing, self.floor)

    # -- links ---------------------------------------------------------------------------------------------------------

    def constrain(self, raw: Tensor) -> Tensor:
        parts = []
        for part in raw.split(self._counts, -1):
            # the logarithm of a sum of two, which torch's own form cannot differentiate twice where one is all of it
            least = math.log(self.floor / part.shape[-1])
            parts.append(least + softplus(part.log_softmax(-1) + (math.log1p(-self.floor) - least)))
        return torch.cat(parts, -1)

    def unconstrain(self, eta: Tensor) -> Tensor:
        parts = []
        for part in eta.split(self._counts, -1):
            own = part.softmax(-1) - self.floor / part.shape[-1]
            parts.append((own.clamp(min=1e-9 / part.shape[-1]) / (1 - self.floor)).log())
        return torch.cat(parts, -1)

    # -- distributions -------------------------------------------------------------------------------------------------

    def distribution(self, eta: Tensor) -> Binned | Independent:
        if not self.event_dim:
            (bins,) = self._bins
            return Binned(eta, bins.edges, bins.tails)
        # bins without width or probability make targets alike
        most = max(self._counts)
        logits = []
        for part in eta.split(self._counts, -1):
            none = part.new_full((*part.shape[:-1], most - part.shape[-1]), -math.inf)
            logits.append(torch.cat([part[..., :1], none, part[..., 1:]], -1))
        edges = [[*one.edges[:2], *[one.edges[1]] * (most - one.count), *one.edges[2:]] for one in self._bins]
        tails = [one.tails for one in self._bins]
        # in float64, as are the densities of several targets then
        table = [torch.tensor(t, dtype=torch.float64, device=eta.device) for t in (edges, tails)]
        return Independent(Binned(torch.stack(logits, -2), table[0], table[1]), 1)

    def natural_params(self, distribution: torch.distributions.Distribution) -> Tensor:
        if not self.event_dim:
            logits: Tensor = check_kind(distribution, Binned).logits
            return logits
        base = check_kind(check_kind(distribution, torch.distributions.Independent).base_dist, Binned)
        parts: list[Tensor] = []
        for row, count in zip(base.logits.unbind(-2), self._counts, strict=True):
            parts += [row[..., :1], row[..., row.shape[-1] - count + 1 :]]
        return torch.cat(parts, -1)

    # -- the exponential-family form -----------------------------------------------------------------------------------

    def sufficient_statistics(self, y: Tensor) -> Tensor:
        dtype = y.dtype if y.is_floating_point() else torch.get_default_dtype()
        targets = zip(self._bins, self._targets(y), strict=True)
        return torch.cat([bins.shares(one, 0.0) for bins, one in targets], -1).to(dtype)

    def log_base_measure(self, y: Tensor) -> Tensor:
        parts = [bins.log_base(one) for bins, one in zip(self._bins, self._targets(y), strict=True)]
        return torch.stack(parts).sum(0).to(y.dtype if y.is_floating_point() else torch.get_default_dtype())

    def log_normalizer(self, eta: Tensor) -> Tensor:
        return torch.stack([part.logsumexp(-1) for part in eta.split(self._counts, -1)]).sum(0)

    def mean_params(self, eta: Tensor) -> Tensor:
        return torch.cat([part.softmax(-1) for part in eta.split(self._counts, -1)], -1)

    def _log_prob(self, eta: Tensor, y: Tensor) -> Tensor:
        found = self.log_base_measure(y)
        targets = zip(eta.split(self._counts, -1), self._bins, self._targets(y), strict=True)
        for part, bins, one in targets:
            place = bins.place(one)
            shape = broadcast_shapes(part.shape[:-1], place.shape)
            chosen = part.log_softmax(-1).expand(*shape, -1).gather(-1, place.expand(shape).unsqueeze(-1))
            found = found + chosen.squeeze(-1)
        return found

    def expected_nll(self, eta: Tensor, label: Label) -> Tensor:
        if label.weights is not None:
            y, weights = label.value, label.weights
            if self.event_dim:
                y, weights = y.mT, weights.unsqueeze(-2)
            label = self.pool_labels(y, weights, pool="linear")
        log_probs = torch.cat([part.log_softmax(-1) for part in eta.double().split(self._counts, -1)], -1)
        loss = -(label.value * log_probs).sum(-1)
        return (loss if label.log_base_excess is None else loss - label.log_base_excess).to(eta.dtype)

    # -- the label side ------------------------------------------------------------------------------------------------

    def _kernel(self, bins: Bins) -> float:
        """The standard deviation of the kernel around a label that judges, on the line of bins."""
        return 0.0

    def _targets(self, y: Tensor) -> tuple[Tensor, ...]:
        return y.unbind(-1) if self.event_dim else (y,)

    def _label(self, y: Tensor, spread: float = 0.0) -> Label:
        y = y.double()
        return Label(self._shares(y, spread), log_base_excess=self.log_base_measure(y))

    def _shares(self, y: Tensor, spread: float) -> Tensor:
        """Shares of the bins in labels (*B[, d]) whose kernel has this variance more: (*B, K)."""
        targets = zip(self._bins, self._targets(y), strict=True)
        return torch.cat([bins.shares(one, math.sqrt(self._kernel(bins) ** 2 + spread)) for bins, one in targets], -1)

    def label_statistics(self, label: Label) -> Tensor:
        return label.value.double()

    def kernel_centre(self, y: Tensor, weights: Tensor) -> Tensor:
        if not self.event_dim:
            return self._bins[0].at_coordinate((weights * self._bins[0].coordinate(y)).sum(-1))
        rows = zip(self._bins, y.unbind(-2), weights.expand_as(y).unbind(-2), strict=True)
        return torch.stack([bins.at_coordinate((w * bins.coordinate(one)).sum(-1)) for bins, one, w in rows], -1)

    def point_label(self, y: Tensor) -> Label:
        return self._label(y)

    def pool_labels(self, y: Tensor, weights: Tensor, spread: float = 0.0, pool: str = "log-linear") -> Label:
        y, weights = y.double(), weights.double()
        if pool == "log-linear":
            return self._label(self.kernel_centre(y, weights), spread)
        if pool == "average":
            return self._label((weights * y).sum(-1), spread)
        if pool != "linear":
            raise unknown_name("label pool", pool, get_args(LabelPool))
        y, weights = by_point(y, weights, self.event_dim)
        shares = self._shares(y, spread)
        base = (weights * self.log_base_measure(y)).sum(-1)
        return Label((weights.unsqueeze(-1) * shares).sum(-2), log_base_excess=base)

    def density_label(self, eta: Tensor, weights: Tensor) -> Label:
        probs = (weights.double().unsqueeze(-1) * self.mean_params(eta.detach().double())).sum(-2)
        base = torch.cat([bins.mean_log_base(probs) for bins in self._bins])
        return Label(probs, log_base_excess=(probs * base).sum(-1))

    def calibrated_label(
        self, y: Tensor, weights: Tensor, eta: Tensor, spread: float = 0.0, eta_points: Tensor | None = None
    ) -> Label:
        label = self.pool_labels(y, weights, spread, "linear")
        if eta_points is None:
            return label
        _, weights = by_point(y, weights, self.event_dim)
        expected = (weights.double().unsqueeze(-1) * self.mean_params(eta_points.detach().double())).sum(-2)
        value = label.value + self.mean_params(eta.detach().double()) - expected
        return Label(value, log_base_excess=label.log_base_excess)

    # -- target units --------------------------------------------------------------------------------------------------

    def stretch(self, eta: Tensor, marginal: Tensor, factor: float) -> Tensor:
        return stretched(eta, marginal, factor)

    def marginal_params(self, y: Tensor, weights: Tensor | None = None, dim: int = 0) -> Tensor:
        y = y.double()
        dim = dim % y.ndim
        weights = torch.ones_like(y) if weights is None else weights.to(y).expand_as(y)
        parts = []
        for bins, one, w in zip(self._bins, self._targets(y), self._targets(weights), strict=True):
            place, w = bins.place(one).movedim(dim, -1), w.movedim(dim, -1)
            # counted, for a table of zeros and ones would be as many numbers for each row as there are bins
            counts = torch.zeros(*place.shape[:-1], bins.count, dtype=y.dtype, device=y.device)
            counts = counts.scatter_add(-1, place, w)
            frequency = counts / counts.sum(-1, keepdim=True)
            least = 2 * self.floor
            parts.append(((1 - least) * frequency + least / bins.count).log().unsqueeze(dim))
        return torch.cat(parts, -1)

    def check_targets(self, y: Tensor) -> None:
        if self.event_dim and (y.ndim < 2 or y.shape[-1] != len(self._counts)):
            raise ValueError(
                f"targets of a Histogram with edges of {len(self._counts)} targets must be (n, {len(self._counts)}); "
                f"got shape {tuple(y.shape)}. Leave out `edges`, which a fit then finds."
            )
        check_support(y, y.isfinite(), "Histogram targets must be finite", "Drop or impute these rows.")
        if self.edges is None:
            self._warn_of_targets_beyond(y)

    def _warn_of_targets_beyond(self, y: Tensor) -> None:
        """Of bins that nothing was set by, where they leave out most targets: in a tail one density serves all."""
        low, *_, high = self._bins[0].edges
        if ((y < low) | (y > high)).double().mean().item() > 0.5:
            # without numbers of this batch, so that a loop hears it once
            warn(
                f"most targets are beyond the bins of {self!r}, which without `edges` are those of the standard normal "
                f"distribution, from {low:.3g} to {high:.3g}. Take `family.for_targets(y)`, whose bins are those of "
                "the targets, or pass `edges`."
            )


@dataclass(frozen=True)
class _Softened(Histogram):
    """The histogram whose labels train: spread over neighbouring bins."""

    def _kernel(self, bins: Bins) -> float:
        return min(self.smoothing, _MOST_SMOOTHING * bins.count)


def _of_targets(values: tuple[Any, ...] | None) -> tuple[Any, ...]:
    """Those of each target, of a sequence for one or of one of such."""
    if values is None:
        return ()
    return values if values and isinstance(values[0], tuple) else (values,)


def _plain(name: str, values: Any) -> tuple[Any, ...] | None:
    """Numbers, or sequences of such, as tuples of floats."""
    if values is None:
        return None
    try:
        nested = [isinstance(one, Sequence) or getattr(one, "ndim", 0) > 0 for one in values]
        if any(nested):
            return tuple(tuple(float(number) for number in one) for one in values)
        return tuple(float(number) for number in values)
    except (TypeError, ValueError) as error:
        raise TypeError(f"`{name}` must be a sequence of numbers, or one for each target; got {values!r}.") from error


def _check_edges(edges: tuple[float, ...]) -> None:
    if len(edges) < 3 or not all(map(math.isfinite, edges)) or not all(a < b for a, b in pairwise(edges)):
        raise ValueError(
            f"`edges` must be at least three finite numbers in increasing order, got {len(edges)} from "
            f"{edges[0] if edges else None} to {edges[-1] if edges else None}. Sort them, and drop repeated ones."
        )
