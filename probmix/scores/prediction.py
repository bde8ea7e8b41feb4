"""The predicted distribution of an estimator, wherever scikit-learn has put it."""

from typing import Any

import torch
from sklearn.pipeline import Pipeline
from torch.distributions import Distribution


def predicted_distribution(estimator: Any, X: Any) -> Distribution:
    """What the estimator predicts, also at the end of a `Pipeline` or inside a search with a `best_estimator_`.

    Raises
    ------
    TypeError
        If nothing in there has a method `predict_dist`.
    """
    model = getattr(estimator, "best_estimator_", estimator)
    if isinstance(model, Pipeline):
        if len(model) > 1:
            X = model[:-1].transform(X)
        return predicted_distribution(model[-1], X)
    if not hasattr(model, "predict_dist"):
        raise TypeError(
            f"the estimator must predict distributions by a method `predict_dist`; got {model!r}. "
            "Pass a DensityRegressor or DensityClassifier, or what holds one: a Pipeline or a search."
        )
    with torch.no_grad():
        distribution: Distribution = model.predict_dist(X)
    return distribution
