"""Scores as scikit-learn scorers."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor
from torch.distributions import Distribution

from ._inputs import device_of
from .crps import crps
from .nll import nll
from .prediction import encoded_targets, predicted_distribution


def neg_nll_scorer(estimator: Any, X: Any, y: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None) -> float:
    """Minus the mean negative log-likelihood; larger is better. Pass it as ``scoring=neg_nll_scorer``.

    Parameters
    ----------
    estimator : fitted model that predicts distributions
        By `predict_dist`, or of another library: a classifier of scikit-learn, a model of NGBoost or skpro, see
        `probmix.adapters.adapt`. Also at the end of a `Pipeline`, or found by a search.
    X : array-like, (n, features)
    y : array-like, (n,) or (n, targets)
        Class labels as in `estimator.classes_` if the estimator has them.
    sample_weight : array-like, (n,), optional

    Returns
    -------
    float

    Raises
    ------
    TypeError
        If the model predicts no distributions.
    NotImplementedError
        If what it predicts has no such score, as draws have no NLL.
    ValueError
        If `y` holds a class that the estimator has not seen, or does not match the predictions.

    Examples
    --------
    >>> import torch
    >>> from probmix.scores import neg_nll_scorer
    >>> class Standard:
    ...     def predict_dist(self, X):
    ...         return torch.distributions.Normal(torch.zeros(len(X)), torch.ones(len(X)))
    >>> round(neg_nll_scorer(Standard(), [[1.0], [2.0]], [0.0, 2.0]), 4)
    -1.9189
    """
    return _negative_mean(nll, estimator, X, y, sample_weight)


def neg_crps_scorer(estimator: Any, X: Any, y: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None) -> float:
    """Minus the mean CRPS; larger is better. Pass it as ``scoring=neg_crps_scorer``.

    For classifiers this is the ranked probability score, with classes in the order of `classes_`.

    Parameters
    ----------
    estimator : fitted model that predicts distributions
        By `predict_dist`, or of another library: a classifier of scikit-learn, a model of NGBoost or skpro, see
        `probmix.adapters.adapt`. Also at the end of a `Pipeline`, or found by a search.
    X : array-like, (n, features)
    y : array-like, (n,) or (n, targets)
        Class labels as in `estimator.classes_` if the estimator has them.
    sample_weight : array-like, (n,), optional

    Returns
    -------
    float

    Raises
    ------
    TypeError
        If the model predicts no distributions.
    NotImplementedError
        If what it predicts has no such score, as draws have no NLL.
    ValueError
        If `y` holds a class that the estimator has not seen, or does not match the predictions.

    Examples
    --------
    >>> import torch
    >>> from probmix.scores import neg_crps_scorer
    >>> class Standard:
    ...     def predict_dist(self, X):
    ...         return torch.distributions.Normal(torch.zeros(len(X)), torch.ones(len(X)))
    >>> round(neg_crps_scorer(Standard(), [[1.0], [2.0]], [0.0, 3.0]), 4)
    -1.3351
    """
    return _negative_mean(crps, estimator, X, y, sample_weight)


def _negative_mean(
    score: Callable[[Distribution, Tensor], Tensor],
    estimator: Any,
    X: Any,
    y: npt.ArrayLike,
    sample_weight: npt.ArrayLike | None,
) -> float:
    distribution = predicted_distribution(estimator, X)
    target = encoded_targets(y, getattr(estimator, "classes_", None))
    values = score(distribution, target.to(device_of(distribution)))
    weights = None if sample_weight is None else np.asarray(sample_weight, dtype=np.float64)
    return -float(np.average(values.double().cpu().numpy(), weights=weights))
