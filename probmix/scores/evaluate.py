"""Several models on the same rows: their scores, and how they differ from a baseline."""

from collections.abc import Callable, Mapping, Sequence
from math import nan
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torch.distributions import Categorical, Distribution

from .._names import unknown_name
from ..adapters import adapt, as_distribution, is_prediction
from ..distributions.parts import device_of, innermost
from ._inputs import checked_targets, mean_over_event
from .brier import brier
from .calibration import coverage
from .comparison import compare_rows
from .crps import crps
from .nll import nll
from .prediction import encoded_targets, predicted_distribution
from .ranked import ranked_probability_score


def _coverage90(distribution: Distribution, y: Tensor) -> Tensor:
    return mean_over_event(distribution, coverage(distribution, y, 0.9))


def _accuracy(distribution: Distribution, y: Tensor) -> Tensor:
    base = innermost(distribution)
    hit = base.mode == checked_targets(distribution, y)
    return mean_over_event(distribution, hit.double())


_Score = Callable[[Distribution, Tensor], Tensor]
_OF_NUMBERS: dict[str, _Score] = {"nll": nll, "crps": crps, "coverage90": _coverage90}
_OF_CLASSES: dict[str, _Score] = {"nll": nll, "brier": brier, "rps": ranked_probability_score, "accuracy": _accuracy}


def evaluate(
    models: Mapping[str, Any],
    X: Any,
    y: ArrayLike | Tensor,
    *,
    scores: Sequence[str] | None = None,
    baseline: str | None = None,
    sample_weight: ArrayLike | None = None,
) -> pd.DataFrame:
    r"""Score models of any library on the same rows, and compare them with a baseline, row by row.

    Parameters
    ----------
    models : dict of str to model or prediction
        Fitted models that `probmix.adapters.adapt` accepts (probmix, NGBoost, skpro, scikit-learn's classifiers,
        pipelines, searches), or predictions for these rows that `probmix.adapters.as_distribution` accepts (torch, Pyro
        and SciPy distributions, arrays (n, m) of draws). Either all of numbers or all of classes.
    X : array-like, (n, F), or None
        None if there are predictions only.
    y : array-like, (n,) or (n, targets)
        Numbers, or class labels as in the models' `classes_`.
    scores : sequence of str, optional
        For numbers some of "nll", "crps" and "coverage90", the share of targets in the central 90 % interval; for
        classes some of "nll", "brier", "rps" (the ranked probability score, for classes in an order) and "accuracy".
        By default all.
    baseline : str, optional
        Which model the others are compared with; by default the first.
    sample_weight : array-like, (n,), optional

    Returns
    -------
    DataFrame
        A line for each score and model, under the index ("score", "model"), with the columns

        - ``n``: rows, without those of weight zero;
        - ``mean`` and ``standard_error`` of the score over rows;
        - ``difference`` to the baseline and ``difference_error``: mean and standard error of the differences row by
          row; below zero the model is better, but for accuracy;
        - ``p``: of a two-sided paired t-test of no difference; NaN for coverages, which are best near 0.9.

        NaN where there is no such thing: differences of the baseline, errors of a single row or of infinite scores, and
        scores that a prediction cannot have, such as the NLL of draws or of quantiles, which have no density. The
        reasons for the latter are in ``attrs["missing"]``, by score and model; ``attrs["baseline"]`` is its name.

    Raises
    ------
    TypeError
        If something predicts no distributions, or needs X and there is none.
    ValueError
        If there are no models, or numbers and classes are mixed; for an unknown score or baseline; if shapes do not
        match, there are no rows, or `y` holds an impossible value; for weights that are negative or all zero.

    Notes
    -----
    With weights w of sum 1 and differences d of n rows,

    .. math:: \bar d = \sum_i w_i d_i,\qquad s^2 = \frac n{n - 1}\sum_i w_i^2 (d_i - \bar d)^2,\qquad t = \bar d / s.

    Scores of models on the same rows go up and down together, so that the error of the difference is usually far
    smaller than those of the means. Errors hold for new rows from the same source and for models as they are: they know
    nothing of how a model would differ if it were fitted on other rows, and where rows depend on each other, as in time
    series, they are too small. The p-values are not adjusted for the number of models.

    References
    ----------
    Diebold and Mariano (1995), Comparing predictive accuracy, J. Bus. Econ. Stat. 13, 253-263.
    Gneiting and Katzfuss (2014), Probabilistic forecasting, Annu. Rev. Stat. Appl. 1, 125-151.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy import stats
    >>> from probmix.scores import evaluate
    >>> y = np.array([0.3, -1.2, 0.4, 2.0])
    >>> models = {"normal": stats.norm(np.zeros(4), 1.0), "t": stats.t(3, loc=np.zeros(4))}
    >>> table = evaluate(models, None, y, scores=["nll", "crps"])
    >>> table.loc["crps", ["mean", "difference", "difference_error", "p"]].round(3)
             mean  difference  difference_error      p
    model
    normal  0.692         NaN               NaN    NaN
    t       0.687      -0.005             0.029  0.878
    """
    rows = score_rows(models, X, y, scores=scores)
    return compare_rows(rows, baseline=baseline, sample_weight=sample_weight)


