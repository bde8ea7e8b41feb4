"""The arithmetic of rows that are mixed, in pairs or in groups: as points, or as Gaussian densities."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

# The K - 1 partners of the first B rows: numbers of rows, (*L, B, K - 1), of pairs also (*L, B); or how many places
# further on each of them stands, cyclically, one number for all rows, which is quicker.
Partners = Tensor | int | tuple[int, ...]


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


def columns(values: Tensor, partners: Partners, row_dim: int) -> Iterator[Tensor]:
    """The first B rows, then their first partners, their second ones, ...: (*L, N, *F) -> K times (*L, B, *F).

    One after the other: all K at once would take the memory of all.
    """
    if isinstance(partners, Tensor):
        yield values.narrow(row_dim, 0, partners.shape[row_dim])
        for rows in (partners,) if partners.ndim == row_dim + 1 else partners.unbind(-1):
            yield take_rows(values, rows)
    else:
        yield values
        for shift in shifts_of(partners):
            yield values.roll(-shift, row_dim)


def shifts_of(partners: int | tuple[int, ...]) -> tuple[int, ...]:
    """How many places further on, cyclically, each of the K - 1 partners of a row stands."""
    return (partners,) if isinstance(partners, int) else partners


def mix_rows(values: Tensor, partners: Partners, weights: Tensor) -> Tensor:
    """The weighted mean of the rows of groups, (*L, N, *F), weights (*L, B, K) -> (*L, B, *F).

    Of pairs it is exact where both rows are equal.
    """
    if not (values.is_floating_point() or values.is_complex()):
        raise TypeError(
            f"rows of whole numbers, {values.dtype}, such as categories or tokens, have no means. Mix at 'output', or "
            "at a layer behind their embedding."
        )
    of_group = columns(values, partners, weights.ndim - 2)
    if weights.shape[-1] == 2:
        return torch.lerp(next(of_group), next(of_group), _share(weights, values, 1))
    mean = _share(weights, values, 0) * next(of_group)
    for k, rows in enumerate(of_group, start=1):
        mean = torch.addcmul(mean, _share(weights, values, k), rows)
    return mean


def _share(weights: Tensor, values: Tensor, k: int) -> Tensor:
    """The weight of the k-th row of a group, broadcast against values."""
    share = weights[..., k].to(values.dtype)
    return share.reshape(share.shape + (1,) * (values.ndim - share.ndim))


class _ShiftedDraw(torch.autograd.Function):
    r"""`draw` for partners that stand `shift` places further on, in half the passes that autograd would take.

    With :math:`q = \tilde p^{-1/2}`, :math:`t = q\,(w_1 p_b\mu_b + w_2 p_{j(b)}\mu_{j(b)})` and noise e the draw is
    :math:`z = q\,(t + e)`, so that for a gradient g the pooled :math:`p\mu` has the gradient :math:`g q^2`, and the
    pooled p has :math:`-\tfrac12 g q^3 (2 t + e)`. Differentiated itself, this gradient is the one that autograd takes.
    """

    @staticmethod
    def forward(context: Any, mean: Tensor, precision: Tensor, shift: int, weights: Tensor, noise: Tensor) -> Tensor:
        share = _share(weights, mean, 1)
        scale = _mixed_with_shifted(precision, shift, share).rsqrt_()
        centre = _mixed_with_shifted(precision * mean, shift, share).mul_(scale)
        sum_ = centre + noise
        context.shift = shift
        context.save_for_backward(mean, precision, weights, noise, scale, centre, sum_)
        return scale * sum_

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        mean, precision, weights, noise, scale, centre, sum_ = context.saved_tensors
        if torch.is_grad_enabled():
            # views, for the precision may have come from the mean, which is not to be followed here
            mean, precision, noise = inputs = [one.view_as(one) for one in (mean, precision, noise)]
            drawn = _with_noise(*_pooled(mean, precision, context.shift, weights), noise)
            needed = [one for one in inputs if one.requires_grad]
            given = iter(torch.autograd.grad(drawn, needed, gradients[0], create_graph=True))
            of_mean, of_precision, of_noise = (next(given) if one.requires_grad else None for one in inputs)
            return of_mean, of_precision, None, None, of_noise
        of_noise = (gradients[0] * scale).sum_to_size(noise.shape) if context.needs_input_grad[4] else None
        share = _share(weights, mean, 1)
        weighted = (gradients[0] * scale).mul_(scale)
        pooled = (sum_ + centre).mul_(weighted).mul_(scale)
        weighted = _gradient_of_shifted(weighted, context.shift, share)
        pooled = _gradient_of_shifted(pooled, context.shift, share, -0.5)
        return weighted * precision, pooled.addcmul_(weighted, mean), None, None, of_noise


def _mixed_with_shifted(values: Tensor, shift: int, share: Tensor) -> Tensor:
    """Means of rows (M, N, *F) and of those so many places further on."""
    mixed = torch.empty_like(values)
    for here, there in _slices(values.shape[1], shift):
        torch.lerp(values[:, here], values[:, there], share[:, here], out=mixed[:, here])
    return mixed


def _gradient_of_shifted(gradient: Tensor, shift: int, share: Tensor, factor: float = 1.0) -> Tensor:
    """The gradient of `_mixed_with_shifted`, times a factor."""
    result = gradient * (factor * (1 - share))
    for here, there in _slices(gradient.shape[1], shift):
        result[:, there].addcmul_(gradient[:, here], share[:, here], value=factor)
    return result


def _slices(n: int, shift: int) -> tuple[tuple[slice, slice], ...]:
    """Rows, and those so many places further on, cyclically, as slices."""
    shift %= n
    pieces = (slice(0, n - shift), slice(shift, n)), (slice(n - shift, n), slice(0, shift))
    return pieces if shift else pieces[:1]


def draw(
    mean: Tensor,
    precision: Tensor,
    partners: Partners | None,
    weights: Tensor | None,
    noise: Callable[[torch.Size], Tensor] | None,
) -> Tensor:
    r"""A draw from the log-linear pool of the diagonal Gaussian densities of rows and their partners.

    .. math:: z = \tilde\mu + \varepsilon\,\tilde p^{-1/2},\quad \tilde p = \sum_k w_k p_{j_k(b)},\quad
        \tilde\mu = \sum_k w_k p_{j_k(b)}\mu_{j_k(b)} / \tilde p,\quad j_1(b) = b

    Parameters
    ----------
    mean, precision : Tensor, (*L, N, *F)
    partners : Partners or None
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
        are_fixed_pairs = weights.ndim == 3 and weights.shape[-1] == 2 and not weights.requires_grad
        if not isinstance(partners, Tensor) and are_fixed_pairs and noise is not None:
            numbers = noise(mean.shape).to(mean)
            drawn: Tensor = _ShiftedDraw.apply(mean, precision, *shifts_of(partners), weights, numbers)
            return drawn.to(kind)
        mean, precision = _pooled(mean, precision, partners, weights)
    return (mean if noise is None else _with_noise(mean, precision, noise(mean.shape).to(mean))).to(kind)


def _pooled(mean: Tensor, precision: Tensor, partners: Partners, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and precision of the log-linear pool of each group."""
    weighted = mix_rows(precision * mean, partners, weights)
    precision = mix_rows(precision, partners, weights)
    return weighted / precision, precision


def _with_noise(mean: Tensor, precision: Tensor, noise: Tensor) -> Tensor:
    return torch.addcmul(mean, precision.rsqrt(), noise)
