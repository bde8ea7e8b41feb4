"""The ranked probability score of ordered classes."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.distributions import Categorical

from .._given import Numbers
from ..distributions.parts import innermost
from ._classes import as_classes
from .crps import crps


def ranked_probability_score(distribution: Any, y: Numbers) -> Tensor:
    r"""Ranked probability score of ordered classes; smaller is better, from 0 to K - 1.

    .. math:: \mathrm{RPS} = \sum_{k<K} \Bigl(\sum_{j \le k} p_j - 1[y \le k]\Bigr)^2

    The sum is not divided by K - 1. It is the CRPS of the class index, so `crps` gives the same for a distribution. For
    classes without an order see `brier`.

    Parameters
    ----------
    distribution : Categorical, Independent or mixture of such, or probabilities (*B, K)
        Probabilities with the sum 1 over the last axis.
    y : array-like of class indices, broadcastable to batch shape + event shape, or (*B,)

    Returns
    -------
    Tensor, (*batch_shape,), in the dtype of the distribution
        One value per row; the mean over several targets.

    Raises
    ------
    TypeError
        If the distribution is not categorical, or the probabilities are a tensor that is not float32 or float64.
    ValueError
        If `y` has another shape or is no class index; if probabilities are negative or their sum is not 1.

    References
    ----------
    Epstein (1969), A scoring system for probability forecasts of ranked categories, J. Appl. Meteorol. 8, 985-987.

    Examples
    --------
    >>> import torch
    >>> from probmix.scores import ranked_probability_score
    >>> ranked_probability_score(torch.tensor([[0.5, 0.3, 0.2], [0.2, 0.3, 0.5]]), torch.tensor([0, 0]))
    tensor([0.2900, 0.8900])
    """
    distribution = as_classes(distribution)
    base = innermost(distribution)
    if not isinstance(base, Categorical):
        raise TypeError(
            f"the ranked probability score needs a Categorical distribution, got {type(base).__name__}. Use `crps`."
        )
    return crps(distribution, y)
