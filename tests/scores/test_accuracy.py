"""CRPS and NLL against fifty digits over log-spaced parameters and targets far into both tails, gradients included.

To have another family checked, add a row to `FAMILIES`.
"""

import functools
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import mpmath
import numpy as np
import pyro.distributions as dist
import pytest
import torch
from gamma_oracle import exact_tails

from probmix.distributions import Gamma, NegativeBinomial, Poisson
from probmix.scores import crps, nll

DIGITS = 50
DTYPES = [torch.float64, torch.float32]
RTOL = {torch.float64: 1e-10, torch.float32: 1e-5}
SCORES = {"crps": crps, "nll": nll}
Oracle = Callable[..., mpmath.mpf]


@dataclass(frozen=True)
class Family:
    """A distribution, where to look at it, and its scores as textbooks have them: at fifty digits nothing cancels.

    `rows` and `coarse` yield the parameters and y; rounding to the dtype and `whole` comes after. `unit` gives the
    change of each parameter that moves the distribution by about its width, by which derivatives are multiplied.
    """

    name: str
    make: Callable[..., torch.distributions.Distribution]
    rows: Sequence[tuple[float, ...]]
    coarse: Sequence[tuple[float, ...]]
    crps: Oracle
    nll: Oracle
    unit: Callable[..., tuple[np.ndarray, ...]]
    whole: bool = False

    def points(self, dtype: torch.dtype, coarse: bool = False) -> list[torch.Tensor]:
        """Parameters and y, one tensor each, without the rows that rounding makes equal."""
        columns = torch.tensor(self.coarse if coarse else self.rows, dtype=torch.float64).to(dtype)
        if self.whole:
            columns[:, -1] = columns[:, -1].round()
        return list(columns.unique(dim=0).unbind(-1))

    def oracle(self, score: str, points: Sequence[torch.Tensor]) -> list[mpmath.mpf]:
        function = getattr(self, score)
        with mpmath.workdps(DIGITS):
            return [function(*map(mpmath.mpf, row)) for row in zip(*(p.tolist() for p in points), strict=True)]


# -- scores in fifty digits --------------------------------------------------------------------------------------------


def normal_crps(loc, scale, y):
    z = (y - loc) / scale
    return scale * (z * mpmath.erf(z / mpmath.sqrt(2)) + 2 * mpmath.npdf(z) - 1 / mpmath.sqrt(mpmath.pi))


def normal_nll(loc, scale, y):
    return ((y - loc) / scale) ** 2 / 2 + mpmath.log(scale) + mpmath.log(2 * mpmath.pi) / 2


def poisson_crps(rate, y):
    _, below = exact_tails(y + 1, rate)
    bessel = mpmath.besseli(0, 2 * rate) + mpmath.besseli(1, 2 * rate)
    at_y = mpmath.exp(-poisson_nll(rate, y))
    return (y - rate) * (2 * below - 1) + 2 * rate * at_y - rate * mpmath.exp(-2 * rate) * bessel


def poisson_nll(rate, y):
    return rate - y * mpmath.log(rate) + mpmath.loggamma(y + 1)


def gamma_crps(a, b, y):
    (below, _), (shifted, _) = exact_tails(a, b * y), exact_tails(a + 1, b * y)
    return y * (2 * below - 1) - a / b * (2 * shifted - 1) - 1 / (b * mpmath.beta(0.5, a))


def gamma_nll(a, b, y):
    return mpmath.loggamma(a) - a * mpmath.log(b) - (a - 1) * mpmath.log(y) + b * y


def negative_binomial_crps(r, logits, y):
    mean = r * mpmath.exp(logits)
    m, at_y = mean / r, mpmath.exp(-negative_binomial_nll(r, logits, y))
    below = negative_binomial_cdf(r, m, y)
    # Euler's integral of the hypergeometric function of the published form, whose series gives up, by tanh-sinh
    z = 4 * m * (1 + m)
    end = min(mpmath.asinh(mpmath.sqrt(z)), 15 / mpmath.sqrt(r) + 70 / r)
    area = mpmath.quad(
        lambda u: mpmath.sqrt(abs(1 - mpmath.sinh(u) ** 2 / z)) * mpmath.cosh(u) ** (-2 * r - 1),
        [end * k / 8 for k in range(9)],
    )
    distance = mean * (1 + m) * 4 / mpmath.pi * area / mpmath.sqrt(z)
    return (y - mean) * (2 * below - 1) + 2 * mean * (1 + y / r) * at_y - distance


