"""Saving and loading without pickle: tensors in safetensors, everything else as JSON in its header."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from .._files import write_atomically
from ..columns import Columns
from ..columns.kinds import NUMBER
from ..columns.numbers import NumberColumn
from ..families import Family, TargetScaler, canonical_name
from ..mixup import Mixup
from ..mixup.rescaling import Rescaling
from ..networks import MLP, DensityNetwork, MemberNetwork, NetworkLike, NetworkSpec
from ..networks.specs import is_spec
from ..random import member_keys
from .building import build_network
from .out_of_fold import OutOfFold
from .plain_values import decode, encode
from .validation import LOST_SPLITTER

# Those of the second format hold neither a clip of the inputs nor bounds of the head, those of the third no columns,
# for there were none, and those of the fourth no preset.
_FORMAT, _BEFORE = "probmix-5", ("probmix-2", "probmix-3", "probmix-4")
# Of safetensors it is 100 MB, in which quotation marks count twice.
_LARGEST_HEADER = 95_000_000
_FITTED = (
    "n_features_in_",
    "feature_names_in_",
    "classes_",
    "mixup_",
    "seed_",
    "log_exposure_unit_",
    "out_of_fold_gap_",
    "params_",
)


class FittedEstimator(Protocol):
    """What there is to save of an estimator."""

    family_: Family
    mixup_: Mixup
    network_: MemberNetwork
    seed_: int
    columns_: Columns | None
    scaler_: TargetScaler
    rescaling_: Rescaling | None
    validation_curve_: NDArray[np.float64]
    training_curve_: NDArray[np.float64]
    best_epoch_: NDArray[np.int64]
    n_epochs_: NDArray[np.int64]
    mixup_until_: NDArray[np.int64] | None
    out_of_fold_: OutOfFold

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Parameters by name."""
        ...


def save_estimator(estimator: FittedEstimator, path: Path, remarks: Mapping[str, str] | None = None) -> None:
    """Write a fitted estimator; see `DensityEstimator.save`. Remarks are kept for `remark`, and change nothing."""
    header, tensors = contents(estimator)
    contiguous = {name: tensor.detach().contiguous().cpu() for name, tensor in tensors.items()}
    settings = json.dumps(header)
    if len(settings) > _LARGEST_HEADER:
        raise ValueError(
            f"the parameters of the estimator take {len(settings) / 1e6:.1f} MB as text, and a file has room for "
            f"{_LARGEST_HEADER / 1e6:g} MB: that of a graph of GraphPartners with a million edges. Pickle the "
            "estimator instead."
        )
    write_atomically(path, save(contiguous, {**(remarks or {}), "format": _FORMAT, "estimator": settings}))


def contents(estimator: FittedEstimator) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """What a file says of a fitted estimator: its header, and tensors by name."""
    if not type(estimator).__module__.startswith("probmix."):
        raise TypeError(
            f"only probmix's own estimators can be saved; got a {type(estimator).__name__}. Pickle it instead."
        )
    if hasattr(estimator, "candidates_"):
        return _contents_of_stack(estimator)
    state, units = estimator.network_.state_dict(), dict(estimator.network_.named_buffers(recurse=False))
    tensors = {f"network.{name}": tensor if name in units else _narrow(tensor) for name, tensor in state.items()}
    tensors |= {"scaler.loc": estimator.scaler_.loc, "scaler.scale": estimator.scaler_.scale}
    tensors |= {
        "validation_curve": torch.from_numpy(estimator.validation_curve_),
        "training_curve": torch.from_numpy(estimator.training_curve_),
        "best_epoch": torch.from_numpy(estimator.best_epoch_),
        "n_epochs": torch.from_numpy(estimator.n_epochs_),
    }
    if estimator.mixup_until_ is not None:
        tensors["mixup_until"] = torch.from_numpy(estimator.mixup_until_)
    if estimator.rescaling_ is not None:
        tensors["rescaling.theta_bar"] = torch.tensor(estimator.rescaling_.theta_bar, dtype=torch.float64)
        tensors["rescaling.centre"] = estimator.rescaling_.centre
        tensors["rescaling.marginal"] = estimator.rescaling_.marginal
    if isinstance(found := getattr(estimator, "out_of_fold_", None), OutOfFold):
        tensors |= found.tensors("oof.")
    network = estimator.network_
    header = {
        "class": type(estimator).__name__,
        "params": _plain_params(estimator),
        # None for a network of the user's own, of which the file has no code
        "network": encode("network", network.spec) if isinstance(network, DensityNetwork) else None,
        "family": encode("family", estimator.family_),
        "fitted": {name: encode(name, getattr(estimator, name)) for name in _FITTED if name in vars(estimator)},
        "num_targets": network.num_targets,
        "input_shape": list(network.input_shape),
        "columns": None if estimator.columns_ is None else estimator.columns_.state(),
    }
    return header, tensors


