"""Predictions of any library as torch distributions."""

from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor
from torch.distributions import Distribution

from .._given import as_tensor
from .._told import warn
from ..distributions.empirical import Empirical
from ._ngboost import from_ngboost
from ._origin import comes_from
from ._scipy import from_scipy
from ._skpro import from_skpro

# Probabilities may be rounded to three digits.
_ROUNDING = 2e-3


def as_distribution(prediction: Any) -> Distribution:
    r"""A prediction for n rows as a torch distribution of batch shape (n,).

    Parameters
    ----------
    prediction : distribution or array-like, (n, m)
        - a torch or Pyro distribution, which is returned as it is;
        - a frozen distribution of SciPy with array parameters;
        - what `pred_dist` of an NGBoost model returns;
        - what `predict_proba` of a skpro regressor returns;
        - a NumPy array, DataFrame or tensor of m draws for each row, an `Empirical` distribution. For quantiles make a
          `QuantileFunction`, for class probabilities a `Categorical`.

    Returns
    -------
    torch distribution
        For several targets with an event shape of (targets,).

    Raises
    ------
    TypeError
        If it is none of these, or has neither density nor cdf.
    ValueError
        If an array has another shape, or a distribution has invalid parameters.

    Notes
    -----
    Where this package has the class (Normal, Laplace, LogNormal, Gamma, Exponential, Beta, inverse Gaussian, Student t,
    Poisson, negative binomial, Bernoulli, Categorical), it is made anew from the parameters, in float64. All others
    become a distribution that asks SciPy's or skpro's own cdf, ppf and logarithm of the density on the host: the same
    scores, by quadrature where there is no closed form, but without gradients, and no faster on a GPU. skpro answers
    one value for each row in one call, so that there the CRPS takes some hundred calls. Targets outside the support
    have density zero.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy import stats
    >>> from probmix.adapters import as_distribution
    >>> as_distribution(stats.norm([0.0, 1.0], 2.0))
    Normal(loc: torch.Size([2]), scale: torch.Size([2]))
    >>> as_distribution(stats.weibull_min(c=np.array([3.0, 4.0])))
    SciPyDistribution(weibull_min, batch_shape=(2,))
    >>> as_distribution(np.array([[0.0, 1.0, 5.0]])).mean
    tensor([2.], dtype=torch.float64)
    """
    if isinstance(prediction, Distribution):
        return prediction
    if comes_from(prediction, "scipy", "rv_frozen"):
        return from_scipy(prediction)
    if comes_from(prediction, "ngboost", "Distn"):
        return from_ngboost(prediction)
    if comes_from(prediction, "skpro", "BaseDistribution"):
        return from_skpro(prediction)
    if isinstance(prediction, np.ndarray | Tensor | pd.DataFrame):
        return _from_draws(prediction)
    raise TypeError(
        "a prediction must be a torch, Pyro or frozen SciPy distribution, one that NGBoost or skpro predicts, or an "
        f"array of draws; got {type(prediction).__name__}."
    )


def is_prediction(thing: Any) -> bool:
    """Whether `as_distribution` accepts it, rather than its being a model."""
    return isinstance(thing, Distribution | np.ndarray | Tensor | pd.DataFrame) or any(
        comes_from(thing, *origin)
        for origin in (("scipy", "rv_frozen"), ("ngboost", "Distn"), ("skpro", "BaseDistribution"))
    )


def _from_draws(draws: Any) -> Empirical:
    values = as_tensor(draws, "predictions")
    if values.dim() != 2:
        raise ValueError(
            f"an array of predictions must hold draws, of shape (n, m), got shape {tuple(values.shape)}. A point "
            "prediction has no distribution; pass draws, or a distribution."
        )
    values = values if values.is_floating_point() else values.double()
    if _may_be_probabilities(values):
        warn(
            f"rows of an array of shape {tuple(values.shape)} have the sum 1, as probabilities of classes do. They "
            "are taken for draws; of probabilities make a distribution, torch.distributions.Categorical(probs)."
        )
    return Empirical(values)


def _may_be_probabilities(values: Tensor) -> bool:
    """Whether all rows have the sum 1, with a share between 0 and 1 somewhere."""
    if values.numel() == 0 or values.shape[1] < 2:
        return False
    shares = (values >= 0).all() & ((values.double().sum(-1) - 1).abs() < _ROUNDING).all()
    return bool(shares & ((values > 0) & (values < 1)).any())
