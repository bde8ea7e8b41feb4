"""Calibration of densities in numbers: coverage at all levels, and the distance of the PIT from uniform."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.distributions import Distribution

from .._given import Numbers, as_tensor
from ..adapters import as_distribution
from ..distributions.parts import to_dtype_of
from ._rows import row_weights
from .calibration import wide_pit

# Nominal levels of the curve unless others are asked for: 5 %, 10 %, ..., 95 %.
_LEVELS = tuple(k / 20 for k in range(1, 20))


class CoverageCurve(NamedTuple):
    """Nominal levels, (L,), and the share of targets inside, (*event_shape, L)."""

    levels: Tensor
    coverage: Tensor


def coverage_curve(
    distribution: Any,
    y: Numbers,
    levels: Numbers | None = None,
    *,
    sample_weight: Numbers | None = None,
    generator: torch.Generator | None = None,
) -> CoverageCurve:
    r"""Share of targets in the central intervals of every nominal level.

    .. math:: \hat C(c) = \frac1n\#\{i : |u_i - \tfrac12| \le \tfrac12 c\}

    where u is the probability integral transform, randomised for counts. So a calibrated prediction covers exactly c on
    average, also of counts, whose intervals hold at least c (see `coverage`) and most often more.

    Parameters
    ----------
    distribution : distribution, or what else `probmix.adapters.as_distribution` takes
        With a cdf; see `probmix.distributions.cdf`.
    y : array-like, broadcastable to batch shape + event shape
    levels : array-like of float, (L,), optional
        Between 0 and 1, both excluded, in any order. By default 0.05, 0.10, ..., 0.95.
    sample_weight : array-like, (*batch_shape,), optional
        Weights of the rows in the share.
    generator : torch.Generator, optional
        Randomises the PIT of counts, as in `pit`.

    Returns
    -------
    CoverageCurve
        `levels`, (L,), and `coverage`, (*event_shape, L), in the dtype of the distribution. Several targets have a
        curve each.

    Raises
    ------
    ValueError
        If a level is not between 0 and 1, there are no rows, the weights do not fit, or `y` as in `pit`.

    Notes
    -----
    By chance the coverage of a calibrated prediction is Binomial(n, c)/n at the level c. A mean distance from the
    diagonal, ``(curve.coverage - curve.levels).abs().mean(-1)``, is about :math:`\sqrt{2\pi}/8/\sqrt n = 0.31/\sqrt n`
    over evenly spaced levels. `calibration_error` is the same for the one-sided intervals, which see a bias as well.

    References
    ----------
    Gneiting, Balabdaoui and Raftery (2007), Probabilistic forecasts, calibration and sharpness, JRSS B 69, 243-268.
    Kuleshov, Fenner and Ermon (2018), Accurate uncertainties for deep learning using calibrated regression, ICML.

    Examples
    --------
    >>> import torch
    >>> from probmix.scores import coverage_curve
    >>> y = torch.tensor([-0.1, 0.5, 1.0, 2.0])
    >>> coverage_curve(torch.distributions.Normal(torch.zeros(4), 1.0), y, [0.5, 0.9]).coverage
    tensor([0.5000, 0.7500])
    """
    distribution = as_distribution(distribution)
    weights = row_weights(distribution, sample_weight)
    nominal = as_tensor(_LEVELS if levels is None else levels, "levels").to(weights)
    outside = ~((nominal > 0) & (nominal < 1))
    if nominal.dim() != 1 or bool(outside.any()):
        got = f"shape {tuple(nominal.shape)}" if nominal.dim() != 1 else f"{nominal[outside][0].item():g}"
        raise ValueError(
            f"`levels` must be a sequence of numbers between 0 and 1, both excluded, got {got}. For 90 % pass 0.9."
        )
    u = _by_target(distribution, wide_pit(distribution, y, generator).detach())
    needed, total = _sorted_with_weights(2 * (u - 0.5).abs(), weights)
    # a value at the very end of an interval is in it, whatever rounding does to the end
    ends = (nominal + 1e-12).expand(len(u), -1).contiguous()
    share = total.gather(-1, torch.searchsorted(needed, ends, right=True)) / total[:, -1:]
    share = share.reshape(*distribution.event_shape, len(nominal))
    return CoverageCurve(to_dtype_of(distribution, nominal), to_dtype_of(distribution, share))


def calibration_error(
    distribution: Any,
    y: Numbers,
    *,
    sample_weight: Numbers | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    r"""Distance of the probability integral transform from uniform; smaller is better, from 0 to 1/2.

    .. math:: \int_0^1 |\hat F(u) - u|\,du,\qquad \hat F(u) = \frac1n\#\{i : u_i \le u\}

    This is the mean, over all levels u, of the distance between u and the share of targets below the predicted
    u-quantile; as a distance of distributions the Wasserstein distance, area between two cdfs. It is an exact integral:
    no levels or bins are chosen.

    Parameters
    ----------
    distribution : distribution, or what else `probmix.adapters.as_distribution` takes
        With a cdf; see `probmix.distributions.cdf`.
    y : array-like, broadcastable to batch shape + event shape
    sample_weight : array-like, (*batch_shape,), optional
        Weights of the rows.
    generator : torch.Generator, optional
        Randomises the PIT of counts, as in `pit`.

    Returns
    -------
    Tensor, event shape, in the dtype of the distribution
        One number for each target, over all rows.

    Raises
    ------
    ValueError
        If there are no rows, the weights do not fit, or `y` as in `pit`.

    Notes
    -----
    n rows of a calibrated prediction have :math:`\sqrt{2\pi}/8/\sqrt n \approx 0.31/\sqrt n` on average and stay below
    :math:`0.58/\sqrt n` in 95 % of all cases: the mean and a quantile of the area under the absolute Brownian bridge.
    Only larger values say anything. Predictions all too low or all too high have 1/2, infinitely wide ones 1/4.
    Differentiable in the parameters where the cdf is, in time O(n log n).

    References
    ----------
    Gneiting, Balabdaoui and Raftery (2007), Probabilistic forecasts, calibration and sharpness, JRSS B 69, 243-268.
    Kuleshov, Fenner and Ermon (2018), Accurate uncertainties for deep learning using calibrated regression, ICML, who
    take the sum of the squared distances at chosen levels.

    Examples
    --------
    >>> import torch
    >>> from probmix.scores import calibration_error
    >>> normal = torch.distributions.Normal(torch.zeros(999), 1.0)
    >>> y = normal.icdf(torch.arange(1, 1000) / 1000)
    >>> calibration_error(normal, y)
    tensor(0.0003)
    >>> calibration_error(normal, 0 * y)  # all in the middle: far too wide
    tensor(0.2500)
    """
    distribution = as_distribution(distribution)
    weights = row_weights(distribution, sample_weight)
    u, total = _sorted_with_weights(_by_target(distribution, wide_pit(distribution, y, generator)), weights)
    edges = torch.cat([u.new_zeros(len(u), 1), u, u.new_ones(len(u), 1)], -1)
    level = total / total[:, -1:]
    # between two values the empirical cdf is constant, and |t - level| integrates to (t - level)|t - level|/2
    from_left, from_right = edges[:, :-1] - level, edges[:, 1:] - level
    area = 0.5 * (from_right * from_right.abs() - from_left * from_left.abs()).sum(-1)
    return to_dtype_of(distribution, area.reshape(distribution.event_shape))


def _by_target(distribution: Distribution, values: Tensor) -> Tensor:
    """Values of shape batch + event as (targets, rows)."""
    return values.reshape(distribution.batch_shape.numel(), distribution.event_shape.numel()).T


def _sorted_with_weights(values: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Every line of (targets, n) sorted, and the weight of its k smallest values, (targets, n + 1), k = 0 .. n."""
    ordered, order = values.sort(-1)
    total = weights[order].cumsum(-1)
    return ordered.contiguous(), torch.cat([total.new_zeros(len(total), 1), total], -1)
