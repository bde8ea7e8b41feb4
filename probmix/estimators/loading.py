"""Loading what an estimator saved."""

from pathlib import Path

from .classifier import DensityClassifier
from .persistence import decode, read, restore
from .regressor import DensityRegressor

_CLASSES: dict[str, type[DensityRegressor] | type[DensityClassifier]] = {
    "DensityRegressor": DensityRegressor,
    "DensityClassifier": DensityClassifier,
}


def load(path: str | Path) -> DensityRegressor | DensityClassifier:
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
    header, tensors = read(path)
    params = {name: decode(value) for name, value in header["params"].items()}
    estimator = _CLASSES[header["class"]](**params)
    restore(estimator, header, tensors)
    return estimator
