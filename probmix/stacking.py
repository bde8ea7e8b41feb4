"""Weights of a linear pool of models, from what each says of rows that it has not seen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch.distributions import Distribution

from ._given import Numbers, as_tensor, checked_weights, scaled
from .distributions import blend
from .distributions.parts import device_of
from .distributions.scoring import marginal_crps

Array = NDArray[np.float64]

# Candidates with less are dropped, and the others weighed again.
LEAST_WEIGHT = 0.01
# How far the mean log density may be from its maximum, in nats; a few steps reach it.
_GAP = 1e-10
_MOST_STEPS = 200
# Of the mean diagonal: quadratic forms of models that agree are made definite by it, and their weights equal.
_RIDGE = 1e-9
# Of the largest slope: a smaller gain is rounding.
_ROUNDING = 1e-12


def stack_weights(log_density: ArrayLike, row_weight: ArrayLike | None = None) -> Array:
    r"""Weights of C models whose linear pool has the largest mean log density: stacking of predictive distributions.

    .. math:: \max_w \sum_r \omega_r \log \sum_c w_c\,p_c(y_r), \qquad w_c \ge 0,\ \sum_c w_c = 1

    Models that get less than 1 % are dropped, the smallest first, and the rest is weighed again; but one that alone has
    a positive density at some row is kept.

    Parameters
    ----------
    log_density : array-like, (C, R)
        What each model says of the same R rows, which it was not trained by: log densities with respect to one measure,
        all densities or all probabilities. -inf is a density of zero.
    row_weight : array-like, (R,), optional
        Non-negative, in any unit; equal by default.

    Returns
    -------
    ndarray, (C,)
        On the simplex; zero for those that are dropped. Models that say the same share their weight equally.

    Raises
    ------
    ValueError
        For NaN or +inf, no model or row, weights that are negative or all zero, and where every row of positive weight
        has the density zero under all models.

    Notes
    -----
    The problem is concave. Steps of EM, :math:`w_c \leftarrow w_c\,g_c` with
    :math:`g_c = \sum_r \omega_r p_c / \sum_d w_d p_d`, take turns with Newton steps on the active set (Kim et al.),
    and end by the optimality conditions: as :math:`\log(1 + t) \le t`, the maximum is at most :math:`\max_c g_c - 1`
    above, and this is made smaller than 1e-10. Rows that no model expects at all say nothing of the weights, whatever
    these are their density is zero: they are left out.

    References
    ----------
    Yao, Vehtari, Simpson and Gelman (2018), Using Stacking to Average Bayesian Predictive Distributions, Bayesian
    Analysis 13(3), 917-1007.
    Kim, Carbonetto, Stephens and Anitescu (2020), A Fast Algorithm for Maximum Likelihood Estimation of Mixture
    Proportions Using Sequential Quadratic Programming, J. Comput. Graph. Stat. 29(2), 261-273.

    Examples
    --------
    Of two models that are right in one half of the rows each, and one that is always worse:

    >>> import numpy as np
    >>> from probmix.stacking import stack_weights
    >>> stack_weights(np.log([[0.8, 0.8, 0.1, 0.1], [0.1, 0.1, 0.8, 0.8], [0.05, 0.05, 0.05, 0.05]]))
    array([0.5, 0.5, 0. ])
    """
    log_density = np.asarray(log_density, dtype=np.float64)
    if log_density.ndim != 2 or 0 in log_density.shape:
        raise ValueError(
            f"`log_density` must be a table (C, R) of C models on R rows, at least one of each; got shape "
            f"{log_density.shape}."
        )
    bad = ~(log_density < np.inf)
    if bad.any():
        model, row = np.argwhere(bad)[0]
        raise ValueError(
            f"`log_density` must be finite or -inf; got {log_density[model, row]} of model {model} at row {row}."
        )
    weight = _row_weights(row_weight, log_density.shape[1])
    highest = log_density.max(0)
    told = (highest > -np.inf) & (weight > 0)
    if not told.any():
        raise ValueError(
            "`log_density` is -inf under every model in all rows of positive weight, and nothing tells the models "
            "apart. Add one whose support covers the targets."
        )
    # in every row the best has density one
    density = np.exp(log_density[:, told] - highest[told])
    share = weight[told] / weight[told].sum()

    def is_needed(kept: NDArray[np.intp], model: int) -> bool:
        return bool((density[kept[kept != model]].max(0) == 0).any())

    return _without_small(len(density), lambda kept: _largest_log_score(density[kept], share), is_needed)


def crps_weights(gram: ArrayLike) -> Array:
    r"""Weights of C models whose linear pool has the smallest mean CRPS.

    .. math:: \min_w w^\top G\,w, \qquad w_c \ge 0,\ \sum_c w_c = 1

    Models that get less than 1 % are dropped, the smallest first, and the rest is weighed again.

    Parameters
    ----------
    gram : array-like, (C, C)
        Symmetric, positive semi-definite: the mean over rows of
        :math:`\int (F_c(x) - 1[x \ge y])\,(F_d(x) - 1[x \ge y])\,dx`.

    Returns
    -------
    ndarray, (C,)
        On the simplex; zero for those that are dropped. Models that say the same share their weight equally.

    Raises
    ------
    ValueError
        For another shape, and entries that are not finite or not symmetric.

    Notes
    -----
    The minimum over the simplex has the direction of :math:`\min_{u \ge 0} \tfrac12 u^\top G u - \sum_c u_c`, whose
    optimality conditions are the same but for the length of u; an active set solves it exactly.

    Examples
    --------
    >>> from probmix.stacking import crps_weights
    >>> crps_weights([[1.0, 0.2], [0.2, 1.0]])
    array([0.5, 0.5])
    >>> crps_weights([[1.0, 1.0], [1.0, 2.0]])
    array([1., 0.])
    """
    gram = np.asarray(gram, dtype=np.float64)
    if gram.ndim != 2 or gram.shape[0] != gram.shape[1] or not len(gram):
        raise ValueError(f"`gram` must be a square matrix, (C, C); got shape {gram.shape}.")
    if not np.isfinite(gram).all():
        raise ValueError(f"`gram` must be finite; got {gram[~np.isfinite(gram)][0]}. Models need finite CRPS.")
    if np.abs(gram - gram.T).max() > 1e-8 * np.abs(gram).max():
        raise ValueError("`gram` must be symmetric, as the integral of a product is.")
    return _without_small(len(gram), lambda kept: _smallest_form(gram[np.ix_(kept, kept)]), lambda kept, model: False)


def crps_gram(distributions: Sequence[Distribution], y: Numbers, row_weight: ArrayLike | None = None) -> Array:
    r"""The quadratic form in the weights that the mean CRPS of a linear pool is.

    .. math:: G_{cd} = \sum_r \omega_r \int (F_c(x) - 1[x \ge y_r])\,(F_d(x) - 1[x \ge y_r])\,dx

    Parameters
    ----------
    distributions : sequence of distributions, each of batch shape (R,)
        What each of the C models says of the same R rows.
    y : array-like, (R,) or (R, d)
        Observed; of several targets the CRPS is the mean over them.
    row_weight : array-like, (R,), optional
        Non-negative, in any unit; equal by default.

    Returns
    -------
    ndarray, (C, C)
        ``w @ G @ w`` is the mean CRPS of the pool with weights w.

    Notes
    -----
    The CRPS of the pool of two in equal parts is :math:`\tfrac14 G_{cc} + \tfrac14 G_{dd} + \tfrac12 G_{cd}`, so that
    every entry comes from a CRPS, in closed form where there is one.

    Examples
    --------
    >>> import torch
    >>> from torch.distributions import Normal
    >>> from probmix.stacking import crps_gram, crps_weights
    >>> gram = crps_gram([Normal(torch.zeros(2), 1.0), Normal(torch.zeros(2), 3.0)], torch.tensor([-2.0, 2.0]))
    >>> crps_weights(gram).round(2)
    array([0.05, 0.95])
    """
    targets = as_tensor(y, "y").double()
    weight = _row_weights(row_weight, len(targets))
    share = weight / weight.sum()

    def mean_crps(distribution: Distribution) -> float:
        values = marginal_crps(distribution, targets.to(device_of(distribution))).cpu().numpy()
        return float(share @ values.reshape(len(targets), -1).mean(1))

    own = [mean_crps(one) for one in distributions]
    gram = np.diag(own)
    halves = torch.tensor([0.5, 0.5], dtype=torch.float64)
    for c, first in enumerate(distributions):
        for d, second in enumerate(distributions[:c]):
            pair = mean_crps(blend(halves.to(device_of(first)), [first, second]))
            gram[c, d] = gram[d, c] = 2 * pair - (own[c] + own[d]) / 2
    return gram


def _row_weights(row_weight: Any, rows: int) -> Array:
    if row_weight is None:
        return np.ones(rows)
    return scaled(checked_weights(row_weight, (rows,), "row_weight").cpu().numpy())


def _without_small(
    models: int, fit: Callable[[NDArray[np.intp]], Array], is_needed: Callable[[NDArray[np.intp], int], bool]
) -> Array:
    """Weights of the models that a fit of some of them gives, (C,), once none is small that can be done without."""
    kept = np.arange(models)
    while True:
        weights = fit(kept)
        small = [kept[i] for i in np.argsort(weights, kind="stable") if weights[i] < LEAST_WEIGHT]
        useless = next((model for model in small if not is_needed(kept, model)), None)
        if useless is None:
            result = np.zeros(models)
            result[kept] = weights
            return result
        kept = kept[kept != useless]


def _largest_log_score(density: Array, share: Array) -> Array:
    """Weights, (C,), that maximise the mean log of the pool of densities, (C, R), with shares of the rows, (R,)."""
    models = len(density)
    weights = np.full(models, 1 / models)
    for _ in range(_MOST_STEPS):
        ratios = density / (weights @ density)
        gain = ratios @ share
        if gain.max() - 1 <= _GAP:
            break
        weights = weights * gain  # EM, which never loses
        weights = _newton(density, share, weights)
    return weights


def _newton(density: Array, share: Array, weights: Array) -> Array:
    """A Newton step from weights, cut short until it gains; the weights themselves where none does."""
    pool = weights @ density
    ratios = density / pool
    gain = ratios @ share
    # without the constraint on their sum, which sum_r share log(pool) - sum_c w_c fulfils at its maximum by itself
    form = ratios * share @ ratios.T
    ridge = _ridge(form)
    step = _nonnegative(form + ridge * np.eye(len(form)), 2 * gain - 1 + ridge * weights) - weights
    for _ in range(30):
        trial = weights + step
        trial = trial / trial.sum() if trial.sum() > 0 else weights
        with np.errstate(divide="ignore"):
            # up to rounding
            if share @ np.log(trial @ density / pool) > -1e-15:
                return trial
        step = step / 2
    return weights


def _smallest_form(gram: Array) -> Array:
    """Weights on the simplex that minimise a quadratic form."""
    models = len(gram)
    if not gram.any():
        return np.full(models, 1 / models)
    weights = _nonnegative((gram + _ridge(gram) * np.eye(models)) / np.diag(gram).mean(), np.ones(models))
    weights /= weights.sum()
    return weights


def _ridge(form: Array) -> float:
    return _RIDGE * float(np.diag(form).mean())


def _nonnegative(form: Array, slope: Array) -> Array:
    """The minimum of u' form u / 2 - slope' u over u >= 0, by an active set as in Lawson and Hanson (1974)."""
    models = len(form)
    u, is_free = np.zeros(models), np.zeros(models, dtype=bool)
    for _ in range(10 * models):
        gain = np.where(is_free, -np.inf, slope - form @ u)
        if gain.max() <= _ROUNDING * np.abs(slope).max():
            break
        is_free[gain.argmax()] = True
        while is_free.any():
            goal = np.zeros(models)
            goal[is_free] = np.linalg.solve(form[np.ix_(is_free, is_free)], slope[is_free])
            leaves = is_free & (goal <= 0)
            if not leaves.any():
                u = goal
                break
            # as far as all stay positive; the first that does not is taken out
            ratios = np.where(leaves, u / np.where(leaves, u - goal, 1.0), np.inf)
            u = np.where(is_free, u + ratios.min() * (goal - u), 0.0)
            u[ratios.argmin()] = 0.0
            is_free &= u > 0
    return u
