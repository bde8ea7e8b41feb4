"""How strongly a mixup regularises, by the moments of its largest weight."""

from dataclasses import dataclass

from .._checks import check_integer
from .config import Mixup
from .presets import as_mixup
from .weights import WeightLaw, fold_moments


@dataclass(frozen=True)
class Strength:
    r"""Moments of the largest weight of a group, :math:`\theta = \max_k w_k`, and what they say of a mixup.

    To second order mixup is empirical risk minimisation on points that are drawn together by the mean of theta, and
    perturbed with a covariance of :math:`s^2` times that of the point and :math:`g^2` times that of all points, with
    :math:`g^2 = E[\sum_k w_k^2 - \theta^2]`, the squares of the other weights: :math:`s^2 + (1 - \bar\theta)^2` for
    pairs.

    Attributes
    ----------
    theta_bar : float
        The mean.
    s2 : float
        The variance.
    g2 : float
        The mean of the sum of squares of the other weights.
    relative_variance : float
        :math:`s^2 / \bar\theta^2`, the noise of a point along itself in units of the points that are drawn together.
    relative_spread : float
        :math:`(s^2 + g^2) / \bar\theta^2`, all of the noise. Neither alone is the strength.
    is_estimate : bool
        Whether they were estimated from draws, since the law does not tell.
    """

    theta_bar: float
    s2: float
    g2: float
    relative_variance: float
    relative_spread: float
    is_estimate: bool = False


def strength(mixup: str | Mixup | WeightLaw, order: int | None = None) -> Strength:
    r"""How strongly a law of weights, or a mixup with its share of clean rows, regularises.

    Parameters
    ----------
    mixup : str, Mixup or WeightLaw
        A clean share is a mass at :math:`\theta = 1`. A law that depends on distances has them all at their mean, and
        one that is learned is where it starts.
    order : int, optional
        Rows of a group, for a law alone; 2 by default.

    Returns
    -------
    Strength

    Raises
    ------
    ValueError
        For a mixup that mixes no rows, an `order` beside one that has its own, or a law of pairs with a larger one.

    References
    ----------
    Carratino et al. (2022), On Mixup Regularization, JMLR 23, theorem 1 and lemma 2. Values of the laws agree with
    theirs; the quotients are ours.

    Examples
    --------
    >>> from probmix.mixup import BetaWeights, strength
    >>> found = strength(BetaWeights(0.5))
    >>> round(found.theta_bar, 4), round(found.s2, 5), round(found.relative_variance, 4)
    (0.8183, 0.02368, 0.0354)
    >>> round(strength("regmixup").relative_spread, 3)
    0.208
    """
    clean, law = 0.0, mixup
    if isinstance(mixup, (str, Mixup)):
        mixup = as_mixup(mixup)
        if mixup.at is None:
            raise ValueError(
                "a mixup with at=None mixes no rows and has no strength. Pass another, or a law of weights."
            )
        if order is not None:
            raise ValueError(f"a mixup has an order of its own, {mixup.order}; got order={order}. Leave it out.")
        clean, law, order = mixup.clean, mixup.weights, mixup.order
    if not isinstance(law, WeightLaw):
        raise TypeError(f"strength asks for a mixup, a preset or a law of weights; got {mixup!r}.")
    order = 2 if order is None else order
    check_integer("order", order, 2)
    mean, variance, others, is_estimate = fold_moments(law, order)
    theta_bar = clean + (1 - clean) * mean
    s2 = clean * (1 - theta_bar) ** 2 + (1 - clean) * (variance + (mean - theta_bar) ** 2)
    g2 = (1 - clean) * others
    return Strength(theta_bar, s2, g2, s2 / theta_bar**2, (s2 + g2) / theta_bar**2, is_estimate)
