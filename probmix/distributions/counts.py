"""What the sums over counts need of a distribution: probabilities of many counts, and a cdf between them."""

from functools import singledispatch

from torch import Tensor
from torch.distributions import Distribution

# Where a cdf is smooth it changes around k over a distance of sqrt(k) or more, and a sum from here on is an integral to
# 1e-8.
SMOOTH_FROM = 256


@singledispatch
def masses(distribution: Distribution, k: Tensor) -> Tensor:
    """Probabilities of consecutive counts k, (K, 1, ...), of a float64 distribution: (K, *B)."""
    return distribution.log_prob(k).exp()


@singledispatch
def smooth_cdf(distribution: Distribution, y: Tensor) -> Tensor:
    """F(y) in float64, smooth in y >= 0 and equal to the cdf at whole numbers, coordinate by coordinate.

    It changes around k over a distance of the square root of k or more.

    Raises
    ------
    NotImplementedError
        If the distribution has none here; see `has_smooth_cdf`.
    """
    raise NotImplementedError


@singledispatch
def counted(distribution: Distribution) -> Distribution:
    """The distribution whose counts these are, behind mixtures, coordinates and zeros; itself by default."""
    return distribution


@singledispatch
def summed_counts(distribution: Distribution) -> int:
    """How many counts a sum takes at most before an integral of the `smooth_cdf` replaces it, at least SMOOTH_FROM."""
    return SMOOTH_FROM


def has_smooth_cdf(distribution: Distribution) -> bool:
    """Whether all parts of the distribution have a `smooth_cdf`."""
    return smooth_cdf.dispatch(type(counted(distribution))) is not smooth_cdf.dispatch(object)
