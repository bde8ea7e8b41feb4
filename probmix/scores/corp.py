"""Decompositions of mean scores into miscalibration, discrimination and uncertainty (CORP)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import xlog1py, xlogy
from torch import Tensor
from torch.distributions import Bernoulli, Distribution

from .._given import Numbers
from ..adapters import as_distribution
from ..distributions import cdf, icdf, is_discrete
from ..distributions.parts import device_of, widen
from ..distributions.scoring import marginal_crps
from ._classes import as_classes
from ._inputs import checked
from ._isotonic import isotonic_mean, isotonic_quantile
from ._rows import class_probabilities, row_weights
from .nll import nll

Array = NDArray[np.float64]

# Thresholds at which the events of the CRPS are recalibrated, at most.
_THRESHOLDS = 1000


class Decomposition(NamedTuple):
    """A mean score, which is `miscalibration` - `discrimination` + `uncertainty`."""

    score: float
    miscalibration: float
    discrimination: float
    uncertainty: float


def corp_decomposition(
    distribution: Any,
    y: Numbers,
    score: str,
    *,
    level: float | None = None,
    sample_weight: Numbers | None = None,
) -> Decomposition:
    r"""Decompose a mean score: how much is lost by miscalibration, and gained by telling rows apart.

    .. math:: \bar S = \mathrm{MCB} - \mathrm{DSC} + \mathrm{UNC},\qquad
              \mathrm{MCB} = \bar S - \bar S_{\mathrm{rc}},\quad
              \mathrm{DSC} = \bar S_{\mathrm{mg}} - \bar S_{\mathrm{rc}},\quad
              \mathrm{UNC} = \bar S_{\mathrm{mg}}

    where rc is the forecast after recalibration, the increasing function of it that has the least mean score on these
    very rows (isotonic regression: no bins, nothing to tune), and mg is the best constant forecast. So MCB is what
    recalibration would gain, DSC what the ordering of the rows by the forecast is worth, and UNC depends on y alone.

    Parameters
    ----------
    distribution : distribution, or what else `probmix.adapters.as_distribution` takes
        One target per row.
    y : array-like, broadcastable to the batch shape
        Test data: on training rows MCB says nothing.
    score : {"brier", "log", "squared_error", "quantile", "crps"}
        What is decomposed, and the forecast that it judges:

        - "brier": the probability p of a one, :math:`(p - y)^2`, for a Bernoulli; for a Categorical the sum over all
          classes, each against the others, as `probmix.scores.brier`;
        - "log": `nll` of a Bernoulli or a Categorical with two classes, in nats;
        - "squared_error": the mean, :math:`(\mu - y)^2`;
        - "quantile": the quantile at `level`, by `quantile_score`;
        - "crps": the whole distribution, by `crps`.
    level : float, optional
        Of the quantile, between 0 and 1, both excluded.
    sample_weight : array-like, (*batch_shape,), optional
        Weights of the rows in all means.

    Returns
    -------
    Decomposition
        The floats `score`, `miscalibration`, `discrimination` and `uncertainty`, in the unit of the score.

    Raises
    ------
    TypeError
        If "brier" or "log" is asked of another distribution than a Bernoulli or a Categorical.
    ValueError
        For an unknown score, a level that is missing or not wanted or not between 0 and 1, "log" of more than two
        classes, several targets per row, or `y` or weights that do not fit.

    Notes
    -----
    MCB and DSC are not negative. MCB is 0 where the forecast is recalibrated already, DSC where it is constant. Both
    are positive by chance on few rows, for the regression fits these rows. Where the event happens that had probability
    0, score and MCB are infinite.

    The CRPS is the integral of the Brier scores of the events :math:`y \le z` over all thresholds z, and is decomposed
    by integrating theirs, with :math:`F_i(z)` recalibrated at each z on its own (Brier-score-based decomposition). UNC
    is half the mean difference of y, in closed form. DSC is integrated numerically,

    .. math:: \mathrm{DSC} = \int \overline{(\hat F_i(z) - \bar F(z))^2}\,dz,\qquad \bar F(z) = \overline{1[y_i \le z]},

    at 1000 to 2000 thresholds, at least one between each two neighbouring values of y, or 1000 that share UNC evenly if
    there are more values. That is exact for counts over a range up to 1000, and where the cdfs of no two rows cross and
    y has at most 1000 values; else it is off by about :math:`10^{-4}` UNC. MCB is the rest, so that the sum is exact;
    it may be negative by the error of DSC. The decomposition of Arnold et al. recalibrates whole distributions instead,
    which costs far more.

    Time O(n log n); for the CRPS at each threshold.

    References
    ----------
    Dimitriadis, Gneiting and Jordan (2021), Stable reliability diagrams for probabilistic classifiers, PNAS 118,
    e2016191118.
    Gneiting and Resin (2023), Regression diagnostics meets forecast evaluation, Electron. J. Stat. 17, 3226-3286.
    Candille and Talagrand (2005), Evaluation of probabilistic prediction systems for a scalar variable, QJRMS 131,
    2131-2150.
    Arnold, Walz, Ziegel and Gneiting (2024), Decompositions of the mean continuous ranked probability score, Electron.
    J. Stat. 18, 4992-5044.

    Examples
    --------
    >>> import torch
    >>> from probmix.scores import corp_decomposition
    >>> forecast = torch.distributions.Bernoulli(torch.tensor([0.1, 0.1, 0.6, 0.6], dtype=torch.float64))
    >>> parts = corp_decomposition(forecast, torch.tensor([0.0, 0.0, 0.0, 1.0]), "brier")
    >>> [round(part, 4) for part in parts]  # score = MCB - DSC + UNC
    [0.135, 0.01, 0.0625, 0.1875]
    """
    known = (*_DECOMPOSE, "quantile")
    if score not in known:
        raise ValueError(f"`score` must be one of {', '.join(map(repr, known))}; got {score!r}.")
    if (level is not None) != (score == "quantile"):
        raise ValueError(
            f"`level` is needed for the score 'quantile' and for no other; got level={level} for {score!r}."
        )
    if level is not None and not 0 < level < 1:
        raise ValueError(f"`level` must lie between 0 and 1, both excluded, got {level:g}. For 90 % pass 0.9.")
    distribution = as_classes(distribution) if score in ("brier", "log") else as_distribution(distribution)
    if distribution.event_shape:
        shape = tuple(distribution.event_shape)
        mend = "Fit it to np.ravel(y)." if shape == (1,) else "Decompose the scores of the targets one by one."
        raise ValueError(f"a decomposition needs one target per row; got event shape {shape}. {mend}")
    weights = row_weights(distribution, sample_weight)
    with torch.no_grad():
        distribution, target = checked(distribution, y)
        target = target.double()
        if level is not None:
            return _quantile(distribution, target, weights, level)
        return _DECOMPOSE[score](distribution, target, weights)


def decompose_event(probability: Tensor, happened: Tensor, weights: Tensor) -> Decomposition:
    """The Brier score of one event, (n,) each."""
    p, z, w = _used(weights, probability, happened)
    scores = [np.square(forecast - z) for forecast in (p, isotonic_mean(p, z, w), _constant(z, w))]
    return _decomposition(scores, w)


def _brier(distribution: Distribution, y: Tensor, weights: Tensor) -> Decomposition:
    probs, classes = class_probabilities(distribution, y)
    # the two classes of a Bernoulli have one score, that of the event
    events = [1] if isinstance(distribution, Bernoulli) else range(probs.shape[-1])
    parts = [decompose_event(probs[:, k], classes == k, weights) for k in events]
    return Decomposition(*(sum(values) for values in zip(*parts, strict=True)))


def _log(distribution: Distribution, y: Tensor, weights: Tensor) -> Decomposition:
    probs, classes = class_probabilities(distribution, y)
    if probs.shape[-1] != 2:
        raise ValueError(
            f"the log score is decomposed for two classes, got {probs.shape[-1]}. Take 'brier', or a Bernoulli of one "
            "class against the others."
        )
    values, p, z, w = _used(weights, nll(distribution, y).reshape(-1), probs[:, 1], classes)
    recalibrated, constant = (-xlogy(z, f) - xlog1py(1 - z, -f) for f in (isotonic_mean(p, z, w), _constant(z, w)))
    return _decomposition([values, recalibrated, constant], w)


def _squared_error(distribution: Distribution, y: Tensor, weights: Tensor) -> Decomposition:
    mean, t, w = _used(weights, widen(distribution).mean.reshape(-1), y.reshape(-1))
    scores = [np.square(forecast - t) for forecast in (mean, isotonic_mean(mean, t, w), _constant(t, w))]
    return _decomposition(scores, w)


def _quantile(distribution: Distribution, y: Tensor, weights: Tensor, level: float) -> Decomposition:
    q = icdf(widen(distribution), torch.tensor(level, dtype=torch.float64, device=device_of(distribution)))
    quantile, t, w = _used(weights, q.reshape(-1), y.reshape(-1))
    constant = isotonic_quantile(np.zeros_like(t), t, w, level)
    forecasts = (quantile, isotonic_quantile(quantile, t, w, level), constant)
    scores = [np.maximum(level * (t - f), (level - 1) * (t - f)) for f in forecasts]
    return _decomposition(scores, w)


def _crps(distribution: Distribution, y: Tensor, weights: Tensor) -> Decomposition:
    wide = widen(distribution)
    score, t, w = _used(weights, marginal_crps(wide, y).reshape(-1), y.reshape(-1))
    thresholds, widths, uncertainty = _thresholds(t, w, is_discrete(distribution))
    discrimination = 0.0
    for threshold, width in zip(thresholds, widths, strict=True):
        z = torch.tensor(threshold, dtype=torch.float64, device=weights.device)
        below, _ = _used(weights, cdf(wide, z.expand(distribution.batch_shape)).reshape(-1))
        happened = (t <= threshold).astype(np.float64)
        recalibrated = isotonic_mean(below, happened, w)
        squares = np.square(recalibrated - np.average(happened, weights=w))
        discrimination += float(width * np.average(squares, weights=w))
    mean = float(np.average(score, weights=w))
    return Decomposition(mean, mean + discrimination - uncertainty, discrimination, uncertainty)


_DECOMPOSE: dict[str, Callable[[Distribution, Tensor, Tensor], Decomposition]] = {
    "brier": _brier,
    "log": _log,
    "squared_error": _squared_error,
    "crps": _crps,
}


def _thresholds(y: Array, weights: Array, discrete: bool) -> tuple[Array, Array, float]:
    """Thresholds, the lengths that they stand for, and the integral of r(1 - r) with r the share of targets below."""
    values, ties = np.unique(y, return_inverse=True)
    if discrete and values[-1] - values[0] <= _THRESHOLDS:
        grid = np.arange(values[0], values[-1] + 1)
        ties, values = np.searchsorted(grid, values)[ties], grid
    share = np.cumsum(np.bincount(ties, weights, len(values)))[:-1] / weights.sum()
    lengths = np.diff(values)
    # bounds what a stretch can add to the discrimination: the larger, the more thresholds it has
    part = lengths * share * (1 - share)
    total = float(part.sum())
    if len(lengths) > _THRESHOLDS:
        levels = (np.arange(_THRESHOLDS) + 0.5) / _THRESHOLDS
        gap = np.searchsorted(np.cumsum(part), levels * total)
        step, place = total / _THRESHOLDS * lengths[gap] / part[gap], 0.5 * lengths[gap]
    else:
        pieces = np.ones(len(part), dtype=np.intp) if discrete else np.ceil(_THRESHOLDS * part / total).astype(np.intp)
        gap = np.repeat(np.arange(len(part)), pieces)
        step = (lengths / pieces)[gap]
        place = step * (np.arange(len(gap)) - np.repeat(np.cumsum(pieces) - pieces, pieces) + 0.5)
    middle = values[gap] + place
    # between neighbouring floats there is no middle, and no count between two counts
    middle = np.floor(middle) if discrete else np.where(middle < values[gap + 1], middle, values[gap])
    return middle, step, total


def _used(weights: Tensor, *values: Tensor) -> list[Array]:
    """Rows with a positive weight as arrays in float64, and these weights last."""
    used = weights > 0
    return [v[used].double().cpu().numpy() for v in (*values, weights)]


def _constant(y: Array, weights: Array) -> Array:
    """The best constant mean, with the same rounding as the regression on a constant forecast."""
    return isotonic_mean(np.zeros_like(y), y, weights)


def _decomposition(scores: Sequence[Array], weights: Array) -> Decomposition:
    """From the scores of the forecast, of the recalibrated one and of the best constant, (n,) each."""
    forecast, recalibrated, constant = scores

    def mean(values: Array) -> float:
        return float(np.average(values, weights=weights))

    # rounding must not make a part negative
    miscalibration, discrimination = max(mean(forecast - recalibrated), 0.0), max(mean(constant - recalibrated), 0.0)
    return Decomposition(mean(forecast), miscalibration, discrimination, mean(constant))
