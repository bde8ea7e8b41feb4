"""Distributions of some rows each as one distribution of all rows."""

import copy
from collections.abc import Callable, Sequence
from inspect import getattr_static
from typing import Any, ClassVar

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import Distribution, constraints
from torch.distributions.utils import lazy_property

from .._shapes import broadcast_shapes
from .marginals import cdf, icdf
from .mixture import Independent
from .normal_scores import from_normal_score, normal_score
from .parts import device_of, is_discrete, widen
from .point_masses import atoms
from .quadrature import CUTS, cuts
from .scoring import marginal_crps, marginal_crps_with_bound, marginal_nll, marginal_window_crps
from .selection import _KEPT_ASIDE, _event_axes, _is_plain, select


def concatenate(distributions: Sequence[Distribution], rows: Sequence[Tensor] | None = None) -> Distribution:
    """One distribution for the rows of several, which are parts of a batch, such as the folds of a cross-validation.

    Parameters
    ----------
    distributions : sequence of torch or Pyro distributions
        Alike but for the length of their first batch axis, the rows.
    rows : sequence of Tensor of int, optional
        For each distribution the places of its rows in the result; together 0 .. n - 1. By default one after another.

    Returns
    -------
    Distribution
        Of the class of the parts, with their parameters one after another, where they differ in nothing else; otherwise
        a `Joined`, which asks the part that a row comes from.

    Raises
    ------
    ValueError
        If there are none, they have no rows or other batch or event shapes, or only some are discrete; if `rows` do not
        name every place once.

    Examples
    --------
    >>> import torch
    >>> from probmix.distributions import Poisson, concatenate
    >>> parts = [Poisson(torch.tensor([1.0, 3.0])), Poisson(torch.tensor([2.0]))]
    >>> concatenate(parts, [torch.tensor([0, 2]), torch.tensor([1])]).rate
    tensor([1., 2., 3.])
    """
    _check_alike(distributions)
    lengths = [distribution.batch_shape[0] for distribution in distributions]
    device = device_of(distributions[0])
    if rows is None:
        rows = list(torch.arange(sum(lengths)).split(lengths))
    places = torch.cat([part.reshape(-1) for part in rows]).cpu()
    if [len(part) for part in rows] != lengths or not torch.equal(places.sort().values, torch.arange(sum(lengths))):
        raise ValueError(
            f"`rows` must name each of the places 0 .. {sum(lengths) - 1} once, as many for each part as it has rows, "
            f"{lengths}; got {len(places)} places."
        )
    independent = [one for one in distributions if isinstance(one, torch.distributions.Independent)]
    if len(independent) == len(distributions):
        bases = [one.base_dist for one in independent]
        return Independent(concatenate(bases, rows), independent[0].reinterpreted_batch_ndims)
    stacked = joined_along(distributions, 0)
    if stacked is not None:
        ordered = select(stacked, places.argsort().to(device), 1)
        if ordered is not None:
            return ordered
    return Joined(distributions, rows)


def _check_alike(distributions: Sequence[Distribution]) -> None:
    shapes = [(tuple(one.batch_shape), tuple(one.event_shape)) for one in distributions]
    if not shapes or any(len(batch) == 0 for batch, _ in shapes):
        raise ValueError(f"`distributions` must be at least one, with rows; got the batch and event shapes {shapes}.")
    if len({(batch[1:], event) for batch, event in shapes}) > 1 or len({is_discrete(one) for one in distributions}) > 1:
        raise ValueError(
            "`distributions` must be alike but for the number of rows, and all discrete or none; got the batch and "
            f"event shapes {shapes}."
        )


