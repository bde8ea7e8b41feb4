"""Many fits as one: the splits of a table, the folds of a validation, repeated seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate, pairwise
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.base import clone
from torch import Tensor

from ..families import TargetScaler
from ..mixup import GraphPartners, as_mixup
from ..training import Rows, Task, TrainingData, TrainingResult
from .base import DensityEstimator
from .checks import check_device
from .endings import warn_of_end
from .given import Given
from .parts import Parts

Estimator = TypeVar("Estimator", bound=DensityEstimator)


def fit_together(
    estimator: Estimator,
    X: ArrayLike,
    y: ArrayLike,
    splits: Sequence[ArrayLike],
    random_states: Sequence[int],
    exposure: ArrayLike | None = None,
    groups: ArrayLike | None = None,
) -> list[Estimator]:
    """Fit one estimator to several parts of the data at once: all networks are trained as one batch.

    Parameters
    ----------
    estimator : DensityRegressor or DensityClassifier
        Cloned for every fit and left alone.
    X, y : array-like
        As in `fit`.
    splits : sequence of array-like of int
        Row numbers of the training part of each fit.
    random_states : sequence of int
        The `random_state` of each fit.
    exposure : array-like, (n,), optional
        Of counts; as in `DensityRegressor.fit`.
    groups : array-like, (n,), optional
        As in `fit`.

    Returns
    -------
    list of estimators
        The i-th one is, to float tolerance, ``clone(estimator).set_params(random_state=random_states[i])`` fitted to
        ``X[splits[i]], y[splits[i]]``; but for a network that draws by torch's own generator, such as one of your own
        with `torch.nn.Dropout`, which draws for all of them as one. Parts of different lengths, of different classes,
        and in whose columns there are different levels or gaps, are trained apart.

    Raises
    ------
    ValueError
        If there are not as many seeds as splits, if the number of epochs is not set, or if the estimator has a
        `checkpoint` or a graph of partners, which are those of a single fit.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.model_selection import KFold
    >>> from probmix import DensityRegressor, fit_together
    >>> X = np.linspace(-1, 1, 60)[:, None]
    >>> folds = list(KFold(3).split(X))
    >>> model = DensityRegressor("gaussian", max_epochs=5)
    >>> fits = fit_together(model, X, X[:, 0], [train for train, _ in folds], range(3))
    >>> [fit.score(X[test], X[test, 0]).__class__.__name__ for fit, (_, test) in zip(fits, folds)]
    ['float', 'float', 'float']
    """
    if len(splits) != len(random_states):
        raise ValueError(f"every split has a seed; got {len(splits)} splits and {len(random_states)} random_states.")
    if estimator.checkpoint is not None:
        raise ValueError("`checkpoint` keeps a single fit; set it to None to fit several together.")
    if estimator._is_stack:
        raise ValueError(
            "`fit_together` trains networks of one family and one mixup as one; got several of either. Fit the stack "
            "for each split, or the candidates one after the other; or name the `family` that a preset would choose."
        )
    settings = estimator._settings
    if estimator.time_limit is not None or (settings.search is not None and "max_epochs" in settings.unset):
        raise ValueError(
            "`fit_together` trains all fits for one number of epochs, which neither a `time_limit` nor a search of the "
            f"preset {estimator.preset!r} can choose for each. Set `max_epochs`, and leave out `time_limit`."
        )
    if isinstance(as_mixup(estimator._settings.mixup).partners, GraphPartners):
        raise ValueError(
            "the graph of GraphPartners is over the rows of one fit, and each of several fits has its own. Fit them "
            "one by one, with a graph for the rows of each."
        )
    given = Given(X, y, exposure=exposure, groups=groups).indexable()
    fits = [clone(estimator).set_params(random_state=seed) for seed in random_states]
    prepared = [fit._prepare(given.take(np.asarray(split)), Given()) for fit, split in zip(fits, splits, strict=True)]
    alike: dict[tuple[object, ...], list[int]] = {}
    for number, (task, _) in enumerate(prepared):
        columns = fits[number].columns_
        layout = None if columns is None else columns.layout
        alike.setdefault((task.objective, layout, *_shapes(task.data)), []).append(number)
    for numbers in alike.values():
        _fit_group([fits[number] for number in numbers], [prepared[number] for number in numbers])
    return fits


def _shapes(data: TrainingData) -> tuple[object, ...]:
    """What must agree for tasks to be trained as one."""
    return (
        *((name, column.shape[1:]) for name, column in data.rows.present().items()),
        data.train_rows.shape[1],
        data.validation_rows.shape[1],
        data.unit_rows.shape[1],
        data.epoch_rows,
    )


def _fit_group(fits: list[Estimator], prepared: list[tuple[Task, Parts | None]]) -> None:
    tasks = [task for task, _ in prepared]
    joint = replace(tasks[0], data=_join([one.data for one in tasks]), keys=torch.cat([one.keys for one in tasks]))
    network, scaler, result = fits[0]._train(joint)
    if result.interrupted:
        # a table of which some fits have not begun is of no use
        raise KeyboardInterrupt
    state = network.cpu().state_dict()
    scaler = scaler.to(torch.device("cpu"))
    bounds = accumulate((len(one.keys) for one in tasks), initial=0)
    for fit, (task, parts), (start, stop) in zip(fits, prepared, pairwise(bounds), strict=True):
        alone = fit._build(task)
        alone.load_state_dict({name: tensor[start:stop] for name, tensor in state.items()})
        units = TargetScaler(scaler.loc[start:stop], scaler.scale[start:stop])
        own = _result_alone(result, start, stop)
        fit._take_over(task, parts, alone.to(check_device(fit.device)), units, own)
        warn_of_end(own, task.options)


def _join(parts: list[TrainingData]) -> TrainingData:
    """The data of all tasks one under the other, and the rows of all their members."""
    offsets = list(accumulate((len(part.rows) for part in parts), initial=0))

    def rows(name: str) -> Tensor:
        return torch.cat([getattr(part, name) + offset for part, offset in zip(parts, offsets, strict=False)])

    sizes = [size for part in parts for size in part.sizes_of_members()]
    return TrainingData(
        Rows.joined([part.rows for part in parts]),
        rows("train_rows"),
        rows("validation_rows"),
        rows("unit_rows"),
        tuple(sizes) if len(set(sizes)) > 1 else None,
        parts[0].epoch_rows,
    )


def _result_alone(result: TrainingResult, start: int, stop: int) -> TrainingResult:
    """The course of some members, which alone would have ended when the last of them had stopped."""
    last = result.n_epochs[start:stop]
    return replace(
        result,
        validation_curve=result.validation_curve[: int(last.max()), start:stop],
        training_curve=result.training_curve[: int(last.max()), start:stop],
        best_epoch=result.best_epoch[start:stop],
        n_epochs=last,
        mixup_until=None if result.mixup_until is None else result.mixup_until[start:stop],
    )
