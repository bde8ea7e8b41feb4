"""Scores of forecasts that are given as draws: the CRPS, and the energy score for several targets."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from .._given import Numbers
from ..distributions.empirical import draws_crps
from ._values import floats, rows_like

# Differences of coordinates held at once by the energy score: 16 MB in float32. More is not faster.
_ELEMENTS = 2**22


def crps_samples(samples: Numbers, y: Numbers, *, fair: bool = True) -> Tensor:
    r"""Continuous ranked probability score of m draws, in the unit of y; smaller is better.

    .. math:: \frac1m\sum_i |x_i - y| - \frac{1}{2c}\sum_{ij} |x_i - x_j|,\qquad
              c = m(m - 1) \text{ if fair, else } m^2

    Parameters
    ----------
    samples : array-like, (*B, m)
        The draws along the last axis, in any order.
    y : array-like, broadcastable to (*B,)
    fair : bool
        The fair score is unbiased: its mean over draws is the CRPS of the distribution they come from, however few they
        are. The plain one is the CRPS of the empirical distribution, larger by :math:`E|X - X'|/(2m)` on average; take
        it where the draws themselves are the forecast.

    Returns
    -------
    Tensor, (*B,), in the dtype of the draws
        One value per row, never negative. Of a single draw the plain score is :math:`|x - y|`.

    Raises
    ------
    TypeError
        If the draws are not float32 or float64.
    ValueError
        If there are no draws, or a single one for the fair score; if `y` has another shape; if anything is not finite.

    Notes
    -----
    O(m log m) time and O(m) memory for each row. With :math:`e_1 \le \dots \le e_m` the sorted :math:`x_i - y`, the
    difference above equals

    .. math:: \max(e_1, 0) + \max(-e_m, 0) + \tfrac1c\sum_{i<m} \bigl[i(i - k)\,g_i^- + (m - i)(m - i - k)\,g_i^+\bigr]

    where :math:`g_i^-` and :math:`g_i^+` are the parts of the gap :math:`e_{i+1} - e_i` below and above zero, and k = 1
    if fair, else 0. No term is negative, so that nothing cancels, in float32 either. Differentiable in both arguments.

    References
    ----------
    Gneiting and Raftery (2007), Strictly proper scoring rules, prediction, and estimation, JASA 102, 359-378.
    Ferro (2014), Fair scores for ensemble forecasts, QJRMS 140, 1917-1923.

    Examples
    --------
    >>> import torch
    >>> from probmix.scores import crps_samples
    >>> samples = torch.tensor([[0.0, 1.0, 3.0], [2.0, 2.0, 2.0]])
    >>> crps_samples(samples, torch.tensor([2.0, 5.0]))
    tensor([0.3333, 3.0000])
    >>> crps_samples(samples, torch.tensor([2.0, 5.0]), fair=False)
    tensor([0.6667, 3.0000])
    """
    samples = floats("samples", samples)
    if samples.dim() == 0 or samples.shape[-1] == 0:
        raise ValueError(
            f"`samples` must hold at least one draw along the last axis, got shape {tuple(samples.shape)}. "
            "Pass shape (rows, draws)."
        )
    m = samples.shape[-1]
    _check_draws(m, fair)
    y = rows_like("y", y, samples.shape[:-1], "the shape of `samples` without the last axis", samples)
    return draws_crps(samples, y, fair)


def energy_score(samples: Numbers, y: Numbers, *, beta: float = 1.0, fair: bool = True) -> Tensor:
    r"""Energy score of m draws of several targets, jointly; smaller is better.

    .. math:: \frac1m\sum_i \lVert x_i - y\rVert^\beta - \frac{1}{2c}\sum_{ij} \lVert x_i - x_j\rVert^\beta,\qquad
              c = m(m - 1) \text{ if fair, else } m^2

    For one target and :math:`\beta = 1` it is `crps_samples`, which is faster.

    Parameters
    ----------
    samples : array-like, (*B, m, d)
        m draws of d targets. Bring the targets to one scale first: the norm adds them up.
    y : array-like, broadcastable to (*B, d)
    beta : float
        Between 0 and 2, both excluded: at 2 the score sees the mean alone.
    fair : bool
        Whether the score is unbiased, see `crps_samples`. The fair one may be negative.

    Returns
    -------
    Tensor, (*B,), in the dtype of the draws
        One value per row.

    Raises
    ------
    TypeError
        If the draws are not float32 or float64.
    ValueError
        If there are no draws or targets, or a single draw for the fair score; if `y` has another shape; if `beta` is
        not between 0 and 2; if anything is not finite.

    Notes
    -----
    O(m^2 d) time for each row. The pairs are taken in blocks of at most 2^22 coordinates (or one draw against all
    others, where that is more), which the backward pass computes anew, so that the memory does not grow with m^2.
    Differentiable in both arguments; where two draws coincide the gradient of their distance counts as zero.

    References
    ----------
    Gneiting and Raftery (2007), Strictly proper scoring rules, prediction, and estimation, JASA 102, 359-378.
    Székely and Rizzo (2013), Energy statistics, J. Stat. Plan. Inference 143, 1249-1272.

    Examples
    --------
    >>> import torch
    >>> from probmix.scores import energy_score
    >>> energy_score(torch.tensor([[[0.0, 0.0], [3.0, 4.0]]]), torch.tensor([[0.0, 0.0]]), fair=False)
    tensor([1.2500])
    """
    samples = floats("samples", samples)
    if samples.dim() < 2 or 0 in samples.shape[-2:]:
        raise ValueError(
            "`samples` must hold at least one draw of at least one target along the last two axes, "
            f"got shape {tuple(samples.shape)}. Pass shape (rows, draws, targets)."
        )
    if not 0 < beta < 2:
        raise ValueError(f"`beta` must lie between 0 and 2, both excluded, got {beta:g}. Pass 1 for the usual score.")
    *batch, m, d = samples.shape
    _check_draws(m, fair)
    rule = "the shape of `samples` without the axis of draws"
    y = rows_like("y", y, torch.Size([*batch, d]), rule, samples)
    distance = _power(torch.linalg.vector_norm(samples - y.unsqueeze(-2), dim=-1), beta).mean(-1)
    draws = samples.reshape(-1, m, d)
    rows = draws.split(max(1, _ELEMENTS // (m * m * d)))
    spread = torch.cat([_sum_over_pairs(block, beta) for block in rows]) / (m * (m - int(fair)))
    return distance - 0.5 * spread.to(distance.dtype).reshape(batch)


def _check_draws(m: int, fair: bool) -> None:
    if fair and m == 1:
        raise ValueError(
            "the fair score needs at least two draws in each row, got 1. "
            "Draw more, or pass fair=False for the distance to the single draw."
        )


def _power(distance: Tensor, beta: float) -> Tensor:
    if beta == 1:
        return distance
    apart = distance > 0
    # inside `where` as well: the derivative of the power at zero is infinite or NaN, and would spoil the gradient
    return torch.where(apart, torch.where(apart, distance, 1.0).pow(beta), 0.0)


def _sum_over_pairs(draws: Tensor, beta: float) -> Tensor:
    """Sum of the distances between all ordered pairs of draws, (n, m, d) -> (n,), in float64."""
    n, m, d = draws.shape
    size = max(1, _ELEMENTS // max(1, n * m * d))
    # the sums of the blocks in float64: over hundreds of them float32 was seen to drift by 1e-6
    total = draws.new_zeros(n, dtype=torch.float64)
    for start in range(0, m, size):
        if torch.is_grad_enabled() and draws.requires_grad:
            # nothing random in here, so the state of torch's generators need not be kept
            part = checkpoint(_block_sum, draws, start, size, beta, use_reentrant=False, preserve_rng_state=False)
        else:
            part = _block_sum(draws, start, size, beta)
        total = total + part.double()
    return total


def _block_sum(draws: Tensor, start: int, size: int, beta: float) -> Tensor:
    """Distances from the draws of one block to those of it and of later ones, twice, for each pair has two orders."""
    # not by matrix products, |a|^2 + |b|^2 - 2ab, which cancel
    mode = "donot_use_mm_for_euclid_dist"
    distance = _power(torch.cdist(draws[:, start : start + size], draws[:, start:], compute_mode=mode), beta)
    return 2 * distance.sum((-2, -1)) - distance[..., :size].sum((-2, -1))
