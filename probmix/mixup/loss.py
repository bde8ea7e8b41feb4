"""The loss of a batch in which rows meet."""

from collections.abc import Callable

import torch
from torch import Tensor

from ..families import ExponentialFamily, get
from ..pooling import pool_natural_params
from ..random import Uniform, generator_uniform
from .config import Mixup, as_mixup


def take_rows(values: Tensor, index: Tensor) -> Tensor:
    """Rows by number, member by member: (*L, N, *F), (*L, B) -> (*L, B, *F), with at most one leading axis L.

    The rows are taken from the flattened members by `index_select`, whose backward pass is much quicker than that of a
    gather along expanded features.
    """
    if index.ndim == 1:
        return values.index_select(0, index)
    members, rows = values.shape[:2]
    offset = torch.arange(0, members * rows, rows, device=index.device).unsqueeze(-1)
    return values.flatten(0, 1).index_select(0, (index + offset).flatten()).unflatten(0, index.shape)


def meet(values: Tensor, partners: Tensor) -> Tensor:
    """Pairs of rows: each of the first B rows with its partner, (*L, N, *F), (*L, B) -> (*L, B, 2, *F)."""
    axis = partners.ndim - 1
    return torch.stack([values.narrow(axis, 0, partners.shape[-1]), take_rows(values, partners)], axis + 1)


def fused_nll(
    forward: Callable[[Tensor], Tensor],
    family: ExponentialFamily,
    mixup: Mixup,
    x: Tensor,
    y: Tensor,
    partners: Tensor,
    weights: Tensor,
) -> Tensor:
    """Expected negative log-likelihood of rows that meet, in one forward pass.

    Parameters
    ----------
    forward : callable
        Inputs (*L, N, *F) to natural parameters (*L, N, [d,] K); L is empty or the member axis.
    x, y : Tensor, (*L, N, *F) and (*L, N[, d])
    partners : Tensor, (*L, B)
        The first B rows meet these rows, B <= N.
    weights : Tensor, (*L, B, 2)

    Returns
    -------
    Tensor, (*L, B), summed over the targets d
    """
    row_axis = partners.ndim - 1
    several = y.ndim > partners.ndim
    labels = meet(y, partners)
    label_weights = weights
    if several:  # targets become one more batch axis in front of the points
        labels, label_weights = labels.movedim(-1, row_axis + 1), weights.unsqueeze(-2)
    points = None
    if mixup.at == "input":
        pairs = meet(x, partners)
        inputs = weights.to(x.dtype).reshape(weights.shape + (1,) * (pairs.ndim - weights.ndim))
        eta = forward((inputs * pairs).sum(row_axis + 1))
    else:
        points = meet(forward(x), partners)
        if several:
            points = points.movedim(row_axis + 1, -2)
        eta = pool_natural_params(points, label_weights)
    if mixup.label_pool == "calibrated":
        label = family.calibrated_label(labels, label_weights, eta, mixup.label_spread, points)
    else:
        label = family.pool_labels(labels, label_weights, mixup.label_spread, mixup.label_pool)
    loss = family.expected_nll(eta, label)
    return loss.sum(-1) if several else loss


def clean_nll(family: ExponentialFamily, eta: Tensor, y: Tensor, row_ndim: int) -> Tensor:
    """Negative log-likelihood of rows that meet nobody, summed over targets: (*L, B[, d], K) -> (*L, B)."""
    loss = family.expected_nll(eta, family.point_label(y))
    return loss.sum(-1) if loss.ndim > row_ndim else loss


