"""One table of distributions with exact oracles, ordinary and extreme; the family tests run over all of its rows."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import mpmath
import numpy as np
import pytest
import torch
from scipy import special, stats

from probmix.families import (
    Bernoulli,
    Beta,
    Categorical,
    Exponential,
    ExponentialFamily,
    Gamma,
    Gaussian,
    Histogram,
    InverseGaussian,
    LogNormal,
    Poisson,
)

FAMILIES = [
    Gaussian(),
    Poisson(),
    Gamma(),
    Categorical(2),
    Categorical(5),
    Exponential(),
    LogNormal(),
    Bernoulli(),
    Beta(),
    InverseGaussian(),
    Histogram(5),
]
over_families = pytest.mark.parametrize("family", FAMILIES, ids=repr)


@dataclass(frozen=True)
class Row:
    """Natural parameters and targets; the oracles for the family see exactly these numbers."""

    family: ExponentialFamily
    eta: tuple[float, ...]
    y: tuple[float, ...]
    ordinary: bool = True

    def tensors(self, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
        y = torch.tensor(self.y, dtype=dtype)
        return torch.tensor(self.eta, dtype=dtype).expand(len(y), -1), y


def _gaussian(mean: float, sd: float, z: Sequence[float], ordinary: bool = True) -> Row:
    return Row(Gaussian(), (mean / sd**2, -0.5 / sd**2), tuple(mean + sd * step for step in z), ordinary)


def _poisson(rate: float, z: Sequence[float] = (-10, -3, -1, 0, 1, 3, 10), ordinary: bool = True) -> Row:
    y = sorted({max(0.0, round(rate + step * math.sqrt(rate))) for step in z} | {0.0, 1.0})
    return Row(Poisson(), (math.log(rate),), tuple(map(float, y)), ordinary)


def _gamma(shape: float, mean: float, ordinary: bool = True) -> Row:
    steps = [1 + step / math.sqrt(shape) for step in (-10, -3, -1, -0.1, 0, 0.1, 1, 3, 10)]
    y = [mean * step for step in steps if step > 0] + [mean * step for step in (1e-6, 0.4, 0.6, 5)]
    return Row(Gamma(), (shape - 1, -shape / mean), tuple(y), ordinary)


def _exponential(mean: float, ordinary: bool = True) -> Row:
    return Row(Exponential(), (-1 / mean,), tuple(mean * step for step in (0, 1e-6, 0.1, 1, 3, 30)), ordinary)


def _lognormal(mu: float, sd: float, ordinary: bool = True) -> Row:
    y = tuple(math.exp(mu + sd * z) for z in (-10, -1, 0, 2.5, 10))
    return Row(LogNormal(), (mu / sd**2, -0.5 / sd**2), y, ordinary)


def _beta(a: float, b: float, ordinary: bool = True) -> Row:
    sd = math.sqrt(a * b / (a + b + 1)) / (a + b)
    y = [a / (a + b) + z * sd for z in (-10, -3, -1, 0, 0.1, 1, 3, 10)] + [1e-6, 0.1, 0.5, 0.9]
    return Row(Beta(), (a, b), tuple(t for t in y if 0 < t < 1), ordinary)


def _inverse_gaussian(mean: float, shape: float, ordinary: bool = True) -> Row:
    cv = math.sqrt(mean / shape)
    y = [mean * (1 + z * cv) for z in (-10, -1, 0, 0.1, 3, 10)] + [mean * t for t in (1e-3, 0.4, 5)]
    return Row(InverseGaussian(), (-0.5 * shape / mean**2, -0.5 * shape), tuple(t for t in y if t > 0), ordinary)


ROWS = [
    _gaussian(0.3, 1.7, (-10, -1, 0, 2.5, 10)),
    _gaussian(-40.0, 0.2, (-3, 0, 0.7)),
    _gaussian(1.0, 1e-3, (-10, -1, 0, 3, 10), ordinary=False),
    _gaussian(10.0, 1e-3, (-10, -1, 0, 3, 10), ordinary=False),
    _gaussian(0.0, 1e-3, (-1e4, 1e4), ordinary=False),
    _gaussian(1e6, 1e6, (-10, 0, 10), ordinary=False),
    _poisson(0.5),
    _poisson(7.3),
    _poisson(1e-3, ordinary=False),
    _poisson(1e-3, (1e4, 1e6), ordinary=False),
    _poisson(300.0, ordinary=False),
    _poisson(1e6, ordinary=False),
    _gamma(2.5, 1.3),
    _gamma(0.6, 20.0),
    _gamma(1e-2, 1.0, ordinary=False),
    _gamma(1e2, 1e-3, ordinary=False),
    _gamma(1e4, 1.0, ordinary=False),
    _gamma(1e6, 3e3, ordinary=False),
    Row(Categorical(2), (0.3, -1.2), (0, 1)),
    Row(Categorical(5), (0.0, 2.0, -1.0, 0.5, 0.1), (0, 1, 2, 3, 4)),
    Row(Categorical(3), (1e6, -1e6, 0.0), (0, 1, 2), ordinary=False),
    Row(Categorical(3), (-50.0, -50.0, -90.0), (0, 1, 2), ordinary=False),
    _exponential(0.7),
    _exponential(1e-12, ordinary=False),
    _exponential(1e12, ordinary=False),
    _lognormal(0.3, 0.7),
    _lognormal(5.0, 1e-3, ordinary=False),
    _lognormal(-20.0, 3.0, ordinary=False),
    _beta(2.5, 1.3),
    _beta(0.6, 20.0),
    _beta(1e-6, 0.1, ordinary=False),
    _beta(1e4, 1e6, ordinary=False),
    _beta(1e6, 0.3, ordinary=False),
    _inverse_gaussian(1.3, 2.0),
    _inverse_gaussian(20.0, 3.0),
    _inverse_gaussian(1e-3, 1e3, ordinary=False),
    _inverse_gaussian(1e8, 1e6, ordinary=False),
    Row(Bernoulli(), (-1.3,), (0, 1)),
    Row(Bernoulli(), (40.0,), (0, 1), ordinary=False),
    Row(Bernoulli(), (-1e6,), (0, 1), ordinary=False),
]
over_rows = pytest.mark.parametrize(
    "row", ROWS, ids=lambda row: f"{row.family.name}-{row.eta[0]:.3g}-{row.eta[-1]:.3g}"
)
over_ordinary_rows = pytest.mark.parametrize(
    "row", [row for row in ROWS if row.ordinary], ids=lambda row: f"{row.family.name}-{row.eta[0]:.3g}"
)


def exact_log_prob(family: ExponentialFamily, eta: Sequence[float], y: float) -> float:
    """The literal eta . T(y) - A(eta) + log h(y) with 60 digits, in which its cancellation does no harm."""
    with mpmath.workdps(60):
        eta, y = [mpmath.mpf(value) for value in eta], mpmath.mpf(y)
        match family:
            case Gaussian():
                normalizer = -(eta[0] ** 2) / (4 * eta[1]) - mpmath.log(-2 * eta[1]) / 2
                return float(eta[0] * y + eta[1] * y**2 - normalizer - mpmath.log(2 * mpmath.pi) / 2)
            case Poisson():
                return float(eta[0] * y - mpmath.exp(eta[0]) - mpmath.loggamma(y + 1))
            case Gamma():
                normalizer = mpmath.loggamma(eta[0] + 1) - (eta[0] + 1) * mpmath.log(-eta[1])
                return float(eta[0] * mpmath.log(y) + eta[1] * y - normalizer)
            case Categorical():
                return float(eta[int(y)] - mpmath.log(sum(mpmath.exp(value) for value in eta)))
            case LogNormal():
                normalizer = -(eta[0] ** 2) / (4 * eta[1]) - mpmath.log(-2 * eta[1]) / 2
                base = -mpmath.log(2 * mpmath.pi) / 2 - mpmath.log(y)
                return float(eta[0] * mpmath.log(y) + eta[1] * mpmath.log(y) ** 2 - normalizer + base)
            case InverseGaussian():
                normalizer = -mpmath.log(-2 * eta[1]) / 2 - 2 * mpmath.sqrt(eta[0] * eta[1])
                return float(eta[0] * y + eta[1] / y - normalizer - mpmath.log(2 * mpmath.pi * y**3) / 2)
            case Beta():
                normalizer = mpmath.loggamma(eta[0]) + mpmath.loggamma(eta[1]) - mpmath.loggamma(eta[0] + eta[1])
                return float((eta[0] - 1) * mpmath.log(y) + (eta[1] - 1) * mpmath.log1p(-y) - normalizer)
            case Bernoulli():
                return float(eta[0] * y - mpmath.log1p(mpmath.exp(eta[0])))
            case Exponential():
                return float(eta[0] * y + mpmath.log(-eta[0]))
    raise AssertionError(family)


def scipy_log_prob(family: ExponentialFamily, eta: Sequence[float], y: np.ndarray) -> np.ndarray:
    match family:
        case Gaussian():
            variance = -0.5 / eta[1]
            return stats.norm.logpdf(y, eta[0] * variance, math.sqrt(variance))
        case Poisson():
            return stats.poisson.logpmf(y, math.exp(eta[0]))
        case Gamma():
            return stats.gamma.logpdf(y, eta[0] + 1, scale=-1 / eta[1])
        case Categorical():
            return special.log_softmax(eta)[y.astype(int)]
        case LogNormal():
            variance = -0.5 / eta[1]
            return stats.lognorm.logpdf(y, math.sqrt(variance), scale=math.exp(eta[0] * variance))
        case InverseGaussian():
            mean, shape = math.sqrt(eta[1] / eta[0]), -2 * eta[1]
            return stats.invgauss.logpdf(y, mean / shape, scale=shape)
        case Beta():
            return stats.beta.logpdf(y, *eta)
        case Bernoulli():
            return stats.bernoulli.logpmf(y, special.expit(eta[0]))
        case Exponential():
            return stats.expon.logpdf(y, scale=-1 / eta[0])
    raise AssertionError(family)


def scipy_mean_params(family: ExponentialFamily, eta: Sequence[float]) -> list[float]:
    match family:
        case Gaussian() | LogNormal():
            variance = -0.5 / eta[1]
            mean = eta[0] * variance
            return [mean, mean**2 + variance]
        case Poisson():
            return [math.exp(eta[0])]
        case Gamma():
            shape, rate = eta[0] + 1, -eta[1]
            return [special.digamma(shape) - math.log(rate), shape / rate]
        case Categorical():
            return list(special.softmax(eta))
        case InverseGaussian():
            mean, shape = math.sqrt(eta[1] / eta[0]), -2 * eta[1]
            return [mean, 1 / mean + 1 / shape]
        case Beta():
            return [special.digamma(value) - special.digamma(sum(eta)) for value in eta]
        case Bernoulli():
            return [special.expit(eta[0])]
        case Exponential():
            return [-1 / eta[0]]
    raise AssertionError(family)


def ordinary_params(family: ExponentialFamily, *shape: int, seed: int = 0) -> torch.Tensor:
    """Seeded natural parameters (*shape, K), float64."""
    generator = torch.Generator().manual_seed(seed)
    return family.constrain(torch.randn(*shape, family.num_raw, generator=generator, dtype=torch.float64))


def draws(family: ExponentialFamily, eta: torch.Tensor, seed: int = 0) -> torch.Tensor:
    """One seeded float64 target for every row of `eta`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return family.distribution(eta).sample().double()


def weights_like(shape: Sequence[int], seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).softmax(-1)
