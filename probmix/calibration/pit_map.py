"""The map of the PIT: a smooth, strictly increasing cdf on [0, 1] through quantiles of what was observed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy import special
from torch import Tensor

from .._given import checked_weights
from .._shapes import broadcast_shapes
from .._special import ndtr
from ..distributions.normal_scores import WIDEST, from_probability

# Rows that lie beyond the outermost knot on either side, where there are enough.
_BEYOND = 10
# Slopes of the map between knots, in normal scores; ties and gaps in the PIT would else make them infinite or zero.
_STEEPEST = 100.0
# Rows in a cell between knots, on average, where there are few; and rows of a calibrated model that are thought added.
_ROWS_IN_CELL, _PRIOR_ROWS = 20, 10
# Integer weights are written out as copies while this makes the rows at most so many times as many.
_LONGEST = 10

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class PITMap:
    r"""Increasing map G of [0, 1] onto itself: the cdf of the PIT of a miscalibrated model.

    .. math:: G(p) = \Phi(h(\Phi^{-1}(p)))

    with h a monotone rational-quadratic spline through the knots, continued by straight lines. In normal scores, the
    recalibration of a Gaussian whose location and scale are wrong in units of its own standard deviation is a straight
    line, tails included; and whatever the knots, both G and its inverse are closed forms, and its density g = G' is
    continuous, positive and finite inside (0, 1).

    Parameters
    ----------
    pit_scores : Tensor, (K,) or (d, K), float64
        Increasing: normal scores :math:`\Phi^{-1}(p)` of the knots; for several targets of each.
    scores : Tensor, (K,), float64
        Increasing: h at the knots.
    slopes : Tensor, shape of `pit_scores`, float64
        Positive: the derivative of h at the knots, and beyond the outermost ones.

    References
    ----------
    Gregory and Delbourgo (1982), Piecewise rational quadratic interpolation to monotonic data, IMA J. Numer. Anal. 2,
    123-130.

    Examples
    --------
    >>> import torch
    >>> from probmix.calibration import PITMap
    >>> line = torch.tensor([-1.0, 1.0], dtype=torch.float64)
    >>> half = PITMap(2 * line, line, torch.full((2,), 0.5, dtype=torch.float64))  # of a model that is twice too narrow
    >>> half(torch.tensor([0.0, 0.0228, 0.5, 1.0])).round(decimals=2)  # -2 and -1 standard deviations
    tensor([0.0000, 0.1600, 0.5000, 1.0000])
    """

    pit_scores: Tensor
    scores: Tensor
    slopes: Tensor

    def __call__(self, p: Tensor) -> Tensor:
        """G(p), in the dtype of p; NaN outside [0, 1]."""
        return ndtr(self.score(from_probability(p))).to(p.dtype)

    def inverse(self, q: Tensor) -> Tensor:
        """The p with G(p) = q, in the dtype of q; NaN outside [0, 1]."""
        return ndtr(self.inverse_score(from_probability(q))).to(q.dtype)

    def log_density(self, p: Tensor) -> Tensor:
        r""":math:`\log g(p)`, in the dtype of p; where p is 0 or 1, the value at the nearest float64 number inside."""
        return self.log_density_at_score(from_probability(p)).to(p.dtype)

    def score(self, z: Tensor) -> Tensor:
        """h(z), float64: the normal score after the map from that before."""
        return self._spline(z.double())[0]

    def inverse_score(self, score: Tensor) -> Tensor:
        """The z with h(z) = score, float64."""
        return self._inverse_spline(score.double())

    def log_density_at_score(self, z: Tensor) -> Tensor:
        r""":math:`\log g(\Phi(z)) = \log h'(z) + (z^2 - h(z)^2)/2`, float64; finite, as `log_density`."""
        z = torch.where(z.isinf(), z.sign() * WIDEST, z.double())
        score, slope = self._spline(z)
        return slope.log() + 0.5 * (z - score) * (z + score)

    def to(self, device: torch.device) -> Self:
        """The same map on a device."""
        return type(self)(self.pit_scores.to(device), self.scores.to(device), self.slopes.to(device))

    def _spline(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Both h and its derivative."""
        x0, x1, t0, t1, d0, d1 = self._cell(z, self.pit_scores)
        width, height = x1 - x0, t1 - t0
        slope = height / width
        part = ((z - x0) / width).clamp(0, 1)
        rest = 1 - part
        below = slope + (d1 + d0 - 2 * slope) * part * rest
        h = t0 + height * part * (slope * part + d0 * rest) / below
        derivative = slope.square() * (d1 * part.square() + 2 * slope * part * rest + d0 * rest.square())
        # outside the knots only one of the last two terms is not zero, and the others stand still
        h = h + d0 * (z - x0).clamp(max=0) + d1 * (z - x1).clamp(min=0)
        return h, derivative / below.square()

    def _inverse_spline(self, score: Tensor) -> Tensor:
        x0, x1, t0, t1, d0, d1 = self._cell(score, self.scores)
        width, height = x1 - x0, t1 - t0
        slope = height / width
        rise = torch.minimum((score - t0).clamp(min=0), height)
        bend = rise * (d1 + d0 - 2 * slope)
        a, b, c = height * (slope - d0) + bend, height * d0 - bend, -slope * rise
        part = 2 * c / (-b - (b.square() - 4 * a * c).clamp(min=0).sqrt())
        return x0 + part * width + (score - t0).clamp(max=0) / d0 + (score - t1).clamp(min=0) / d1

    def _cell(self, value: Tensor, knots: Tensor) -> tuple[Tensor, ...]:
        """Both ends of the cell between knots that a value lies in, or is nearest to: pit_scores, scores, slopes."""
        last = self.scores.shape[-1] - 1
        if self.pit_scores.ndim == 1:
            cell = torch.bucketize(value.detach().contiguous(), knots).sub(1).clamp(0, last - 1)
            pairs = [(of[cell], of[cell + 1]) for of in (self.pit_scores, self.scores, self.slopes)]
        else:
            targets = len(self.pit_scores)
            value = value.expand(broadcast_shapes(value.shape, (targets,)))
            columns = value.detach().movedim(-1, 0)
            flat = columns.reshape(targets, -1).contiguous()
            cell = torch.searchsorted(knots.expand(targets, -1).contiguous(), flat).sub(1).clamp(0, last - 1)
            cell = cell.reshape(columns.shape).movedim(0, -1)
            target = torch.arange(targets, device=cell.device)
            tables = self.pit_scores, self.scores.expand(targets, -1), self.slopes
            pairs = [(of[target, cell], of[target, cell + 1]) for of in tables]
        return tuple(end for pair in pairs for end in pair)


