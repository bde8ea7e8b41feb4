"""What a model predicts, whichever library it is from, and its targets, both as tensors."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
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


def encoded_targets(y: Any, classes: Any = None) -> Tensor:
    """Targets as float64, whole numbers as int64; labels become their places among `classes`.

    Raises
    ------
    ValueError
        If there is a label that is not among the classes, or there are labels but no classes.

    Examples
    --------
    >>> encoded_targets(["b", "a"], ["a", "b", "c"])
    tensor([1, 0])
    """
    target = np.asarray(y.detach().cpu() if isinstance(y, Tensor) else y)
    if classes is not None:
        target = _class_indices(target, np.asarray(classes))
    try:
        return torch.from_numpy(target.astype(np.int64 if target.dtype.kind in "iub" else np.float64))
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"`y` must hold numbers where no model knows its classes; got {target.ravel()[0]!r}. Pass class indices."
        ) from error


def _class_indices(y: npt.NDArray[Any], classes: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    order = np.argsort(classes)
    place = np.searchsorted(classes, y, sorter=order).clip(max=len(classes) - 1)
    index = order[place]
    unknown = classes[index] != y
    if unknown.any():
        raise ValueError(
            f"`y` must hold classes that the estimator has seen, {classes.tolist()}; "
            f"got {y[unknown].tolist()[0]!r}. Fit on data with every class."
        )
    places: npt.NDArray[np.int64] = index.astype(np.int64)
    return places
