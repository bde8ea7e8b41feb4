"""Predicted distributions of skpro."""

from typing import Any

import numpy as np
import pyro.distributions as dist
import torch
from torch import Tensor

from ..distributions import Empirical
from ..distributions.origins import SKPRO
from ._host import Array, HostDistribution

# Levels at which the quantiles of counts are whole numbers.
_PROBES = (0.1, 0.5, 0.9)


class SkproDistribution(HostDistribution):
    """A distribution of skpro by its own functions, exact or approximate as its class has them."""

    def __init__(self, prediction: Any) -> None:
        self.prediction = prediction
        batch = _batch_shape(prediction)
        self._rank = len(batch)
        quantiles = [self._on_each("ppf", np.full(batch, level)) for level in _PROBES]
        # skpro calls the distribution of draws discrete too
        whole = all(np.array_equal(quantile, np.round(quantile)) for quantile in quantiles)
        discrete = prediction.get_tag("distr:measuretype") == "discrete"
        self._has_density = whole or not discrete
        super().__init__(np.full(batch, -np.inf), np.full(batch, np.inf), discrete and whole)

    def __repr__(self) -> str:
        return f"SkproDistribution({type(self.prediction).__name__}, batch_shape={tuple(self.batch_shape)})"

    @property
    def mean(self) -> Tensor:
        return self._moment(self.prediction.mean())

    @property
    def variance(self) -> Tensor:
        return self._moment(self.prediction.var())

    def _moment(self, value: Any) -> Tensor:
        moment = np.asarray(value, dtype=np.float64).reshape(_batch_shape(self.prediction))
        return torch.tensor(moment).expand(self.batch_shape)

    def _cdf(self, y: Array) -> Array:
        return self._on_each("cdf", y)

    def _quantile(self, q: Array) -> Array:
        return self._on_each("ppf", q)

    def _log_density(self, y: Array) -> Array:
        if not self._has_density:
            raise NotImplementedError(f"skpro's {type(self.prediction).__name__} has no density. Use `crps`.")
        return self._on_each("log_pmf" if self.discrete else "log_pdf", y)

    def _on_each(self, name: str, values: Array) -> Array:
        """Its function, which takes no more than one value for each cell, on one value for all cells after another."""
        function, shape = getattr(self.prediction, name), self.prediction.shape
        cells = values.reshape(-1, *values.shape[values.ndim - self._rank :])
        found = [np.asarray(function(each.reshape(shape)), dtype=np.float64).reshape(each.shape) for each in cells]
        return np.stack(found).reshape(values.shape) if found else np.empty(values.shape)


def from_skpro(prediction: Any) -> dist.TorchDistribution:
    """By its parameters where this package has its class, else by skpro's functions; columns are targets."""
    batch = _batch_shape(prediction)
    distribution = _translated(prediction, batch)
    if distribution is None:
        distribution = SkproDistribution(prediction)
    return distribution.to_event(1) if len(batch) == 2 else distribution


def _translated(prediction: Any, batch: tuple[int, ...]) -> dist.TorchDistribution | None:
    name, parameters = type(prediction).__name__, prediction.get_params(deep=False)
    if name == "Empirical" and parameters.get("weights") is None and batch:
        return Empirical(torch.tensor(_draws(prediction, parameters["spl"]).reshape(*batch, -1)))
    if name not in SKPRO:
        return None
    arrays = {
        key: np.broadcast_to(np.asarray(value, dtype=np.float64), prediction.shape).reshape(batch)
        for key, value in parameters.items()
        if key not in ("index", "columns")
    }
    return SKPRO[name].translate(arrays) if SKPRO[name].fits(arrays) else None


def _draws(prediction: Any, table: Any) -> Array:
    """Draws (n, targets, m) from a table with the rows (draw, row of the data)."""
    wide = [table[column].unstack(level=0).loc[prediction.index].to_numpy(dtype=np.float64) for column in table.columns]
    return np.stack(wide, 1)


def _batch_shape(prediction: Any) -> tuple[int, ...]:
    """Its shape (n, targets) without the axis of a single target."""
    shape = tuple(prediction.shape)
    return shape[:1] if len(shape) == 2 and shape[1] == 1 else shape
