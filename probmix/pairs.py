"""The arithmetic of rows that meet in pairs: as points, or as Gaussian densities."""

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
    share = weights[..., 1].to(one.dtype)
    return torch.lerp(one, other, share.reshape(share.shape + (1,) * (one.ndim - share.ndim)))


def meet_densities(
    mean: Tensor, precision: Tensor, partners: Tensor | int, weights: Tensor, row_dim: int
) -> tuple[Tensor, Tensor]:
    r"""The log-linear pool of the diagonal Gaussian densities of rows and their partners.

    .. math:: \tilde p = w_1 p_b + w_2 p_{j(b)},\qquad \tilde\mu = (w_1 p_b\mu_b + w_2 p_{j(b)}\mu_{j(b)}) / \tilde p

    Parameters
    ----------
    mean, precision : Tensor, (*L, N, *F)
    partners : Tensor, (*L, B), or int
    weights : Tensor, (*L, B, 2)
    row_dim : int
        The axis of the rows, that is the number of axes L.

    Returns
    -------
    mean, precision : Tensor, (*L, B, *F)
    """
    # the natural parameters of a Gaussian, but for a factor: one meeting for both
    eta = torch.stack([precision * mean, precision], -1)
    weighted, pooled = meet(*pair_up(eta, partners, row_dim), weights).unbind(-1)
    return weighted / pooled, pooled
