"""What a score loses when one column after the other is shuffled."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from sklearn.utils import _safe_indexing

from .._models import check_exposure_is_given
from .._targets import encoded_targets
from ..scores._classes import other_order
from ..scores.crps import crps
from ..scores.evaluate import score_rows
from ..scores.prediction import predicted_distribution
from ..scores.ranked import ranked_probability_score

Score = str | Callable[..., Any]

# Rows that a model is asked about at a time.
_BLOCK = 20_000


def losses_by_column(
    estimator: Any,
    frame: pd.DataFrame,
    y: Any,
    score: Score,
    exposure: Any,
    named: bool,
    n_repeats: int,
    generator: np.random.Generator,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Scores of the rows as they are, (n,), and what each loses by the shuffling of each column, (F, n).

    The losses are means over the repeats, whose permutations are the same for all columns.
    """
    n = len(frame)
    at_once = max(1, min(n_repeats, _BLOCK // n))
    permutations = [generator.permutation(n) for _ in range(n_repeats)]

    def scores(table: pd.DataFrame, repeats: int) -> NDArray[np.float64]:
        rows = np.tile(np.arange(n), repeats)
        given = table if named else table.to_numpy(copy=True)
        some = None if exposure is None else np.asarray(exposure)[rows]
        return _scores(estimator, given, _safe_indexing(y, rows), score, some).reshape(repeats, n)

    before = scores(frame, 1)[0]
    losses = np.zeros((frame.shape[1], n))
    for position in range(frame.shape[1]):
        column = frame.iloc[:, position]
        for start in range(0, n_repeats, at_once):
            order = np.concatenate(permutations[start : start + at_once])
            repeats = len(order) // n
            table = frame.iloc[np.tile(np.arange(n), repeats)].reset_index(drop=True)
            table.isetitem(position, column.iloc[order].array)
            # of two infinite scores there is no difference to tell
            with np.errstate(invalid="ignore"):
                losses[position] += (scores(table, repeats) - before).sum(0) / n_repeats
    return before, losses


def _scores(estimator: Any, X: Any, y: Any, score: Score, exposure: Any) -> NDArray[np.float64]:
    """One value per row, smaller where the prediction is better."""
    if isinstance(score, str):
        rows = score_rows({"model": estimator}, X, y, scores=score, exposure=exposure)
        for reason in rows.attrs["missing"].values():
            raise ValueError(f"the predictions have no score {score!r}: {reason}")
        named: NDArray[np.float64] = rows.to_numpy()[:, 0]
        return named
    check_exposure_is_given(estimator, exposure)
    classes = getattr(estimator, "classes_", None)
    if score in (crps, ranked_probability_score) and (reason := other_order(y, classes)):
        raise ValueError(f"the predictions have no such score: {reason}")
    with torch.no_grad():
        given = {} if exposure is None else {"exposure": exposure}
        distribution = predicted_distribution(estimator, X, **given)
        values = torch.as_tensor(score(distribution, encoded_targets(y, classes)))
    if values.shape != distribution.batch_shape:
        raise ValueError(
            f"`score` must give one value for each of the {distribution.batch_shape[0]} rows; got shape "
            f"{tuple(values.shape)}. Leave out the mean."
        )
    own: NDArray[np.float64] = values.double().cpu().numpy()
    return own
