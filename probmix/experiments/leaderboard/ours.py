"""Our own methods: the estimator as it comes, and a plain deep ensemble, trained as well as we know to."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch.distributions import Distribution

from ...estimators import DensityRegressor
from ...estimators.presets import PRESETS
from ...networks import MLP
from ...training import Cosine
from .methods import Fitted, Training
from .sets import KINDS, Kind

_PLAIN: dict[Kind, list[str]] = {
    "real": ["gaussian"],
    "positive": ["gaussian", "lognormal", "gamma"],
    "count": ["poisson", "negative-binomial"],
}
_SHARED: dict[str, Any] = {
    "preset": "plain",
    "validation": "folds",
    "learning_rate": Cosine(5e-3),
    "max_epochs": 200,
    "batch_size": "auto",
}


def ours(name: str, kind: Kind, seed: int, time_limit: float | None = None) -> DensityRegressor:
    """The unfitted estimator of one of our methods.

    Parameters
    ----------
    name : str
        "plain-ensemble", or a preset.
    kind : {"real", "positive", "count"}
        What the plain ensemble knows of the targets; presets find it out.
    seed : int
    time_limit : float, optional
        Seconds of the preset "best".
    """
    fixed: dict[str, Any] = {"random_state": seed, "device": "cpu"}
    if name == "plain-ensemble":
        families: Any = _PLAIN[kind] if len(_PLAIN[kind]) > 1 else _PLAIN[kind][0]
        return DensityRegressor(families, "erm", network=MLP((128, 64)), n_members=5, **_SHARED, **fixed)
    if name == "best" and time_limit is not None:
        fixed["time_limit"] = time_limit
    return DensityRegressor(preset=name, **fixed)


def settings_of(name: str, time_limit: float | None = None) -> dict[str, str]:
    """What one of our methods is, for each kind of targets: results of other settings are never mixed with its."""
    defaults = DensityRegressor().get_params()
    found: dict[str, str] = {}
    for kind in KINDS.values():
        parameters = ours(name, kind, 0, time_limit).get_params()
        chosen = {one: value for one, value in parameters.items() if one == "preset" or value != defaults[one]}
        # what is set by hand says all by itself
        found[kind] = f"{chosen} {PRESETS.get(name, '')}".strip()
    return found


def fit_fast(training: Training) -> Fitted:
    """``DensityRegressor(preset="fast")``."""
    return _fit_preset("fast", training)


def fit_default(training: Training) -> Fitted:
    """`DensityRegressor` as it comes."""
    return _fit_preset("default", training)


def fit_best(training: Training) -> Fitted:
    """``DensityRegressor(preset="best")``."""
    return _fit_preset("best", training)


def fit_plain_ensemble(training: Training) -> Fitted:
    """Of the families of one component the one whose out-of-fold NLL is smallest."""
    model = _fitted("plain-ensemble", training)
    names = [str(name) for name in _PLAIN[training.kind]]
    if len(names) == 1:
        return _predicting(model, {"family": names[0]})
    best = int(np.argmin(model.stack_["nll"]))
    return _predicting(model.candidates_[best], {"family": str(model.stack_["family"].iloc[best])})


def _fit_preset(name: str, training: Training) -> Fitted:
    model = _fitted(name, training)
    used = model.stack_[model.stack_["weight"] > 0] if hasattr(model, "stack_") else None
    if used is None:
        return _predicting(model, {"family": model.family_.name})
    told = [name for name in ("family", "mixup", "network") if name in used]
    return _predicting(model, {"candidates": used[told].agg(" ".join, axis=1).tolist(),
                               "weights": used["weight"].tolist()})  # fmt: skip


def _fitted(name: str, training: Training) -> DensityRegressor:
    rows = training.rows
    model = ours(name, training.kind, training.seed, training.time_limit)
    return model.fit(rows.X, rows.y, exposure=rows.exposure)


def _predicting(model: DensityRegressor, chosen: dict[str, Any]) -> Fitted:
    def predict(X: pd.DataFrame, exposure: NDArray[np.float64] | None) -> Distribution:
        return model.predict_dist(X, exposure)

    return Fitted(predict, chosen)
