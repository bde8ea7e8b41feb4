"""Errors of the CRPS and the logarithmic score here and in other libraries, against fifty digits.

    python benchmarks/scores_accuracy.py [--families normal,poisson,...]

Every family is evaluated over log-spaced parameters, at targets up to 30 standard deviations from the mean and in both
tails. Printed are, by library, the largest and the median relative error (of the logarithmic score: absolute where it
is below one), how many scores are NaN, infinite or refused, and how many are off by more than 1e-6. All get float64;
the last row of each is probmix in float32, measured against the exact scores of the rounded arguments. Libraries that
are not installed are left out.
"""

import argparse
import contextlib
import itertools
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import exact_scores as exact
import mpmath
import numpy as np
import scipy.stats as st
import torch
from common import names
from mpmath import mpf
from numpy.typing import NDArray
from torch import Tensor, distributions

from probmix.distributions import NegativeBinomial
from probmix.scores import crps, nll

DIGITS = 50
LINE = "{:22s}{:6s}{:32s}{:>8s}{:>12s}{:>12s}{:>10s}{:>10s}"
Score = Callable[..., Any]


# -- where to look, and whom to ask ------------------------------------------------------------------------------------


def around(mean: float, sd: float, positive: bool = True) -> list[float]:
    """Targets from far below to far above, and more closely around the mean."""
    far = [mean * t for t in (1e-3, 0.1, 0.5, 1.0, 2.0, 10.0)] if positive else []
    close = [mean + z * sd for z in (-30, -10, -5, -3, -1, -0.3, 0, 0.3, 1, 3, 5, 10, 30)]
    return sorted({y for y in far + close if y > 0 or not positive})


def counts(mean: float, sd: float) -> list[float]:
    return sorted({0.0, 1.0, *(float(round(y)) for y in around(mean, sd))})


def inside(a: float, b: float) -> list[float]:
    mean, sd = a / (a + b), math.sqrt(a * b / (a + b + 1)) / (a + b)
    return [y for y in (1e-6, *around(mean, sd), 0.5, 0.999) if y < 1 - 1e-6]


LOG = [10.0**k for k in range(-3, 7)]
SHAPES = [10.0**k for k in range(-2, 7)]
BETAS = (0.01, 0.3, 1.0, 4.0, 60.0, 1e3)


@dataclass(frozen=True)
class Family:
    """Rows of parameters and y, exact scores, and by library its functions of (parameters, y): arrays, or tensors."""

    rows: Sequence[tuple[float, ...]]
    oracles: tuple[Score, Score]
    make: Callable[..., distributions.Distribution]
    scoringrules: Callable[[Any, tuple[Any, ...], Any], Any]
    properscoring: Callable[[Any, tuple[Any, ...], Any], Any] | None = None


def call(name: str) -> Callable[[Any, tuple[Any, ...], Any], Any]:
    return lambda prefix, params, y: getattr(*prefix(name))(y, *params, backend="numpy")


def quadrature(make: Callable[..., Any]) -> Callable[[Any, tuple[Any, ...], Any], Any]:
    return lambda library, params, y: one_by_one(
        lambda *row: library.crps_quadrature(row[-1], make(*row[:-1]), *make(*row[:-1]).support()), (*params, y)
    )


