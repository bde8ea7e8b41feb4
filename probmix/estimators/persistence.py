"""Saving and loading without pickle: tensors in safetensors, everything else as JSON in its header."""

import json
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from .. import mixup as _mixup
from ..families import ExponentialFamily, TargetScaler, get
from ..mixup import Mixup
from ..networks import DensityNetwork
from ..training.checkpoint import write_atomically

if TYPE_CHECKING:
    from .base import DensityEstimator

_FORMAT = "probmix-1"


def save_estimator(estimator: "DensityEstimator", path: Path) -> None:
    """Write a fitted estimator; see `DensityEstimator.save`."""
    tensors = {f"network.{name}": _narrow(name, tensor) for name, tensor in estimator.network_.state_dict().items()}
    tensors |= {"scaler.loc": estimator.scaler_.loc, "scaler.scale": estimator.scaler_.scale}
    tensors |= {
        "validation_curve": torch.from_numpy(estimator.validation_curve_),
        "best_epoch": torch.from_numpy(estimator.best_epoch_),
    }
    header = {
        "class": type(estimator).__name__,
        "params": {name: _encode(name, value) for name, value in estimator.get_params(deep=False).items()},
        "family": _encode("family", estimator.family_),
        "fitted": {
            name: _encode(name, getattr(estimator, name))
            for name in ("n_features_in_", "feature_names_in_", "classes_")
            if name in vars(estimator)
        },
        "num_targets": estimator.network_.num_targets,
        "hidden_layer_sizes": [weight.shape[2] for weight in estimator.network_.mlp.weights][:-1],
    }
    contiguous = {name: tensor.detach().contiguous().cpu() for name, tensor in tensors.items()}
    write_atomically(path, save(contiguous, {"format": _FORMAT, "estimator": json.dumps(header)}))


def load(path: str | Path) -> "DensityEstimator":
    """Load an estimator that `save` wrote.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    DensityRegressor or DensityClassifier
        Fitted, predicting what the saved one predicts. A ``random_state`` that was a generator comes back as None.

    Raises
    ------
    ValueError
        If the file is not one of ours, or names a family that is not registered.

    Examples
    --------
    >>> import tempfile, pathlib, numpy as np, probmix
    >>> X = np.linspace(-1, 1, 50)[:, None]
    >>> model = probmix.DensityRegressor(max_epochs=5, random_state=0).fit(X, X[:, 0])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder) / "model.safetensors"
    ...     model.save(path)
    ...     loaded = probmix.load(path)
    >>> bool((loaded.predict(X) == model.predict(X)).all())
    True
    """
    from .classifier import DensityClassifier
    from .regressor import DensityRegressor

    with safe_open(path, framework="pt", device="cpu") as file:
        metadata = file.metadata() or {}
        if metadata.get("format") != _FORMAT:
            raise ValueError(
                f"{str(path)!r} is not an estimator saved by this version of probmix: "
                f"its format is {metadata.get('format')!r}, expected {_FORMAT!r}."
            )
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    header = json.loads(metadata["estimator"])
    classes = {"DensityRegressor": DensityRegressor, "DensityClassifier": DensityClassifier}
    estimator: DensityEstimator = classes[header["class"]](
        **{name: _decode(value) for name, value in header["params"].items()}
    )
    for name, value in header["fitted"].items():
        setattr(estimator, name, _decode(value))
    family = _decode(header["family"])
    state = _under("network.", tensors)
    members, _, in_features = state["loc"].shape
    network = DensityNetwork(family, in_features, header["hidden_layer_sizes"], header["num_targets"], members)
    network.double().load_state_dict(state)
    estimator.family_ = family
    estimator.scaler_ = TargetScaler(**_under("scaler.", tensors))
    estimator.validation_curve_ = tensors["validation_curve"].numpy()
    estimator.best_epoch_ = tensors["best_epoch"].numpy()
    estimator.network_ = network.eval()
    return estimator


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _narrow(name: str, tensor: Tensor) -> Tensor:
    """Weights were trained in float32 and are stored so; the standardiser needs its float64."""
    return tensor.float() if name.startswith("mlp.") else tensor


def _encode(name: str, value: Any) -> Any:
    """A JSON form of a parameter or fitted attribute."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, np.generic):
        return _encode(name, value.item())
    if isinstance(value, np.ndarray):
        return {"array": value.tolist(), "dtype": "object" if value.dtype == object else value.dtype.str}
    if isinstance(value, (tuple, list)):
        return [_encode(name, one) for one in value]
    if isinstance(value, (Path, torch.device)):
        return str(value)
    if isinstance(value, (np.random.RandomState, np.random.Generator)):
        return None
    if isinstance(value, ExponentialFamily):
        return {"family": value.name, "options": _field_values(value)}
    if is_dataclass(value) and type(value).__name__ in _mixup.__all__:
        return {"mixup": type(value).__name__, "options": _field_values(value)}
    raise TypeError(
        f"`{name}` cannot be saved: {value!r} is neither a plain value nor a part of probmix. "
        "Pickle the estimator instead, or set the parameter to a built-in one."
    )


def _field_values(value: Any) -> dict[str, Any]:
    return {field.name: _encode(field.name, getattr(value, field.name)) for field in fields(value)}


def _decode(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_decode(one) for one in value)
    if not isinstance(value, dict):
        return value
    if "array" in value:
        return np.array(value["array"], dtype=value["dtype"])
    options = {name: _decode(option) for name, option in value["options"].items()}
    if "family" in value:
        return get(value["family"], **options)
    known: dict[str, type] = {"Mixup": Mixup} | {
        name: getattr(_mixup, name) for name in ("BetaWeights", "UniformPartners", "NearestNeighbours")
    }
    return known[value["mixup"]](**options)
