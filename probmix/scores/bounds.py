"""The CRPS together with a bound of its numerical error."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .._given import Numbers
from ..distributions.parts import to_dtype_of
from ..distributions.scoring import marginal_crps_with_bound
from ._inputs import checked, mean_over_event


def crps_with_bound(distribution: Any, y: Numbers) -> tuple[Tensor, Tensor]:
    r"""CRPS and an upper bound of its absolute numerical error, both in the unit of y.

    Parameters
    ----------
    distribution : distribution, or what else `probmix.adapters.as_distribution` takes
        Any that `crps` accepts.
    y : array-like, broadcastable to batch shape + event shape
        Whole numbers where the distribution is discrete.

    Returns
    -------
    value : Tensor, (*batch_shape,), in the dtype of the distribution
        As `crps`.
    bound : Tensor, (*batch_shape,), in the dtype of the distribution
        The CRPS of the distribution, its parameters taken as exact, lies within this distance of `value`. No gradient.

    Raises
    ------
    ValueError, NotImplementedError
        As `crps`.

    Notes
    -----
    Closed forms: the rounding of their terms, about 1e-14 of :math:`|y| + E|Y - y|`, plus the error of the incomplete
    gamma (1e-12) and beta functions (1e-13, growing with the concentrations). Quadrature: the coefficients of the
    integrand that every panel resolves last; the mass below 1e-10 that the members of a mixture may hide between nodes,
    and that below 1e-12 in either tail, if it is no heavier than a Cauchy's; and the error of the cdf, which is taken
    to be 1e-12 for families that are not of this package. Mixtures of Poissons above 256: 1e-8 of the value. In
    float32 rounding to that dtype outweighs all. Of blends and mixtures of Student's t and of Tweedie distributions no
    mass hides: it shows at the ends of the panels.

    The estimates of the panels are no proof: a cdf with a step that lies between all nodes escapes them.

    Examples
    --------
    >>> import torch
    >>> from probmix.distributions import InverseGaussian
    >>> from probmix.scores import crps_with_bound
    >>> one = torch.ones(1, dtype=torch.float64)
    >>> value, bound = crps_with_bound(InverseGaussian(one, one), 2 * one)
    >>> round(value.item(), 4), bool(bound < 1e-10 * value)
    (0.815, True)
    """
    distribution, y = checked(distribution, y)
    value, error = marginal_crps_with_bound(distribution, y.double())
    value, error = (mean_over_event(distribution, t) for t in (value, error.detach()))
    rounded = to_dtype_of(distribution, value)
    eps = torch.finfo(rounded.dtype).eps
    return rounded, to_dtype_of(distribution, error + eps * value.detach().abs())
