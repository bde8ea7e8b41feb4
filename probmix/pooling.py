"""Log-linear and linear opinion pools."""

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import Distribution

from .distributions.pools import check_weights as check_weights
from .distributions.pools import pooled


def log_linear_pool(eta: Tensor, weights: Tensor | None = None) -> Tensor:
    r"""Log-linear pool of M members of one exponential family.

    .. math:: \tilde p \propto \prod_k p_k^{w_k} \quad\Longleftrightarrow\quad \tilde\eta = \sum_k w_k\,\eta_k

    The domain of natural parameters is convex, so the pool never leaves it.

    Parameters
    ----------
    eta : Tensor, (*B, M, K)
        Natural parameters of the M points.
    weights : Tensor, (*B, M), optional
        On the simplex over the last axis; leading axes broadcast. Equal by default.

    Returns
    -------
    Tensor, (*B, K)

    Raises
    ------
    ValueError
        If the weights are off the simplex, or their last axis does not match the points.

    References
    ----------
    El-Laham et al. (2025), Mixup Regularization: A Probabilistic Perspective, UAI, section 3.

    Examples
    --------
    Two Gaussians are pooled by precision:

    >>> import torch
    >>> from probmix import families, log_linear_pool
    >>> gaussian = families.get("gaussian")
    >>> eta = gaussian.natural_params(torch.distributions.Normal(torch.tensor([0.0, 3.0]), torch.tensor([1.0, 0.5])))
    >>> gaussian.distribution(log_linear_pool(eta, torch.tensor([0.5, 0.5]))).mean
    tensor(2.4000)
    """
    if weights is None:
        return eta.mean(-2)
    _check_points(eta.shape[:-1], weights)
    check_weights(weights)
    return (weights.unsqueeze(-1) * eta).sum(-2)


def linear_pool(distribution: Distribution, weights: Tensor | None = None) -> dist.TorchDistribution:
    r"""Linear pool (mixture) of M distributions, :math:`\tilde p = \sum_k w_k p_k`.

    Parameters
    ----------
    distribution : torch or Pyro distribution
        Its last batch axis holds the M points.
    weights : Tensor, (*B, M), optional
        On the simplex over the last axis; leading axes broadcast. Equal by default.

    Returns
    -------
    Pyro distribution, batch shape *B
        A `Mixture`; for categorical and zero-adjusted distributions, and for binned ones of the same bins, the one of
        their kind that the mixture is.

    Raises
    ------
    ValueError
        If the weights are off the simplex, or their last axis does not match the points.

    Examples
    --------
    >>> import torch
    >>> from probmix import linear_pool
    >>> from probmix.distributions import Poisson
    >>> linear_pool(Poisson(torch.tensor([1.0, 3.0])), torch.tensor([0.5, 0.5])).mean
    tensor(2.)
    """
    if weights is None:
        weights = _equal_weights(distribution)
    _check_points(distribution.batch_shape, weights)
    check_weights(weights)
    return pooled(distribution, weights)


def _equal_weights(distribution: Distribution) -> Tensor:
    if not distribution.batch_shape:
        raise ValueError("a pool needs a batch axis of points; the distribution has none.")
    parameter = distribution.mean
    points = distribution.batch_shape[-1]
    return torch.full(distribution.batch_shape, 1 / points, dtype=parameter.dtype, device=parameter.device)


def _check_points(batch_shape: torch.Size, weights: Tensor) -> None:
    if weights.ndim == 0 or len(batch_shape) == 0 or weights.shape[-1] != batch_shape[-1]:
        raise ValueError(
            "the last axis of `weights` must match the axis of the points; "
            f"got weights of shape {tuple(weights.shape)} for points of shape {tuple(batch_shape)}."
        )