def fit_pit_map(pit: ArrayLike, sample_weight: ArrayLike | None = None) -> PITMap:
    r"""The map G from PIT values on rows that the model has not seen.

    Kuleshov et al. fit an isotonic regression to the empirical cdf of the PIT. That cdf is increasing, so that the
    regression is the cdf itself: a step function, which has no density. Here G meets it at a few levels, equally spaced
    in normal scores between those with 10 rows (or a quarter of them) beyond, and is smooth between. With n rows there
    are :math:`\min(n^{1/3}, n/20)` cells, rounded down, and at least one, so that both the noise and the bias of the
    density vanish as n grows. Ten rows of a calibrated model, evenly spread, count in as well: a handful of rows hardly
    moves the map away from the identity.

    Parameters
    ----------
    pit : array-like, (n,) or (n, d)
        In [0, 1]; of d targets each has a map of its own. Of counts the randomised PIT.
    sample_weight : array-like, (n,), optional
        Non-negative. A row of an integer weight counts like so many rows; of others what counts is how they compare,
        and there are as many cells as for :math:`(\sum w)^2 / \sum w^2` rows.

    Returns
    -------
    PITMap

    Raises
    ------
    ValueError
        If a value lies outside [0, 1], or no row has a positive weight.

    References
    ----------
    Kuleshov, Fenner and Ermon (2018), Accurate uncertainties for deep learning using calibrated regression, ICML.

    Examples
    --------
    >>> import numpy as np
    >>> import torch
    >>> from probmix.calibration import fit_pit_map
    >>> too_narrow = np.random.default_rng(0).beta(0.4, 0.4, 1000)  # PIT values crowd at 0 and 1
    >>> fit_pit_map(too_narrow)(torch.tensor([0.05, 0.5, 0.95])).round(decimals=1)
    tensor([0.2000, 0.5000, 0.8000])
    """
    values: Array = np.asarray(pit, dtype=np.float64)
    if values.ndim not in (1, 2) or not np.all((values >= 0) & (values <= 1)):
        raise ValueError(
            f"`pit` must be an array (n,) or (n, d) of numbers in [0, 1]; got shape {values.shape} "
            "or values outside. See `probmix.scores.pit`."
        )
    return fit_to_scores(special.ndtri(values), sample_weight)


