"""The loss of a batch in which rows meet."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..families import ExponentialFamily, Label, get
from ..fusion import fuse_at, meet, pair_up
from ..random import Uniform, generator_uniform
from .config import Mixup, as_mixup


@dataclass(frozen=True)
class Meeting:
    """Who meets whom and where, with what weight, and what label they have; L is empty or the member axis.

    Attributes
    ----------
    place : str
        One of the places of a mixup.
    partners : Tensor, (*L, B), or int
        The first B rows of a batch meet these rows; as a number, the rows so many places further on, cyclically.
    weights : Tensor, (*L, B, 2)
    pairs : Tensor, (*L, B, [d,] 2)
        Targets of the rows and of their partners.
    label : Label or None
        What `pool_pairs` makes of them.
    """

    place: str
    partners: Tensor | int
    weights: Tensor
    pairs: Tensor
    label: Label | None

    def narrow(self, axis: int, start: int, length: int) -> "Meeting":
        """The meetings of a range of rows along a batch axis."""
        partners = self.partners
        return Meeting(
            self.place,
            partners if isinstance(partners, int) else partners.narrow(axis, start, length),
            self.weights.narrow(axis, start, length),
            self.pairs.narrow(axis, start, length),
            None if self.label is None else self.label.narrow(axis, start, length),
        )


def pool_pairs(family: ExponentialFamily, mixup: Mixup, pairs: Tensor, weights: Tensor) -> Label | None:
    """Pool the targets of pairs, (*L, B, [d,] 2), (*L, B, 2); None where the label depends on the predictions."""
    if mixup.label_pool == "calibrated":
        return None
    return family.pool_labels(pairs, _over_targets(weights, pairs), mixup.label_spread, mixup.label_pool)


def fused_nll(
    module: Callable[[Tensor], Tensor], family: ExponentialFamily, mixup: Mixup, x: Tensor, meeting: Meeting
) -> Tensor:
    """Expected negative log-likelihood of rows that meet, in one forward pass.

    Parameters
    ----------
    module : nn.Module, or a callable for the places "input" and "output"
        Inputs (*L, N, *F) to natural parameters (*L, N, [d,] K).
    x : Tensor, (*L, N, *F)
    meeting : Meeting
        Of B <= N rows.

    Returns
    -------
    Tensor, (*L, B), summed over the targets d
    """
    place, weights, label, points = meeting.place, meeting.weights, meeting.label, None
    row_dim = weights.ndim - 2
    if place == "input":
        eta = module(meet(*pair_up(x, meeting.partners, row_dim), weights))
    elif place != "output":
        with fuse_at(_as_module(module, place), place, meeting.partners, weights):
            eta = module(x)
    else:
        one, other = pair_up(module(x), meeting.partners, row_dim)
        eta = meet(one, other, weights)
        points = torch.stack([one, other], -2) if label is None else None
    _check_params(family, eta, meeting.pairs.shape[:-1])
    if label is None:
        over_targets = _over_targets(weights, meeting.pairs)
        label = family.calibrated_label(meeting.pairs, over_targets, eta, mixup.label_spread, points)
    return sum_targets(family.expected_nll(eta, label), row_dim + 1)


def _as_module(module: Callable[[Tensor], Tensor], place: str) -> nn.Module:
    if not isinstance(module, nn.Module):
        raise TypeError(f"`module` must be an nn.Module for rows to meet at its layer {place!r}; got {module!r}.")
    return module


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
        \qquad \tilde s_b = \prod_k s_{bk}

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
        Non-negative; a pair weighs the product of its points' weights, as often as it would be met if every row were
        there as many times as it weighs. (Their mean would pull the fit towards the unweighted one.)
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
        rows = len(x) if partners is None else len(partners)
        eta = module(x[:rows])
        _check_params(family, eta, y[:rows].shape)
        losses = sum_targets(family.expected_nll(eta, family.point_label(y[:rows])), 1)
        weight = None if sample_weight is None else sample_weight[:rows]
    else:
        uniform = generator_uniform(generator, x.device)
        if partners is None:
            partners = draw_partners(mixup, x, uniform)
        weights = mixup.weights.sample(tuple(partners.shape), uniform)
        pairs = torch.stack(pair_up(y, partners, 0), -1)
        places = mixup.places
        place = places[0] if len(places) == 1 else places[int(len(places) * uniform((1,)).item())]
        meeting = Meeting(place, partners, weights, pairs, pool_pairs(family, mixup, pairs, weights))
        losses = fused_nll(module, family, mixup, x, meeting)
        weight = None if sample_weight is None else torch.mul(*pair_up(sample_weight, partners, 0))
    if weight is None:
        return losses.mean()
    if not bool(weight.sum() > 0):
        raise ValueError("`sample_weight` must leave a row, or a pair of rows that meet, of positive weight.")
    return (weight * losses).sum() / weight.sum()


def draw_partners(mixup: Mixup, x: Tensor, uniform: Uniform) -> Tensor:
    """Partners within a batch without member axis: (N, ...) -> (N,)."""
    neighbours = mixup.partners.neighbours(x)
    if neighbours is None:
        return uniform((len(x),)).argsort()
    choice = (uniform((len(x), 1)) * neighbours.shape[1]).long().clamp(max=neighbours.shape[1] - 1)
    return neighbours.gather(1, choice).squeeze(1)


def _check_rows(x: Tensor, y: Tensor, sample_weight: Tensor | None, partners: Tensor | None) -> None:
    for name, rows in (("y", y), ("sample_weight", sample_weight)):
        if rows is not None and (rows.ndim == 0 or len(rows) != len(x)):
            raise ValueError(f"`{name}` must have as many rows as `x`, {len(x)}; got shape {tuple(rows.shape)}.")
    if sample_weight is not None and sample_weight.ndim != 1:
        raise ValueError(f"`sample_weight` must be a vector; got shape {tuple(sample_weight.shape)}.")
    if sample_weight is not None and not bool((sample_weight >= 0).all()):
        raise ValueError("`sample_weight` must be non-negative.")
    if partners is not None:
        vector = partners.ndim == 1 and len(partners) <= len(x) and partners.dtype == torch.int64
        if not vector or bool(((partners < 0) | (partners >= len(x))).any()):
            raise ValueError(
                f"`partners` must be an int64 vector of at most {len(x)} row numbers from 0 to {len(x) - 1}; got "
                f"{partners.dtype} of shape {tuple(partners.shape)}. Stack partners from outside the batch under `x`."
            )


def _check_params(family: ExponentialFamily, eta: Tensor, targets: torch.Size) -> None:
    shape = (*targets, family.num_params)
    if eta.shape != shape:
        raise ValueError(
            f"`module` must give natural parameters of the family {family.name!r} of shape {shape}: rows, targets as "
            f"in `y`, parameters; got {tuple(eta.shape)}. End it in NaturalHead, with `num_targets` for a matrix `y`."
        )
