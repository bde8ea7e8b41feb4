"""Moments of the largest weight of a group."""

import math

import numpy as np
from scipy import integrate, special

from .._checks import check_integer
from ..mixup import BetaWeights, WeightLaw
from ._quadrature import draws, fold_nodes


def moments(law: WeightLaw, order: int) -> tuple[float, float, float]:
    """theta_bar, s2 and g2 = E[sum_k w_k^2] - E[theta^2]."""
    check_integer("order", order, 2)
    if order == 2:
        theta, p = fold_nodes(law, 64)
        theta_bar = float(p @ theta)
        s2 = float(p @ (theta - theta_bar) ** 2)
        return theta_bar, s2, s2 + (1 - theta_bar) ** 2
    if isinstance(law, BetaWeights):
        return _of_dirichlet(law.alpha, order)
    w = draws(law, order)
    largest = w.max(1)
    return float(largest.mean()), float(largest.var()), float((w**2).sum(1).mean() - (largest**2).mean())


def _of_dirichlet(alpha: float, order: int) -> tuple[float, float, float]:
    """Those of a symmetric Dirichlet law: a group of Gamma variables over their sum, of which it is independent."""

    def tail(t: float, power: int) -> float:
        # of the largest variable at x = exp(t)
        below = order * np.log(special.gammainc(alpha, math.exp(t))) if t > -700 / alpha else -math.inf
        return -power * math.exp(power * t) * math.expm1(below)

    end = math.log(alpha + 40 * math.sqrt(alpha) + 60)
    first, second = (integrate.quad(tail, -60, end, (power,), limit=200)[0] for power in (1, 2))
    total = order * alpha
    theta_bar, square = first / total, second / (total * (total + 1))
    return theta_bar, square - theta_bar**2, (alpha + 1) / (total + 1) - square
