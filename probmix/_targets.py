"""Targets as tensors: in the shape of what is predicted, finite, whole numbers or classes where they must be."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.distributions import Categorical, Distribution

from .distributions import Empirical, is_discrete
from .distributions.parts import innermost
from .families.tools import check_support


def checked_targets(distribution: Distribution, y: Tensor) -> Tensor:
    """`y` in the shape batch + event of the distribution.

    Raises
    ------
    ValueError
        If `y` does not broadcast to exactly that shape, is not finite, or is no count or class where it must be.
    """
    expected = distribution.batch_shape + distribution.event_shape
    if not broadcasts_to(y.shape, expected):
        mend = (
            f"Pass y.reshape({tuple(expected)})."
            if y.numel() == expected.numel()
            else "Pass one target for each row, or `expand` the distribution."
        )
        mend = of_turned_draws(distribution, y) or mend
        raise ValueError(
            "`y` must broadcast to batch shape + event shape of the distribution, "
            f"{tuple(expected)}; got shape {tuple(y.shape)}. {mend}"
        )
    check_finite("y", y)
    if is_discrete(distribution):
        base = innermost(distribution)
        if isinstance(base, Categorical):
            last = base.logits.shape[-1] - 1
            inside, rule = (y >= 0) & (y <= last) & (y == y.round()), f"`y` must be a class index 0 .. {last}"
            check_support(y, inside, rule, "Encode the classes first, for example with sklearn's LabelEncoder.")
        else:
            rule = "`y` must be a whole number for a discrete distribution"
            check_support(y, y == y.round(), rule, "Use counts, or a continuous distribution.")
    return y.expand(expected)


def of_turned_draws(distribution: Distribution, y: Tensor) -> str:
    """How to mend draws with a line for each draw, such as those of `sample`; nothing of what is no such thing."""
    if not (isinstance(distribution, Empirical) and distribution.samples.shape[1:] == y.shape):
        return ""
    return f"Draws have a line for each row: pass their transpose, {(*y.shape, len(distribution.samples))}."


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
    try:
        place = np.searchsorted(classes, y, sorter=order).clip(max=len(classes) - 1)
        index = order[place]
        unknown = classes[index] != y
    except TypeError:
        # text among numbers, or numbers among text
        places_of = {label: place for place, label in enumerate(classes.tolist())}
        index = np.array([places_of.get(label, -1) for label in y.ravel().tolist()]).reshape(y.shape)
        unknown = index < 0
    if unknown.any():
        raise ValueError(
            f"`y` must hold classes that the estimator has seen, {classes.tolist()}; "
            f"got {y[unknown].tolist()[0]!r}. Fit on data with every class."
        )
    places: npt.NDArray[np.int64] = index.astype(np.int64)
    return places


def check_finite(name: str, values: Tensor) -> None:
    """Raise a ValueError if any of the values is infinite or NaN."""
    # the extremes are found in one pass without a temporary, and are NaN where anything is; inf may be their difference
    if values.numel() and not bool(torch.stack(values.detach().aminmax()).isfinite().all()):
        check_support(values, values.isfinite(), f"`{name}` must be finite", "Drop or impute these rows.")


def broadcasts_to(shape: torch.Size, expected: torch.Size) -> bool:
    """Whether a shape broadcasts to exactly the expected one: (n, 1) against (n,) broadcasts too, but to (n, n)."""
    pairs = zip(reversed(shape), reversed(expected), strict=False)
    return len(shape) <= len(expected) and all(size in (1, length) for size, length in pairs)
