"""Calibration of classifiers in one number: the expected calibration error of the most probable class."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .._given import Numbers
from ..distributions.parts import to_dtype_of
from ._classes import as_classes
from ._isotonic import isotonic_mean
from ._rows import class_probabilities, row_weights


def expected_calibration_error(
    distribution: Any,
    y: Numbers,
    bins: int | None = 15,
    *,
    strategy: str = "uniform",
    sample_weight: Numbers | None = None,
) -> Tensor:
    r"""Expected calibration error (ECE) of the most probable class; smaller is better, from 0 to 1.

    .. math:: \mathrm{ECE} = \sum_b \frac{n_b}{n}\,\bigl|\mathrm{accuracy}_b - \mathrm{confidence}_b\bigr|

    over bins b of the confidence :math:`\max_k p_k`, with the mean confidence and the share of rows where the most
    probable class was right.

    Parameters
    ----------
    distribution : Categorical or Bernoulli, or probabilities (*B, K)
    y : array-like of class indices, broadcastable to the batch shape
    bins : int or None
        Number of bins. None takes none: the accuracy given the confidence is an isotonic regression, as in
        `reliability_curve`.
    strategy : {"uniform", "quantile"}
        Bins of equal width, :math:`((b - 1)/B, b/B]`, or of equal weight. Equal confidences share a bin, so that there
        may be fewer.
    sample_weight : array-like, (*batch_shape,), optional
        Weights of the rows.

    Returns
    -------
    Tensor, scalar, in the dtype of the distribution

    Raises
    ------
    TypeError
        If the distribution is neither Categorical nor Bernoulli.
    ValueError
        If `y` is no class index, there are no rows or no bins, the weights do not fit, or for an unknown strategy.

    Notes
    -----
    A calibrated prediction does not have 0 but, by chance, about :math:`\sqrt{2/\pi}\sum_b \sqrt{v_b}/n` where
    :math:`v_b` sums :math:`c(1 - c)` over the confidences in the bin: at most :math:`0.4\sqrt{B/n}`. It grows with the
    number of bins, so compare values for the same bins only. The ECE is no proper score: a constant prediction of the
    class frequencies has 0. Report it beside `brier` or `nll`, or take `corp_decomposition`.

    References
    ----------
    Naeini, Cooper and Hauskrecht (2015), Obtaining well calibrated probabilities using Bayesian binning, AAAI.
    Guo, Pleiss, Sun and Weinberger (2017), On calibration of modern neural networks, ICML.
    Dimitriadis, Gneiting and Jordan (2021), Stable reliability diagrams for probabilistic classifiers, PNAS 118,
    e2016191118.

    Examples
    --------
    >>> import torch
    >>> from probmix.scores import expected_calibration_error
    >>> probs = torch.tensor([[0.9, 0.1], [0.9, 0.1], [0.3, 0.7], [0.4, 0.6]])
    >>> expected_calibration_error(torch.distributions.Categorical(probs), torch.tensor([0, 1, 1, 1]), bins=4)
    tensor(0.3750)
    """
    if bins is not None and bins < 1:
        raise ValueError(f"`bins` must be at least 1, or None for an isotonic regression; got {bins}.")
    if strategy not in ("uniform", "quantile"):
        raise ValueError(f"`strategy` must be 'uniform' or 'quantile'; got {strategy!r}.")
    distribution = as_classes(distribution)
    weights = row_weights(distribution, sample_weight)
    probs, index = class_probabilities(distribution, y)
    used = weights > 0
    weights, index = weights[used], index[used]
    confidence, top = probs[used].max(-1)
    right = (top == index).double()
    if bins is None:
        arrays = [values.detach().cpu().numpy() for values in (confidence, right, weights)]
        distance = (confidence - torch.from_numpy(isotonic_mean(*arrays)).to(confidence)).abs()
        return to_dtype_of(distribution, (weights * distance).sum() / weights.sum())
    edges = torch.arange(1, bins, dtype=torch.float64, device=index.device) / bins
    if strategy == "quantile":
        edges = _weighted_quantiles(confidence.detach(), weights, edges)
    # the number of edges below: bins are closed on the right
    place = torch.searchsorted(edges, confidence.detach())
    gaps = confidence.new_zeros(bins).index_add(0, place, weights * (confidence - right))
    return to_dtype_of(distribution, gaps.abs().sum() / weights.sum())


def _weighted_quantiles(values: Tensor, weights: Tensor, levels: Tensor) -> Tensor:
    """The smallest value that, with all smaller ones, has at least that share of the weight."""
    ordered, order = values.sort()
    total = weights[order].cumsum(0)
    # rounding of k/B times the total must not push an edge to the next value
    index: Tensor = torch.searchsorted(total, levels * total[-1] * (1 - 1e-12))
    return ordered[index]
