"""The negative log-likelihood."""

from typing import Any

from torch import Tensor

from .._given import Numbers
from ..distributions.parts import to_dtype_of
from ..distributions.scoring import marginal_nll
from ._inputs import checked


def nll(distribution: Any, y: Numbers) -> Tensor:
    r"""Negative log-likelihood (logarithmic score), :math:`-\log p(y)`, in nats; smaller is better.

    Parameters
    ----------
    distribution : distribution, or what else `probmix.adapters.as_distribution` takes
    y : array-like, broadcastable to batch shape + event shape

    Returns
    -------
    Tensor, (*batch_shape,), in the dtype of the distribution
        One value per row; several targets count jointly. Infinite where a target is impossible.

    Raises
    ------
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
    """
    distribution, y = checked(distribution, y)
    return to_dtype_of(distribution, marginal_nll(distribution, y))
