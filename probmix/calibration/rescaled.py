"""A fitted estimator whose predictions take back what mixup did to rows and labels."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import torch
from numpy.typing import ArrayLike
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from .._numbers import as_numpy
from ..estimators import DensityClassifier, DensityRegressor
from ..estimators.given import Given
from ..estimators.rows import check_rows
from ..estimators.stacked import check_single
from ..training import TrainingData
from ..training.rescaling import rescaling_of


def rescaled(
    model: Any, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None, exposure: ArrayLike | None = None
) -> Any:
    r"""A copy of a fitted estimator with rescaled predictions, as if it had been fitted with ``rescale=True``.

    .. math:: x \mapsto \mathrm{stretch}_{1/\bar\theta}\bigl(p(\cdot \mid \bar x + \bar\theta (x - \bar x))\bigr)

    Mixup shows a network rows that are drawn towards their mean, by :math:`\bar\theta` on average, with labels that are
    drawn towards theirs; see `probmix.families.Family.stretch` for how a density is moved back.

    Parameters
    ----------
    model : DensityRegressor or DensityClassifier
        Fitted with plain mixup: at the input, with averaged labels. Also a Pipeline that ends in one.
    X, y : array-like
        The rows of the fit, whose means all members take.
    sample_weight, exposure : array-like, (n,), optional
        As in the fit.

    Returns
    -------
    estimator of the same class

    Raises
    ------
    TypeError
        For another estimator.
    ValueError
        If the mixup of the fit draws nothing towards means, or for rows that do not fit the model.

    Notes
    -----
    The validation loss of the fit, and its out-of-fold densities, are not rescaled; the copy has none of the latter. A
    fit of the copy rescales all that it predicts, with means of each member's own rows.

    References
    ----------
    Carratino, Cissé, Jenatton and Vert (2022), On Mixup Regularization, JMLR 23.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from probmix import DensityClassifier
    >>> from probmix.calibration import rescaled
    >>> X, y = load_iris(return_X_y=True)
    >>> model = DensityClassifier("mixup", max_epochs=20, random_state=0).fit(X, y)
    >>> rescaled(model, X, y).predict_proba(X[:2]).shape
    (2, 3)
    """
    if isinstance(model, Pipeline):
        check_is_fitted(model)
        through = model[:-1].transform(X) if len(model.steps) > 1 else X
        pipeline = copy.copy(model)
        last = rescaled(model[-1], through, y, sample_weight, exposure)
        pipeline.steps = [*model.steps[:-1], (model.steps[-1][0], last)]
        return pipeline
    if not isinstance(model, DensityRegressor | DensityClassifier):
        raise TypeError(
            f"`model` must be a DensityRegressor or a DensityClassifier, or a Pipeline that ends in one; got a "
            f"{type(model).__name__}."
        )
    check_single(model, "rescaling")
    mixup = replace(model.mixup_, rescale=True)
    data = _data(model, X, y, sample_weight, exposure)
    copied = copy.copy(model)
    copied.mixup = copied.mixup_ = mixup
    copied.rescaling_ = rescaling_of(model.network_, model.family_, mixup, data, model.scaler_)
    if hasattr(copied, "out_of_fold_"):
        del copied.out_of_fold_
        copied.out_of_fold_gap_ = (
            "out-of-fold densities are those of the fit, which were not rescaled: fit with rescale=True in the `Mixup`."
        )
    return copied


def _data(model: Any, X: Any, y: Any, sample_weight: Any, exposure: Any) -> TrainingData:
    """The rows, as those that train every member."""
    x = check_rows(model, X, model.input_shape_, "X")
    targets = model._validate_targets(as_numpy(y))
    several = model.network_.num_targets or (model.family_.num_targets if model.family_.event_dim else None)
    shape = (len(x),) if several is None else (len(x), several)
    if targets.shape != shape:
        raise ValueError(f"`y` must have shape {shape}, as the fit had; got {targets.shape}.")
    rows = Given(X, y, sample_weight, exposure).rows(x, targets, model.family_)
    model.family_.check_targets(rows.y)
    if (rows.log_exposure is None) == model.fitted_with_exposure_:
        raise ValueError("`exposure` must be passed if the fit had exposures, and only then.")
    if rows.log_exposure is not None:
        rows = replace(rows, log_exposure=rows.log_exposure - model.log_exposure_unit_)
    every = torch.arange(len(x)).expand(model.n_members_, -1)
    return TrainingData(rows, every, every, every)
