"""Our own methods: the estimator as it comes, and a plain deep ensemble, trained as well as we know to."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch.distributions import Distribution

from ...estimators import DensityRegressor
from ...families import Gaussian, LogNormal, Mixture, Poisson
from ...mixup import BetaWeights, Mixup
from ...networks import MLP, Periodic
from ...training import Cosine
from .methods import Fitted, Training
from .sets import Kind

OURS = ("default", "plain-ensemble")
_PLAIN: dict[Kind, list[str]] = {
    "real": ["gaussian"],
    "positive": ["gaussian", "lognormal", "gamma"],
    "count": ["poisson", "negative-binomial"],
}
_MIXTURES: dict[Kind, list[Any]] = {
    "real": [Mixture(Gaussian(), 5)],
    "positive": [Mixture(Gaussian(), 5), Mixture(LogNormal(), 5)],
    "count": [Mixture(Poisson(), 5), "negative-binomial"],
}


def ours(name: str, kind: Kind, seed: int) -> DensityRegressor:
    """The unfitted estimator of one of our methods.

    Parameters
    ----------
    name : {"default", "plain-ensemble"}
    kind : {"real", "positive", "count"}
    seed : int
    """
    shared: dict[str, Any] = {
        "validation": "folds",
        "learning_rate": Cosine(5e-3),
        "max_epochs": 200,
        "batch_size": "auto",
        "random_state": seed,
        "device": "cpu",
    }
    if name == "plain-ensemble":
        return DensityRegressor(_PLAIN[kind], "erm", network=MLP((128, 64)), n_members=5, **shared)
    mixup = Mixup(at="output", weights=BetaWeights(0.2), label_pool="linear", clean=0.5)
    network = MLP((128, 64), embedding=Periodic())
    return DensityRegressor(_MIXTURES[kind], mixup, network=network, n_members=8, **shared)


def settings_of(name: str) -> dict[str, str]:
    """What our methods are, in words, for each kind of targets: results of others are never mixed with them."""
    return {kind: str(ours(name, kind, 0).get_params()) for kind in _PLAIN}


def fit_default(training: Training) -> Fitted:
    """`DensityRegressor()` as it comes."""
    model = _fitted("default", training)
    table = model.stack_
    return _predicting(model, dict(zip(map(str, table["family"]), map(float, table["weight"]), strict=True)))


def fit_plain_ensemble(training: Training) -> Fitted:
    """Of the families of one component the one whose out-of-fold NLL is smallest."""
    stack = _fitted("plain-ensemble", training)
    best = int(np.argmin(stack.stack_["nll"]))
    return _predicting(stack.candidates_[best], {"family": str(stack.stack_["family"].iloc[best])})


def _fitted(name: str, training: Training) -> DensityRegressor:
    rows = training.rows
    return ours(name, training.kind, training.seed).fit(rows.X, rows.y, exposure=rows.exposure)


def _predicting(model: DensityRegressor, chosen: dict[str, Any]) -> Fitted:
    def predict(X: pd.DataFrame, exposure: NDArray[np.float64] | None) -> Distribution:
        return model.predict_dist(X, exposure)

    return Fitted(predict, chosen)