def mixup_loss(
    module: Callable[[Tensor], Tensor],
    family: str | ExponentialFamily,
    x: Tensor,
    y: Tensor,
    mixup: str | Mixup = "probmix",
    *,
    partners: Tensor | None = None,
    sample_weight: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    r"""Mean loss of a batch under a mixup, for people with their own network and training loop.

    .. math:: \frac{1}{\sum_b \tilde s_b} \sum_b \tilde s_b\, E[-\log p(\tilde y_b \mid \tilde\eta_b)],
        \qquad \tilde s_b = \sum_k w_{bk} s_{bk}

    Parameters
    ----------
    module : nn.Module or callable
        Inputs (N, ...) to natural parameters (N, [d,] K), such as a network that ends in a `NaturalHead`.
    family : str or ExponentialFamily
        The family of those natural parameters.
    x, y : Tensor, (N, ...) and (N,) or (N, d)
        Targets in the units in which the network is trained.
    mixup : str or Mixup
        A preset name or a `Mixup`.
    partners : Tensor, (B,), int64, optional
        Row numbers: the first B <= N rows meet these rows. By default all rows meet and partners are drawn within the
        batch. Stack partners from outside the batch under it and name their rows here.
    sample_weight : Tensor, (N,), optional
        Non-negative; a pair weighs the weighted mean of its points.
    generator : torch.Generator, optional
        On the device of `x`. Without it the draws come from torch's own generator.

    Returns
    -------
    Tensor, scalar, differentiable in the parameters of `module`

    Raises
    ------
    ValueError
        For an unknown family or preset, row counts that differ, or targets outside the support.

    Examples
    --------
    >>> import torch
    >>> from probmix import NaturalHead
    >>> from probmix.mixup import mixup_loss
    >>> x = torch.linspace(-1, 1, 32).unsqueeze(-1)
    >>> y = torch.poisson(torch.exp(2 * x.squeeze(-1)), generator=torch.Generator().manual_seed(0))
    >>> network = torch.nn.Sequential(torch.nn.Linear(1, 8), torch.nn.ReLU(), NaturalHead("poisson", 8))
    >>> optimizer = torch.optim.AdamW(network.parameters(), lr=0.01)
    >>> for _ in range(3):
    ...     optimizer.zero_grad()
    ...     mixup_loss(network, "poisson", x, y, "probmix").backward()
    ...     optimizer.step()
    """
    family, mixup = get(family), as_mixup(mixup)
    _check_rows(x, y, sample_weight, partners)
    family.check_targets(y.detach())
    if mixup.at is None:
        losses = clean_nll(family, module(x), y, 1)
        pair_weight = sample_weight
    else:
        uniform = generator_uniform(generator, x.device)
        if partners is None:
            partners = draw_partners(mixup, x, uniform)
        weights = mixup.weights.sample(tuple(partners.shape), uniform)
        losses = fused_nll(module, family, mixup, x, y, partners, weights)
        pair_weight = None if sample_weight is None else (weights * meet(sample_weight, partners)).sum(-1)
    if pair_weight is None:
        return losses.mean()
    return (pair_weight * losses).sum() / pair_weight.sum()


def draw_partners(mixup: Mixup, x: Tensor, uniform: Uniform) -> Tensor:
    """Partners within a batch without member axis: (N, ...) -> (N,)."""
    neighbours = mixup.partners.neighbours(x)
    if neighbours is None:
        return uniform((len(x),)).argsort()
    choice = (uniform((len(x), 1)) * neighbours.shape[1]).long().clamp(max=neighbours.shape[1] - 1)
    return neighbours.gather(1, choice).squeeze(1)


def _check_rows(x: Tensor, y: Tensor, sample_weight: Tensor | None, partners: Tensor | None) -> None:
    for name, rows in (("y", y), ("sample_weight", sample_weight)):
        if rows is not None and len(rows) != len(x):
            raise ValueError(f"`{name}` must have as many rows as `x`; got {len(rows)} and {len(x)}.")
    if sample_weight is not None and not bool((sample_weight >= 0).all() & (sample_weight.sum() > 0)):
        raise ValueError("`sample_weight` must be non-negative with a positive sum.")
    if partners is not None and (partners.ndim != 1 or len(partners) > len(x) or bool((partners >= len(x)).any())):
        raise ValueError(
            f"`partners` must be a vector of at most {len(x)} row numbers below {len(x)}; "
            f"got shape {tuple(partners.shape)}. Stack partners from outside the batch under `x`."
        )
