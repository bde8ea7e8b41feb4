"""Scores of forecasts that are given as quantiles or central intervals."""

from __future__ import annotations

import torch
from torch import Tensor

from .._given import Numbers
from ..families.tools import check_support
from ._values import checked_levels, floats, rows_like


def quantile_score(quantiles: Numbers, y: Numbers, levels: Numbers) -> Tensor:
    r"""Quantile score (pinball loss) of each quantile, in the unit of y; smaller is better.

    .. math:: \mathrm{QS}_\alpha(q, y) = (1[y \le q] - \alpha)(q - y)

    Parameters
    ----------
    quantiles : array-like, (*B, q)
    y : array-like, broadcastable to (*B,)
    levels : array-like of float, (q,)
        Between 0 and 1, both excluded, in the order of the last axis of `quantiles`.

    Returns
    -------
    Tensor, (*B, q), in the dtype of the quantiles
        One value per row and level.

    Raises
    ------
    TypeError
        If the quantiles are not float32 or float64.
    ValueError
        If there are no quantiles, or `y` or `levels` have another shape; if a level is not between 0 and 1; if anything
        is not finite.

    Notes
    -----
    Each level is scored on its own, so quantiles may cross here, as they do while a network learns them. Summed over
    levels it is a proper score of all of them, which sorting never makes worse.

    References
    ----------
    Koenker and Bassett (1978), Regression quantiles, Econometrica 46, 33-50.
    Gneiting and Raftery (2007), Strictly proper scoring rules, prediction, and estimation, JASA 102, 359-378.

    Examples
    --------
    >>> import torch
    >>> from probmix.scores import quantile_score
    >>> quantile_score(torch.tensor([[-1.0, 0.0, 1.0]]), torch.tensor([2.0]), [0.1, 0.5, 0.9])
    tensor([[0.3000, 1.0000, 0.9000]])
    """
    quantiles = _checked_quantiles(quantiles)
    levels = checked_levels("levels", levels, quantiles.shape[-1], quantiles)
    return _pinball(quantiles, _targets(y, quantiles.shape[:-1], quantiles), levels)


def crps_quantiles(quantiles: Numbers, y: Numbers, levels: Numbers) -> Tensor:
    r"""Approximate continuous ranked probability score of quantiles, in the unit of y; smaller is better.

    .. math:: \mathrm{CRPS} = 2\int_0^1 \mathrm{QS}_\alpha\,d\alpha \approx 2\sum_k w_k \mathrm{QS}_{\alpha_k},\qquad
              w_k = c_k - c_{k-1},\ c_k = \tfrac12(\alpha_k + \alpha_{k+1}),\ c_0 = 0,\ c_q = 1

    Parameters
    ----------
    quantiles : array-like, (*B, q)
        Not decreasing along the last axis.
    y : array-like, broadcastable to (*B,)
    levels : array-like of float, (q,)
        Increasing, between 0 and 1, both excluded.

    Returns
    -------
    Tensor, (*B,), in the dtype of the quantiles
        One value per row.

    Raises
    ------
    TypeError
        If the quantiles are not float32 or float64.
    ValueError
        If the quantiles cross or the levels do not increase; otherwise as `quantile_score`.

    Notes
    -----
    The rule of integration gives every quantile the levels nearest to its own. It is exact for the distribution with
    mass :math:`w_k` at quantile k if every level lies in the middle of its cell :math:`(c_{k-1}, c_k)`, as at the
    levels :math:`(k - 1/2)/q`, where all weights are 1/q: there it is the plain CRPS of the quantiles taken as draws.
    For N(0, 1) and y = 0.3 it is off by 0.2 % at 9 such levels and by 0.02 % at 99; at the levels :math:`k/(q + 1)`,
    whose outer cells are wider, by 7 % and 0.1 %. So compare values for the same levels only.

    References
    ----------
    Gneiting and Ranjan (2011), Comparing density forecasts, J. Bus. Econ. Stat. 29, 411-422.

    Examples
    --------
    >>> import torch
    >>> from probmix.scores import crps_quantiles
    >>> crps_quantiles(torch.tensor([[-1.0, 0.0, 1.0]]), torch.tensor([2.0]), [0.1, 0.5, 0.9])
    tensor([1.5200])
    """
    quantiles = _checked_quantiles(quantiles)
    levels = checked_levels("levels", levels, quantiles.shape[-1], quantiles)
    if not bool((levels.diff() > 0).all()):
        raise ValueError(f"`levels` must increase, got {levels.tolist()}. Sort them, and the quantiles with them.")
    _check_order(quantiles)
    ends = levels.new_tensor([0.0]), (levels[1:] + levels[:-1]) / 2, levels.new_tensor([1.0])
    weights = torch.cat(ends).diff().to(quantiles.dtype)
    losses = _pinball(quantiles, _targets(y, quantiles.shape[:-1], quantiles), levels)
    return 2 * (weights * losses).sum(-1)


