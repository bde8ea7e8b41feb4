"""Distribution functions of distributions that have a density or probabilities only, and quantiles from a cdf.

A distribution of another's making may bring `log_prob` and `support` alone. That is enough: its cdf is an integral or a
sum, and quantiles are sought in the cdf. What comes of it is checked: the total mass must be one.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.distributions import Distribution

from .._shapes import broadcast_shapes
from .from_masses import cdf_from_masses, icdf_from_masses
from .inversion import invert_continuous, invert_discrete, with_ends
from .panels import BLOCK, over_panels, refined
from .parts import device_of, unchecked, widen
from .point_masses import atoms
from .supports import coordinate_of, lacks, on_integers, support_ends

# The mode is sought where a coordinate of the support, which is any real number, is the hyperbolic sine of these.
_REACH, _PLACES, _ZOOMS, _ZOOM = 40.0, 401, 14, 16
# Distances from the mode, relative to it, at which the density is looked at.
_DECADES, _STEPS = 18, 217
# A density has its scale where it has fallen by the first in the logarithm, and ends where it has by the second.
_SCALE, _DROP = 0.5, 80.0
_PANELS, _TOLERANCE = 96, 1e-11
# How far the total mass may be off: the density of a stranger may be no better.
_MASS = 1e-6
# Quantiles are sought between the hyperbolic sines of these.
_FARTHEST = 700.0


def cdf_from_density(distribution: Distribution, y: Tensor) -> Tensor:
    """P(Y <= y) of a distribution that has `log_prob` and `support`, in float64, to 1e-9.

    Continuous distributions by adaptive quadrature between the places where the density has fallen to exp(-80) of its
    mode, discrete ones by a sum over at most 2^20 counts. A second mode far away and a thousand times as narrow may be
    missed; then, as for a density that is none, the mass is not one and an error says so.

    Parameters
    ----------
    distribution : Distribution
        Of one number, on the real line, a half-line or an interval, or on integers from some integer on.
    y : Tensor, (..., *batch_shape), float64

    Raises
    ------
    NotImplementedError
        If there is no density or support, or the mass is not one.
    """
    distribution = _plain(distribution)
    if not on_integers(distribution):
        return _panels(distribution).cdf(y)
    y = y.expand(broadcast_shapes(y.shape, distribution.batch_shape))
    return cdf_from_masses(distribution, y.reshape(-1, *distribution.batch_shape)).reshape(y.shape)


def icdf_from_density(distribution: Distribution, q: Tensor) -> Tensor:
    """Quantiles of such a distribution, from that cdf."""
    distribution = _plain(distribution)
    if on_integers(distribution):
        q = q.expand(broadcast_shapes(q.shape, distribution.batch_shape))
        return icdf_from_masses(distribution, q.reshape(-1, *distribution.batch_shape)).reshape(q.shape)
    return icdf_from_cdf(distribution, _panels(distribution).cdf, q)


def keep_panels(distribution: Distribution) -> None:
    """Keep what the integrals need in this very object, for all that will be asked of its cdf.

    It must not be a user's, whose parameters may change.
    """
    if not on_integers(distribution):
        vars(distribution)["_probmix_panels"] = _Panels(_plain(distribution))


def _panels(distribution: Distribution) -> "_Panels":
    kept: _Panels | None = vars(distribution).get("_probmix_panels")
    return _Panels(distribution) if kept is None else kept


def icdf_from_cdf(distribution: Distribution, cdf: Callable[[Tensor], Tensor], q: Tensor) -> Tensor:
    """The smallest y with cdf(y) >= q, in float64, for a distribution that has a `support`."""
    q = q.expand(broadcast_shapes(q.shape, distribution.batch_shape))
    discrete = on_integers(distribution)
    lower, upper = (end.to(q).expand(q.shape) for end in support_ends(distribution))
    level = torch.where((q > 0) & (q < 1), q, 0.5)
    if discrete:
        low = torch.where(lower.isfinite(), lower - 1, -_bracket(lambda t: cdf(-t) >= level, level, 2.0**53))
        return with_ends(invert_discrete(cdf, level, low, (low + 1).clamp(min=1.0)), q, lower, upper)
    transform = coordinate_of(distribution)

    def at(t: Tensor) -> Tensor:
        return cdf(transform(t.sinh()))

    low, high = -_bracket(lambda t: at(-t) >= level, level), _bracket(lambda t: at(t) < level, level)
    # to float64 the support may end before the level is reached
    level = torch.minimum(level, at(high))
    u = invert_continuous(at, level, low, high).sinh()
    # once more, where the quantile is known to rounding of the coordinate and may be a small number
    width = 1e-14 * (1 + u.abs())
    y = transform(invert_continuous(lambda u: cdf(transform(u)), level, u - width, u + width))
    for place in atoms(distribution)[0]:
        below = torch.nextafter(place, torch.full_like(place, -torch.inf)).expand_as(y)
        y = torch.where((cdf(below) < level) & (level <= cdf(place.expand_as(y))), place, y)
    return with_ends(y, q, lower, upper)


class _Panels:
    """A continuous distribution by panels that hold its mass.

    They lie in a coordinate s of the support: a real number is the mode plus the hyperbolic sine of s times the scale
    there, one on either side, and the support is what `biject_to` makes of real numbers.
    """

    def __init__(self, distribution: Distribution) -> None:
        self.distribution, self.transform = distribution, coordinate_of(distribution)
        self.cells = torch.Size(distribution.batch_shape).numel()
        with torch.no_grad():
            self.mode = self._find_mode()
            sides = [self._side(sign) for sign in (-1, 1)]
            self.scales = sides[0][0], sides[1][0]
            half = torch.linspace(0, 1, _PANELS // 2 + 1, dtype=torch.float64, device=self.mode.device)
            half = half.reshape(-1, *(1,) * self.mode.ndim)
            edges = torch.cat([-half.flip(0) * sides[0][1], half[1:] * sides[1][1]])
            left, right, mass, _ = refined(self._density, edges, torch.zeros_like(self.mode), self.cells, _TOLERANCE)
            order = left.argsort(0)
            self.left, right, mass = (t.gather(0, order) for t in (left, right, mass))
            self.end = right[-1]
        if torch.is_grad_enabled() and self._density(self.left[:1]).requires_grad:
            mass = over_panels(self._density, self.left, right, self.cells)[0]
        self.places, self.probabilities = atoms(distribution)
        self.before = mass.cumsum(0) - mass
        self.total = mass.sum(0) + self.probabilities.sum(0)
        off = ~((self.total - 1).abs() <= _MASS)
        if bool(off.any()):
            mass_found = self.total[off][0].item()
            raise lacks(
                distribution, "cdf", f"the integral of the density is {mass_found:.6g} and not 1, as far as found"
            )

    def cdf(self, y: Tensor) -> Tensor:
        """At y, (..., *batch_shape)."""
        shape = broadcast_shapes(y.shape, self.distribution.batch_shape)
        y = y.expand(shape).reshape(-1, *self.distribution.batch_shape)
        lower, upper = support_ends(self.distribution)
        inside = (y > lower) & (y < upper)
        u = self.transform.inv(torch.where(inside, y, self.transform(self.mode)))
        s = (u - self.mode) / torch.where(u < self.mode, *self.scales)
        s = torch.minimum(torch.maximum(s.asinh(), self.left[0]), self.end)
        s = torch.where(inside, s, torch.where(y >= upper, self.end, self.left[0]))
        left = self.left.movedim(0, -1).contiguous()
        place = torch.searchsorted(left, s.detach().movedim(0, -1).contiguous(), right=True) - 1
        place = place.clamp(min=0).movedim(-1, 0)
        part, _ = over_panels(self._density, self.left.gather(0, place), s, self.cells)
        jumps = torch.zeros_like(s)
        for at, probability in zip(self.places, self.probabilities, strict=True):
            jumps = jumps + torch.where(at <= y, probability, 0.0)
        return ((self.before.gather(0, place) + part + jumps) / self.total).clamp(0, 1).reshape(shape)

    def _density(self, s: Tensor) -> Tensor:
        """The density of s."""
        scale = torch.where(s < 0, *self.scales)
        log_cosh = s.abs() + torch.log1p(torch.exp(-2 * s.abs()))
        return (self._log_density(self.mode + scale * s.sinh()) + scale.log() + log_cosh).exp() / 2

    def _log_density(self, u: Tensor) -> Tensor:
        """The log-density of the real number u, (places, *batch_shape), in blocks of places."""
        size = max(1, BLOCK // max(1, self.cells))
        if len(u) > size:
            return torch.cat([self._log_density(part) for part in u.split(size)])
        x = self.transform(u)
        try:
            log_density = self.distribution.log_prob(x) + self.transform.log_abs_det_jacobian(u, x)
        except NotImplementedError as error:
            raise lacks(self.distribution, "cdf", "it has none either") from error
        return torch.where(x.isfinite() & ~log_density.isnan(), log_density, -torch.inf)

    def _find_mode(self) -> Tensor:
        """The highest density at places all over the real line and at the mean, and ever closer around it."""
        batch, device = self.distribution.batch_shape, device_of(self.distribution)
        t = torch.linspace(-_REACH, _REACH, _PLACES, dtype=torch.float64, device=device)
        t = t.reshape(-1, *(1,) * len(batch)).expand(-1, *batch)
        try:
            mean = self.transform.inv(self.distribution.mean.double()).asinh().expand(1, *batch)
            t = torch.cat([t, mean.nan_to_num(nan=0.0).clamp(-_REACH, _REACH)])
        except NotImplementedError:
            pass
        offsets = torch.linspace(-1, 1, 2 * _ZOOM + 1, dtype=torch.float64, device=device)
        width = 2 * _REACH / (_PLACES - 1)
        for _ in range(_ZOOMS):
            best = self._log_density(t.sinh()).argmax(0, keepdim=True)
            t = t.gather(0, best) + width * offsets.reshape(-1, *(1,) * len(batch))
            width /= _ZOOM
        return t[_ZOOM].sinh()

    def _side(self, sign: int) -> tuple[Tensor, Tensor]:
        """Scale of the density on one side of the mode, and the coordinate of its end there."""
        exponents = torch.linspace(-_DECADES, _DECADES, _STEPS, dtype=torch.float64, device=self.mode.device)
        distance = 10 ** exponents.reshape(-1, *(1,) * self.mode.ndim) * (1 + self.mode.abs())
        drop = self._log_density(self.mode[None]) - self._log_density(self.mode + sign * distance)
        first = (drop >= _SCALE).long().argmax(0, keepdim=True)
        seen = torch.arange(_STEPS, device=drop.device).reshape(-1, *(1,) * self.mode.ndim)
        last = torch.where(drop <= _DROP, seen, 0).amax(0, keepdim=True)
        scale, end = (distance.gather(0, index)[0] for index in (first, (last + 1).clamp(max=_STEPS - 1)))
        return scale, (end / scale).asinh()


def _bracket(outside: Callable[[Tensor], Tensor], like: Tensor, farthest: float = _FARTHEST) -> Tensor:
    """Powers of two, doubled in every place until they are no longer outside."""
    t = torch.ones_like(like)
    for _ in range(60):
        grow = outside(t) & (t < farthest)
        if not bool(grow.any()):
            break
        t = torch.where(grow, 2 * t, t)
    return t.clamp(max=farthest)


def _plain(distribution: Distribution) -> Distribution:
    """The distribution in float64, without checks of its arguments."""
    return unchecked(widen(distribution))
