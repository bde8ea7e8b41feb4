"""Normal scores of mixtures from those of their parts, and back: as far out as the parts have them.

A cdf near 1 rounds to it 8.2 standard deviations out, and a level with it: a mixture of Normals that are much too sure
has no quantiles beyond. Here the smaller tail is summed, where it underflows its logarithm, and what is far out is
sought between the quantiles of the parts, of which the Normal ones have no end.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.distributions import Distribution

from .._special import HALF_LOG_2PI, ndtr
from .mixture_quantiles import Axis
from .normal_scores import from_probability
from .parts import is_discrete
from .point_masses import atoms

# Up to here a level says where the quantile is; a tail below the least probability is summed as a logarithm.
FAR = 5.0
_LEAST = 1e-280
# Rounds of the search at most, every third of which halves the bracket, and how closely a score is met.
_ROUNDS, _CLOSE = 300, 1e-13
_NEWTON_STEPS = 4


def pooled_score(weights: Tensor, scores: Tensor, dim: int) -> Tensor:
    r"""Normal score of a mixture, :math:`\Phi^{-1}(\sum_k w_k\,\Phi(z_k))`, from the scores of its parts.

    Parameters
    ----------
    weights : Tensor, broadcastable with `scores`
        On the simplex over `dim`.
    scores : Tensor, float64
    dim : int
    """
    # the tail on whose side most of the weight is: at most 3/4, and never rounded to 1
    sign = torch.where((weights * (scores < 0)).sum(dim) > 0.5, 1.0, -1.0).to(scores)
    outwards = sign.unsqueeze(dim) * scores
    tail = (weights * ndtr(outwards)).sum(dim)
    score = sign * from_probability(tail)
    far = (tail < _LEAST) & scores.isfinite().any(dim)
    if not bool(far.any()):
        return score
    # no infinities, for the gradients
    parts = outwards.movedim(dim, -1)[far].clamp(min=-1e150)
    shares = weights.expand_as(outwards).movedim(dim, -1)[far]
    log_tail = torch.logsumexp(shares.log() + torch.special.log_ndtr(parts), -1)
    return score.masked_scatter(far, sign[far] * _from_log_tail(log_tail))


def has_far_quantiles(distribution: Distribution, score: Tensor) -> bool:
    """Whether some score lies further out than a level can tell, of a density without point masses."""
    far = (score.abs() > FAR) & score.isfinite()
    return bool(far.any()) and not is_discrete(distribution) and not len(atoms(distribution)[0])


def _from_log_tail(log_p: Tensor) -> Tensor:
    r""":math:`\Phi^{-1}(e^{\log p})` for a log-probability that is far below that of any float64 number.

    By Newton's method from the asymptotic series, with the hazard rate :math:`|z| + 1/|z|`.
    """
    twice = -2 * log_p
    z = -(twice - 2 * HALF_LOG_2PI - twice.log()).sqrt()
    for _ in range(_NEWTON_STEPS):
        z = z - (torch.special.log_ndtr(z) - log_p) / (-z - 1 / z)
    return z


@torch.no_grad()
def with_far_quantiles(
    near: Tensor, score: Tensor, parts: Tensor, normal_score: Callable[[Tensor], Tensor], axis: Axis
) -> Tensor:
    """Quantiles of a mixture at normal scores: those near by, and beyond `FAR` what lies between those of the parts.

    Parameters
    ----------
    near : Tensor, (*B,), float64
        Quantiles by their levels.
    score : Tensor, broadcastable to (*B,)
    parts : Tensor, (C, *B)
        Quantiles of the parts, NaN of those without weight.
    normal_score : callable
        That of the mixture, (*B,) -> (*B,).
    axis : Axis
        On which it is sought.
    """
    far = ((score.abs() > FAR) & score.isfinite()).expand(near.shape)
    ends = parts.nan_to_num(nan=torch.inf).amin(0), parts.nan_to_num(nan=-torch.inf).amax(0)
    # elsewhere both ends are the same place, and nothing is sought
    low, high = (axis.there(torch.where(far, end, near)) for end in ends)
    found = axis.back(_between(lambda u: normal_score(axis.back(u)), score, low, high))
    return torch.where(far, torch.minimum(torch.maximum(found, ends[0]), ends[1]), near)


def _between(function: Callable[[Tensor], Tensor], score: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Where an increasing normal score is a given one, by the rule of false position between two places."""
    y = 0.5 * (low + high)
    below, above = (function(end) - score for end in (low, high))
    found = torch.where(above <= 0, high, torch.where(below >= 0, low, y))
    sought, was_short = (below < 0) & (above > 0) & (low < high), torch.zeros_like(low)
    for number in range(_ROUNDS):
        if not bool(sought.any()):
            break
        missed = function(y) - score
        found = torch.where(sought, y, found)
        is_short = torch.where(missed < 0, 1.0, -1.0)
        # an end that stays for a second time counts half, so that both move (the Illinois rule)
        halved = torch.where(is_short == was_short, 0.5, 1.0)
        below, above = torch.where(missed < 0, missed, halved * below), torch.where(missed < 0, halved * above, missed)
        low, high = torch.where(missed < 0, y, low), torch.where(missed < 0, high, y)
        middle, following = 0.5 * (low + high), low - below * (high - low) / (above - below)
        sought = sought & (missed.abs() > _CLOSE * score.abs()) & (middle > low) & (middle < high)
        trusted = (following > low) & (following < high) & (number % 3 < 2)
        y, was_short = torch.where(trusted, following, middle), is_short
    return found
