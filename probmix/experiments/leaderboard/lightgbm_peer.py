"""LightGBM: a model for each of a few quantiles."""

from importlib import import_module
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch.distributions import Distribution

from ...distributions import QuantileFunction
from .encoding import Categories, with_exposure
from .methods import Fitted, Training

# With the ends of the 90 % interval, and close enough for a CRPS with lines between them.
LEVELS = (0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
_MOST_ROUNDS, _PATIENCE, _RATE = 2000, 50, 0.05


def fit(training: Training) -> Fitted:
    """Rounds of each quantile by early stopping on the rows that judge, then fitted again to all rows."""
    rows, (part, judging) = training.rows, training.parts()
    encode = Categories(rows.X)

    def features(X: pd.DataFrame, exposure: NDArray[np.float64] | None) -> pd.DataFrame:
        return with_exposure(encode(X), exposure)

    X, X_judging = features(part.X, part.exposure), features(judging.X, judging.exposure)
    stopping = import_module("lightgbm").early_stopping(_PATIENCE, verbose=False)
    models, chosen = [], []
    for level in LEVELS:
        first = _regressor(level, _MOST_ROUNDS, training)
        first.fit(X, part.y, eval_set=[(X_judging, judging.y)], eval_metric="quantile", callbacks=[stopping])
        chosen.append(max(1, int(first.best_iteration_ or _MOST_ROUNDS)))
        models.append(_regressor(level, chosen[-1], training).fit(features(rows.X, rows.exposure), rows.y))

    def predict(X: pd.DataFrame, exposure: NDArray[np.float64] | None) -> Distribution:
        inputs = features(X, exposure)
        quantiles = np.column_stack([model.predict(inputs) for model in models])
        # sorting never makes a forecast worse
        return QuantileFunction(torch.tensor(np.sort(quantiles, axis=1)), LEVELS)

    return Fitted(predict, {"rounds": chosen})


def _regressor(level: float, rounds: int, training: Training) -> Any:
    return import_module("lightgbm").LGBMRegressor(
        objective="quantile",
        alpha=level,
        n_estimators=rounds,
        learning_rate=_RATE,
        random_state=training.seed,
        n_jobs=training.threads,
        verbose=-1,
    )
