"""What a report on a model is about: the model, its rows, and what it predicts for them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.distributions import Categorical, Distribution

from .._checks import check_integer
from .._models import check_exposure_is_given, last_step
from .._numbers import as_numpy, finite_numbers
from .._targets import encoded_targets
from ..adapters import as_distribution, is_prediction
from ..distributions import has_atoms, is_discrete
from ..distributions.parts import innermost
from ..distributions.selection import select
from ..scores.prediction import predicted_distribution

MODEL, MARGINAL = "model", "without X"
# What a target is called that has no name.
TARGET = "target"


@dataclass(frozen=True)
class Subject:
    """A fitted model and the rows on which it is judged.

    Attributes
    ----------
    model : fitted model
    X : DataFrame or array, (n, F)
        The rows that are scored.
    y : ndarray, (n,)
        Their targets, as they were given.
    exposure : ndarray, (n,), or None
    distribution : Distribution, batch shape (n,)
        What the model predicts for them.
    peers : dict of str to model or prediction
        For the same rows.
    all_rows : array-like
        All rows that were given, of which the others may be a sample.
    all_targets : ndarray
    """

    model: Any
    X: Any
    y: NDArray[Any]
    exposure: NDArray[np.float64] | None
    distribution: Distribution
    peers: Mapping[str, Any]
    all_rows: Any
    all_targets: NDArray[Any]
    target_name: str

    @classmethod
    def of(
        cls, model: Any, X: Any, y: Any, exposure: Any, peers: Mapping[str, Any] | None, max_rows: int, target_name: str
    ) -> Self:
        """Check what was given, take a sample of rows if there are too many, and predict.

        Raises
        ------
        TypeError, ValueError
            As `model_report`.
        """
        targets = np.asarray(y if isinstance(y, pd.Series) else as_numpy(y))
        n = _row_count(X)
        if targets.ndim != 1 or len(targets) != n:
            mend = "Pass np.ravel(y)." if targets.shape == (n, 1) else "Of several targets make a report each."
            raise ValueError(
                f"`y` must hold one target for each of the {n:,} rows of X; got shape {targets.shape}. {mend}"
            )
        check_integer("max_rows", max_rows, 2)
        if not hasattr(model, "classes_"):
            targets = finite_numbers(targets, "y")
        check_exposure_is_given(model, exposure)
        exposures = None if exposure is None else np.asarray(as_numpy(exposure), dtype=np.float64)
        if exposures is not None and exposures.shape != (n,):
            raise ValueError(
                f"`exposure` must hold one number for each of the {n:,} rows; got shape {exposures.shape}."
            )
        named = _checked_peers(peers)
        rows = np.arange(n)
        if n > max_rows:
            rows = np.sort(np.random.default_rng(0).choice(n, max_rows, replace=False))
        if len(np.unique(targets[rows])) < 2:
            raise ValueError(
                "`y` must hold at least two different targets, or there is nothing to judge a model by; got "
                f"{len(rows):,} times {targets[0]}."
            )
        chosen = X if len(rows) == n else _rows_of(X, rows)
        told = None if exposures is None else exposures[rows]
        distribution = predicted_distribution(model, chosen, **({} if told is None else {"exposure": told}))
        taken = {name: peer if len(rows) == n else _part_of(name, peer, rows) for name, peer in named.items()}
        return cls(model, chosen, targets[rows], told, distribution, taken, X, targets, target_name)

    @property
    def inner(self) -> Any:
        """The model itself, at the end of pipelines and searches."""
        return last_step(self.model)

    @property
    def target_in_words(self) -> str:
        """The target at the beginning of a sentence."""
        return "The target" if self.target_name == TARGET else f"The target, {self.target_name},"

    @property
    def is_whole(self) -> bool:
        """Whether all rows that were given are scored."""
        return len(self.y) == len(self.all_targets)

    @property
    def rows_in_words(self) -> str:
        """Which rows are scored."""
        if self.is_whole:
            return f"all {len(self.y):,} rows"
        return f"a random sample of {len(self.y):,} of the {len(self.all_targets):,} rows"

    @property
    def of_classes(self) -> bool:
        """Whether the model predicts classes."""
        return isinstance(innermost(self.distribution), Categorical)

    @property
    def classes(self) -> NDArray[Any] | None:
        """The classes in the order of the predicted distribution."""
        return np.asarray(self.model.classes_) if self.of_classes else None

    @property
    def targets(self) -> Tensor:
        """Targets as numbers; of classes their places."""
        encoded: Tensor = encoded_targets(self.y, self.classes)
        return encoded

    @property
    def has_masses(self) -> bool:
        """Whether single values have a probability, as of counts."""
        return is_discrete(self.distribution) or has_atoms(self.distribution)


def _row_count(X: Any) -> int:
    return int(X.shape[0]) if hasattr(X, "shape") else len(X)


def _rows_of(X: Any, rows: NDArray[np.intp]) -> Any:
    if isinstance(X, pd.DataFrame | pd.Series):
        return X.iloc[rows]
    if hasattr(X, "shape"):
        return X[rows]
    return [X[row] for row in rows]


def _checked_peers(peers: Mapping[str, Any] | None) -> dict[str, Any]:
    if peers is None:
        return {}
    if not isinstance(peers, Mapping):
        raise TypeError(f"`peers` must be a dict of name to model or prediction; got {type(peers).__name__}.")
    for name in (MODEL, MARGINAL):
        if name in peers:
            raise ValueError(f"`peers` must not be called {name!r}, which the report itself uses. Rename that one.")
    return dict(peers)


def _part_of(name: str, peer: Any, rows: NDArray[np.intp]) -> Any:
    """A model as it is, which predicts for the sample itself, and the predictions for a sample."""
    if isinstance(peer, pd.Series | pd.DataFrame | np.ndarray | Tensor | list | tuple):
        return _rows_of(peer, rows)
    if not is_prediction(peer):
        return peer
    part = select(as_distribution(peer), torch.from_numpy(rows), 1)
    if part is None:
        raise ValueError(
            f"the predictions of {name!r} cannot be told row by row, and there are more rows than `max_rows`. Pass "
            "them as draws, or raise `max_rows` to the number of rows."
        )
    return part
