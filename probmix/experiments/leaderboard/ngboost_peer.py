"""NGBoost: natural gradient boosting of a parametric law."""

from importlib import import_module
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from sklearn.base import clone
from torch.distributions import Distribution

from ...adapters import as_distribution
from .encoding import OneHot, with_exposure
from .methods import Fitted, Training
from .sets import Kind

_HEADS: dict[Kind, list[str]] = {"real": ["Normal"], "positive": ["Normal", "LogNormal"], "count": ["Poisson"]}
_PATIENCE = 50
# Rounds at most and the rate; of many rows the slow ones would be too few.
_FEW, _MANY = (2000, 0.01), (1000, 0.05)
_MANY_ROWS = 5000


def fit(training: Training) -> Fitted:
    """Rounds by early stopping on the rows that judge, the head by their NLL, then fitted again to all rows."""
    rows, (part, judging) = training.rows, training.parts()
    encode = OneHot(with_exposure(part.X, part.exposure))
    X, X_judging = (encode(with_exposure(some.X, some.exposure)) for some in (part, judging))
    most, rate = _MANY if len(rows.y) > _MANY_ROWS else _FEW
    found = []
    for head in _HEADS[training.kind]:
        model = _regressor(head, most, rate, training.seed)
        model.fit(X, _targets(part.y, head), X_judging, _targets(judging.y, head), early_stopping_rounds=_PATIENCE)
        rounds = most if model.best_val_loss_itr is None else int(model.best_val_loss_itr) + 1
        law = as_distribution(model.pred_dist(X_judging, max_iter=rounds))
        nll = -law.log_prob(torch.tensor(judging.y)).mean().item()
        found.append((nll if np.isfinite(nll) else np.inf, rounds, head))
    _, rounds, head = min(found)
    encode = OneHot(with_exposure(rows.X, rows.exposure))
    model = _regressor(head, rounds, rate, training.seed)
    model.fit(encode(with_exposure(rows.X, rows.exposure)), _targets(rows.y, head))

    def predict(X: pd.DataFrame, exposure: NDArray[np.float64] | None) -> Distribution:
        return as_distribution(model.pred_dist(encode(with_exposure(X, exposure))))

    return Fitted(predict, {"head": head, "rounds": rounds})


def _regressor(head: str, rounds: int, rate: float, seed: int) -> Any:
    # its own tree, which breaks ties by the seed: without one they are broken by NumPy's global generator
    tree = clone(import_module("ngboost.learners").default_tree_learner).set_params(random_state=seed)
    return import_module("ngboost").NGBRegressor(
        Base=tree,
        Dist=getattr(import_module("ngboost.distns"), head),
        n_estimators=rounds,
        learning_rate=rate,
        random_state=seed,
        verbose=False,
    )


def _targets(y: NDArray[np.float64], head: str) -> NDArray[Any]:
    return y.astype(int) if head == "Poisson" else y
