"""What is asked of fitted models of any kind: the model inside of pipelines and searches, and its exposures."""

from typing import Any

from sklearn._config import get_config
from sklearn.compose import TransformedTargetRegressor
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection._search import BaseSearchCV
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import has_fit_parameter


def last_step(model: Any) -> Any:
    """The model itself behind searches, pipelines and frozen estimators."""
    inner = getattr(model, "best_estimator_", model)
    if isinstance(inner, FrozenEstimator):
        return last_step(inner.estimator)
    return last_step(inner[-1]) if isinstance(inner, Pipeline) else inner


def fitted_with_exposure(model: Any) -> bool | None:
    """Whether a fitted model has learned a rate per exposure; None of a model that does not say."""
    inner = last_step(model)
    if isinstance(inner, TransformedTargetRegressor):
        return fitted_with_exposure(inner.regressor_)
    answer: bool | None = getattr(inner, "fitted_with_exposure_", None)
    return answer


def check_exposure_is_given(model: Any, exposure: Any) -> None:
    """Raise if a model that was fitted with exposures is to be scored on rows without any."""
    if exposure is None and fitted_with_exposure(model):
        raise ValueError(
            "the model was fitted with exposures, and without those of these rows each would count as 1. Pass "
            "`exposure`, or np.ones(n) where that is meant. In cross-validation and searches this takes scikit-learn's "
            "metadata routing, and `set_score_request(exposure=True)` of the scorer or the model."
        )


def fit_arguments(estimator: Any, **given: Any) -> dict[str, Any]:
    """Arguments of rows, such as weights and exposures, under the names by which `estimator.fit` takes them.

    A pipeline takes what is meant for its last step under the name of that step, unless metadata is routed.

    Raises
    ------
    TypeError
        If there is one that the model inside does not take.
    """
    given = {name: value for name, value in given.items() if value is not None}
    prefix, estimator = _to_fit(estimator)
    for name in given:
        if not has_fit_parameter(estimator, name):
            raise TypeError(
                f"`fit` of {type(estimator).__name__} has no argument `{name}`. Fit the estimator first and pass "
                "FrozenEstimator(estimator)."
            )
    if get_config()["enable_metadata_routing"]:
        prefix = ""
    return {prefix + name: value for name, value in given.items()}


def takes_groups(estimator: Any) -> bool:
    """Whether the model inside keeps groups of rows together in its own validation."""
    return bool(has_fit_parameter(_to_fit(estimator)[1], "groups"))


def _to_fit(estimator: Any) -> tuple[str, Any]:
    """The model inside of pipelines and searches that are not fitted, and the prefix of its arguments there."""
    prefix = ""
    while isinstance(estimator, Pipeline | BaseSearchCV):
        if isinstance(estimator, Pipeline):
            name, estimator = estimator.steps[-1]
            prefix += f"{name}__"
        else:
            estimator = estimator.estimator
    return prefix, estimator