def interval_score(lower: Numbers, upper: Numbers, y: Numbers, coverage: float) -> Tensor:
    r"""Interval score (Winkler score) of a central interval, in the unit of y; smaller is better.

    .. math:: \mathrm{IS}_\alpha = (u - l) + \tfrac2\alpha \max(l - y, 0) + \tfrac2\alpha \max(y - u, 0),
              \qquad \alpha = 1 - \text{coverage}

    Parameters
    ----------
    lower, upper : array-like, (*B,)
        The quantiles at the levels :math:`\alpha/2` and :math:`1 - \alpha/2`.
    y : array-like, broadcastable to (*B,)
    coverage : float
        The probability the interval should hold, between 0 and 1, both excluded.

    Returns
    -------
    Tensor, (*B,), in the dtype of the ends
        One value per row.

    Raises
    ------
    TypeError
        If the ends are not float32 or float64.
    ValueError
        If a lower end is above its upper one, the shapes differ, the coverage is not between 0 and 1, or anything is
        not finite.

    References
    ----------
    Gneiting and Raftery (2007), Strictly proper scoring rules, prediction, and estimation, JASA 102, 359-378.

    Examples
    --------
    >>> import torch
    >>> from probmix.scores import interval_score
    >>> interval_score(torch.tensor([-1.0, -1.0]), torch.tensor([1.0, 1.0]), torch.tensor([0.0, 1.5]), 0.8)
    tensor([2., 7.])
    """
    if not 0 < coverage < 1:
        raise ValueError(f"`coverage` must lie between 0 and 1, both excluded, got {coverage:g}. For 90 % pass 0.9.")
    lower, upper = _checked_ends(lower, upper)
    check_support(lower, lower <= upper, "`lower` must not be above `upper`", "Swap the ends of these rows.")
    y = _targets(y, lower.shape, lower)
    return (upper - lower) + 2 / (1 - coverage) * ((lower - y).relu() + (y - upper).relu())


