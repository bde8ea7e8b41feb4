"""Moments of the largest weight of a group."""

from .._checks import check_integer
from ..mixup import WeightLaw
from ..mixup.weights import fold_moments
from ._quadrature import check_law, draws


def moments(law: WeightLaw, order: int) -> tuple[float, float, float]:
    """theta_bar, s2 and g2 = E[sum_k w_k^2] - E[theta^2]."""
    check_integer("order", order, 2)
    check_law(law)
    if hasattr(law, "fold_moments"):
        found = fold_moments(law, order)
        return found.theta_bar, found.s2, found.g2
    # by the points of the exact risk, which are more even than random ones
    w = draws(law, order)
    theta = w.max(1)
    return float(theta.mean()), float(theta.var()), float((w**2).sum(1).mean() - (theta**2).mean())
