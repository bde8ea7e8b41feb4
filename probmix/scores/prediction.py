"""What a model predicts, whichever library it is from."""

from __future__ import annotations

from typing import Any

import torch
from torch.distributions import Distribution

from ..adapters import adapt


def predicted_distribution(estimator: Any, X: Any, **params: Any) -> Distribution:
    """What the model predicts, also at the end of a `Pipeline` or inside a search with a `best_estimator_`.

    Raises
    ------
    TypeError
        If it predicts no distributions; see `probmix.adapters.adapt` for what does.
    """
    with torch.no_grad():
        distribution: Distribution = adapt(estimator).predict_dist(X, **params)
    return distribution
