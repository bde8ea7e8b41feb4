"""The loss of a batch in which rows meet."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..families import ExponentialFamily, Label, get
from ..pooling import weighted_sum
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
    taken = values.flatten(0, 1).index_select(0, (index + offset).flatten())
    return taken.view(*index.shape, *values.shape[2:])


def pair_up(values: Tensor, partners: Tensor) -> tuple[Tensor, Tensor]:
    """The first B rows, and their partners: (*L, N, *F), (*L, B) -> two of (*L, B, *F)."""
    return values.narrow(partners.ndim - 1, 0, partners.shape[-1]), take_rows(values, partners)


@dataclass(frozen=True)
class Meeting:
    """Who meets whom, with what weight, and what label they have; L is empty or the member axis.

    Attributes
    ----------
    partners : Tensor, (*L, B)
        The first B rows of a batch meet these rows.
    weights : Tensor, (*L, B, 2)
    pairs : Tensor, (*L, B, [d,] 2)
        Targets of the rows and of their partners.
    label : Label or None
        What `pool_pairs` makes of them.
    """

    partners: Tensor
    weights: Tensor
    pairs: Tensor
    label: Label | None

    def narrow(self, axis: int, start: int, length: int) -> "Meeting":
        """The meetings of a range of rows along a batch axis."""
        partners, weights, pairs = (
            one.narrow(axis, start, length) for one in (self.partners, self.weights, self.pairs)
        )
        return Meeting(partners, weights, pairs, None if self.label is None else self.label.narrow(axis, start, length))


def pool_pairs(family: ExponentialFamily, mixup: Mixup, pairs: Tensor, weights: Tensor) -> Label | None:
    """Pool the targets of pairs, (*L, B, [d,] 2), (*L, B, 2); None where the label depends on the predictions."""
    if mixup.label_pool == "calibrated":
        return None
    return family.pool_labels(pairs, _over_targets(weights, pairs), mixup.label_spread, mixup.label_pool)


def fused_nll(
    forward: Callable[[Tensor], Tensor], family: ExponentialFamily, mixup: Mixup, x: Tensor, meeting: Meeting
) -> Tensor:
    """Expected negative log-likelihood of rows that meet, in one forward pass.

    Parameters
    ----------
    forward : callable
        Inputs (*L, N, *F) to natural parameters (*L, N, [d,] K).
    x : Tensor, (*L, N, *F)
    meeting : Meeting
        Of B <= N rows.

    Returns
    -------
    Tensor, (*L, B), summed over the targets d
    """
    weights, label, points = meeting.weights, meeting.label, None
    if mixup.at == "input":
        eta = forward(weighted_sum(pair_up(x, meeting.partners), weights.to(x.dtype)))
    else:
        one, other = pair_up(forward(x), meeting.partners)
        eta = weighted_sum((one, other), weights)
        points = torch.stack([one, other], -2) if label is None else None
    if label is None:
        over_targets = _over_targets(weights, meeting.pairs)
        label = family.calibrated_label(meeting.pairs, over_targets, eta, mixup.label_spread, points)
    return sum_targets(family.expected_nll(eta, label), meeting.partners.ndim)


def sum_targets(losses: Tensor, row_ndim: int) -> Tensor:
    """Losses of rows from losses of targets: (*L, B[, d]) -> (*L, B)."""
    return losses.sum(-1) if losses.ndim > row_ndim else losses


def _over_targets(weights: Tensor, pairs: Tensor) -> Tensor:
    """Weights of pairs, (*L, B, 2), with an axis for several targets where there are such."""
    return weights.unsqueeze(-2) if pairs.ndim > weights.ndim else weights


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
        losses = sum_targets(family.expected_nll(module(x), family.point_label(y)), 1)
        pair_weight = sample_weight
    else:
        uniform = generator_uniform(generator, x.device)
        if partners is None:
            partners = draw_partners(mixup, x, uniform)
        weights = mixup.weights.sample(tuple(partners.shape), uniform)
        pairs = torch.stack(pair_up(y, partners), -1)
        meeting = Meeting(partners, weights, pairs, pool_pairs(family, mixup, pairs, weights))
        losses = fused_nll(module, family, mixup, x, meeting)
        pair_weight = None if sample_weight is None else weighted_sum(pair_up(sample_weight, partners), weights)
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