def joined_along(parts: Sequence[Distribution], axis: int) -> Distribution | None:
    """A distribution of the class of the parts with their parameters one after another along an axis of the batch.

    None where they differ in anything else.
    """
    if any(type(part) is not type(parts[0]) for part in parts):
        return None
    parts = _with_the_same_found(parts)
    first = parts[0]
    if any(vars(part).keys() != vars(first).keys() for part in parts):
        return None
    axes = _event_axes(type(first)) | _KEPT_ASIDE
    made = copy.copy(first)
    for name, value in vars(first).items():
        values = [vars(part)[name] for part in parts]
        if isinstance(value, Distribution):
            pairs = zip(values, parts, strict=True)
            if any(one.batch_shape[: axis + 1] != part.batch_shape[: axis + 1] for one, part in pairs):
                return None
            inner = joined_along(values, axis)
            if inner is None:
                return None
            vars(made)[name] = inner
        elif isinstance(value, Tensor) and name in axes:
            wholes = [_whole(part, one, axes[name]) for part, one in zip(parts, values, strict=True)]
            if len({whole.shape[whole.ndim - axes[name] :] for whole in wholes}) > 1:
                return None
            vars(made)[name] = torch.cat(wholes, axis)
        elif isinstance(value, Tensor):
            twin = next((other for other in axes if vars(first).get(other) is value), None)
            if twin is None and isinstance(getattr_static(type(first), name, None), lazy_property):
                # was found on demand, and is found again
                del vars(made)[name]
            elif twin is None:
                return None
        elif name != "_batch_shape" and not (_is_plain(value) and all(one == value for one in values)):
            return None
    for name, value in vars(first).items():
        # the same tensor may go by a second name
        if isinstance(value, Tensor) and name not in axes and name in vars(made):
            vars(made)[name] = next(vars(made)[other] for other in axes if vars(first).get(other) is value)
    length = sum(part.batch_shape[axis] for part in parts)
    vars(made)["_batch_shape"] = torch.Size([*first.batch_shape[:axis], length, *first.batch_shape[axis + 1 :]])
    return made


def _with_the_same_found(parts: Sequence[Distribution]) -> Sequence[Distribution]:
    """The parts with all that any of them has found on demand, such as the logits of probabilities."""
    kind = type(parts[0])
    names = {name for part in parts for name in vars(part)}
    found = [name for name in names if isinstance(getattr_static(kind, name, None), lazy_property)]
    if all(name in vars(part) for name in found for part in parts):
        return parts
    parts = [copy.copy(part) for part in parts]
    for part in parts:
        for name in found:
            getattr(part, name)
    return parts


def _whole(part: Distribution, value: Tensor, events: int) -> Tensor:
    """A parameter with all batch axes."""
    return value.expand(*part.batch_shape, *value.shape[value.ndim - events :])


