"""The ranked probability score of ordered classes."""

import torch
from torch import Tensor
from torch.distributions import Categorical, Distribution

from ..distributions.parts import innermost
from ..families.tools import check_support
from ._values import check_floats
from .crps import crps

# Rounding of float32 probabilities stays far below, counts and percentages lie far above.
_TOLERANCE = 1e-3


def ranked_probability_score(distribution: Distribution | Tensor, y: Tensor) -> Tensor:
    r"""Ranked probability score of ordered classes; smaller is better, from 0 to K - 1.

    .. math:: \mathrm{RPS} = \sum_{k<K} \Bigl(\sum_{j \le k} p_j - 1[y \le k]\Bigr)^2

    The sum is not divided by K - 1. It is the CRPS of the class index, so `crps` gives the same for a distribution. For
    classes without an order see `brier`.

    Parameters
    ----------
    distribution : Categorical, Independent or mixture of such, or Tensor of probabilities (*B, K)
        Probabilities in float32 or float64 with the sum 1 over the last axis.
    y : Tensor of class indices, broadcastable to batch shape + event shape, or (*B,)

    Returns
    -------
    Tensor, (*batch_shape,), in the dtype of the distribution
        One value per row; the mean over several targets.

    Raises
    ------
    TypeError
        If the distribution is not categorical, or the probabilities are not float32 or float64.
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
    if isinstance(distribution, Tensor):
        distribution = _categorical(distribution)
    base = innermost(distribution)
    if not isinstance(base, Categorical):
        raise TypeError(
            f"the ranked probability score needs a Categorical distribution, got {type(base).__name__}. Use `crps`."
        )
    return crps(distribution, y)


def _categorical(probs: Tensor) -> Categorical:
    check_floats("probs", probs)
    if probs.dim() == 0 or probs.shape[-1] == 0:
        raise ValueError(
            f"`probs` must hold one probability for each class along the last axis, got shape {tuple(probs.shape)}. "
            "Pass shape (rows, classes)."
        )
    check_support(probs, probs >= 0, "`probs` must not be negative", "For logits pass logits.softmax(-1).")
    total = probs.sum(-1)
    check_support(
        total, (total - 1).abs() < _TOLERANCE, "`probs` must have the sum 1 in each row", "Divide by their sum."
    )
    return torch.distributions.Categorical(probs, validate_args=False)
