"""The arithmetic of rows that are mixed, in pairs or in groups: as points, or as Gaussian densities."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def take_rows(values: Tensor, index: Tensor) -> Tensor:
    """Rows by number, member by member: (*L, N, *F), (*L, B) -> (*L, B, *F), with at most one leading axis L.

    The rows are taken from the flattened members by `index_select`, whose backward pass is much quicker than that of a
    gather along expanded features.
    """
    if index.ndim == 1:
        return values.index_select(0, index)
    members, rows = values.shape[:2]
    offset = torch.arange(0, members * rows, rows, device=index.device).unsqueeze(-1)
    taken = values.flatten(0, 1).index_select(0, (index + offset).flatten())
    return taken.view(*index.shape, *values.shape[2:])


def pair_up(values: Tensor, partners: Tensor | int, row_dim: int) -> tuple[Tensor, Tensor]:
    """The first B rows, and their partners: (*L, N, *F), (*L, B) -> two of (*L, B, *F).

    As a number, `partners` says how many places further on, cyclically, every row has its partner.
    """
    if isinstance(partners, int):
        return values, values.roll(-partners, row_dim)
    return values.narrow(row_dim, 0, partners.shape[-1]), take_rows(values, partners)


def meet(one: Tensor, other: Tensor, weights: Tensor) -> Tensor:
    """The weighted mean of two points, (*L, B, *F) twice and (*L, B, 2) -> (*L, B, *F), exact where they are equal."""
    return torch.lerp(one, other, _share(weights, one))


def meet_partners(values: Tensor, partners: Tensor | int, weights: Tensor) -> Tensor:
    """The weighted mean of rows and their partners, (*L, N, *F) -> (*L, B, *F).

    Of pairs: partners (*L, B) or int, weights (*L, B, 2). Of groups of K: partners (*L, B, K - 1), weights (*L, B, K).
    """
    row_dim = weights.ndim - 2
    if not isinstance(partners, int) and partners.ndim == weights.ndim:
        if partners.shape[-1] != 1:
            return _meet_groups(values, partners, weights)
        partners = partners.squeeze(-1)
    return meet(*pair_up(values, partners, row_dim), weights)


def _meet_groups(values: Tensor, partners: Tensor, weights: Tensor) -> Tensor:
    row_dim = weights.ndim - 2
    mean = _share(weights, values, 0) * values.narrow(row_dim, 0, partners.shape[row_dim])
    # one after the other: to stack them would take the memory of all
    for k, column in enumerate(partners.unbind(-1), start=1):
        mean = torch.addcmul(mean, _share(weights, values, k), take_rows(values, column))
    return mean


def _share(weights: Tensor, values: Tensor, k: int = 1) -> Tensor:
    """The weight of a partner, broadcast against values."""
    share = weights[..., k].to(values.dtype)
    return share.reshape(share.shape + (1,) * (values.ndim - share.ndim))


class _TurnedDraw(torch.autograd.Function):
    r"""`draw` for partners that stand `turn` places further on, in half the passes that autograd would take.

    With :math:`q = \tilde p^{-1/2}`, :math:`t = q\,(w_1 p_b\mu_b + w_2 p_{j(b)}\mu_{j(b)})` and noise e the draw is
    :math:`z = q\,(t + e)`, so that for a gradient g the pooled :math:`p\mu` has the gradient :math:`g q^2`, and the
    pooled p has :math:`-\tfrac12 g q^3 (2 t + e)`.
    """

    @staticmethod
    def forward(context: Any, mean: Tensor, precision: Tensor, turn: int, share: Tensor, noise: Tensor) -> Tensor:
        scale = _turned(precision, turn, share).rsqrt_()
        centre = _turned(precision * mean, turn, share).mul_(scale)
        sum_ = centre + noise
        context.turn = turn
        context.save_for_backward(mean, precision, share, scale, centre, sum_)
        return scale * sum_

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        mean, precision, share, scale, centre, sum_ = context.saved_tensors
        weighted = (gradients[0] * scale).mul_(scale)
        pooled = (sum_ + centre).mul_(weighted).mul_(scale)
        weighted = _turned_back(weighted, context.turn, share)
        pooled = _turned_back(pooled, context.turn, share, -0.5)
        return weighted * precision, pooled.addcmul_(weighted, mean), None, None, None


def _turned(values: Tensor, turn: int, share: Tensor) -> Tensor:
    """Means of rows (M, N, *F) and of those so many places further on."""
    met = torch.empty_like(values)
    for here, there in _turns(values.shape[1], turn):
        torch.lerp(values[:, here], values[:, there], share[:, here], out=met[:, here])
    return met


def _turned_back(gradient: Tensor, turn: int, share: Tensor, factor: float = 1.0) -> Tensor:
    """The gradient of `_turned`, times a factor."""
    result = gradient * (factor * (1 - share))
    for here, there in _turns(gradient.shape[1], turn):
        result[:, there].addcmul_(gradient[:, here], share[:, here], value=factor)
    return result


def _turns(n: int, turn: int) -> tuple[tuple[slice, slice], ...]:
    """Rows, and those so many places further on, cyclically, as slices."""
    turn %= n
    pieces = (slice(0, n - turn), slice(turn, n)), (slice(n - turn, n), slice(0, turn))
    return pieces if turn else pieces[:1]


def draw(
    mean: Tensor,
    precision: Tensor,
    partners: Tensor | int | None,
    weights: Tensor | None,
    noise: Callable[[torch.Size], Tensor] | None,
) -> Tensor:
    r"""A draw from the log-linear pool of the diagonal Gaussian densities of rows and their partners.

    .. math:: z = \tilde\mu + \varepsilon\,\tilde p^{-1/2},\quad \tilde p = \sum_k w_k p_{j_k(b)},\quad
        \tilde\mu = \sum_k w_k p_{j_k(b)}\mu_{j_k(b)} / \tilde p,\quad j_1(b) = b

    Parameters
    ----------
    mean, precision : Tensor, (*L, N, *F)
    partners : Tensor, (*L, B) or (*L, B, K - 1), or int, or None
        None: each draw is from the density of its own row.
    weights : Tensor, (*L, B, K), or None
    noise : callable
        A shape to standard normal numbers; without it the mean of the pool is returned.

    Returns
    -------
    Tensor, (*L, B, *F)
    """
    kind = mean.dtype
    # precisions have a range that half precision has not
    wide = torch.promote_types(torch.promote_types(kind, precision.dtype), torch.float32)
    mean, precision = mean.to(wide), precision.to(wide)
    if partners is not None and weights is not None:
        if isinstance(partners, int) and weights.ndim == 3 and noise is not None:
            numbers, share = noise(mean.shape).to(mean), _share(weights, mean)
            drawn: Tensor = _TurnedDraw.apply(mean, precision, partners, share, numbers)
            return drawn.to(kind)
        weighted = meet_partners(precision * mean, partners, weights)
        precision = meet_partners(precision, partners, weights)
        mean = weighted / precision
    drawn = mean if noise is None else torch.addcmul(mean, precision.rsqrt(), noise(mean.shape).to(mean))
    return drawn.to(kind)
