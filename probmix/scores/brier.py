"""The Brier score."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.distributions import Categorical

from .._given import Numbers
from ..distributions.members import class_probs
from ..distributions.parts import innermost, to_dtype_of
from ._classes import as_classes
from ._inputs import checked, mean_over_event


def brier(distribution: Any, y: Numbers) -> Tensor:
    r"""Brier score of unordered classes; smaller is better, from 0 to 2.

    .. math:: \mathrm{BS} = \sum_k (p_k - 1[y = k])^2

    For two classes this is twice Brier's score of the event. For ordered classes see `crps`.

    Parameters
    ----------
    distribution : Categorical, or Independent of such, or probabilities (*B, K)
    y : array-like of class indices, broadcastable to batch shape + event shape

    Returns
    -------
    Tensor, (*batch_shape,), in the dtype of the distribution
        One value per row; the mean over several targets.

    Raises
    ------
    TypeError
        If the distribution is not categorical.
    ValueError
        If `y` has another shape or is no class index.

    References
    ----------
    Gneiting and Raftery (2007), Strictly proper scoring rules, prediction, and estimation, JASA 102, 359-378.

    Examples
    --------
    >>> import torch
    >>> from probmix.scores import brier
    >>> brier(torch.distributions.Categorical(torch.tensor([[0.5, 0.3, 0.2]])), torch.tensor([0]))
    tensor([0.3800])
    """
    distribution = as_classes(distribution)
    base = innermost(distribution)
    if not isinstance(base, Categorical):
        raise TypeError(f"the Brier score needs a Categorical distribution, got {type(base).__name__}. Use `crps`.")
    distribution, y = checked(distribution, y)
    probs = class_probs(distribution)
    hit = torch.arange(probs.shape[-1], device=y.device) == y.unsqueeze(-1)
    others = torch.where(hit, torch.zeros_like(probs), probs)
    # 1 - p_y is the sum of the others, which keeps its digits where p_y is nearly one
    value = others.sum(-1).square() + others.square().sum(-1)
    return to_dtype_of(distribution, mean_over_event(distribution, value))