def weighted_interval_score(median: Numbers, lower: Numbers, upper: Numbers, y: Numbers, coverages: Numbers) -> Tensor:
    r"""Weighted interval score of a median and K central intervals, in the unit of y; smaller is better.

    .. math:: \mathrm{WIS} = \frac{1}{K + \frac12}\Bigl(\tfrac12 |y - m| +
              \sum_k \tfrac{\alpha_k}{2} \mathrm{IS}_{\alpha_k}\Bigr),\qquad \alpha_k = 1 - \text{coverage}_k

    It is twice the mean of the quantile scores of the median and all ends, an approximation of the CRPS. For unequal
    steps between the levels `crps_quantiles` is the better one.

    Parameters
    ----------
    median : array-like, (*B,)
    lower, upper : array-like, (*B, K)
        The quantiles at the levels :math:`\alpha_k/2` and :math:`1 - \alpha_k/2`.
    y : array-like, broadcastable to (*B,)
    coverages : array-like of float, (K,)
        The probabilities the intervals should hold, between 0 and 1, both excluded, in any order, each once.

    Returns
    -------
    Tensor, (*B,), in the dtype of the ends
        One value per row.

    Raises
    ------
    TypeError
        If the median or the ends are not float32 or float64.
    ValueError
        If the intervals are not nested around the median, the shapes differ, a coverage is not between 0 and 1 or is
        there twice, or anything is not finite.

    References
    ----------
    Bracher, Ray, Gneiting and Reich (2021), Evaluating epidemic forecasts in an interval format, PLoS Comput. Biol. 17,
    e1008618.

    Examples
    --------
    >>> import torch
    >>> from probmix.scores import weighted_interval_score
    >>> lower, upper = torch.tensor([[-1.0, -2.0]]), torch.tensor([[1.0, 2.0]])
    >>> weighted_interval_score(torch.tensor([0.0]), lower, upper, torch.tensor([1.5]), [0.5, 0.9])
    tensor([0.7800])
    """
    lower, upper = _checked_ends(_checked_quantiles(lower, "lower"), upper)
    median = floats("median", median).to(lower.device)
    rows = lower.shape[:-1]
    if median.shape != rows:
        raise ValueError(
            f"`median` must have the shape of `lower` without the last axis, {tuple(rows)}; "
            f"got shape {tuple(median.shape)}. Pass one median for each row."
        )
    coverages = checked_levels("coverages", coverages, lower.shape[-1], lower)
    inwards = coverages.argsort(descending=True)
    coverages = coverages[inwards]
    if not bool((coverages.diff() < 0).all()):
        raise ValueError(f"`coverages` must differ, got {coverages.tolist()}. Pass one interval for each.")
    quantiles = torch.cat([lower[..., inwards], median.unsqueeze(-1), upper[..., inwards].flip(-1)], -1)
    low = (1 - coverages) / 2
    _check_order(quantiles)
    levels = torch.cat([low, low.new_tensor([0.5]), 1 - low.flip(-1)])
    return 2 * _pinball(quantiles, _targets(y, rows, lower), levels).mean(-1)


def _pinball(quantiles: Tensor, y: Tensor, levels: Tensor) -> Tensor:
    error = y.unsqueeze(-1) - quantiles
    # of the two sides the larger one counts; at y = q the gradient is the mean of both
    return torch.maximum(levels.to(error.dtype) * error, (levels - 1).to(error.dtype) * error)


def _targets(y: Numbers, rows: torch.Size, quantiles: Tensor) -> Tensor:
    return rows_like("y", y, rows, "the rows of the quantiles", quantiles)


def _checked_quantiles(values: Numbers, name: str = "quantiles") -> Tensor:
    """Finite floats along a last axis."""
    quantiles = floats(name, values)
    if quantiles.dim() == 0 or quantiles.shape[-1] == 0:
        raise ValueError(
            f"`{name}` must hold at least one value along the last axis, got shape {tuple(quantiles.shape)}. "
            "Pass shape (rows, levels)."
        )
    return quantiles


def _checked_ends(lower: Numbers, upper: Numbers) -> tuple[Tensor, Tensor]:
    lower = floats("lower", lower)
    upper = floats("upper", upper).to(lower.device)
    if lower.shape != upper.shape:
        raise ValueError(
            f"`lower` and `upper` must have the same shape, got {tuple(lower.shape)} and {tuple(upper.shape)}. "
            "Pass both ends of every interval."
        )
    return lower, upper


def _check_order(quantiles: Tensor) -> None:
    """Raise if quantiles of increasing levels decrease."""
    crossing = (quantiles.diff(dim=-1) < 0).any(-1)
    if bool(crossing.any()):
        row = tuple(int(i) for i in crossing.nonzero()[0])
        raise ValueError(
            f"the quantiles must not decrease from level to level, got {quantiles[row].tolist()} at row {row}. "
            "Sort them along the last axis, which never makes the score worse."
        )
