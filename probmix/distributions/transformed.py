"""The distribution of a monotone function of a number."""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

from .._shapes import broadcast_shapes
from .._special import ndtr
from .marginals import cdf, cdf_below, icdf
from .moments import panels_over_scores
from .normal_scores import from_normal_score, from_probability, normal_score
from .parts import device_of, is_discrete, to_dtype_of, widen
from .point_masses import atoms, mass_at
from .quadrature import cuts, quantiles
from .scoring import marginal_nll

Array = npt.NDArray[np.float64]
Function = Callable[[Array], Array]

# Steps of the derivative in spreads of the base: of fourth order, so that 1e-12 is left, and as much by rounding.
_STEP = 1e-3
# A moment of which the outermost panel still holds this share is infinite, or as good as that.
_SHARE = 1e-4
# Distances from an end of the range at which the order of a pole is told, in steps.
_NEAR = (1e-2, 1e-6)


@dataclass(frozen=True)
class MonotoneMap:
    r"""A strictly monotone function :math:`z = h(y)` and its inverse :math:`y = g(z)`, of arrays in float64.

    Parameters
    ----------
    forward, inverse : callable
        h and g. They are asked inside of the two ranges only.
    z_range, y_range : (float, float)
        Where g and h are defined and each other's inverse; both in increasing order.
    increasing : bool
    log_slope : callable, optional
        :math:`\log|h'(y)|`. By default from differences of g.
    name : str
        What errors call it.
    """

    forward: Function
    inverse: Function
    z_range: tuple[float, float] = (-inf, inf)
    y_range: tuple[float, float] = (-inf, inf)
    increasing: bool = True
    log_slope: Function | None = None
    name: str = "the transform"