def _contents_of_stack(estimator: Any) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Those of all candidates, each under its number."""
    header: dict[str, Any] = {
        "class": type(estimator).__name__,
        "params": _plain_params(estimator),
        "stack": _plain_table(estimator.stack_),
        "search": _plain_table(estimator.search_),
        "candidates": [],
    }
    tensors: dict[str, Tensor] = {}
    for number, candidate in enumerate(estimator.candidates_):
        own, found = contents(candidate)
        header["candidates"].append(own)
        # candidates may share memory, which tensors of a file do not
        tensors |= {f"candidate.{number}.{name}": tensor.clone() for name, tensor in found.items()}
    if (marginal := estimator.marginal_) is not None:
        header["marginal"] = {"family": encode("family", marginal.family), "n_rows": marginal.n_rows}
        tensors["marginal.eta"] = marginal.eta
        if marginal.out_of_fold is not None:
            tensors |= marginal.out_of_fold.tensors("marginal.oof.")
    return header, tensors


def _plain_table(table: pd.DataFrame) -> dict[str, list[Any]]:
    return {str(name): column.tolist() for name, column in table.items()}


def _plain_params(estimator: FittedEstimator) -> dict[str, Any]:
    """The parameters in JSON form, names of families in their canonical form."""
    params = estimator.get_params(deep=False)
    params["validation"] = _plain_validation(params["validation"])
    if not isinstance(listed := params["categorical_features"], str | None | list | tuple):
        params["categorical_features"] = np.asarray(listed)
    if isinstance(family := params.get("family"), list | tuple):
        params["family"] = [canonical_name(one) if isinstance(one, str) else one for one in family]
    elif isinstance(family, str) and family != "auto":
        params["family"] = canonical_name(family)
    return {name: encode(name, value) for name, value in params.items() if name != "network" or _is_known(value)}


def _is_known(network: Any) -> bool:
    """Whether a file can say which network it is: a specification, or several."""
    return all(map(is_spec, network)) if isinstance(network, list | tuple) else is_spec(network)


def _plain_validation(validation: Any) -> Any:
    """A name as it is, pairs of row numbers as arrays, and for a splitter, which only its code tells, a name."""
    if validation is None or isinstance(validation, str):
        return validation
    if hasattr(validation, "split"):
        return LOST_SPLITTER
    return [[np.asarray(rows) for rows in pair] for pair in validation]


def read(path: str | Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Header and tensors of a file that `save_estimator` wrote.

    Raises
    ------
    ValueError
        If the file is not one of ours.
    """
    try:
        opened = safe_open(path, framework="pt", device="cpu")
    except SafetensorError as error:
        raise ValueError(f"{str(path)!r} is not a safetensors file: {error}.") from error
    with opened as file:
        metadata = file.metadata() or {}
        if metadata.get("format") not in (_FORMAT, *_BEFORE):
            raise ValueError(
                f"{str(path)!r} is not an estimator saved by this version of probmix: "
                f"its format is {metadata.get('format')!r}, expected {_FORMAT!r}."
            )
        names = file.keys()  # the file itself cannot be iterated over
        tensors = {name: file.get_tensor(name) for name in names}
    try:
        header: dict[str, Any] = json.loads(metadata["estimator"])
    except (KeyError, json.JSONDecodeError) as error:
        raise ValueError(f"{str(path)!r} is damaged: it does not say what was saved. Save it again.") from error
    return header, tensors


def remark(path: str | Path, name: str) -> str | None:
    """A remark in the file of an estimator, None where there is none of that name."""
    with safe_open(path, framework="pt", device="cpu") as file:
        found: str | None = (file.metadata() or {}).get(name)
    return found