def one_by_one(function: Score, columns: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """NaN where it raises."""
    values = np.full(len(columns[0]), np.nan)
    for i, row in enumerate(zip(*columns, strict=True)):
        with contextlib.suppress(ValueError, RuntimeError, ArithmeticError):
            values[i] = function(*row)
    return values


FAMILIES = {
    "normal": Family(
        [(m, s, y) for m in (0.0, 100.0) for s in LOG for y in around(m, s, positive=False)],
        (exact.normal_crps, exact.normal_nll),
        distributions.Normal,
        call("normal"),
        lambda library, params, y: library.crps_gaussian(y, *params),
    ),
    "lognormal": Family(
        [(m, s, math.exp(m + z * s)) for m in (-10, 0, 10) for s in (1e-3, 0.1, 1.0, 2.0) for z in (-30, -3, 0, 1, 9)],
        (exact.lognormal_crps, exact.lognormal_nll),
        distributions.LogNormal,
        call("lognormal"),
        quadrature(lambda loc, scale: st.lognorm(scale, scale=math.exp(loc))),
    ),
    "exponential": Family(
        [(rate, t / rate) for rate in LOG for t in (1e-9, 1e-4, 0.1, 0.5, 1.0, 3.0, 30.0, 600.0)],
        (exact.exponential_crps, exact.exponential_nll),
        distributions.Exponential,
        call("exponential"),
        quadrature(lambda rate: st.expon(scale=1 / rate)),
    ),
    "gamma": Family(
        [(a, a / m, y) for a in SHAPES for m in (1e-3, 30.0) for y in around(m, m / math.sqrt(a))],
        (exact.gamma_crps, exact.gamma_nll),
        distributions.Gamma,
        call("gamma"),
        quadrature(lambda a, b: st.gamma(a, scale=1 / b)),
    ),
    "beta": Family(
        [(a, b, y) for a, b in itertools.product(BETAS, BETAS) for y in inside(a, b)],
        (exact.beta_crps, exact.beta_nll),
        distributions.Beta,
        call("beta"),
        quadrature(st.beta),
    ),
    "poisson": Family(
        [(rate, y) for rate in LOG for y in counts(rate, math.sqrt(rate))],
        (exact.poisson_crps, exact.poisson_nll),
        distributions.Poisson,
        call("poisson"),
    ),
    "negative binomial": Family(
        [(m, 1 / r, y) for m in LOG for r in (1, 4, 64, 1024) for y in counts(m, math.sqrt(m + m * m / r))],
        (exact.negative_binomial_crps, exact.negative_binomial_nll),
        NegativeBinomial.from_mean,
        lambda prefix, params, y: getattr(*prefix("negbinom"))(y, 1 / params[1], mu=params[0], backend="numpy"),
    ),
}


# -- all of it ---------------------------------------------------------------------------------------------------------


def columns(family: Family, dtype: torch.dtype) -> list[Tensor]:
    return list(torch.tensor(family.rows, dtype=torch.float64).to(dtype).unbind(-1))


def exact_scores(family: Family, score: int, points: Sequence[Tensor]) -> list[mpf]:
    with mpmath.workdps(DIGITS):
        rows = zip(*(p.tolist() for p in points), strict=True)
        return [family.oracles[score](*map(mpf, row)) for row in rows]


def answers(family: Family, score: int) -> Iterator[tuple[str, Any]]:
    """Name of a library and its scores; float64 first."""
    points = columns(family, torch.float64)
    *params, y = (p.numpy() for p in points)
    distribution = family.make(*points[:-1])
    yield "probmix", (crps, nll)[score](distribution, points[-1])
    if score == 1:
        stock = distribution
        if isinstance(distribution, NegativeBinomial):
            stock = distributions.NegativeBinomial(distribution.total_count, logits=distribution.logits)
        yield "torch and Pyro log_prob", -stock.log_prob(points[-1])
    if find_spec("scoringrules"):
        import scoringrules

        yield (
            "scoringrules",
            family.scoringrules(lambda name: (scoringrules, f"{('crps', 'logs')[score]}_{name}"), tuple(params), y),
        )
    if find_spec("properscoring") and family.properscoring and score == 0:
        import properscoring

        name = "properscoring" if family is FAMILIES["normal"] else "properscoring.crps_quadrature"
        yield name, family.properscoring(properscoring, tuple(params), y)


def report(title: str, score: int, library: str, values: Any, right: Sequence[mpf]) -> None:
    """Print one row."""
    values = np.asarray(values, dtype=np.float64)
    usable = np.isfinite(values)
    with mpmath.workdps(DIGITS):
        # a logarithm passes through zero: its error is that of the probability where it is small
        sizes = [max(abs(e), 1) if score else abs(e) for e in right]
        rows = zip(values.tolist(), right, sizes, usable, strict=True)
        errors = [float(abs(v - e) / size) for v, e, size, use in rows if use]
    wrong = sum(error > 1e-6 for error in errors)
    worst, middle = (max(errors), float(np.median(errors))) if errors else (math.nan, math.nan)
    numbers = f"{len(values)}", f"{worst:.1e}", f"{middle:.1e}", f"{(~usable).sum()}", f"{wrong}"
    print(LINE.format(title, ("CRPS", "NLL")[score], library, *numbers), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--families", type=names, default=",".join(FAMILIES))
    print(LINE.format("", "", "", "scores", "worst", "median", "NaN, inf", "> 1e-6"))
    for title in parser.parse_args().families:
        family = FAMILIES[title]
        narrow = columns(family, torch.float32)
        for score in (0, 1):
            wide = exact_scores(family, score, columns(family, torch.float64))
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                for library, values in answers(family, score):
                    report(title, score, library, values, wide)
                single = (crps, nll)[score](family.make(*narrow[:-1]), narrow[-1])
            report(title, score, "probmix, float32", single, exact_scores(family, score, narrow))


if __name__ == "__main__":
    main()