class Joined(dist.TorchDistribution):
    """Distributions of any classes for some rows each, as one for all rows; made by `concatenate`.

    Parameters
    ----------
    parts : sequence of distributions
    rows : sequence of Tensor of int
        The places of the rows of each part.
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}

    def __init__(self, parts: Sequence[Distribution], rows: Sequence[Tensor]) -> None:
        # as attributes of their own, in which the precision of a distribution is looked for
        self._names = tuple(f"part{number}" for number in range(len(parts)))
        for name, part in zip(self._names, parts, strict=True):
            setattr(self, name, part)
        self.rows = tuple(part.reshape(-1).cpu() for part in rows)
        batch = torch.Size([sum(map(len, self.rows)), *parts[0].batch_shape[1:]])
        super().__init__(batch, parts[0].event_shape, validate_args=False)

    def __repr__(self) -> str:
        kinds = ", ".join(dict.fromkeys(type(part).__name__ for part in self.parts))
        return f"Joined({len(self.rows)} parts of {kinds}, batch_shape={tuple(self.batch_shape)})"

    @property
    def parts(self) -> list[Distribution]:
        """The distributions of some rows each."""
        return [vars(self)[name] for name in self._names]

    @property
    def support(self) -> constraints.Constraint:
        whole = constraints.integer_interval(-torch.inf, torch.inf)
        return whole if is_discrete(self.parts[0]) else constraints.real

    @property
    def mean(self) -> Tensor:
        return self._by_part(lambda part: part.mean, len(self.event_shape))

    @property
    def variance(self) -> Tensor:
        return self._by_part(lambda part: part.variance, len(self.event_shape))

    def cdf(self, value: Tensor) -> Tensor:
        """Of each row by its part."""
        return self._by_part(cdf, len(self.event_shape), value)

    def icdf(self, value: Tensor) -> Tensor:
        """Of each row by its part."""
        return self._by_part(icdf, len(self.event_shape), value)

    def log_prob(self, value: Tensor) -> Tensor:
        return self._by_part(lambda part, y: part.log_prob(y), 0, value)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        shape = torch.Size(sample_shape)
        return self._by_part(lambda part: part.sample(shape), len(self.event_shape))

    def _by_part(self, function: Callable[..., Tensor], events: int, *values: Tensor) -> Tensor:
        """A function of every part and of the values for its rows, in the order of all rows.

        Its result has `events` axes behind those of the batch.
        """
        shape = self.batch_shape + self.event_shape
        whole = [value.expand(broadcast_shapes(value.shape, shape)) for value in values]
        found = []
        for part, rows in zip(self.parts, self.rows, strict=True):
            given = [value.index_select(value.ndim - len(shape), rows.to(value.device)) for value in whole]
            found.append(function(part, *given))
        axis = found[0].ndim - len(self.batch_shape) - events
        order = torch.cat(self.rows).argsort().to(found[0].device)
        return torch.cat(found, axis).index_select(axis, order)


@marginal_nll.register
def _(distribution: Joined, y: Tensor) -> Tensor:
    return distribution._by_part(marginal_nll, 0, y)


@marginal_crps.register
def _(distribution: Joined, y: Tensor) -> Tensor:
    return distribution._by_part(marginal_crps, len(distribution.event_shape), y)


@marginal_window_crps.register
def _(distribution: Joined, y: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    return distribution._by_part(marginal_window_crps, len(distribution.event_shape), y, lower, upper)


@marginal_crps_with_bound.register
def _(distribution: Joined, y: Tensor) -> tuple[Tensor, Tensor]:
    def both(part: Distribution, y: Tensor) -> Tensor:
        return torch.stack(marginal_crps_with_bound(part, y))

    value, bound = distribution._by_part(both, len(distribution.event_shape), y)
    return value, bound


@normal_score.register
def _(distribution: Joined, y: Tensor) -> Tensor:
    return distribution._by_part(normal_score, len(distribution.event_shape), y)


@from_normal_score.register
def _(distribution: Joined, score: Tensor) -> Tensor:
    return distribution._by_part(from_normal_score, len(distribution.event_shape), score)


@cuts.register
def _(distribution: Joined, levels: tuple[float, ...] = CUTS) -> Tensor:
    tables = [cuts(widen(part), levels) for part in distribution.parts]
    longest = max(map(len, tables))
    # cuts may be named twice
    same = [torch.cat([table, table[-1:].expand(longest - len(table), *table.shape[1:])]) for table in tables]
    return _padded(distribution, same)


@atoms.register
def _(distribution: Joined) -> tuple[Tensor, Tensor]:
    places, masses = zip(*(atoms(widen(part)) for part in distribution.parts), strict=True)
    return _padded(distribution, places), _padded(distribution, masses)


def _padded(distribution: Joined, tables: Sequence[Tensor]) -> Tensor:
    """Tables (k, rows, ...) of the parts as one; of those that are shorter the rest is zero, a place without a mass."""
    longest = max(map(len, tables))
    order = torch.cat(distribution.rows).argsort().to(tables[0].device)
    filled = [torch.cat([table, table.new_zeros(longest - len(table), *table.shape[1:])]) for table in tables]
    return torch.cat(filled, 1).index_select(1, order)
