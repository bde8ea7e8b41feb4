"""A score of the first two moments."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from .._given import Numbers
from ..distributions.parts import innermost, to_dtype_of, widen
from ..families.tools import check_support
from ._inputs import checked, mean_over_event


def dawid_sebastiani(distribution: Any, y: Numbers) -> Tensor:
    r"""Dawid-Sebastiani score of mean and variance; smaller is better, and it may be negative.

    .. math:: \mathrm{DSS} = \frac{(y - \mu)^2}{\sigma^2} + 2\log\sigma

    For Normals it is twice the NLL less :math:`\log 2\pi`. For others it needs no density: it is proper for all with a
    variance, and strictly so among distributions that differ in mean or variance.

    Parameters
    ----------
    distribution : distribution, or what else `probmix.adapters.as_distribution` takes
        With a mean and a variance that are finite.
    y : array-like, broadcastable to batch shape + event shape

    Returns
    -------
    Tensor, (*batch_shape,), in the dtype of the distribution
        One value per row. For several targets: the mean of the scores of their marginals, blind to their dependence.

    Raises
    ------
    ValueError
        If `y` has another shape, is not finite, or no whole number where the distribution is discrete; if a mean is not
        finite, or a variance is not positive and finite.
    NotImplementedError
        If the class of the distribution has no mean or variance.

    Notes
    -----
    Evaluated in float64, and differentiable in the parameters where mean and variance are.

    References
    ----------
    Dawid and Sebastiani (1999), Coherent dispersion criteria for optimal experimental design, Ann. Stat. 27, 65-81.
    Gneiting and Raftery (2007), Strictly proper scoring rules, prediction, and estimation, JASA 102, 359-378.

    Examples
    --------
    >>> import torch
    >>> from probmix.scores import dawid_sebastiani
    >>> dawid_sebastiani(torch.distributions.Normal(torch.zeros(2), torch.tensor([1.0, 2.0])), torch.tensor([3.0, 3.0]))
    tensor([9.0000, 3.6363])
    """
    distribution, y = checked(distribution, y)
    wide = widen(distribution)
    try:
        mean, variance = wide.mean, wide.variance
    except NotImplementedError as error:
        name = type(innermost(distribution)).__name__
        raise NotImplementedError(
            f"the Dawid-Sebastiani score needs the mean and the variance, which {name} does not have. "
            "Use `nll` or `crps`."
        ) from error
    mend = "Use `nll` or `crps` for distributions without moments, `ranked_probability_score` for classes."
    check_support(mean, mean.isfinite(), "the mean must be finite", mend)
    usable = (variance > 0) & variance.isfinite()
    check_support(variance, usable, "the variance must be positive and finite", "Bound the scale away from zero.")
    value = (y.double() - mean).square() / variance + variance.log()
    return to_dtype_of(distribution, mean_over_event(distribution, value))