def fit_to_scores(values: Array, sample_weight: ArrayLike | None) -> PITMap:
    """The same from normal scores of the PIT, which may lie further out than a PIT in float64 can tell."""
    values = np.nan_to_num(values, posinf=WIDEST, neginf=-WIDEST)
    columns = values[:, None] if values.ndim == 1 else values
    weight = np.ones(len(values))
    if sample_weight is not None and len(values):
        weight = checked_weights(sample_weight, weight.shape).cpu().numpy()
    columns, weight = _repeated(columns[weight > 0], weight[weight > 0])
    if not len(columns):
        raise ValueError("a map of the PIT needs at least one row; got none. Pass calibration rows.")
    unit = np.square(weight).sum() / weight.sum()
    n = weight.sum() / unit
    outermost = special.ndtri(min(_BEYOND / n, 0.25))
    # the cube root of 1000 is not to be rounded down to 9
    scores = np.linspace(outermost, -outermost, max(1, int(min(np.cbrt(n), n / _ROWS_IN_CELL) + 1e-9)) + 1)
    prior = special.ndtri((np.arange(_PRIOR_ROWS) + 0.5) / _PRIOR_ROWS)[:, None].repeat(columns.shape[1], axis=1)
    columns, weight = np.concatenate([columns, prior]), np.concatenate([weight, np.full(_PRIOR_ROWS, unit)])
    levels = special.ndtr(np.append(scores, 0.0))
    *knots, middle = np.stack([_weighted_quantiles(column, weight, levels) for column in columns.T], axis=-1)
    pit_scores = np.stack(knots, axis=-1)
    # no slope beyond the steepest, then none below the flattest
    pit_scores = np.maximum.accumulate(pit_scores - scores / _STEEPEST, axis=1) + scores / _STEEPEST
    pit_scores = np.minimum.accumulate(pit_scores - scores * _STEEPEST, axis=1) + scores * _STEEPEST
    slopes = _slopes(pit_scores, scores, middle)
    if values.ndim == 1:
        pit_scores, slopes = pit_scores[0], slopes[0]
    return PITMap(*map(torch.from_numpy, (pit_scores, scores, slopes)))


def _repeated(rows: Array, weight: Array) -> tuple[Array, Array]:
    """Rows of integer weights written out as so many copies, unless they become too many."""
    if np.all(weight == np.round(weight)) and weight.sum() <= _LONGEST * len(rows):
        rows = rows.repeat(weight.astype(np.int64), axis=0)
        weight = np.ones(len(rows))
    return rows, weight


def _slopes(x: Array, t: Array, middle: Array) -> Array:
    """Derivatives at the knots: geometric means of the slopes on both sides, the nearer cell counting more.

    Those at the ends go on for ever. They are the slopes of the last cells, but no steeper than the chord from the
    median: too light a tail costs far more likelihood than too heavy a one, and where a cdf has no digits left to tell
    the outermost rows apart, their cell says nothing.
    """
    width = np.diff(x)
    log_slope = np.log(np.diff(t) / width)
    left, right = width[:, :-1], width[:, 1:]
    inner = (right * log_slope[:, :-1] + left * log_slope[:, 1:]) / (left + right)
    reach = np.abs(t[[0, -1]])
    chords = reach / np.maximum(np.abs(x[:, [0, -1]] - middle[:, None]), reach / _STEEPEST)
    ends = np.minimum(log_slope[:, [0, -1]], np.log(chords))
    slopes: Array = np.exp(np.concatenate([ends[:, :1], inner, ends[:, 1:]], axis=1))
    return slopes


def _weighted_quantiles(values: Array, weight: Array, levels: Array) -> Array:
    """Quantiles, with half of a row's own weight below it (Hazen's rule where weights are equal)."""
    order = np.argsort(values, kind="stable")
    share = weight[order] / weight.sum()
    quantiles: Array = np.interp(levels, share.cumsum() - 0.5 * share, values[order])
    return quantiles
