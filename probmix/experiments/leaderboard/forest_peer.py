"""Quantile regression forests."""

from importlib import import_module
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch.distributions import Distribution

from ...distributions import QuantileFunction
from ...scores import crps
from .encoding import OneHot, with_exposure
from .methods import Fitted, Training
from .sets import Rows

LEVELS = tuple(round(0.01 * number, 2) for number in range(1, 100))
_LEAVES = (1, 5, 20)


def fit(training: Training) -> Fitted:
    """The smallest size of a leaf by the CRPS of the rows that judge, the rest as its authors have it."""
    part, judging = training.parts()
    found = []
    for leaf in _LEAVES:
        law = _predictor(part, leaf, training)(judging.X, judging.exposure)
        found.append((float(crps(law, torch.tensor(judging.y)).mean()), leaf))
    _, leaf = min(found)
    return Fitted(_predictor(training.rows, leaf, training), {"leaf": leaf})


def _predictor(rows: Rows, leaf: int, training: Training) -> Any:
    encode = OneHot(with_exposure(rows.X, rows.exposure))
    forest = import_module("quantile_forest").RandomForestQuantileRegressor(
        min_samples_leaf=leaf, random_state=training.seed, n_jobs=training.threads
    )
    forest.fit(encode(with_exposure(rows.X, rows.exposure)), rows.y)

    def predict(X: pd.DataFrame, exposure: NDArray[np.float64] | None) -> Distribution:
        quantiles = forest.predict(encode(with_exposure(X, exposure)), quantiles=list(LEVELS))
        return QuantileFunction(torch.tensor(np.sort(quantiles, axis=1)), LEVELS)

    return predict
