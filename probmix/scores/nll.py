"""The negative log-likelihood."""

from torch import Tensor
from torch.distributions import Distribution

from ..distributions.parts import to_dtype_of
from ..distributions.scoring import marginal_nll
from ._inputs import checked_targets


def nll(distribution: Distribution, y: Tensor) -> Tensor:
    r"""Negative log-likelihood (logarithmic score), :math:`-\log p(y)`, in nats; smaller is better.

    Parameters
    ----------
    distribution : torch or Pyro distribution
    y : Tensor, broadcastable to batch shape + event shape

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
    y = checked_targets(distribution, y)
    return to_dtype_of(distribution, marginal_nll(distribution, y))
