"""CatBoost: boosting of a Gaussian's mean and variance, or of a Poisson rate."""

from importlib import import_module
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch.distributions import Distribution, Normal

from ...distributions import Poisson
from .encoding import as_text, is_category
from .methods import Fitted, Training
from .sets import Rows

_MOST_ROUNDS, _PATIENCE, _RATE = 3000, 100, 0.05


def fit(training: Training) -> Fitted:
    """Rounds by early stopping on the rows that judge, then fitted again to all rows.

    Categories and gaps are CatBoost's own matter. Real targets are standardised; rates start at that of all rows,
    without which large counts overflow, and an exposure is an offset.
    """
    rows, (part, judging) = training.rows, training.parts()
    is_count = training.kind == "count"
    center, scale = (0.0, 1.0) if is_count else (float(rows.y.mean()), float(rows.y.std()) or 1.0)
    loss = "Poisson" if is_count else "RMSEWithUncertainty"
    rate = _rate(rows) if is_count else None

    def pool(some: Rows) -> Any:
        return _pool(some.X, some.exposure, rate, (some.y - center) / scale)

    first = _regressor(loss, _MOST_ROUNDS, training)
    first.fit(pool(part), eval_set=pool(judging), early_stopping_rounds=_PATIENCE, use_best_model=True)
    rounds = max(1, int(first.tree_count_))
    model = _regressor(loss, rounds, training).fit(pool(rows))

    def predict(X: pd.DataFrame, exposure: NDArray[np.float64] | None) -> Distribution:
        if is_count:
            return Poisson(torch.tensor(model.predict(_pool(X, exposure, rate), prediction_type="Exponent")))
        found = torch.tensor(model.predict(_pool(X, exposure, rate), prediction_type="RMSEWithUncertainty"))
        return Normal(center + scale * found[:, 0], scale * found[:, 1].sqrt())

    return Fitted(predict, {"rounds": rounds})


def _regressor(loss: str, rounds: int, training: Training) -> Any:
    return import_module("catboost").CatBoostRegressor(
        loss_function=loss,
        iterations=rounds,
        learning_rate=_RATE,
        random_seed=training.seed,
        thread_count=training.threads,
        allow_writing_files=False,
        verbose=False,
    )


def _rate(rows: Rows) -> float:
    """Counts for each unit of exposure; a count more, so that it is never zero."""
    return float((rows.y.sum() + 1) / (len(rows.y) if rows.exposure is None else rows.exposure.sum()))


def _pool(
    X: pd.DataFrame,
    exposure: NDArray[np.float64] | None,
    rate: float | None,
    y: NDArray[np.float64] | None = None,
) -> Any:
    categories = [name for name in X if is_category(X[name])]
    X = X.copy()
    for name in categories:
        X[name] = as_text(X[name])
    baseline = None
    if rate is not None:
        baseline = np.log(rate * (np.ones(len(X)) if exposure is None else exposure))
    return import_module("catboost").Pool(X, y, cat_features=categories, baseline=baseline)
