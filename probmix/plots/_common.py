"""What every display needs."""

from typing import TYPE_CHECKING, Any

import torch
from sklearn.pipeline import Pipeline
from torch.distributions import Distribution

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def new_axes() -> "Axes":
    """Axes of a new pyplot figure, which notebooks show."""
    # here and not above: importing probmix.plots must not choose a backend
    from matplotlib import pyplot as plt

    _, ax = plt.subplots(layout="constrained")
    return ax


def predicted_distribution(estimator: Any, X: Any) -> Distribution:
    """What the estimator predicts, also at the end of a `Pipeline` or inside a search with a `best_estimator_`.

    Raises
    ------
    TypeError
        If nothing in there predicts the distribution of a number.
    ValueError
        If there are several targets.
    """
    model = getattr(estimator, "best_estimator_", estimator)
    if isinstance(model, Pipeline):
        if len(model) > 1:
            X = model[:-1].transform(X)
        return predicted_distribution(model[-1], X)
    if not hasattr(model, "predict_dist") or hasattr(model, "classes_"):
        raise TypeError(
            f"the estimator must predict the distribution of a number by a method `predict_dist`; got {model!r}. "
            "Pass a fitted DensityRegressor, or use `from_predictions`."
        )
    with torch.no_grad():
        distribution: Distribution = model.predict_dist(X)
    check_single_target(distribution)
    return distribution


def check_single_target(distribution: Distribution) -> None:
    """Raise unless there is one number per row."""
    if len(distribution.batch_shape) != 1 or distribution.event_shape:
        shape = tuple(distribution.batch_shape + distribution.event_shape)
        raise ValueError(
            f"a display shows one target per row, a distribution of shape (n,); got shape {shape}. "
            "Plot the targets one by one."
        )