def restore(
    estimator: FittedEstimator, header: dict[str, Any], tensors: dict[str, Tensor], network: NetworkLike | NetworkSpec
) -> None:
    """Give an estimator the fitted state that `read` found, with the network that it was fitted with."""
    # files from before exposures do not name their unit
    for name, value in ({"log_exposure_unit_": None} | header["fitted"]).items():
        setattr(estimator, name, decode(value))
    family = decode(header["family"])
    state = under("network.", tensors)
    n_members, input_shape, num_targets = len(state["loc"]), tuple(header["input_shape"]), header["num_targets"]
    keys = member_keys(estimator.seed_, n_members)
    columns = estimator.columns_ = _columns(estimator, header, state["loc"])
    layout = None if columns is None else columns.layout
    built = build_network(network, family, input_shape, num_targets, keys, estimator.mixup_, layout)
    if isinstance(built, DensityNetwork):
        built = built.double()
        # as the layers were called when there was nothing but the perceptron
        state = {re.sub(r"^mlp\.", "trunk.", name): tensor for name, tensor in state.items()}
    state = dict(built.named_buffers(recurse=False)) | state
    _check_architecture(built.state_dict(), state)
    built.load_state_dict(state)
    estimator.family_ = family
    estimator.scaler_ = TargetScaler(**under("scaler.", tensors))
    if means := under("rescaling.", tensors):
        estimator.rescaling_ = Rescaling(means["theta_bar"].item(), means["centre"], means["marginal"])
    estimator.validation_curve_ = tensors["validation_curve"].numpy()
    estimator.best_epoch_ = tensors["best_epoch"].numpy()
    if "training_curve" in tensors:
        estimator.training_curve_ = tensors["training_curve"].numpy()
    if "n_epochs" in tensors:
        estimator.n_epochs_ = tensors["n_epochs"].numpy()
    estimator.mixup_until_ = tensors["mixup_until"].numpy() if "mixup_until" in tensors else None
    estimator.network_ = built.eval()
    estimator.network_.settle(built.density_place is not None and estimator.mixup_.draws > 0)
    if found := under("oof.", tensors):
        estimator.out_of_fold_ = OutOfFold.of_tensors(found)


def under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names begin so, without that."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def spec_of(header: dict[str, Any]) -> NetworkSpec | None:
    """The specification of the network of a file; None for a network of the user's own."""
    if "hidden_layer_sizes" in header:
        # files from before specifications
        return None if header["hidden_layer_sizes"] is None else MLP(header["hidden_layer_sizes"])
    spec: NetworkSpec | None = decode(header["network"])
    return spec


def _columns(estimator: FittedEstimator, header: dict[str, Any], loc: Tensor) -> Columns | None:
    """What the fit learned of the columns: in files from before that, that all are numbers without gaps."""
    if "columns" in header:
        return None if header["columns"] is None else Columns.from_state(header["columns"])
    if len(header["input_shape"]) > 1:
        return None
    names = getattr(estimator, "feature_names_in_", None)
    count = header["input_shape"][0]
    called = [f"column {place}" for place in range(count)] if names is None else names
    middle = loc.median(0).values.flatten().tolist()
    encoders = (NumberColumn(name, NUMBER, fill) for name, fill in zip(called, middle, strict=True))
    return Columns(tuple(encoders), None if names is None else tuple(names))


def _check_architecture(expected: dict[str, Tensor], stored: dict[str, Tensor]) -> None:
    """Raise unless the tensors of a network have the names and shapes of those of the fitted one."""
    # the user's own layers first: the head, for one, only follows them
    for name in sorted(expected.keys() | stored.keys(), key=lambda name: (".network/" not in name, name)):
        shapes = [f"shape {tuple(of[name].shape[1:])}" if name in of else "none" for of in (expected, stored)]
        if shapes[0] != shapes[1]:
            tensor = name.split(".")[-1].replace("/", ".").removeprefix("network.")
            raise ValueError(
                f"`network` must have the architecture of the saved one: of {tensor!r} it has {shapes[0]}, the saved "
                f"one {shapes[1]}. Pass the network with which the estimator was fitted."
            )


def _narrow(tensor: Tensor) -> Tensor:
    """Weights were trained in float32 and are stored so; units and bounds need their float64."""
    return tensor.float() if tensor.is_floating_point() else tensor
