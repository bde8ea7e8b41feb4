"""The negative log-likelihood."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.distributions import Distribution

from .._given import Numbers
from ..distributions.parts import to_dtype_of
from ..distributions.scoring import marginal_nll
from ._classes import as_classes
from ._inputs import checked


def nll(distribution: Any, y: Numbers) -> Tensor:
    r"""Negative log-likelihood (logarithmic score), :math:`-\log p(y)`, in nats; smaller is better.

    Parameters
    ----------
    distribution : distribution, or what else `probmix.adapters.as_distribution` takes
        But an array holds class probabilities, (*B, K), as from `predict_proba`, for draws have no density.
    y : array-like, broadcastable to batch shape + event shape
        For class probabilities the indices of the classes.

    Returns
    -------
    Tensor, (*batch_shape,), in the dtype of the distribution
        One value per row; several targets count jointly. Infinite where a target is impossible.

    Raises
    ------
    NotImplementedError
        If an array holds anything else than probabilities with the sum 1 in each row.
    ValueError
        If `y` has another shape or is not finite, or outside the support of a distribution that validates.

    Notes
    -----
    All are evaluated in float64; those that this package has a class for, torch's own too, in forms that do not cancel:
    at a rate of 1e6 float32's :math:`y \log r - r - \log y!` is off by whole nats.

    References
    ----------
    Gneiting and Raftery (2007), Strictly proper scoring rules, prediction, and estimation, JASA 102, 359-378.

    Examples
    --------
    >>> import torch
    >>> from probmix.scores import nll
    >>> nll(torch.distributions.Normal(torch.zeros(2), 1.0), torch.tensor([0.0, 2.0]))
    tensor([0.9189, 2.9189])
    >>> nll([[0.5, 0.5], [0.9, 0.1]], [0, 1])
    tensor([0.6931, 2.3026], dtype=torch.float64)
    """
    distribution, y = checked(_density(distribution), y)
    return to_dtype_of(distribution, marginal_nll(distribution, y))


def _density(prediction: Any) -> Any:
    """Class probabilities as a distribution; of other arrays the door says what they lack."""
    if isinstance(prediction, Distribution):
        return prediction
    try:
        return as_classes(prediction)
    except ValueError:
        return prediction
