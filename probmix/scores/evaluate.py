"""Several models on the same rows: their scores, and how they differ from a baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import nan
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torch.distributions import Categorical, Distribution

from .._targets import encoded_targets, of_turned_draws
from .._told import warn
from ..distributions.parts import innermost
from ._classes import other_order
from ._entries import Entry, entry, takes_exposure
from ._named import default_scores, named_score
from .comparison import compare_rows
from .table import ScoreTable


def evaluate(
    models: Mapping[str, Any],
    X: Any,
    y: ArrayLike | Tensor,
    *,
    scores: str | Sequence[str] | None = None,
    baseline: str | None = None,
    sample_weight: ArrayLike | None = None,
    exposure: ArrayLike | None = None,
) -> ScoreTable:
    r"""Score models of any library on the same rows, and compare them with a baseline, row by row.

    Parameters
    ----------
    models : dict of str to model or prediction
        Fitted models that `probmix.adapters.adapt` accepts (probmix, NGBoost, skpro, scikit-learn's classifiers,
        pipelines, searches), or predictions for these rows that `probmix.adapters.as_distribution` accepts (torch, Pyro
        and SciPy distributions, arrays (n, m) of draws). Also what predicts only a number or a class, by `predict`, and
        arrays (n,) or (n, 1) of such numbers: all their mass lies on a point, and the CRPS of a point is the absolute
        error.
        Either all of numbers or all of classes.
    X : array-like, (n, F), or None
        None if there are predictions only.
    y : array-like, (n,) or (n, targets)
        Numbers, or class labels as in the models' `classes_`.
    scores : str or sequence of str, optional
        For numbers, by default the first three:

        - "nll" and "crps";
        - "coverage90", the share of targets in the central 90 % interval;
        - "interval90", the interval score of that interval;
        - "quantile90", also called "pinball90", the quantile score at the level 90 %;
        - "rmse", the root of the mean squared error of the predicted mean, and "mae", the mean absolute error of the
          predicted median. Of a point prediction both are the error of the point.

        Other levels have their names, in percent and at least 1: "coverage50", "interval95", "quantile2.5". For
        classes "nll", "brier", "rps" (the ranked probability score, for classes in an order) and "accuracy", by default
        all.
    baseline : str, optional
        Which model the others are compared with; by default the first.
    sample_weight : array-like, (n,), optional
    exposure : array-like, (n,), optional
        Of counts: passed on to the models that were fitted with exposures, which are not scored without. Others predict
        from X alone, and what they predict is compared with y: of a rate pass the rate times the exposure, as a
        prediction.

    Returns
    -------
    ScoreTable
        A DataFrame that prints whole, rounded, with ± for the columns of errors. A line for each score and model, under
        the index ("score", "model"), with the columns

        - ``n``: rows, without those of weight zero;
        - ``mean`` and ``standard_error`` of the score over rows;
        - ``difference`` to the baseline and ``difference_error``: mean and standard error of the differences row by
          row; below zero the model is better, but for accuracy;
        - ``p``: of a two-sided paired t-test of no difference; NaN for coverages, which are best near 0.9. A difference
          that is within 1e-12 of the size of the scores is rounding and counts as zero: equal forecasts have p = 1.

        NaN where there is no such thing: differences of the baseline, errors of a single row or of infinite scores, and
        scores that a prediction cannot have, such as the NLL of points, draws or quantiles, which have no density. Why
        a mean is NaN is in ``attrs["missing"]``, by score and model; ``attrs["baseline"]`` is its name.

    Raises
    ------
    TypeError
        If `models` is no dict, or something predicts nothing, or needs X and there is none.
    ValueError
        If there are no models, or numbers and classes are mixed; for an unknown score or baseline; if shapes do not
        match, there are no rows, or `y` holds an impossible value; for weights that are negative or all zero; if
        exposures are missing, or no model takes those that there are.

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
    >>> table = evaluate(models | {"zero": np.zeros(4)}, None, y, scores=["nll", "crps"])
    >>> table
                  n   mean      ± difference       ±     p
    score model
    nll   normal  4   1.63 0.4567
          t       4  1.661 0.3825    0.03113 0.08555 0.740
          zero    4
    crps  normal  4 0.6917 0.2764
          t       4 0.6868 0.2472  -0.004874 0.02922 0.878
          zero    4  0.975 0.3966     0.2833  0.1273 0.112
    >>> print(table.loc[("crps", "t"), "difference"].round(4))
    -0.0049
    >>> table.attrs["missing"]["nll", "zero"]
    "a point prediction has no distribution and so no 'nll'. It has 'rmse', 'mae' and 'crps', which is the absolute ..."
    """
    rows = score_rows(models, X, y, scores=scores, exposure=exposure)
    return compare_rows(rows, baseline=baseline, sample_weight=sample_weight)


def score_rows(
    models: Mapping[str, Any],
    X: Any,
    y: ArrayLike | Tensor,
    *,
    scores: str | Sequence[str] | None = None,
    exposure: ArrayLike | None = None,
) -> pd.DataFrame:
    """Scores of each row: what `evaluate` takes the means of.

    Parameters
    ----------
    models, X, y, scores, exposure
        As in `evaluate`.

    Returns
    -------
    DataFrame, n rows
        A column for each score and model, under ("score", "model"), which for "rmse" holds squared errors; the index is
        that of `y` if it is a Series or DataFrame. What a prediction cannot have is NaN, with the reason in
        ``attrs["missing"]``.

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
    'draws have no density, so neither log_prob nor NLL. Use `crps`, or fit a density to the draws; class ...'
    """
    if not isinstance(models, Mapping):
        raise TypeError(
            f"`models` must be a dict of name to model; got {type(models).__name__}. "
            "Of one model pass {'model': model}."
        )
    if not models:
        raise ValueError("`models` must hold at least one model or prediction. Pass a dict of name to model.")
    if exposure is not None and not any(takes_exposure(model) for model in models.values()):
        raise ValueError(
            "`exposure` was passed, and none of the models was fitted with exposures. Fit with them, or leave it out."
        )
    if exposure is not None:
        _warn_of_rates([name for name, model in models.items() if _predicts(model) and not takes_exposure(model)])
    with torch.no_grad():
        classes = _classes(models)
        target, unordered = encoded_targets(y, classes), other_order(y, classes)
        entries = {name: entry(name, model, X, exposure, target.dim()) for name, model in models.items()}
        of_classes = _of_classes(entries)
        named = (scores,) if isinstance(scores, str) else scores
        chosen = default_scores(of_classes) if named is None else tuple(dict.fromkeys(named))
        if not chosen:
            raise ValueError(f"`scores` must name at least one score, such as {default_scores(of_classes)[0]!r}.")
        functions = {score: named_score(score, of_classes) for score in chosen}
        for name, one in entries.items():
            _check_shape(name, one.distribution, target)
        columns: dict[tuple[str, str], NDArray[np.float64]] = {}
        missing: dict[tuple[str, str], str] = {}
        for score, function in functions.items():
            for name, one in entries.items():
                try:
                    one.check(score)
                    if score == "rps" and unordered:
                        raise NotImplementedError(unordered)
                    columns[score, name] = function(one.distribution, target).double().cpu().numpy()
                except NotImplementedError as error:
                    columns[score, name] = np.full(len(target), nan)
                    missing[score, name] = str(error)
    index = y.index if isinstance(y, pd.Series | pd.DataFrame) else None
    labels = pd.MultiIndex.from_tuples(list(columns), names=["score", "model"])
    rows = pd.DataFrame(np.stack(list(columns.values()), 1), index=index, columns=labels)
    rows.attrs["missing"] = missing
    return rows


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


def _of_classes(entries: Mapping[str, Entry]) -> bool:
    """Whether classes are predicted; raises if some models predict classes and others numbers."""
    of_classes = {name: isinstance(innermost(one.distribution), Categorical) for name, one in entries.items()}
    if len(set(of_classes.values())) > 1:
        first = next(name for name, value in of_classes.items() if value)
        other = next(name for name, value in of_classes.items() if not value)
        raise ValueError(
            f"models must predict all classes or all numbers; {first!r} predicts classes, {other!r} numbers. "
            "Evaluate them apart; pass class probabilities as a Categorical distribution."
        )
    return next(iter(of_classes.values()))


def _predicts(model: Any) -> bool:
    """Whether something is a model, and no prediction."""
    return any(hasattr(model, name) for name in ("predict", "predict_dist", "predict_proba"))


def _warn_of_rates(names: list[str]) -> None:
    """Tell which models know of no exposures: what they predict may be a rate, and would be taken for a count."""
    if names:
        warn(
            f"{', '.join(map(repr, names))} take{'s' * (len(names) == 1)} no exposures: what is predicted is compared "
            "with y as it is. Where that is a rate, pass the rate times the exposure as a prediction instead."
        )


def _check_shape(name: str, distribution: Distribution, target: Tensor) -> None:
    shape = tuple(distribution.batch_shape + distribution.event_shape)
    if len(distribution.batch_shape) != 1 or tuple(target.shape) != shape or shape[0] == 0:
        mend = of_turned_draws(distribution, target)
        if tuple(target.shape) == (*shape, 1):
            mend = "Pass np.ravel(y)."
        elif shape == (*target.shape, 1):
            mend = "Fit it to np.ravel(y)."
        raise ValueError(
            f"`y` must hold one target, or one row of targets, for each predicted row, at least one; {name!r} predicts "
            f"shape {shape}, `y` has {tuple(target.shape)}. {mend}".rstrip()
        )
