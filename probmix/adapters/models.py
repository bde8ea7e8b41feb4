"""Fitted models of any library as models with `predict_dist`."""

import inspect
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyro.distributions as dist
from numpy.typing import NDArray
from sklearn.compose import TransformedTargetRegressor
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline
from torch.distributions import Distribution

from .._models import fitted_with_exposure, last_step
from .._predictions import DistributionPredictions
from .._targets import encoded_targets
from ..distributions.origins import parametrised
from ._classes import from_probabilities
from ._origin import comes_from
from ._transforms import transformed
from .predictions import as_distribution


@dataclass(frozen=True)
class AdaptedModel(DistributionPredictions):
    """A fitted model of any library with the methods of a density regressor; made by `adapt`.

    Of a classifier `predict` and `sample` give labels, and there are neither quantiles nor intervals.

    Parameters
    ----------
    model : fitted model
    """

    model: Any

    def predict_dist(self, X: Any, exposure: Any = None, **params: Any) -> Distribution:
        """The predicted distribution of each row: (n, F) -> batch shape (n,).

        Parameters, such as an exposure, are those of the model's own `predict_dist`.
        """
        return predict_dist(self.model, X, **params if exposure is None else params | {"exposure": exposure})

    def predict(self, X: Any, exposure: Any = None) -> NDArray[Any]:
        """Mean of the predicted distribution, (n,) or (n, d), or the most probable class, (n,)."""
        if self._classes is None:
            return super().predict(X, exposure)
        most_probable: NDArray[Any] = self._classes[self.predict_dist(X, exposure).mode.cpu().numpy()]
        return most_probable

    def predict_quantile(self, X: Any, q: Any, exposure: Any = None) -> NDArray[np.float64]:
        """Quantiles of the predicted distribution, see `DensityRegressor.predict_quantile`."""
        self._check_numbers("quantiles")
        return super().predict_quantile(X, q, exposure)

    def predict_interval(self, X: Any, coverage: float = 0.9, exposure: Any = None) -> NDArray[np.float64]:
        """Central prediction interval, see `DensityRegressor.predict_interval`."""
        self._check_numbers("intervals")
        return super().predict_interval(X, coverage, exposure)

    def sample(self, X: Any, n_samples: int = 1, random_state: Any = None, exposure: Any = None) -> NDArray[Any]:
        """Draws from the predicted distribution: (n, F) -> (n_samples, n[, d])."""
        draws = super().sample(X, n_samples, random_state, exposure)
        labels: NDArray[Any] = draws if self._classes is None else self._classes[draws.astype(np.intp)]
        return labels

    @property
    def classes_(self) -> Any:
        """The classes of the model in their order, if it has any."""
        return self.model.classes_

    @property
    def fitted_with_exposure_(self) -> bool | None:
        """Whether the model has learned a rate per exposure; None where it does not say."""
        return fitted_with_exposure(self.model)

    @property
    def _classes(self) -> NDArray[Any] | None:
        return np.asarray(self.classes_) if hasattr(self.model, "classes_") else None

    def _numerical(self, y: Any) -> NDArray[Any]:
        if self._classes is None:
            return super()._numerical(y)
        indices: NDArray[Any] = encoded_targets(y, self._classes).numpy()
        return indices

    def _check_numbers(self, what: str) -> None:
        if self._classes is not None:
            raise TypeError(
                f"{what} are of numbers, and {type(self.model).__name__} predicts classes. Use `predict_dist`."
            )


def adapt(model: Any) -> Any:
    """Give any fitted model that predicts distributions the methods of a density regressor.

    `predict_dist` returns torch distributions; `predict`, `predict_quantile`, `predict_interval`, `sample`, `log_prob`
    and `score` follow from them, so that a Pipeline that ends in a DensityRegressor has them too. The scorers,
    `evaluate` and the displays call this themselves.

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
        - a `Pipeline` that ends with one of these, or a search that has found one;
        - a `TransformedTargetRegressor` around one of these that predict a number, with a strictly monotone transform:
          the distribution of the target itself, a `Transformed`. Its mean is not the inverse of a mean, which the
          regressor's own `predict` returns.

    Returns
    -------
    model
        With these methods, and with `classes_` where the model has them.

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
    >>> from sklearn.linear_model import BayesianRidge
    >>> adapt(BayesianRidge().fit(X, [0.1, 1.0, 1.9, 3.0])).predict_interval([[1.5]], coverage=0.9).round(1)
    array([[1.4, 1.6]])
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
    if isinstance(model, TransformedTargetRegressor):
        return transformed(predict_dist(model.regressor_, X, **params), model.transformer_)
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
    if isinstance(model, TransformedTargetRegressor):
        return predicts_distributions(getattr(model, "regressor_", None))
    # the standard deviation that it returns is zero
    if comes_from(model, "sklearn", "DummyRegressor"):
        return False
    return any(hasattr(model, name) for name in ("predict_dist", "pred_dist", "predict_proba")) or (
        hasattr(model, "predict") and "return_std" in inspect.signature(model.predict).parameters
    )
