"""What stands in a table of models: models and predictions of any kind, as distributions of its rows."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.distributions import Categorical, Distribution, Independent

from .._given import as_tensor
from .._models import check_exposure_is_given, fitted_with_exposure, last_step
from .._targets import encoded_targets
from .._told import warn
from ..adapters import adapt, as_distribution, is_prediction, predicts_distributions
from ..distributions import Empirical
from .prediction import predicted_distribution

# So many pairs of draws are all in order once in a million times.
_SURELY_SORTED = 20
# The scores that a prediction of a single number or class has.
_OF_POINTS = ("crps", "rmse", "mae", "accuracy")


@dataclass(frozen=True)
class Entry:
    """The predictions of a model for some rows.

    Attributes
    ----------
    distribution : Distribution, batch shape (n,)
    point : bool
        Whether nothing is predicted but a number or a class, so that all the mass lies on it.
    """

    distribution: Distribution
    point: bool = False

    def check(self, score: str) -> None:
        """Raise NotImplementedError if a point has no such score."""
        if self.point and score not in _OF_POINTS:
            raise NotImplementedError(
                f"a point prediction has no distribution and so no {score!r}. It has 'rmse', 'mae' and 'crps', which "
                "is the absolute error; of a class it has 'accuracy'."
            )


def entry(name: str, model: Any, X: Any, exposure: Any, target_dim: int) -> Entry:
    """A prediction as it is, a model by what it predicts; `target_dim` is the number of axes of the targets.

    Raises
    ------
    TypeError
        If it is neither, or a model without rows to predict.
    ValueError
        If it is a model that was fitted with exposures, and there are none.
    """
    if _is_point(model):
        return Entry(_mass_on(as_tensor(model, name), target_dim), point=True)
    if is_prediction(model):
        distribution = as_distribution(model)
        if distribution is not model and isinstance(distribution, Empirical):
            _warn_of_quantiles(name, as_tensor(model, name))
        return Entry(distribution)
    if not hasattr(model, "predict"):
        # says what is needed
        adapt(model)
    if X is None:
        raise TypeError(f"{name!r} is a model and needs rows to predict, but `X` is None. Pass X, or its predictions.")
    if predicts_distributions(model):
        check_exposure_is_given(model, exposure)
        params = {"exposure": exposure} if exposure is not None and takes_exposure(model) else {}
        return Entry(predicted_distribution(model, X, **params))
    predicted = model.predict(X)
    if not hasattr(model, "classes_"):
        return Entry(_mass_on(as_tensor(predicted, name), target_dim), point=True)
    index = encoded_targets(predicted, model.classes_)
    certain = torch.nn.functional.one_hot(index, len(model.classes_)).double()
    return Entry(Categorical(logits=certain.log()), point=True)


def takes_exposure(model: Any) -> bool:
    """Whether a model, or something that is no model, has a rate per exposure to be told the exposure of rows."""
    exposed = fitted_with_exposure(model)
    if exposed is None:
        predict = getattr(last_step(model), "predict_dist", None)
        return predict is not None and "exposure" in inspect.signature(predict).parameters
    return exposed


def _is_point(prediction: Any) -> bool:
    """Whether it is (n,) or a column (n, 1), as many models predict a number."""
    if isinstance(prediction, np.ndarray | Tensor | pd.DataFrame):
        return tuple(prediction.shape[1:]) in ((), (1,))
    if isinstance(prediction, list | tuple):
        return len(prediction) > 0 and tuple(np.shape(prediction[0])) in ((), (1,))
    return isinstance(prediction, pd.Series)


def _warn_of_quantiles(name: str, draws: Tensor) -> None:
    """Tell of rows that rise, as quantiles and the ends of intervals do, and unsorted draws hardly ever."""
    steps = draws.double().diff(dim=-1)
    if len(draws) >= _SURELY_SORTED and bool((steps >= 0).all() & ((steps > 0).any(-1).sum() >= _SURELY_SORTED)):
        warn(
            f"{name!r} holds {draws.shape[-1]} numbers for each row, and they rise in all rows, as quantiles and the "
            "ends of intervals do. They are taken for draws; of quantiles make a "
            "probmix.distributions.QuantileFunction."
        )


def _mass_on(values: Tensor, target_dim: int) -> Distribution:
    """All mass on the numbers (n,) or (n, d); a column (n, 1) is (n,) where the targets are."""
    if target_dim == 1 and values.dim() == 2 and values.shape[1] == 1:
        values = values.squeeze(1)
    point = Empirical((values if values.is_floating_point() else values.double()).unsqueeze(-1))
    return Independent(point, 1) if values.dim() == 2 else point
