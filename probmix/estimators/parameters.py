"""Parameters of an estimator, checked, and the options of training that they are."""

from dataclasses import replace
from numbers import Integral
from pathlib import Path
from typing import Any

from .._files import check_can_be_written
from ..mixup import Mixup, as_mixup
from ..training import Epochs, TrainingOptions, batch_size_for, patience_for
from ..training.schedules import check_rate
from .building import check_composition
from .checks import (
    check_automatic,
    check_device,
    check_integer,
    check_network,
    check_pool,
    check_real,
    check_time_limit,
)
from .presets import Settings
from .validation import check_validation


def checked_parameters(estimator: Any) -> tuple[Mixup, TrainingOptions]:
    """The mixup, and the options as far as they do not follow the size; raises for parameters that are wrong."""
    settings = estimator._settings
    check_integer("n_members", settings.n_members, 1)
    check_pool(estimator.pool)
    check_integer("n_draws", estimator.n_draws, 1)
    check_network(estimator.network, estimator.hidden_layer_sizes)
    if not isinstance(settings.max_epochs, Epochs):
        check_integer("max_epochs", settings.max_epochs, 1)
    check_automatic("batch_size", estimator.batch_size)
    mixup = as_mixup(settings.mixup)
    check_composition(settings.network, mixup)
    if mixup.at is not None and estimator.batch_size == 1:
        raise ValueError(
            "`batch_size` must be at least 2 for rows to be mixed; got 1. Use mixup='erm' for single rows."
        )
    check_automatic("patience", estimator.patience)
    check_rate("learning_rate", settings.learning_rate, open_low=True)
    check_rate("weight_decay", settings.weight_decay)
    check_validation(settings.validation, settings.n_members)
    check_real("validation_fraction", estimator.validation_fraction, 0.0, 1.0)
    if estimator.checkpoint is not None and not isinstance(estimator.random_state, Integral):
        raise ValueError(
            "`checkpoint` needs a fixed `random_state`: another seed is another run, and a generator gives another to "
            f"every fit. Pass an integer; got {estimator.random_state!r}."
        )
    if check_time_limit(estimator.time_limit) is not None and estimator.checkpoint is not None:
        raise ValueError(
            "`checkpoint` keeps a run that goes on with the same number of epochs, which with a `time_limit` "
            "is another in every fit. Leave out either."
        )
    options = TrainingOptions(
        max_epochs=settings.max_epochs.most if isinstance(settings.max_epochs, Epochs) else settings.max_epochs,
        batch_size=None if isinstance(estimator.batch_size, str) else estimator.batch_size,
        learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
        patience=None if isinstance(estimator.patience, str) else estimator.patience,
        verbose=bool(estimator.verbose),
        checkpoint=None if estimator.checkpoint is None else Path(estimator.checkpoint),
    )
    check_device(estimator.device)
    if options.checkpoint is not None:
        check_can_be_written(options.checkpoint)
    return mixup, options


def options_for(options: TrainingOptions, estimator: Any, settings: Settings, rows: int) -> TrainingOptions:
    """The options with what follows the size, for so many training rows of a member."""
    if estimator.batch_size == "auto":
        options = replace(options, batch_size=batch_size_for(rows))
    if isinstance(settings.max_epochs, Epochs):
        options = replace(options, max_epochs=settings.max_epochs.of(rows, options.batch_size))
    if estimator.patience == "auto":
        patience = None if options.ends_at_zero else patience_for(rows, options.batch_size)
        options = replace(options, patience=patience)
    return options
