"""Moments of the largest weight of a group."""

from .._checks import check_integer
from ..mixup import BetaWeights, DirichletWeights, FoldedBetaWeights, WeightLaw, strength
from ._quadrature import check_law, draws


def moments(law: WeightLaw, order: int) -> tuple[float, float, float]:
    """theta_bar, s2 and g2 = E[sum_k w_k^2] - E[theta^2]."""
    check_integer("order", order, 2)
    check_law(law)
    if not hasattr(law, "fold_moments"):
        w = draws(law, order)
        theta_bar, s2 = float(w.max(1).mean()), float(w.max(1).var())
    else:
        found = strength(law, order)
        theta_bar, s2 = found.theta_bar, found.s2
    # of pairs s2 + (1 - theta_bar)^2
    return theta_bar, s2, _sum_of_squares(law, order, theta_bar, s2) - s2 - theta_bar**2


def _sum_of_squares(law: WeightLaw, order: int, theta_bar: float, s2: float) -> float:
    """E[sum_k w_k^2]."""
    if order == 2:
        return 2 * s2 + theta_bar**2 + (1 - theta_bar) ** 2
    if isinstance(law, (BetaWeights, DirichletWeights, FoldedBetaWeights)):
        return (law.alpha + 1) / (order * law.alpha + 1)
    return float((draws(law, order) ** 2).sum(1).mean())
