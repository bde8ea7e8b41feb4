"""The CRPS of a part of the line: of the values that matter."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from .._given import Numbers, as_tensor
from .._targets import broadcasts_to
from ..distributions.parts import to_dtype_of
from ..distributions.scoring import marginal_window_crps
from ..families.tools import check_support
from ._inputs import checked, mean_over_event
from ._values import floats, rows_like
from .crps import crps
from .samples import crps_samples


def threshold_weighted_crps(
    distribution: Any, y: Numbers, lower: Numbers = -math.inf, upper: Numbers = math.inf
) -> Tensor:
    r"""CRPS between two thresholds, in the unit of y; smaller is better.

    .. math:: \mathrm{twCRPS}(F, y) = \int_a^b (F(x) - 1[x \ge y])^2\,dx = E|v(Y) - v(y)| - \tfrac12 E|v(Y) - v(Y')|,
              \qquad v(x) = \min(\max(x, a), b)

    What a forecast says of values below a and above b does not count, but how likely they are does. It is proper, which
    the mean of the CRPS over the rows with y in [a, b] is not: that one rewards forecasts of too many extremes.

    Parameters
    ----------
    distribution : distribution, or what else `probmix.adapters.as_distribution` takes
        Any that `crps` accepts.
    y : array-like, broadcastable to batch shape + event shape
        Whole numbers where the distribution is discrete. Targets outside of [a, b] count as well: do not drop them.
    lower, upper : float or array-like, broadcastable to batch shape + event shape
        The thresholds a and b, in the unit of y. Without them it is the `crps`.

    Returns
    -------
    Tensor, (*batch_shape,), in the dtype of the distribution
        One value per row. For several targets: the mean over their marginals.

    Raises
    ------
    ValueError
        If `y` has another shape, is not finite, or no whole number where the distribution is discrete; if a threshold
        has another shape or is NaN, `lower` is above `upper`, or both are infinite with the same sign.
    NotImplementedError
        If the distribution has no cdf or quantiles.

    Notes
    -----
    The windows of a partition of the line add up to the `crps`. Closed form for Normal, also multivariate, Categorical,
    Empirical and its mixtures, and QuantileFunction; a sum over the integers, the first and last of which count in
    part, for other discrete distributions; else the quadrature of `crps`, to 1e-10 relative to the value where F is
    known that well. F counts as 0 below its quantile at 1e-12 and as
    1 above that at 1 - 1e-12.

    References
    ----------
    Gneiting and Ranjan (2011), Comparing density forecasts using threshold- and quantile-weighted scoring rules,
    J. Bus. Econ. Stat. 29, 411-422.
    Allen, Ginsbourger and Ziegel (2023), Evaluating forecasts for high-impact events using transformed kernel scores,
    SIAM/ASA J. Uncertain. Quantif. 11, 906-940 (chaining).

    Examples
    --------
    >>> import torch
    >>> from probmix.scores import threshold_weighted_crps
    >>> normal = torch.distributions.Normal(torch.zeros(2), 1.0)
    >>> threshold_weighted_crps(normal, torch.tensor([0.0, 3.0]), lower=1.0)
    tensor([0.0072, 1.8414])
    """
    distribution, y = checked(distribution, y)
    y = y.double()
    lower, upper = _checked_window(lower, upper, y)
    whole = torch.isneginf(lower) & torch.isposinf(upper)
    if bool(whole.all()):
        return crps(distribution, y)
    return to_dtype_of(distribution, mean_over_event(distribution, marginal_window_crps(distribution, y, lower, upper)))


def threshold_weighted_crps_samples(
    samples: Numbers,
    y: Numbers,
    lower: Numbers = -math.inf,
    upper: Numbers = math.inf,
    *,
    fair: bool = True,
) -> Tensor:
    r"""CRPS of m draws between two thresholds, in the unit of y; smaller is better.

    It is `crps_samples` of the draws and the target, all moved into [a, b] by :math:`v(x) = \min(\max(x, a), b)`.

    Parameters
    ----------
    samples : array-like, (*B, m)
        The draws along the last axis, in any order.
    y : array-like, broadcastable to (*B,)
    lower, upper : float or array-like, broadcastable to (*B,)
        The thresholds a and b, in the unit of y.
    fair : bool
        Whether the score is unbiased, see `crps_samples`.

    Returns
    -------
    Tensor, (*B,), in the dtype of the draws
        One value per row.

    Raises
    ------
    TypeError
        If the draws are not float32 or float64.
    ValueError
        As `crps_samples` and, for the thresholds, `threshold_weighted_crps`.

    References
    ----------
    Allen, Ginsbourger and Ziegel (2023), Evaluating forecasts for high-impact events using transformed kernel scores,
    SIAM/ASA J. Uncertain. Quantif. 11, 906-940.

    Examples
    --------
    >>> import torch
    >>> from probmix.scores import threshold_weighted_crps_samples
    >>> samples = torch.tensor([[0.0, 1.0, 3.0], [2.0, 2.0, 2.0]])
    >>> threshold_weighted_crps_samples(samples, torch.tensor([2.0, 5.0]), lower=1.0, upper=4.0, fair=False)
    tensor([0.5556, 2.0000])
    """
    samples = floats("samples", samples)
    rows = samples.shape[:-1]
    y = rows_like("y", y, rows, "the shape of `samples` without the last axis", samples)
    lower, upper = (end.to(samples.dtype) for end in _checked_window(lower, upper, y))
    if samples.dim():
        samples = torch.minimum(torch.maximum(samples, lower.unsqueeze(-1)), upper.unsqueeze(-1))
    return crps_samples(samples, torch.minimum(torch.maximum(y, lower), upper), fair=fair)


def _checked_window(lower: Numbers, upper: Numbers, y: Tensor) -> tuple[Tensor, Tensor]:
    """Both thresholds in float64 in the shape of `y`."""
    low, high = (_checked_end(name, end, y) for name, end in (("lower", lower), ("upper", upper)))
    check_support(low, low < torch.inf, "`lower` must be finite or minus infinity", "Pass -inf for no lower end.")
    check_support(high, high > -torch.inf, "`upper` must be finite or infinity", "Pass inf for no upper end.")
    check_support(low, low <= high, "`lower` must not be above `upper`", "Swap the thresholds of these rows.")
    return low, high


def _checked_end(name: str, end: Numbers, y: Tensor) -> Tensor:
    values = as_tensor(end, name).to(y.device, torch.float64)
    if not broadcasts_to(values.shape, y.shape):
        raise ValueError(
            f"`{name}` must broadcast to the shape of the targets, {tuple(y.shape)}; got shape {tuple(values.shape)}. "
            "Pass a number, or one threshold for each target."
        )
    check_support(values, ~values.isnan(), f"`{name}` must not be NaN", "Pass an infinite one for no threshold.")
    return values.expand(y.shape)
