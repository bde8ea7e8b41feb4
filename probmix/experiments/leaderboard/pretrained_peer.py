"""Pretrained transformers, TabPFN and TabICL, with weights that are on the machine; none are ever downloaded."""

import os
from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch.distributions import Distribution

from ...distributions import QuantileFunction
from .encoding import OneHot, with_exposure
from .methods import Fitted, Training

LEVELS = tuple(round(0.01 * number, 2) for number in range(1, 100))
# Variables of the environment that name the files of weights.
TABPFN, TABICL = "PROBMIX_TABPFN", "PROBMIX_TABICL"


def fit_tabpfn(training: Training) -> Fitted:
    """TabPFN's quantiles, beyond the sizes that it is meant for, too."""
    model = import_module("tabpfn").TabPFNRegressor(
        model_path=os.environ[TABPFN], device="cpu", random_state=training.seed, ignore_pretraining_limits=True
    )

    def quantiles(X: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.column_stack(model.predict(X, output_type="quantiles", quantiles=list(LEVELS)))

    return _fitted(model, quantiles, training)


def fit_tabicl(training: Training) -> Fitted:
    """TabICL's quantiles."""
    model = import_module("tabicl").TabICLRegressor(
        model_path=os.environ[TABICL], allow_auto_download=False, device="cpu", random_state=training.seed
    )

    def quantiles(X: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(model.predict(X, output_type="quantiles", alphas=list(LEVELS)))

    return _fitted(model, quantiles, training)


def _fitted(model: Any, quantiles: Callable[[NDArray[np.float64]], NDArray[np.float64]], training: Training) -> Fitted:
    rows = training.rows
    encode = OneHot(with_exposure(rows.X, rows.exposure))
    model.fit(encode(with_exposure(rows.X, rows.exposure)), rows.y)

    def predict(X: pd.DataFrame, exposure: NDArray[np.float64] | None) -> Distribution:
        found = quantiles(encode(with_exposure(X, exposure))).astype(np.float64)
        return QuantileFunction(torch.tensor(np.sort(found, axis=1)), LEVELS)

    return Fitted(predict)
