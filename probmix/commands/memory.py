"""What the file of a model remembers of how it was fitted: which columns were what, the command, and when."""

import json
import platform
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import numpy
import torch

from .. import __version__
from ..columns import Columns
from ..estimators import DensityClassifier, DensityRegressor, load
from ..estimators.persistence import remark, save_estimator
from .errors import InputError

_NAME = "command"


@dataclass(frozen=True)
class Memory:
    """How a model was fitted to a file.

    Attributes
    ----------
    target, exposure, groups, weights : str or None
        Names of columns.
    left_out : tuple of str
        Columns that are no features.
    command : str
    data : str
        The path of the file.
    rows : int
    created : str
        The date, in UTC.
    versions : dict
    """

    target: str | None = None
    exposure: str | None = None
    groups: str | None = None
    weights: str | None = None
    left_out: tuple[str, ...] = ()
    command: str | None = None
    data: str | None = None
    rows: int | None = None
    created: str | None = None
    versions: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of_now(cls, **known: Any) -> Self:
        """With the date and the versions of now."""
        versions = {
            "probmix": __version__,
            "python": platform.python_version(),
            "numpy": numpy.__version__,
            "torch": str(torch.__version__),
        }
        return cls(**known, created=datetime.now(UTC).isoformat(timespec="seconds"), versions=versions)


@dataclass(frozen=True)
class Model:
    """A fitted model from a file, with what the file remembers."""

    path: Path
    estimator: DensityRegressor
    memory: Memory

    @property
    def columns(self) -> Columns:
        """What the fit learned of the features."""
        assert self.estimator.columns_ is not None  # checked when it was loaded
        return self.estimator.columns_

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Of the columns that it needs."""
        assert self.columns.names is not None  # checked when it was loaded
        return self.columns.names

    @property
    def has_exposure(self) -> bool:
        """Whether it was fitted with exposures."""
        return self.estimator.fitted_with_exposure_


def save_model(estimator: DensityRegressor, path: Path, memory: Memory) -> None:
    """Write a model to a file that remembers how it was fitted."""
    save_estimator(estimator, path, {_NAME: json.dumps(asdict(memory))})


def load_model(path: Path) -> Model:
    """A model from a file, also from one that `DensityRegressor.save` wrote, which remembers nothing of this.

    Raises
    ------
    InputError
        If there is no such file, or it is no model for these commands.
    """
    if not path.exists():
        raise InputError(f"there is no file {str(path)!r}. A model is written by: probmix fit ... --out {path.name}")
    if path.is_dir():
        raise InputError(f"{str(path)!r} is a folder; name the file of a model.")
    try:
        estimator = load(path)
    except OSError as error:
        raise InputError(f"{str(path)!r} cannot be read: {error.strerror or error}.") from error
    stored = remark(path, _NAME)
    memory = Memory() if stored is None else _memory(json.loads(stored))
    if isinstance(estimator, DensityClassifier):
        raise InputError(
            f"{str(path)!r} predicts classes, and the commands predict numbers. Use probmix.load in Python."
        )
    if estimator.columns_ is None or estimator.columns_.names is None:
        raise InputError(
            f"{str(path)!r} was fitted to rows without names of columns, by which the commands find features. "
            "Use probmix.load in Python."
        )
    first = getattr(estimator, "candidates_", [estimator])[0]
    if first.network_.num_targets is not None or first.family_.event_dim:
        raise InputError(f"{str(path)!r} predicts several targets, and the commands one. Use probmix.load in Python.")
    return Model(path, estimator, memory)


def _memory(stored: dict[str, Any]) -> Memory:
    return Memory(**{**stored, "left_out": tuple(stored["left_out"])})
