"""Fitted models of any library as models with `predict_dist`."""

import inspect
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyro.distributions as dist
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline
from torch.distributions import Distribution

from .._models import last_step
from ..distributions.origins import parametrised
from ._classes import from_probabilities
from ._origin import comes_from
from .predictions import as_distribution


@dataclass(frozen=True)
class AdaptedModel:
    """A fitted model of any library with `predict_dist`; made by `adapt`.

    Parameters
    ----------
    model : fitted model
    """

    model: Any

    def predict_dist(self, X: Any, **params: Any) -> Distribution:
        """The predicted distribution of each row: (n, F) -> batch shape (n,).

        Parameters, such as an exposure, are those of the model's own `predict_dist`.
        """
        return predict_dist(self.model, X, **params)

    @property
    def classes_(self) -> Any:
        """The classes of the model in their order, if it has any."""
        return self.model.classes_


def adapt(model: Any) -> Any:
    """Give any fitted model that predicts distributions a method `predict_dist`, which returns torch distributions.

    The scorers, `evaluate` and the displays call this themselves.

    Parameters
    ----------
    model : fitted model
        - with a method `predict_dist`: returned as it is;
        - a regressor or classifier of NGBoost;
        - a regressor of skpro;
        - a classifier of scikit-learn, or of another library in its manner, with `predict_proba`;
        - a regressor of scikit-learn whose `predict` takes `return_std`, such as `BayesianRidge` or
          `GaussianProcessRegressor`: a Normal. For Gaussian processes it is the distribution of a new target only if
          the noise is part of the kernel, as a `WhiteKernel`, and not given as `alpha`;
        - a `Pipeline` that ends with one of these, or a search that has found one.

    Returns
    -------
    model
        With `predict_dist`, and with `classes_` where the model has them.

    Raises
    ------
    TypeError
        If the model predicts no distribution, as regressors that predict a number do not.

    Notes
    -----
    Which libraries' distributions become which is said at `as_distribution`. A class with the probability zero has an
    infinite NLL, as it should: trees and neighbours that vote predict such.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from probmix.adapters import adapt
    >>> X, y = np.array([[0.0], [1.0], [2.0], [3.0]]), np.array(["no", "no", "yes", "yes"])
    >>> adapt(LogisticRegression().fit(X, y)).predict_dist([[1.5]]).probs
    tensor([[0.5000, 0.5000]], dtype=torch.float64)
    """
    inner = last_step(model)
    if inner is model and hasattr(model, "predict_dist"):
        return model
    if not _predicts(inner):
        raise TypeError(
            f"the estimator must predict distributions by a method `predict_dist`; got {inner!r}. Pass "
            "a DensityRegressor or DensityClassifier, a classifier with `predict_proba`, a model of NGBoost or skpro, "
            "or a Pipeline or search that holds one. What predicts a number only has no distribution."
        )
    return AdaptedModel(model)


def predict_dist(model: Any, X: Any, **params: Any) -> Distribution:
    """What a model that `adapt` accepts predicts."""
    model = getattr(model, "best_estimator_", model)
    if isinstance(model, FrozenEstimator):
        return predict_dist(model.estimator, X, **params)
    if isinstance(model, Pipeline):
        return predict_dist(model[-1], model[:-1].transform(X) if len(model) > 1 else X, **params)
    if hasattr(model, "predict_dist"):
        return as_distribution(model.predict_dist(X, **params))
    if params:
        raise TypeError(f"{model!r} predicts distributions from X alone; got {', '.join(params)} as well.")
    if hasattr(model, "pred_dist"):
        return as_distribution(model.pred_dist(X))
    if hasattr(model, "predict_proba"):
        prediction = model.predict_proba(X)
        is_distribution = comes_from(prediction, "skpro", "BaseDistribution")
        return as_distribution(prediction) if is_distribution else from_probabilities(prediction)
    loc, scale = (np.asarray(value) for value in model.predict(X, return_std=True))
    normal = parametrised(dist.Normal, loc=loc, scale=scale)
    return normal.to_event(1) if loc.ndim == 2 else normal


def predicts_distributions(model: Any) -> bool:
    """Whether `adapt` accepts the model."""
    return _predicts(last_step(model))


def _predicts(model: Any) -> bool:
    # the standard deviation that it returns is zero
    if comes_from(model, "sklearn", "DummyRegressor"):
        return False
    return any(hasattr(model, name) for name in ("predict_dist", "pred_dist", "predict_proba")) or (
        hasattr(model, "predict") and "return_std" in inspect.signature(model.predict).parameters
    )
