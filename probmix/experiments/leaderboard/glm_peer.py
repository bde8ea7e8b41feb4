"""Generalised linear models of statsmodels."""

from importlib import import_module
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy.linalg import qr
from scipy.optimize import minimize_scalar
from torch import Tensor
from torch.distributions import Distribution, Normal

from ...distributions import Gamma, NegativeBinomial, Poisson
from .encoding import OneHot
from .methods import Fitted, Training
from .sets import Kind

_LAWS: dict[Kind, list[str]] = {
    "real": ["normal"],
    "positive": ["normal", "gamma"],
    "count": ["poisson", "negative-binomial"],
}
# Of the dispersion of the negative binomial, on a log scale.
_DISPERSIONS = (-7.0, 4.0)
# A column of which this share is left after all others is a sum of them.
_DEPENDENT = 1e-7
# Beyond it the exponential overflows.
_FAR = 700.0


def fit(training: Training) -> Fitted:
    """Main effects of all features; of the laws that suit the targets the one with the smallest AIC.

    A Gaussian with one variance, a Gamma with the log link and one shape, a Poisson, and a negative binomial with the
    log link and one dispersion; an exposure is an offset. A law whose iterations break down is left out.
    """
    rows = training.rows
    encode = OneHot(rows.X, drop_first=True)
    values = encode(rows.X)
    center, scale = values.mean(axis=0), values.std(axis=0)
    used = _independent((values - center) / scale)

    def design(X: pd.DataFrame) -> NDArray[np.float64]:
        return np.column_stack([np.ones(len(X)), ((encode(X) - center) / scale)[:, used]])

    inputs, offset = design(rows.X), None if rows.exposure is None else np.log(rows.exposure)
    fits, failures = [], []
    for law in _LAWS[training.kind]:
        try:
            fits.append(_fitted(law, rows.y, inputs, offset))
        except (ValueError, np.linalg.LinAlgError) as error:
            failures.append(f"{law}: {error}")
    if not fits:
        raise ValueError("; ".join(failures))
    aic, law, result, shape = min(fits, key=lambda one: one[0])

    def predict(X: pd.DataFrame, exposure: NDArray[np.float64] | None) -> Distribution:
        linear = design(X) @ result.params + (0.0 if exposure is None else np.log(exposure))
        return _law(law, torch.tensor(linear), shape)

    return Fitted(predict, {"law": law, "aic": float(aic), "failures": failures})


def _independent(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Columns of which none is a sum of others, as R leaves them out."""
    if not values.size:
        return np.arange(values.shape[1])
    triangle, order = qr(values, mode="r", pivoting=True)[:2]
    sizes = np.abs(np.diag(triangle))
    kept: NDArray[np.int64] = np.sort(order[: int((sizes > _DEPENDENT * sizes[0]).sum())])
    return kept


def _fitted(
    law: str, y: NDArray[np.float64], inputs: NDArray[np.float64], offset: NDArray[np.float64] | None
) -> tuple[float, str, Any, float]:
    """AIC, name, result, and the parameter that all rows share."""
    families = import_module("statsmodels.genmod.families")
    model = import_module("statsmodels.genmod.generalized_linear_model").GLM

    def result(family: Any) -> Any:
        return model(y, inputs, family=family, offset=offset).fit(maxiter=100)

    log = families.links.Log()
    coefficients = inputs.shape[1]
    shape = 1.0
    if law == "normal":
        found = result(families.Gaussian())
        shape = float(np.sqrt(found.scale))
    elif law == "gamma":
        found = result(families.Gamma(log))
        shape = 1.0 / float(found.scale)
    elif law == "poisson":
        found = result(families.Poisson())
    else:

        def loss(dispersion: float) -> float:
            return -float(result(families.NegativeBinomial(log, alpha=np.exp(dispersion))).llf)

        shape = float(np.exp(minimize_scalar(loss, bounds=_DISPERSIONS, method="bounded", options={"xatol": 0.01}).x))
        found = result(families.NegativeBinomial(log, alpha=shape))
    fitted = _law(law, torch.tensor(inputs @ found.params + (0.0 if offset is None else offset)), shape)
    likelihood = float(fitted.log_prob(torch.tensor(y)).sum())
    return 2 * (coefficients + (law != "poisson")) - 2 * likelihood, law, found, shape


def _law(law: str, linear: Tensor, shape: float) -> Distribution:
    """The law of each row by its linear predictor."""
    if law == "normal":
        return Normal(linear, shape)
    mean = linear.clamp(-_FAR, _FAR).exp()
    if law == "gamma":
        return Gamma(torch.full_like(mean, shape), shape / mean)
    if law == "poisson":
        return Poisson(mean)
    # variance mean + shape mean^2
    return NegativeBinomial(torch.full_like(mean, 1 / shape), logits=linear.clamp(-_FAR, _FAR) + np.log(shape))
