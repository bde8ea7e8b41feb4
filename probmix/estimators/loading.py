"""Loading what an estimator saved."""

from pathlib import Path
from typing import Any

import pandas as pd
from torch import Tensor

from ..networks import NetworkLike
from .checks import check_network
from .classifier import DensityClassifier
from .marginal_share import MarginalShare
from .out_of_fold import OutOfFold
from .persistence import read, restore, spec_of, under
from .plain_values import decode
from .regressor import DensityRegressor
from .validation import LOST_SPLITTER

_CLASSES: dict[str, type[DensityRegressor] | type[DensityClassifier]] = {
    "DensityRegressor": DensityRegressor,
    "DensityClassifier": DensityClassifier,
}


def load(path: str | Path, network: NetworkLike | None = None) -> DensityRegressor | DensityClassifier:
    """Load an estimator that `save` wrote.

    Parameters
    ----------
    path : str or Path
    network : nn.Module or callable, optional
        For an estimator with a network of your own: that network, or what built it. The file has its weights, but no
        code.

    Returns
    -------
    DensityRegressor or DensityClassifier
        Fitted, predicting what the saved one predicts. A ``random_state`` that was a generator comes back as None. A
        ``validation`` that was a splitter must be set again for another fit, and until then is "lost splitter".

    Raises
    ------
    ValueError
        If the file is not one of ours, names a family that is not registered, or needs another `network`.

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
    check_network(network)
    header, tensors = read(path)
    try:
        return _estimator(header, tensors, network, str(path))
    except KeyError as error:
        raise ValueError(f"{str(path)!r} is damaged: {error} is missing from it. Save it again.") from error


def _estimator(
    header: dict[str, Any], tensors: dict[str, Tensor], network: NetworkLike | None, path: str
) -> DensityRegressor | DensityClassifier:
    """The estimator that a header and tensors are, be it a stack of others."""
    params: dict[str, Any] = {name: decode(value) for name, value in header["params"].items()}
    if "preset" not in params:
        # of before presets, when all parameters were named, and None was a splitter
        params["preset"] = "plain"
        if "validation" in params and params["validation"] is None:
            params["validation"] = LOST_SPLITTER
    if "stack" in header:
        candidates = [
            _estimator(own, under(f"candidate.{number}.", tensors), network, path)
            for number, own in enumerate(header["candidates"])
        ]
        stack = _CLASSES[header["class"]](**{"network": network} | params)
        table, runs = (pd.DataFrame(header.get(name, header["stack"])) for name in ("stack", "search"))
        stack._take_over_stack(candidates, table, runs, _marginal(header, tensors))
        return stack
    spec = spec_of(header)
    fitted_with = network if spec is None else spec
    if fitted_with is None or (spec is not None and network is not None):
        fitted = "a network of the user's own" if network is None else "the built-in network"
        mend = "Pass it, or what built it, as `network`" if network is None else "Leave out `network`"
        raise ValueError(f"{path!r} holds an estimator that was fitted with {fitted}. {mend}.")
    estimator = _CLASSES[header["class"]](**{"network": network} | params)
    restore(estimator, header, tensors, fitted_with)
    return estimator


def _marginal(header: dict[str, Any], tensors: dict[str, Tensor]) -> MarginalShare | None:
    """The share of the marginal in a stack, which files from before it do not have."""
    if "marginal" not in header:
        return None
    own, judged = header["marginal"], under("marginal.oof.", tensors)
    out_of_fold = OutOfFold.of_tensors(judged) if judged else None
    return MarginalShare(decode(own["family"]), tensors["marginal.eta"], own["n_rows"], out_of_fold)
