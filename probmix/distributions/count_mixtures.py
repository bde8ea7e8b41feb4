"""CRPS of mixtures of counts whose probabilities follow from one to the next, so that all cost what a product does."""

import torch
from torch import Tensor
from torch.distributions import Categorical, MixtureSameFamily

from .._blocks import is_plain
from .mixture_quantiles import components_of, coordinates
from .parts import widen
from .scoring import generic_crps

# A sum ends where less than this is left above.
_TAIL = 1e-12
# So many steps lose 1e-12 of a probability at most, and from here on the first one does not vanish.
_MOST, _LOWEST = 4096, -600.0
# Rows x components at a time: two tables of 256 KiB, which stay in the cache.
_BLOCK = 2**15
# Rows that are done leave every so many counts.
_CHECK = 16


def crps_of_counts(
    mixture: MixtureSameFamily, weights: Tensor, parts: tuple[Tensor, Tensor, Tensor], y: Tensor
) -> Tensor:
    """`marginal_crps` of a mixture by `crps_by_steps`, whose arguments are broadcastable to ``y.shape + (M,)``.

    Where a gradient is asked for, on a GPU, and of rows that reach too far up, by the general sum.
    """
    wide = widen(mixture)
    assert isinstance(wide, MixtureSameFamily)  # as it was before
    members = coordinates(wide.component_distribution)
    if members is None or not is_plain(weights, *parts, y):
        return generic_crps(mixture, y)
    shape = (*y.shape, weights.shape[-1])
    weights, log_zero, step, rise = (t.detach().expand(shape).reshape(-1, shape[-1]) for t in (weights, *parts))
    value, done = crps_by_steps(weights, log_zero, step, rise, y.flatten())
    rest = (~done).nonzero().squeeze(-1)
    if len(rest):
        w, components = components_of(wide, members, rest)
        part = MixtureSameFamily(Categorical(probs=w, validate_args=False), components, validate_args=False)
        value[rest] = generic_crps(part, y.flatten()[rest])
    return value.reshape(y.shape)


def crps_by_steps(weights: Tensor, log_zero: Tensor, step: Tensor, rise: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    r"""The sum over k of :math:`(F(k) - 1[k \ge y])^2` where :math:`f_i(k + 1) = f_i(k)\,(s_i + k t_i)/(k + 1)`.

    Parameters
    ----------
    weights, log_zero, step, rise : Tensor, (n, M)
        :math:`\log f_i(0)`, :math:`s_i` and :math:`t_i`.
    y : Tensor, (n,)
        Whole numbers.

    Returns
    -------
    value : Tensor, (n,)
        Without gradients.
    done : Tensor of bool, (n,)
        Whether the row is one for this sum: others reach too far up.
    """
    value, done = torch.full_like(y, torch.nan), torch.zeros_like(y, dtype=torch.bool)
    possible = torch.where(weights > 0, log_zero, 0.0).amin(-1) > _LOWEST
    for rows in possible.nonzero().squeeze(-1).split(max(1, _BLOCK // max(1, weights.shape[-1]))):
        _sum(rows, weights[rows] * log_zero[rows].exp(), step[rows].clone(), rise[rows], y[rows], value, done)
    return value + (-y).clamp(min=0), done


def _sum(rows: Tensor, masses: Tensor, factor: Tensor, rise: Tensor, y: Tensor, value: Tensor, done: Tensor) -> None:
    """Fills in `value` and `done` of these rows; `masses` and `factor` are used up."""
    y = y.clamp(min=0)
    below, total = masses.sum(-1), torch.zeros_like(y)
    for k in range(_MOST):
        total += torch.where(y <= k, 1 - below, below).square()
        if k % _CHECK == _CHECK - 1:
            ended = below >= 1 - _TAIL
            if bool(ended.any()):
                at = rows[ended]
                value[at], done[at] = (total + (y - (k + 1)).clamp(min=0))[ended], True
                rows, y, below, total, masses, factor, rise = (
                    t[~ended] for t in (rows, y, below, total, masses, factor, rise)
                )
                if not len(rows):
                    return
        masses.mul_(factor).mul_(1 / (k + 1))
        factor.add_(rise)
        below = below + masses.sum(-1)
