"""Predictions of classes: distributions, or the probabilities themselves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.distributions import Categorical, Distribution

from ..adapters import as_distribution
from ..families.tools import check_support
from ._values import floats

# Rounding of float32 probabilities stays far below, counts and percentages lie far above.
_TOLERANCE = 1e-3


def as_classes(prediction: Any) -> Distribution:
    """A prediction of classes as a distribution: arrays are probabilities here, as from `predict_proba`, not draws."""
    if isinstance(prediction, Tensor | np.ndarray | pd.DataFrame | list | tuple):
        return _categorical(prediction)
    return as_distribution(prediction)


def other_order(y: Any, classes: Any) -> str | None:
    """Why classes are not ranked as ordered categories say, in words; None where they are, or where there is no order.

    Parameters
    ----------
    y : array-like
    classes : sequence or None
        In the order of the predicted probabilities.
    """
    dtype = getattr(y, "dtype", None)
    if classes is None or not (isinstance(dtype, pd.CategoricalDtype) and dtype.ordered):
        return None
    rank = {category: place for place, category in enumerate(dtype.categories)}
    ranks = [rank[one] for one in classes if one in rank]
    if ranks in (sorted(ranks), sorted(ranks, reverse=True)):
        # from the other end it is the same score
        return None
    ordered = " < ".join(map(str, dtype.categories))
    return (
        f"the ranked probability score goes by the order of `classes_`, {', '.join(map(str, classes))}, and the "
        f"categories of y are ordered {ordered}. Fit and score numbers in that order, y.cat.codes "
        "of the rows that have a class."
    )


def _categorical(given: Any) -> Categorical:
    probs = floats("probs", given)
    if probs.dim() == 0 or probs.shape[-1] == 0:
        raise ValueError(
            f"`probs` must hold one probability for each class along the last axis, got shape {tuple(probs.shape)}. "
            "Pass shape (rows, classes)."
        )
    check_support(probs, probs >= 0, "`probs` must not be negative", "For logits pass logits.softmax(-1).")
    total = probs.sum(-1)
    check_support(
        total, (total - 1).abs() < _TOLERANCE, "`probs` must have the sum 1 in each row", "Divide by their sum."
    )
    return torch.distributions.Categorical(probs, validate_args=False)