class Transformed(dist.TorchDistribution):
    r"""The distribution of :math:`Y = g(Z)` where the monotone map has the inverse g and Z has a given distribution.

    .. math:: F_Y(y) = F_Z(h(y)),\qquad f_Y(y) = f_Z(h(y))\,|h'(y)|,\qquad F_Y^{-1}(q) = g(F_Z^{-1}(q))

    with :math:`1 - F_Z` and :math:`1 - q` where h falls. Where g is defined on a part of the line only, Z is cut to it
    and has the rest of its mass there in proportion.

    Parameters
    ----------
    base : torch or Pyro distribution
        Of Z: a number, not a count, without event axes.
    transform : MonotoneMap

    Notes
    -----
    Functions of NumPy are asked on the host; gradients flow to the parameters of `base` through `log_prob` alone. Mean
    and variance are integrals of g over the normal score of Z by Gauss-Legendre quadrature, for mixtures component by
    component; they are infinite where the integral does not converge.

    Examples
    --------
    >>> import numpy as np
    >>> import torch
    >>> from probmix.distributions.transformed import MonotoneMap, Transformed
    >>> log = MonotoneMap(np.log, np.exp, y_range=(0.0, np.inf))
    >>> y = Transformed(torch.distributions.Normal(torch.zeros(1).double(), 1.0), log)
    >>> y.mean, y.icdf(torch.tensor([0.5]).double())  # of a log-normal: exp(1/2) and 1
    (tensor([1.6487], dtype=torch.float64), tensor([1.], dtype=torch.float64))
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}

    def __init__(self, base: Distribution, transform: MonotoneMap, validate_args: bool | None = None) -> None:
        if base.event_shape:
            raise ValueError(
                f"`base` must be of one number per row; got event shape {tuple(base.event_shape)}. Fit one model for "
                "each target."
            )
        if is_discrete(base):
            raise ValueError("`base` must be continuous: whole numbers are not transformed. Fit counts as they are.")
        self.base, self.transform = base, transform
        super().__init__(base.batch_shape, validate_args=False)
        # no tensors, for the dtype of a distribution is that of its tensors
        self._middle = _inside(self._base_quantile(0.5), *transform.z_range)
        self._step = _STEP * self._spread()

    def __repr__(self) -> str:
        return f"Transformed({self.base!r} by {self.transform.name})"

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        new = self._get_checked_instance(Transformed, _instance)
        new.base, new.transform = self.base.expand(batch_shape), self.transform
        new._middle, new._step = (np.broadcast_to(one, tuple(batch_shape)) for one in (self._middle, self._step))
        super(Transformed, new).__init__(torch.Size(batch_shape), validate_args=False)
        return new

    @property
    def support(self) -> constraints.Constraint:
        low, high = self.transform.y_range
        return constraints.real if np.isinf([low, high]).all() else constraints.interval(low, high)

    def cdf(self, value: Tensor) -> Tensor:
        """P(Y <= value)."""
        return to_dtype_of(self.base, ndtr(self.normal_score(value)))

    def icdf(self, value: Tensor) -> Tensor:
        """The y with P(Y <= y) = value."""
        return to_dtype_of(self.base, self.from_normal_score(from_probability(value)))

    def normal_score(self, value: Tensor) -> Tensor:
        """Of y, in float64."""
        place, below, above = self._locate(value.double())
        wide = widen(self.base)
        score = normal_score(wide, place)
        if not self.transform.increasing and len(atoms(wide)[0]):
            # what lies at the place is not above it
            score = torch.where(mass_at(wide, place) > 0, from_probability(cdf_below(wide, place)), score)
        if self._is_cut:
            below_it, above_it = (
                ((ndtr(sign * score) - self._mass_beyond(end)) / self._mass).clamp(0, 1)
                for sign, end in zip((1, -1), self.transform.z_range, strict=True)
            )
            # of the smaller tail, which keeps its digits where the other one is rounded to 1
            score = torch.where(below_it < 0.5, from_probability(below_it), -from_probability(above_it))
        score = score if self.transform.increasing else -score
        return torch.where(below, -torch.inf, torch.where(above, torch.inf, score))

    def from_normal_score(self, score: Tensor) -> Tensor:
        """The y with that normal score, in float64; the ends of the support at infinite ones."""
        wide = widen(self.base)
        rising = score if self.transform.increasing else -score
        if self._is_cut:
            low, high = self.transform.z_range
            below_it, above_it = (
                (self._mass_beyond(end) + ndtr(sign * rising) * self._mass).clamp(0, 1)
                for sign, end in zip((1, -1), (low, high), strict=True)
            )
            base_score = torch.where(rising < 0, from_probability(below_it), -from_probability(above_it))
            # at a pole of g the rounding of a place is not to make the quantile of a finite score infinite
            place = from_normal_score(wide, base_score).clamp(np.nextafter(low, inf), np.nextafter(high, -inf))
            y, (low, high) = self._inverse(place), self.transform.y_range
            return torch.where(score == -torch.inf, low, torch.where(score == torch.inf, high, y))
        return self._inverse(from_normal_score(wide, rising))

    def log_prob(self, value: Tensor) -> Tensor:
        place, below, above = self._locate(value.double())
        wide = widen(self.base)
        # a point mass is moved and not stretched
        slope = torch.where(mass_at(wide, place) > 0, 0.0, self._log_slope(place))
        density = slope - marginal_nll(wide, place)
        if self._is_cut:
            density = density - self._mass.log()
        return to_dtype_of(self.base, torch.where(below | above, -torch.inf, density))

    def sample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(torch.Size(sample_shape))
        with torch.no_grad():
            uniform = torch.rand(shape, dtype=torch.float64, device=device_of(self.base))
            # a zero, which comes with a probability of 2^-53, would be the end of the support
            return self.icdf(uniform.clamp(min=2.0**-54))

    def kept_mass(self) -> Tensor:
        """What the base gives to the range of the transform, float64; the rest is cut off."""
        return self._mass

    @property
    def mean(self) -> Tensor:
        return to_dtype_of(self.base, self._moment(lambda y: y))

    @property
    def variance(self) -> Tensor:
        mean = self._moment(lambda y: y)
        centre = torch.where(mean.isfinite(), mean, 0.0)
        spread = self._moment(lambda y: (y - centre).square())
        return to_dtype_of(self.base, torch.where(mean.isfinite(), spread, torch.inf))

    # -- the base, cut to where the transform is defined ---------------------------------------------------------------

    @property
    def _is_cut(self) -> bool:
        return not np.isinf(self.transform.z_range).all()

    def _base_cdf(self, end: float) -> Tensor:
        wide, zero = widen(self.base), torch.zeros(self.batch_shape, dtype=torch.float64, device=device_of(self.base))
        return zero + float(end > 0) if np.isinf(end) else cdf(wide, zero + end)

    def _mass_beyond(self, end: float) -> Tensor:
        """What the base gives to the side of an end of the range of z that is cut off."""
        wide, zero = widen(self.base), torch.zeros(self.batch_shape, dtype=torch.float64, device=device_of(self.base))
        if np.isinf(end):
            return zero
        score = normal_score(wide, zero + end)
        return ndtr(score if end == self.transform.z_range[0] else -score)

    @property
    def _mass(self) -> Tensor:
        """What the base gives to the range of z."""
        low, high = self.transform.z_range
        return self._base_cdf(high) - self._base_cdf(low)

    # -- NumPy's functions on tensors ----------------------------------------------------------------------------------

    def _locate(self, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """h(y), at the middle of the base where y is outside of the support; and whether y is below it, or above."""
        low, high = self.transform.y_range
        y = y.expand(broadcast_shapes(y.shape, self.batch_shape))
        middle = self._tensor(self._middle).expand(y.shape)
        centre = self._inverse(middle)
        inside = (y > low) & (y < high)
        place = _on_host(self.transform.forward, torch.where(inside, y, centre))
        # where the ends of the support are not known, h is no number beyond them
        inside = inside & place.isfinite()
        place = torch.where(inside, place, middle).clamp(*self.transform.z_range)
        return place, ~inside & (y < centre), ~inside & (y >= centre)

    def _inverse(self, place: Tensor) -> Tensor:
        """g(z), with the ends of the support beyond the ends of the range."""
        low, high = self.transform.z_range
        first, last = self.transform.y_range if self.transform.increasing else self.transform.y_range[::-1]
        inside = (place > low) & (place < high)
        y = _on_host(self.transform.inverse, torch.where(inside, place, self._tensor(self._middle).expand(place.shape)))
        return torch.where(inside, y, torch.where(place <= low, first, last))

    def _base_quantile(self, level: float) -> Array:
        full = torch.full(self.batch_shape, level, dtype=torch.float64, device=device_of(self.base))
        with torch.no_grad():
            quantile: Array = icdf(widen(self.base), full).double().cpu().numpy()
        return quantile

    def _spread(self) -> Array:
        """A distance of quantiles of the base: of the quartiles, unless a point mass holds both."""
        spread = np.zeros(tuple(self.batch_shape))
        for tail in (0.25, 0.05, 0.01, 1e-3, 1e-6):
            spread = np.where(spread > 0, spread, self._base_quantile(1 - tail) - self._base_quantile(tail))
            if (spread > 0).all():
                return spread
        return np.where(spread > 0, spread, np.maximum(np.abs(self._middle), 1.0))

    def _tensor(self, values: Array) -> Tensor:
        return torch.tensor(values, dtype=torch.float64, device=device_of(self.base))

    def _log_slope(self, place: Tensor) -> Tensor:
        r""":math:`\log|h'(y)|` at z = h(y)."""
        if self.transform.log_slope is not None:
            return _on_host(self.transform.log_slope, self._inverse(place))
        step = self._tensor(self._step)
        low, high = self.transform.z_range
        # at an end of the range the differences are those of a place that has room for both sides
        room = 2.5 * step
        centre = torch.minimum(torch.maximum(place, low + room), high - room)
        one, two = (self._inverse(centre + k * step) - self._inverse(centre - k * step) for k in (1, 2))
        return -((8 * one - two) / (12 * step)).abs().log()

    # -- moments -------------------------------------------------------------------------------------------------------

    def _moment(self, function: Callable[[Tensor], Tensor]) -> Tensor:
        """E function(Y), float64; infinite where the integral does not converge."""
        with torch.no_grad():
            panels = panels_over_scores(widen(self.base), lambda z: function(self._inverse(z)), self.transform.z_range)
            moment = panels.sum(0) / self._mass if self._is_cut else panels.sum(0)
            whole = panels.abs().sum(0)
            diverges = torch.zeros_like(whole, dtype=torch.bool)
            for end, panel, sign in zip(self.transform.z_range, panels[[0, -1]], (1, -1), strict=True):
                if np.isinf(end):
                    diverges = diverges | ~(panel.abs() <= _SHARE * whole)
                else:
                    # a pole: of the order one and more it has no integral
                    near, nearer = (
                        function(self._inverse(end + sign * part * self._tensor(self._step))).abs() for part in _NEAR
                    )
                    diverges = diverges | ((nearer / near).log() > 0.99 * np.log(_NEAR[0] / _NEAR[1]))
            return torch.where(diverges, torch.inf, moment)


def _inside(place: Array, low: float, high: float) -> Array:
    """A place in the range for every row: the one given, where it is in there."""
    if np.isfinite([low, high]).all():
        margin = 0.25 * (high - low)
        return np.clip(place, low + margin, high - margin)
    return np.where(place <= low, low + 1, np.where(place >= high, high - 1, place))


def _on_host(function: Function, values: Tensor) -> Tensor:
    # outside of its domain a function may be infinite or NaN, which is taken care of
    with np.errstate(all="ignore"):
        found = np.asarray(function(values.detach().cpu().numpy()), dtype=np.float64)
    return torch.from_numpy(found.copy()).to(values.device)


@normal_score.register
def _(distribution: Transformed, y: Tensor) -> Tensor:
    return distribution.normal_score(y)


@from_normal_score.register
def _(distribution: Transformed, score: Tensor) -> Tensor:
    return distribution.from_normal_score(score)


@cuts.register
def _(distribution: Transformed, levels: tuple[float, ...] = (1e-10, 0.5, 1 - 1e-10)) -> Tensor:
    # where the base has its own; a map that falls takes what lies far down to what lies far up
    rising = levels if distribution.transform.increasing else tuple(1 - level for level in levels)
    places = distribution._inverse(cuts(widen(distribution.base), rising))
    if not distribution._is_cut:
        return places
    # beyond what is left of the base there are none
    ends = quantiles(distribution, (min(levels), max(levels)))
    return torch.minimum(torch.maximum(places, ends[0]), ends[1])


@atoms.register
def _(distribution: Transformed) -> tuple[Tensor, Tensor]:
    places, masses = atoms(widen(distribution.base))
    if not len(places):
        return places, masses
    low, high = distribution.transform.z_range
    inside = (places > low) & (places < high)
    return distribution._inverse(places), torch.where(inside, masses / distribution._mass, 0.0)
