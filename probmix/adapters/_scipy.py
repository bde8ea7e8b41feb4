"""Frozen distributions of SciPy."""

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import pyro.distributions as dist
import torch
from scipy.special import logit
from torch import Tensor

from ..distributions import Bernoulli, Beta, Exponential, Gamma, InverseGaussian, LogNormal, NegativeBinomial, Poisson
from ._host import Array, HostDistribution
from ._parameters import parametrised

Parameters: TypeAlias = dict[str, Any]
# For each of SciPy's names: whether the location must be zero (and for Beta the scale one), and how it translates.
_KINDS: dict[str, tuple[dict[str, float], Callable[[Parameters], dist.TorchDistribution]]] = {
    "norm": ({}, lambda p: parametrised(dist.Normal, loc=p["loc"], scale=p["scale"])),
    "laplace": ({}, lambda p: parametrised(dist.Laplace, loc=p["loc"], scale=p["scale"])),
    "lognorm": ({"loc": 0.0}, lambda p: parametrised(LogNormal, loc=np.log(p["scale"]), scale=p["s"])),
    "gamma": ({"loc": 0.0}, lambda p: parametrised(Gamma, concentration=p["a"], rate=1 / np.asarray(p["scale"]))),
    "expon": ({"loc": 0.0}, lambda p: parametrised(Exponential, rate=1 / np.asarray(p["scale"]))),
    "beta": (
        {"loc": 0.0, "scale": 1.0},
        lambda p: parametrised(Beta, concentration1=p["a"], concentration0=p["b"]),
    ),
    "invgauss": (
        {"loc": 0.0},
        lambda p: parametrised(InverseGaussian, loc=np.asarray(p["mu"]) * p["scale"], concentration=p["scale"]),
    ),
    "nbinom": (
        {"loc": 0.0},
        lambda p: parametrised(NegativeBinomial, total_count=p["n"], logits=-logit(p["p"])),
    ),
    "poisson": ({"loc": 0.0}, lambda p: parametrised(Poisson, rate=p["mu"])),
    "bernoulli": ({"loc": 0.0}, lambda p: parametrised(Bernoulli, probs=p["p"])),
}


class SciPyDistribution(HostDistribution):
    """A frozen distribution of SciPy by its own functions."""

    def __init__(self, frozen: Any) -> None:
        self.frozen = frozen
        low, high = (np.asarray(end, dtype=np.float64) for end in frozen.support())
        shape = np.shape(frozen.cdf(0.0))
        super().__init__(np.broadcast_to(low, shape), np.broadcast_to(high, shape), hasattr(frozen, "pmf"))

    def __repr__(self) -> str:
        return f"SciPyDistribution({self.frozen.dist.name}, batch_shape={tuple(self.batch_shape)})"

    @property
    def mean(self) -> Tensor:
        return self._moment(self.frozen.mean())

    @property
    def variance(self) -> Tensor:
        return self._moment(self.frozen.var())

    def _moment(self, value: Any) -> Tensor:
        return torch.tensor(np.asarray(value, dtype=np.float64)).expand(self.batch_shape)

    def _cdf(self, y: Array) -> Array:
        return np.asarray(self.frozen.cdf(y), dtype=np.float64)

    def _quantile(self, q: Array) -> Array:
        return np.asarray(self.frozen.ppf(q), dtype=np.float64)

    def _log_density(self, y: Array) -> Array:
        log_density = self.frozen.logpmf if self.discrete else self.frozen.logpdf
        return np.asarray(log_density(y), dtype=np.float64)


def from_scipy(frozen: Any) -> dist.TorchDistribution:
    """A frozen distribution by its parameters where this package has its class, else by SciPy's functions."""
    shapes = frozen.dist.shapes.split(", ") if frozen.dist.shapes else []
    parameters = {"loc": 0.0, "scale": 1.0, **dict(zip([*shapes, "loc", "scale"], frozen.args, strict=False))}
    parameters |= frozen.kwds
    fixed, translate = _KINDS.get(frozen.dist.name, ({}, SciPyDistribution))
    if translate is SciPyDistribution or any(np.any(parameters[name] != value) for name, value in fixed.items()):
        return SciPyDistribution(frozen)
    return translate(parameters)