def score_rows(
    models: Mapping[str, Any], X: Any, y: ArrayLike | Tensor, *, scores: Sequence[str] | None = None
) -> pd.DataFrame:
    """Scores of each row: what `evaluate` takes the means of.

    Parameters
    ----------
    models, X, y, scores
        As in `evaluate`.

    Returns
    -------
    DataFrame, n rows
        A column for each score and model, under ("score", "model"); the index is that of `y` if it is a Series or
        DataFrame. What a prediction cannot have is NaN, with the reason in ``attrs["missing"]``.

    Raises
    ------
    TypeError, ValueError
        As `evaluate`.

    Examples
    --------
    >>> import numpy as np
    >>> from probmix.scores import score_rows
    >>> rows = score_rows({"draws": np.array([[0.0, 1.0], [1.0, 3.0]])}, None, [0.5, 0.0], scores=["nll", "crps"])
    >>> rows["crps"]
    model  draws
    0       0.25
    1       1.50
    >>> rows.attrs["missing"][("nll", "draws")]
    'draws have no density, so neither log_prob nor NLL. Use `crps`, or fit a density to the draws.'
    """
    if not models:
        raise ValueError("`models` must hold at least one model or prediction. Pass a dict of name to model.")
    with torch.no_grad():
        predictions = {name: _prediction(name, model, X) for name, model in models.items()}
        target = encoded_targets(y, _classes(models))
        known = _known_scores(predictions)
        chosen = list(known) if scores is None else list(dict.fromkeys(scores))
        if not chosen:
            raise ValueError(f"`scores` must name at least one score, such as {next(iter(known))!r}.")
        for score in chosen:
            if score not in known:
                raise _unknown_score(score, known)
        for name, distribution in predictions.items():
            _check_shape(name, distribution, target)
        columns: dict[tuple[str, str], NDArray[np.float64]] = {}
        missing: dict[tuple[str, str], str] = {}
        for score in chosen:
            for name, distribution in predictions.items():
                try:
                    value = known[score](distribution, target.to(device_of(distribution)))
                    columns[score, name] = value.double().cpu().numpy()
                except NotImplementedError as error:
                    columns[score, name] = np.full(len(target), nan)
                    missing[score, name] = str(error)
    index = y.index if isinstance(y, pd.Series | pd.DataFrame) else None
    labels = pd.MultiIndex.from_tuples(list(columns), names=["score", "model"])
    rows = pd.DataFrame(np.stack(list(columns.values()), 1), index=index, columns=labels)
    rows.attrs["missing"] = missing
    return rows


def _prediction(name: str, model: Any, X: Any) -> Distribution:
    """The distribution that stands for an entry: a prediction as it is, a model by what it predicts."""
    if is_prediction(model):
        return as_distribution(model)
    adapted = adapt(model)
    if X is None:
        raise TypeError(f"{name!r} is a model and needs rows to predict, but `X` is None. Pass X, or its predictions.")
    return predicted_distribution(adapted, X)


def _classes(models: Mapping[str, Any]) -> Any:
    """The classes that all models with `classes_` agree on, or None."""
    found = {name: list(model.classes_) for name, model in models.items() if hasattr(model, "classes_")}
    if not found:
        return None
    first, classes = next(iter(found.items()))
    for name, others in found.items():
        if others != classes:
            raise ValueError(
                f"all models must know the same classes in the same order; {first!r} has {classes} and {name!r} "
                f"{others}. Fit them on the same labels."
            )
    return classes


def _known_scores(predictions: Mapping[str, Distribution]) -> dict[str, _Score]:
    of_classes = {name: isinstance(innermost(distribution), Categorical) for name, distribution in predictions.items()}
    if len(set(of_classes.values())) > 1:
        first = next(name for name, value in of_classes.items() if value)
        other = next(name for name, value in of_classes.items() if not value)
        raise ValueError(
            f"models must predict all classes or all numbers; {first!r} predicts classes, {other!r} numbers. "
            "Evaluate them apart; pass class probabilities as a Categorical distribution."
        )
    return _OF_CLASSES if next(iter(of_classes.values())) else _OF_NUMBERS


def _unknown_score(score: str, known: Mapping[str, _Score]) -> ValueError:
    other, kind = (_OF_NUMBERS, "numbers") if known is _OF_CLASSES else (_OF_CLASSES, "classes")
    if score in other:
        names = ", ".join(map(repr, known))
        return ValueError(f"the score {score!r} is for predictions of {kind}; there are {names} for these.")
    return unknown_name("score", score, known)


def _check_shape(name: str, distribution: Distribution, target: Tensor) -> None:
    shape = tuple(distribution.batch_shape + distribution.event_shape)
    if len(distribution.batch_shape) != 1 or tuple(target.shape) != shape or shape[0] == 0:
        raise ValueError(
            f"`y` must hold one target, or one row of targets, for each predicted row, at least one; {name!r} predicts "
            f"shape {shape}, `y` has {tuple(target.shape)}."
        )
