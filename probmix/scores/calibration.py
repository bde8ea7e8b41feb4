"""Calibration: probability integral transform and coverage."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .._given import Numbers
from ..adapters import as_distribution
from ..distributions import cdf, cdf_below, has_atoms, icdf
from ..distributions.parts import device_of, to_dtype_of, widen
from ._inputs import checked


def pit(distribution: Any, y: Numbers, generator: torch.Generator | None = None) -> Tensor:
    r"""Probability integral transform: uniform on [0, 1] if y is drawn from the distribution.

    F(y) where the cdf is continuous; where it jumps, as it does for discrete distributions, randomised,

    .. math:: F(y) - (1 - u)\,P(Y = y),\qquad u \sim U(0, 1)

    Parameters
    ----------
    distribution : distribution, or what else `probmix.adapters.as_distribution` takes
        With a cdf; see `probmix.distributions.cdf`.
    y : array-like, broadcastable to batch shape + event shape
    generator : torch.Generator, optional
        Where u comes from, on the device of the distribution. Without one, a generator with the seed 0 is made for this
        call: the same arguments give the same result, and torch's global generator is left alone.

    Returns
    -------
    Tensor, (*batch_shape, *event_shape), in the dtype of the distribution
        One value per row, and for several targets one per coordinate, by its marginal.

    Raises
    ------
    ValueError
        If `y` has another shape, is not finite, or no whole number where the distribution is discrete.

    References
    ----------
    Czado, Gneiting and Held (2009), Predictive model assessment for count data, Biometrics 65, 1254-1261.

    Examples
    --------
    >>> import torch
    >>> from probmix.scores import pit
    >>> pit(torch.distributions.Normal(torch.zeros(2), 1.0), torch.tensor([0.0, 2.0]))
    tensor([0.5000, 0.9772])
    """
    distribution = as_distribution(distribution)
    return to_dtype_of(distribution, wide_pit(distribution, y, generator))


def wide_pit(distribution: Any, y: Numbers, generator: torch.Generator | None = None) -> Tensor:
    """The PIT in float64: rounded to float32 it would miss the ends of intervals."""
    distribution, y = checked(distribution, y)
    wide, y = widen(distribution), y.double()
    value = cdf(wide, y)
    if has_atoms(wide):
        device = device_of(distribution)
        if generator is None:
            generator = torch.Generator(device).manual_seed(0)
        u = torch.rand(value.shape, generator=generator, dtype=torch.float64, device=device)
        value = torch.lerp(cdf_below(wide, y), value, u)
    return value


def coverage(distribution: Any, y: Numbers, level: float) -> Tensor:
    r"""Whether y lies in the central interval that should hold it with probability `level`.

    The interval is :math:`[F^{-1}((1 - c)/2),\ F^{-1}((1 + c)/2)]` with c the level, ends included; that of a discrete
    distribution holds at least that much.

    Parameters
    ----------
    distribution : distribution, or what else `probmix.adapters.as_distribution` takes
        With quantiles; see `probmix.distributions.icdf`.
    y : array-like, broadcastable to batch shape + event shape
    level : float
        Between 0 and 1, both excluded.

    Returns
    -------
    Tensor of zeros and ones, (*batch_shape, *event_shape), in the dtype of the distribution
        One value per row, and for several targets one per coordinate; the mean over rows is the coverage.

    Raises
    ------
    ValueError
        If `level` is not between 0 and 1, or `y` as in `pit`.

    Examples
    --------
    >>> import torch
    >>> from probmix.scores import coverage
    >>> coverage(torch.distributions.Normal(torch.zeros(2), 1.0), torch.tensor([1.6, 1.7]), 0.9)
    tensor([1., 0.])
    """
    if not 0 < level < 1:
        raise ValueError(f"`level` must lie between 0 and 1, got {level}. For 90 % pass 0.9.")
    distribution, y = checked(distribution, y)
    wide, device = widen(distribution), device_of(distribution)
    low, high = (
        icdf(wide, torch.tensor(q, dtype=torch.float64, device=device)) for q in ((1 - level) / 2, (1 + level) / 2)
    )
    return to_dtype_of(distribution, (low <= y) & (y <= high))
