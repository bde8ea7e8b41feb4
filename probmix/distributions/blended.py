"""Mixtures of distributions of different kinds: what they have comes from their parts."""

from collections.abc import Callable, Sequence
from functools import partial, reduce
from typing import Any, ClassVar

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

from .._shapes import broadcast_shapes
from .blend_quantiles import blend_quantiles
from .counts import counted, has_smooth_cdf, masses, smooth_cdf, summed_counts
from .marginals import Marginals, cdf, icdf
from .mixture import on_atoms
from .mixture_quantiles import axis_of
from .moments import panels_over_scores
from .normal_scores import from_normal_score, normal_score
from .panel_crps import crps_by_panels, crps_by_panels_with_bound, density, kinks, terms, window_by_panels
from .parts import is_discrete, to_dtype_of, unchecked, widen
from .point_masses import atoms, mass_at
from .pooled_scores import has_far_quantiles, pooled_score, with_far_quantiles
from .pools import check_weights, pooled
from .quadrature import CUTS, cuts
from .sampling import sample_parts
from .scoring import (
    marginal_crps,
    marginal_crps_with_bound,
    marginal_nll,
    marginal_window_crps,
)
from .single_rows import single_rows
from .supports import joint_support


class Blend(Marginals, dist.TorchDistribution):
    r"""A mixture of distributions of any kinds, one of each.

    .. math:: p(y) = \sum_c w_c\,p_c(y)

    Of several targets it is the joint distributions that are mixed, of counts the probabilities. `log_prob` at a point
    mass is the logarithm of its **probability**, to which densities of other parts add nothing.

    Parameters
    ----------
    weights : Tensor, (C,) or (*B, C)
        On the simplex over the last axis.
    parts : sequence of C torch or Pyro distributions
        Of one batch shape B and one event shape, all of counts or none. Targets outside of the support of a part have
        density zero there, not an error.

    Raises
    ------
    TypeError
        If a part is no distribution, or the weights are no tensor of floats.
    ValueError
        If there are no parts, they have other shapes, only some are of counts, or the weights are none.

    Notes
    -----
    See `blend`, which merges parts of one kind first: what it returns is faster. Quantiles are sought between those of
    the parts, with the density. A draw is one of the part that was drawn for it.

    Examples
    --------
    >>> import torch
    >>> from probmix.distributions import Blend, Gamma
    >>> normal = torch.distributions.Normal(torch.tensor([2.0]), 1.0)
    >>> both = Blend(torch.tensor([0.5, 0.5]), [normal, Gamma(torch.tensor([2.0]), torch.tensor([1.0]))])
    >>> both.mean, both.variance, both.cdf(torch.tensor([2.0])), both.icdf(torch.tensor([0.5]))
    (tensor([2.]), tensor([1.5000]), tensor([0.5470]), tensor([1.8613]))
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {"weights": constraints.simplex}

    def __init__(self, weights: Tensor, parts: Sequence[Distribution]) -> None:
        check_blend(weights, parts)
        batch, event = torch.Size(parts[0].batch_shape), torch.Size(parts[0].event_shape)
        # as attributes of their own, in which the precision of a distribution is looked for
        self._names = tuple(f"part{number}" for number in range(len(parts)))
        for name, part in zip(self._names, parts, strict=True):
            setattr(self, name, unchecked(part))
        self.weights = to_dtype_of(self, weights).expand(*batch, len(parts))
        super().__init__(batch, event, validate_args=False)

    def __repr__(self) -> str:
        kinds = ", ".join(type(part).__name__ for part in self.parts)
        shapes = f"batch_shape={tuple(self.batch_shape)}, event_shape={tuple(self.event_shape)}"
        return f"Blend({kinds}; {shapes})"

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        new = self._get_checked_instance(Blend, _instance)
        shape = torch.Size(batch_shape)
        new._names, new.weights = self._names, self.weights.expand(*shape, len(self._names))
        for name in self._names:
            setattr(new, name, vars(self)[name].expand(shape))
        super(Blend, new).__init__(shape, self.event_shape, validate_args=False)
        return new

    @property
    def parts(self) -> list[Distribution]:
        """The distributions that are mixed."""
        return [vars(self)[name] for name in self._names]

    @property
    def support(self) -> constraints.Constraint:
        """The numbers between the least and the greatest of all parts."""
        return joint_support(self.parts)

    @property
    def mean(self) -> Tensor:
        return to_dtype_of(self, self._sum([part.mean.double() for part in self.parts]))

    @property
    def variance(self) -> Tensor:
        means = [part.mean.double() for part in self.parts]
        mean = self._sum(means)
        squares = [part.variance.double() + (m - mean).square() for part, m in zip(self.parts, means, strict=True)]
        return to_dtype_of(self, self._sum(squares))

    def log_prob(self, value: Tensor) -> Tensor:
        return to_dtype_of(self, -marginal_nll(self, value))

    def sample(self, sample_shape: Any = ()) -> Tensor:
        with torch.no_grad():
            return sample_parts(self, self.weights.double(), self.parts, torch.Size(sample_shape))

    def shares(self) -> Tensor:
        """The weights in float64, one part after another: (C, *B, 1, ...) with the axes of an event."""
        weights = self.weights.double().movedim(-1, 0)
        weights = weights / weights.sum(0)
        return weights.reshape(*weights.shape, *(1,) * len(self.event_shape))

    def _aligned(self, values: Tensor) -> Tensor:
        """The weights with the axes of values of all parts, (C, ..., *B, *E)."""
        shares = self.shares()
        return shares.reshape(len(shares), *(1,) * (values.ndim - shares.ndim), *shares.shape[1:])

    def _sum(self, values: Sequence[Tensor]) -> Tensor:
        """The weighted sum of one value of every part, (..., *B, *E), where a part without weight says nothing."""
        terms = [torch.where(w > 0, w * value, 0.0) for w, value in zip(self.shares(), values, strict=True)]
        return reduce(torch.add, terms)


def check_blend(weights: Tensor, parts: Sequence[Distribution]) -> None:
    """Raise unless a `Blend` can be made of them."""
    kinds = [type(part).__name__ for part in parts if not isinstance(part, Distribution)]
    if kinds:
        raise TypeError(f"`parts` must be torch or Pyro distributions; got {kinds[0]}. See probmix.adapters.")
    shapes = [(tuple(part.batch_shape), tuple(part.event_shape)) for part in parts]
    if len(set(shapes)) != 1:
        raise ValueError(
            f"`parts` must be one at least, and all of one batch and event shape; got the shapes {shapes}."
        )
    counts = [is_discrete(part) for part in parts]
    if len(set(counts)) > 1:
        whole, real = parts[counts.index(True)], parts[counts.index(False)]
        raise ValueError(
            f"`parts` must all be of counts, or none; got {type(whole).__name__}, of counts, beside "
            f"{type(real).__name__}, which has a density: probabilities and densities have no common unit."
        )
    if not isinstance(weights, Tensor) or not weights.is_floating_point():
        kind = weights.dtype if isinstance(weights, Tensor) else type(weights).__name__
        raise TypeError(f"`weights` must be a tensor of floats; got {kind}. Pass torch.as_tensor(weights).double().")
    batch = shapes[0][0]
    if tuple(weights.shape) not in {(len(parts),), (*batch, len(parts))}:
        raise ValueError(
            f"`weights` must hold one number for each of the {len(parts)} parts along the last axis, shape "
            f"{(len(parts),)} or {(*batch, len(parts))}; got {tuple(weights.shape)}."
        )
    check_weights(weights)
    sizes = [part.probs.shape[-1] for part in parts if isinstance(part, torch.distributions.Categorical)]
    if len(set(sizes)) > 1:
        raise ValueError(f"`parts` must be of as many classes; got {sizes}.")


@single_rows.register
def _(distribution: Blend, rows: Tensor) -> Distribution | None:
    parts = [single_rows(part, rows) for part in distribution.parts]
    known = [part for part in parts if part is not None]
    weights = distribution.weights.reshape(-1, len(parts))
    row = rows.div(distribution.event_shape.numel(), rounding_mode="floor")
    return made_of(distribution, weights[row], known) if len(known) == len(parts) else None


def made_of(distribution: Blend, weights: Tensor, parts: Sequence[Distribution]) -> Blend:
    """One with other weights and parts, which are known to fit: without checks."""
    made: Blend = distribution._get_checked_instance(Blend, None)
    made._names, made.weights = tuple(f"part{number}" for number in range(len(parts))), weights
    for name, part in zip(made._names, parts, strict=True):
        setattr(made, name, part)
    super(Blend, made).__init__(parts[0].batch_shape, parts[0].event_shape, validate_args=False)
    return made


@pooled.register
def _(distribution: Blend, weights: Tensor) -> dist.TorchDistribution:
    """Part by part: the weights of the parts are averaged, and each part is pooled by what is its share."""
    shares = weights.to(distribution.weights).unsqueeze(-1) * distribution.weights
    totals = shares.sum(-2)
    # of a part without weight any pool will do
    even = torch.full_like(shares, 1 / shares.shape[-2])
    within = torch.where((totals > 0).unsqueeze(-2), shares / totals.unsqueeze(-2), even).unbind(-1)
    return made_of(distribution, totals, [pooled(part, w) for part, w in zip(distribution.parts, within, strict=True)])


@cdf.register
def _(distribution: Blend, y: Tensor) -> Tensor:
    y = y.double()
    below = distribution._sum([cdf(widen(part), y) for part in distribution.parts])
    # shares add up to one but for rounding
    return to_dtype_of(distribution, below.clamp(max=1))


@icdf.register
def _(distribution: Blend, q: Tensor) -> Tensor:
    shape = broadcast_shapes(q.shape, distribution.batch_shape + distribution.event_shape)
    q = q.double().expand(shape)
    y = blend_quantiles(distribution, distribution.shares(), distribution.parts, q)
    return to_dtype_of(distribution, y if is_discrete(distribution) else on_atoms(distribution, q, y))


@normal_score.register
def _(distribution: Blend, y: Tensor) -> Tensor:
    scores = torch.stack([normal_score(widen(part), y) for part in distribution.parts])
    return pooled_score(distribution._aligned(scores), scores, 0)


@from_normal_score.register
def _(distribution: Blend, score: Tensor) -> Tensor:
    near = from_normal_score.dispatch(Distribution)(distribution, score)
    if not has_far_quantiles(distribution, score):
        return near
    parts = torch.stack([from_normal_score(widen(part), score).expand(near.shape) for part in distribution.parts])
    parts = torch.where(distribution._aligned(parts) > 0, parts, torch.nan)
    return with_far_quantiles(near, score, parts, partial(normal_score, distribution), axis_of(distribution.support))


@marginal_nll.register
def _(distribution: Blend, y: Tensor) -> Tensor:
    events = len(distribution.event_shape)
    log_probs = torch.stack([-marginal_nll(part, y).double() for part in distribution.parts])
    batch = distribution.batch_shape
    weights = distribution.shares().reshape(len(log_probs), *(1,) * (log_probs.ndim - 1 - len(batch)), *batch)
    there = weights > 0
    terms = torch.where(there, torch.where(there, weights, 1.0).log() + log_probs, -torch.inf)
    if not is_discrete(distribution) and len(atoms(distribution)[0]):
        # probabilities are infinitely more than densities: those speak that have most coordinates on point masses
        masses_at = [mass_at(part, y) > 0 for part in distribution.parts]
        held = torch.stack([m.flatten(m.ndim - events).sum(-1) if events else m.long() for m in masses_at])
        held = torch.where(terms > -torch.inf, held, -1)
        terms = torch.where(held == held.amax(0), terms, -torch.inf)
    return -terms.logsumexp(0)


@atoms.register
def _(distribution: Blend) -> tuple[Tensor, Tensor]:
    places, probabilities = zip(*(atoms(part) for part in distribution.parts), strict=True)
    return torch.cat(places), torch.cat([w * p for w, p in zip(distribution.shares(), probabilities, strict=True)])


@cuts.register
def _(distribution: Blend, levels: tuple[float, ...] = CUTS) -> Tensor:
    return torch.cat([cuts(widen(part), levels) for part in distribution.parts])


@terms.register
def _(distribution: Blend) -> list[tuple[Tensor, Distribution]]:
    return list(zip(distribution.shares(), distribution.parts, strict=True))


@kinks.register
def _(distribution: Blend) -> Tensor:
    return torch.cat([kinks(part) for part in distribution.parts])


@density.register
def _(distribution: Blend, y: Tensor) -> Tensor:
    return distribution._sum([density(part, y) for part in distribution.parts])


@panels_over_scores.register
def _(base: Blend, function: Callable[[Tensor], Tensor], z_range: tuple[float, float]) -> Tensor:
    parts = [panels_over_scores(part, function, z_range) for part in base.parts]
    whole: Tensor = reduce(torch.add, [w * part for w, part in zip(base.shares(), parts, strict=True)])
    return whole


@marginal_crps.register
def _(distribution: Blend, y: Tensor) -> Tensor:
    return crps_by_panels(distribution, y)


@marginal_crps_with_bound.register
def _(distribution: Blend, y: Tensor) -> tuple[Tensor, Tensor]:
    return crps_by_panels_with_bound(distribution, y)


@marginal_window_crps.register
def _(distribution: Blend, y: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    return window_by_panels(distribution, y, lower, upper)


# -- counts ------------------------------------------------------------------------------------------------------------


@counted.register
def _(distribution: Blend) -> Distribution:
    """Of the part that asks most of a sum: one without a smooth cdf, else the one of the most counts."""
    inner = [counted(part) for part in distribution.parts]
    return max(inner, key=lambda part: (not has_smooth_cdf(part), summed_counts(part)))


@masses.register
def _(distribution: Blend, k: Tensor) -> Tensor:
    return distribution._sum([masses(part, k) for part in distribution.parts])


@smooth_cdf.register
def _(distribution: Blend, y: Tensor) -> Tensor:
    return distribution._sum([smooth_cdf(part, y) for part in distribution.parts])