def negative_binomial_cdf(r, m, y):
    """The smaller tail of the beta distribution by tanh-sinh: an integral over the distance t from the logit."""
    a, b, x = r, y + 1, 1 / (1 + m)
    upper = x * (a + b) > a
    if upper:
        a, b, x = b, a, m / (1 + m)
    log_kernel = a * mpmath.log(x) + b * mpmath.log(1 - x) - mpmath.log(mpmath.beta(a, b))

    def psi(t):
        return a * t + (a + b) * mpmath.log1p(x * mpmath.expm1(-t))

    end = mpmath.mpf(1) / a
    while psi(end) < 90:
        end *= 2
    tail = mpmath.exp(log_kernel) * mpmath.quad(lambda t: mpmath.exp(-psi(t)), [end * k / 8 for k in range(9)])
    return 1 - tail if upper else tail


def negative_binomial_nll(r, logits, y):
    log_q, log_p = -mpmath.log1p(mpmath.exp(-logits)), -mpmath.log1p(mpmath.exp(logits))
    return mpmath.loggamma(r) + mpmath.loggamma(y + 1) - mpmath.loggamma(r + y) - r * log_p - y * log_q


# -- where to look -----------------------------------------------------------------------------------------------------


def around(mean: float, sd: float) -> list[float]:
    """Targets from far below to far above, and more closely around the mean."""
    far = [mean * t for t in (1e-6, 1e-3, 0.1, 0.5, 0.9, 1.0, 1.1, 2.0, 10.0, 1e3)]
    return far + [mean + z * sd for z in (-30, -10, -3, -1, -0.3, 0.3, 1, 3, 10, 30) if mean + z * sd > 0]


def normal_rows(locs: Sequence[float], scales: Sequence[float], deviations: Sequence[float]):
    return [(m, s, m + s * z) for m, s, z in itertools.product(locs, scales, deviations)]


def poisson_rows(rates: Sequence[float]):
    return [(rate, y) for rate in rates for y in (0, 1, 2, *around(rate, rate**0.5))]


def gamma_rows(shapes: Sequence[float], means: Sequence[float]):
    cases = itertools.product(shapes, means)
    return [(a, a / m, y) for a, m in cases for y in (1e-30 * m, *around(m, m / a**0.5))]


def negative_binomial_rows(counts: Sequence[float], means: Sequence[float]):
    rows = []
    for r, mean in itertools.product(counts, means):
        sd = (mean + mean**2 / r) ** 0.5
        rows += [(r, np.log(mean / r), y) for y in (0, 1, 0.1 * mean, mean, 2 * mean + 1, mean + 10 * sd)]
    return rows


DEVIATIONS = (*np.linspace(-30, 30, 31), -2.5, -1, -0.3, -1e-6, 1e-6, 0.3, 1, 2.5)
FAMILIES = [
    Family(
        "Normal",
        dist.Normal,
        normal_rows((0.0, -5.0, 1e3), np.logspace(-3, 6, 10), DEVIATIONS),
        normal_rows((0.0, 7.0), (1e-3, 1.0, 1e6), (-30, -1, 0.3, 10)),
        normal_crps,
        normal_nll,
        unit=lambda loc, scale: (scale, scale),
    ),
    Family(
        "Poisson",
        Poisson,
        poisson_rows((1e-9, 1e-6, *np.logspace(-3, 6, 19))),
        poisson_rows((1e-9, 1e-3, 0.1, 3.0, 200.0, 1e6)),
        poisson_crps,
        poisson_nll,
        unit=lambda rate: (np.minimum(rate, np.sqrt(rate)),),
        whole=True,
    ),
    Family(
        "Gamma",
        Gamma,
        gamma_rows((1e-4, *np.logspace(-2, 6, 17)), (1e-3, 30.0)),
        gamma_rows((1e-2, 0.7, 5.0, 300.0, 1e6), (20.0,))[::2],
        gamma_crps,
        gamma_nll,
        unit=lambda a, b: (np.minimum(a, np.sqrt(a)), b / np.maximum(np.sqrt(a), 1)),
    ),
    Family(
        "NegativeBinomial",
        lambda r, logits: NegativeBinomial(r, logits=logits),
        negative_binomial_rows((1e-2, 20.0, 1e6), (1e-3, 3.0, 1e3, 1e6))[::2],
        negative_binomial_rows((0.5, 20.0), (1e-2, 5.0, 1e4))[::18],
        negative_binomial_crps,
        negative_binomial_nll,
        unit=lambda r, logits: (r, np.minimum(1.0, np.sqrt(np.exp(-logits) / r + 1 / r))),
        whole=True,
    ),
]
over_families = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
over_dtypes = pytest.mark.parametrize("dtype", DTYPES, ids=str)


