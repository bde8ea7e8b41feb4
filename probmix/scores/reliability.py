"""Reliability of predicted probabilities: how often events happen that were given a probability (CORP)."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.isotonic import isotonic_regression
from torch import Tensor

from .._given import Numbers
from ..distributions.parts import to_dtype_of
from ._classes import as_classes
from ._rows import event_probabilities, row_weights

Array = NDArray[np.float64]

# Simulated data sets of the consistency band, and distinct forecasts where it is taken; between them it is linear.
_RESAMPLES, _PLACES = 1000, 1000


class ReliabilityCurve(NamedTuple):
    """Distinct forecast probabilities in increasing order, the rate of the event at each, and their weight, (m,) each.

    `lower` and `upper` are the ends of the consistency band, (m,) each, or None.
    """

    probability: Tensor
    event_rate: Tensor
    weight: Tensor
    lower: Tensor | None
    upper: Tensor | None


def reliability_curve(
    distribution: Any,
    y: Numbers,
    event: int | None = None,
    *,
    level: float | None = None,
    sample_weight: Numbers | None = None,
    generator: torch.Generator | None = None,
) -> ReliabilityCurve:
    r"""Rate of an event as an increasing function of its forecast probability, by isotonic regression (CORP).

    On the diagonal forecasts are calibrated. Where the curve is flatter than it they are overconfident, where steeper
    underconfident. Unlike the rates in bins it has nothing to tune; it is a step function, constant over pools of
    neighbouring forecasts, where the data tell no more.

    Parameters
    ----------
    distribution : Categorical or Bernoulli, or probabilities (*B, K)
    y : array-like of class indices, broadcastable to the batch shape
    event : int, optional
        The event is that y is this class. By default class 1 of two; of more classes the event is that the most
        probable class of the row comes true, and the curve shows the accuracy over the confidence.
    level : float, optional
        Gives the curve a consistency band, which holds the rate at each single forecast with this probability if the
        forecasts are calibrated: 1000 times the events are drawn from the forecasts themselves.
    sample_weight : array-like, (*batch_shape,), optional
        Weights of the rows; those of weight 0 are left out.
    generator : torch.Generator, optional
        Where the simulated events come from, on the device of the distribution. Without one, a generator with the seed
        0 is made for this call.

    Returns
    -------
    ReliabilityCurve
        `probability`, `event_rate`, `weight` (of all rows with that forecast), `lower` and `upper`, (m,) each, in the
        dtype of the distribution.

    Raises
    ------
    TypeError
        If the distribution is neither Categorical nor Bernoulli.
    ValueError
        If `y` or `event` is no class index, the level is not between 0 and 1, or the weights do not fit.

    References
    ----------
    Dimitriadis, Gneiting and Jordan (2021), Stable reliability diagrams for probabilistic classifiers, PNAS 118,
    e2016191118.

    Examples
    --------
    >>> import torch
    >>> from probmix.scores import reliability_curve
    >>> forecast = torch.distributions.Bernoulli(torch.tensor([0.1, 0.4, 0.4, 0.6, 0.9]))
    >>> curve = reliability_curve(forecast, torch.tensor([0.0, 1.0, 0.0, 0.0, 1.0]))
    >>> curve.probability
    tensor([0.1000, 0.4000, 0.6000, 0.9000])
    >>> curve.event_rate
    tensor([0.0000, 0.3333, 0.3333, 1.0000])
    """
    if level is not None and not 0 < level < 1:
        raise ValueError(f"`level` must lie between 0 and 1, both excluded, got {level:g}. For 95 % pass 0.95.")
    distribution = as_classes(distribution)
    weights = row_weights(distribution, sample_weight)
    probability, happened = event_probabilities(distribution, y, event)
    used = weights > 0
    probability, order = probability[used].detach().sort(stable=True)
    forecast, z, w = (v.double().cpu().numpy() for v in (probability, happened[used][order], weights[used][order]))
    distinct, starts = np.unique(forecast, return_index=True)
    total = np.add.reduceat(w, starts)

    def rates(events: Array) -> Array:
        mean = np.add.reduceat(w * events, starts) / total
        fitted: Array = isotonic_regression(mean, sample_weight=total, y_min=0.0, y_max=1.0)
        return fitted

    ends: list[Array | None] = [None, None]
    if level is not None:
        if generator is None:
            generator = torch.Generator(probability.device).manual_seed(0)
        places = np.unique(np.linspace(0, len(distinct) - 1, _PLACES).round().astype(np.intp))
        simulated = np.empty((_RESAMPLES, len(places)))
        for i in range(_RESAMPLES):
            u = torch.rand(probability.shape, generator=generator, dtype=torch.float64, device=probability.device)
            simulated[i] = rates((u < probability).double().cpu().numpy())[places]
        quantiles = np.quantile(simulated, [(1 - level) / 2, (1 + level) / 2], axis=0)
        ends = [np.interp(distinct, distinct[places], end) for end in quantiles]

    def tensor(values: Array) -> Tensor:
        return to_dtype_of(distribution, torch.from_numpy(values).to(probability.device))

    lower, upper = (None if end is None else tensor(end) for end in ends)
    return ReliabilityCurve(tensor(distinct), tensor(rates(z)), tensor(total), lower, upper)