# -- tests -------------------------------------------------------------------------------------------------------------


@over_dtypes
@over_families
@pytest.mark.parametrize("score", SCORES)
def test_the_score_is_exact(score: str, family: Family, dtype: torch.dtype) -> None:
    points = family.points(dtype)
    value = SCORES[score](family.make(*points[:-1]), points[-1])
    assert value.dtype == dtype
    assert value.isfinite().all()
    exact = family.oracle(score, points)
    with mpmath.workdps(DIGITS):
        errors = [float(abs(mpmath.mpf(v) / e - 1)) for v, e in zip(value.tolist(), exact, strict=True)]
    worst = int(np.argmax(errors))
    assert errors[worst] <= RTOL[dtype], f"off by {errors[worst]:.1e} at {[p[worst].item() for p in points]}"


@over_dtypes
@over_families
@pytest.mark.parametrize("score", SCORES)
def test_gradients_are_finite_everywhere(score: str, family: Family, dtype: torch.dtype) -> None:
    points = [p.requires_grad_() for p in family.points(dtype)]
    value = SCORES[score](family.make(*points[:-1]), points[-1].detach())
    for gradient in torch.autograd.grad(value.sum(), points[:-1]):
        assert gradient.isfinite().all()


@functools.cache
def _exact_slopes(name: str, score: str, dtype: torch.dtype) -> tuple[list[float], list[list[float]]]:
    """Values and their derivatives in each parameter."""
    family = next(f for f in FAMILIES if f.name == name)
    points = family.points(dtype, coarse=True)
    function, slopes = getattr(family, score), []
    with mpmath.workdps(DIGITS):
        for row in zip(*(p.tolist() for p in points), strict=True):
            row = [mpmath.mpf(v) for v in row]
            orders = np.eye(len(row), dtype=int)[:-1].tolist()
            slopes.append([float(mpmath.diff(function, tuple(row), tuple(order))) for order in orders])
    return [float(v) for v in family.oracle(score, points)], slopes


@over_dtypes
@over_families
@pytest.mark.parametrize("score", SCORES)
def test_gradients_are_exact(score: str, family: Family, dtype: torch.dtype) -> None:
    points = [p.requires_grad_() for p in family.points(dtype, coarse=True)]
    value = SCORES[score](family.make(*points[:-1]), points[-1].detach())
    gradients = torch.autograd.grad(value.sum(), points[:-1])
    values, slopes = _exact_slopes(family.name, score, dtype)
    units = family.unit(*(p.detach().double().numpy() for p in points[:-1]))
    for k, (gradient, unit) in enumerate(zip(gradients, units, strict=True)):
        exact = np.array([row[k] for row in slopes]) * unit
        # a derivative passes through zero; there it counts beside the score itself
        size = np.maximum(np.abs(exact), np.abs(values))
        errors = np.abs(gradient.double().numpy() * unit - exact) / size
        worst = errors.argmax()
        assert errors[worst] <= RTOL[dtype], f"off by {errors[worst]:.1e} at {[p[worst].item() for p in points]}"


@pytest.mark.cuda
@over_families
@pytest.mark.parametrize("score", SCORES)
def test_cuda_agrees(score: str, family: Family) -> None:
    points = family.points(torch.float64)
    here = SCORES[score](family.make(*points[:-1]), points[-1])
    there = SCORES[score](family.make(*(p.cuda() for p in points[:-1])), points[-1].cuda())
    torch.testing.assert_close(there.cpu(), here, rtol=1e-11, atol=0)
