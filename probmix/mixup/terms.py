"""The terms of a batch's loss: rows that are mixed, and rows that are not."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from ..families import ExponentialFamily, Family, Label
from ..fusion import Noise
from ..pairs import Partners, columns, mix_rows, shifts_of
from .config import ENDS, Mixup
from .objectives import Objective, sum_targets
from .quadratic import Centring, quadratic_losses


class Mixable(Protocol):
    """A network in which rows can be mixed; L is empty or the member axis."""

    def __call__(self, x: Tensor) -> Tensor:
        """Natural parameters: (*L, N, *F) -> (*L, N, [d,] K)."""
        ...

    def standardize(self, x: Tensor) -> Tensor:
        """Rows as they are mixed at the input: (*L, N, *F) -> (*L, N, *F)."""
        ...

    def on_standardized(self, z: Tensor) -> Tensor:
        """Natural parameters of such rows: (*L, N, *F) -> (*L, N, [d,] K)."""
        ...

    def fused(
        self, x: Tensor, place: str, partners: Partners | None, weights: Tensor | None, noise: Noise | None
    ) -> Tensor:
        """Natural parameters of rows that are mixed at a layer, or at the "input": (*L, N, *F) -> (*L, B, [d,] K)."""
        ...


@dataclass(frozen=True)
class Groups:
    """Groups of K rows that are mixed; L is empty or the member axis.

    Attributes
    ----------
    layer : str
        Where they are mixed, one of the layers of a mixup.
    partners : Partners
        The first B rows of a batch are mixed with these.
    weights : Tensor, (*L, B, K)
    centring : Centring or None
        For the quadratic criterion, under which the first row of each group weighs most.
    """

    layer: str
    partners: Partners
    weights: Tensor
    centring: Centring | None = None

    def repeat(self, axis: int, copies: int, n: int) -> "Groups":
        """The same groups among copies of n rows each, one copy under the other along a batch axis."""
        partners, weights = self.partners, self.weights
        if not isinstance(partners, Tensor):
            rows = torch.arange(n, device=weights.device).unsqueeze(-1)
            partners = (rows + torch.tensor(shifts_of(partners), device=rows.device)) % n
            partners = partners.expand(*weights.shape[:-1], -1)
        partners = torch.cat([partners + copy * n for copy in range(copies)], axis)
        return Groups(self.layer, partners, torch.cat([weights] * copies, axis))


@dataclass(frozen=True)
class Term:
    """A summand of a batch's loss: groups of rows, or single ones, with their labels; L is empty or the member axis.

    Attributes
    ----------
    targets : Tensor, (*L, B, [d,] K)
        Of the rows of each group; K = 1 for single rows.
    label : Label or None
        What the targets are pooled to; None for calibrated labels, which depend on the predictions.
    groups : Groups or None
        None for single rows, the first B of a batch.
    drawn_at : str or None
        The layer from whose Gaussian embedding single rows are drawn, in a network that has one.
    row_weight : Tensor, (*L, B), or None
        How much a group counts among the others.
    share : float
        How much the term counts among the others.
    """

    targets: Tensor
    label: Label | None
    groups: Groups | None = None
    drawn_at: str | None = None
    row_weight: Tensor | None = None
    share: float = 1.0

    def repeat(self, axis: int, copies: int, n: int) -> "Term":
        """The same groups among copies of n rows each, one copy under the other along a batch axis."""
        return replace(
            self,
            targets=torch.cat([self.targets] * copies, axis),
            label=None if self.label is None else self.label.repeat(axis, copies),
            groups=None if self.groups is None else self.groups.repeat(axis, copies, n),
        )

    def split(self, sizes: list[int], groups: Sequence[Groups | None]) -> list["Term"]:
        """The terms of batches whose rows follow each other along axis 1, behind the member axis."""
        none: list[None] = [None] * len(sizes)
        labels = none if self.label is None else self.label.split(1, sizes)
        row_weights = none if self.row_weight is None else self.row_weight.split(sizes, 1)
        batches = zip(self.targets.split(sizes, 1), labels, groups, row_weights, strict=True)
        return [Term(*one[:3], self.drawn_at, one[3], self.share) for one in batches]


@dataclass(frozen=True)
class Inputs:
    """What a network sees of a batch; L is empty or the member axis.

    Attributes
    ----------
    x : Tensor, (*L, N, *F)
    row_dim : int
        The axis of the rows.
    noise : callable or None
        Source of the draws of Gaussian embeddings.
    log_exposure : Tensor, (*L, N), or None
        Groups have the mean of their exposures, as they have the mean of their counts. Linear pools and calibrated
        labels are made of single rows, each of which has its own.
    """

    x: Tensor
    row_dim: int = 0
    noise: Noise | None = None
    log_exposure: Tensor | None = None

    def repeat(self, copies: int) -> "Inputs":
        """Copies of the rows, one under the other."""
        log_exposure = self.log_exposure
        if log_exposure is not None:
            log_exposure = torch.cat([log_exposure] * copies, self.row_dim)
        return replace(self, x=torch.cat([self.x] * copies, self.row_dim), log_exposure=log_exposure)

    def first(self, rows: int) -> "Inputs":
        """The first rows."""
        if rows == self.x.shape[self.row_dim]:
            return self
        log_exposure = self.log_exposure
        if log_exposure is not None:
            log_exposure = log_exposure.narrow(self.row_dim, 0, rows)
        return replace(self, x=self.x.narrow(self.row_dim, 0, rows), log_exposure=log_exposure)


def pool_targets(objective: Objective, mixup: Mixup, targets: Tensor, weights: Tensor) -> Label | None:
    """Pool the targets of groups, (*L, B, [d,] K), (*L, B, K); None for calibrated labels."""
    return objective.pool_labels(targets, _over_targets(weights, targets), mixup)


def group_weights(weights: Tensor, rows: Tensor, centring: Centring | None = None) -> Tensor:
    """How often groups would be drawn if every row were there as many times as it weighs, (*L, B, K) twice -> (*L, B).

    That is the product of the weights of the distinct rows: a row is its own partner once, and that as many times as it
    weighs. An expansion around the mean of all rows takes a row with itself like any other pair.
    """
    if centring is not None:
        return weights.prod(-1)
    product = weights[..., 0]
    for k in range(1, rows.shape[-1]):
        is_known = (rows[..., :k] == rows[..., k : k + 1]).any(-1)
        product = torch.where(is_known, product, product * weights[..., k])
    return product


class Losses:
    """The losses of the terms of a batch: the pass of single rows, which several terms need, is made once.

    Parameters
    ----------
    network : Mixable
    objective : Objective
    mixup : Mixup
    inputs : Inputs
    """

    def __init__(self, network: Mixable, objective: Objective, mixup: Mixup, inputs: Inputs) -> None:
        self._network, self._objective, self._mixup, self._inputs = network, objective, mixup, inputs
        self._single: Tensor | None = None

    def of(self, term: Term) -> Tensor:
        """Loss of each group of a term, summed over the targets d: (*L, B)."""
        mixup, row_dim = self._mixup, self._inputs.row_dim
        has_draws = mixup.embedding != "point" and (term.groups is not None or term.drawn_at is not None)
        copies = max(1, mixup.draws) if has_draws else 1
        if copies == 1:
            return self._of(term)
        # every draw has rows of its own from the input on: right for any network, whatever bypasses the layer
        inputs = self._inputs if term.groups is not None else self._inputs.first(term.targets.shape[row_dim])
        repeated = Losses(self._network, self._objective, mixup, inputs.repeat(copies))
        losses = repeated._of(term.repeat(row_dim, copies, inputs.x.shape[row_dim]))
        return self._objective.over_draws(losses.unflatten(row_dim, (copies, -1)), row_dim, mixup)

    def _of(self, term: Term) -> Tensor:
        if term.groups is None:
            return self._of_single_rows(term)
        if term.groups.centring is not None:
            return self._of_expansions(term, term.groups, term.groups.centring)
        at_output = term.groups.layer == "output"
        if self._mixup.pool == "linear" or (at_output and not self._objective.family.pools_log_linearly):
            return self._of_mixtures(term, term.groups)
        return self._of_densities(term, term.groups)

    def _of_single_rows(self, term: Term) -> Tensor:
        family, row_dim = self._objective.family, self._inputs.row_dim
        inputs = self._inputs.first(term.targets.shape[row_dim])
        if term.drawn_at is None:
            eta = self._predictions(inputs)
        else:
            eta = self._network.fused(inputs.x, term.drawn_at, None, None, self._noise)
        check_params(family, eta, term.targets.shape[:-1])
        assert term.label is not None  # nothing is pooled
        eta = with_exposure(family, eta, inputs.log_exposure)
        return sum_targets(self._objective.losses(eta, term.label), row_dim + 1)

    def _of_expansions(self, term: Term, groups: Groups, centring: Centring) -> Tensor:
        """Of the expansion around the heaviest row of each group, moved towards the mean."""
        network, family, inputs = self._network, self._objective.family, self._inputs
        assert isinstance(family, ExponentialFamily)  # the objective has been asked
        assert term.label is not None  # nor are there calibrated labels
        y = term.targets[..., 0]

        def evaluate(z: Tensor, exposure: Tensor | None = None) -> Tensor:
            eta = network.on_standardized(z)
            check_params(family, eta, y.shape)
            return with_exposure(family, eta, None if exposure is None else exposure.log())

        given: tuple[Tensor, ...] = (network.standardize(inputs.x),)
        if inputs.log_exposure is not None:
            given = (*given, inputs.log_exposure.exp())
        spread = self._mixup.label_spread
        losses = quadratic_losses(
            evaluate, family, given, y, term.label, groups.partners, groups.weights, centring, spread
        )
        return sum_targets(losses, inputs.row_dim + 1)

    def _of_densities(self, term: Term, groups: Groups) -> Tensor:
        """Of one density for each group: of a mixed input, of a layer's mixed output, or of a log-linear pool."""
        family, log_exposure, row_dim = self._objective.family, self._inputs.log_exposure, self._inputs.row_dim
        label, points, partners, weights = term.label, None, groups.partners, groups.weights
        if groups.layer == "output":
            single = self._predictions(self._inputs)
            eta = mix_rows(single, partners, weights)
            if label is None:
                points = torch.stack(list(columns(with_exposure(family, single, log_exposure), partners, row_dim)), -2)
        else:
            eta = self._network.fused(self._inputs.x, groups.layer, partners, weights, self._noise)
        if log_exposure is not None:
            # counts add up, and so do their exposures: a mean of counts has the mean exposure
            mean = mix_rows(log_exposure.exp().unsqueeze(-1), partners, weights).squeeze(-1)
            eta = with_exposure(family, eta, mean.log())
        check_params(family, eta, term.targets.shape[:-1])
        if label is None:
            over_targets = _over_targets(weights, term.targets)
            label = family.calibrated_label(term.targets, over_targets, eta, self._mixup.label_spread, points)
        return sum_targets(self._objective.losses(eta, label), row_dim + 1)

    def _of_mixtures(self, term: Term, groups: Groups) -> Tensor:
        """Of the mixture of a group's predictions: one at a layer, carried through the rest, is one at the output."""
        family, inputs = self._objective.family, self._inputs
        if self._mixup.embedding != "point" and groups.layer not in ENDS:
            eta = self._network.fused(inputs.x, groups.layer, None, None, self._noise)
        else:
            eta = self._predictions(inputs)
        points = tuple(columns(with_exposure(family, eta, inputs.log_exposure), groups.partners, inputs.row_dim))
        check_params(family, points[0], term.targets.shape[:-1])
        assert term.label is not None  # calibrated labels belong to log-linear pools
        return self._objective.mixture_losses(
            points, groups.weights, term.label, self._mixup.label_spread, inputs.row_dim + 1
        )

    @property
    def _noise(self) -> Noise | None:
        return self._inputs.noise if self._mixup.draws else None

    def _predictions(self, inputs: Inputs) -> Tensor:
        """Natural parameters of single rows, the first of the batch or all."""
        rows, row_dim = inputs.x.shape[inputs.row_dim], inputs.row_dim
        if self._single is not None and self._single.shape[row_dim] >= rows:
            return self._single.narrow(row_dim, 0, rows)
        self._single = self._network(inputs.x)
        return self._single


def batch_loss(network: Mixable, objective: Objective, mixup: Mixup, inputs: Inputs, terms: Sequence[Term]) -> Tensor:
    """Mean loss of the rows of a batch, summed over members, between which no gradient crosses."""
    losses, total = Losses(network, objective, mixup, inputs), None
    for term in terms:
        of_rows = losses.of(term)
        mean = (of_rows if term.row_weight is None else term.row_weight * of_rows).mean(-1).sum()
        mean = mean if term.share == 1 else term.share * mean
        total = mean if total is None else total + mean
    assert total is not None
    return total


def with_exposure(family: Family, eta: Tensor, log_exposure: Tensor | None) -> Tensor:
    """Parameters (*L, N, [d,] K) under the exposures of the rows, (*L, N), if there are any."""
    if log_exposure is None:
        return eta
    log_exposure = log_exposure.to(eta.dtype)
    return family.expose(eta, log_exposure.unsqueeze(-1) if eta.ndim > log_exposure.ndim + 1 else log_exposure)


def _over_targets(weights: Tensor, targets: Tensor) -> Tensor:
    """Weights of groups, (*L, B, K), with an axis for several targets where there are such."""
    return weights.unsqueeze(-2) if targets.ndim > weights.ndim else weights


def check_params(family: Family, eta: Tensor, targets: torch.Size) -> None:
    """Raise unless parameters fit the targets."""
    shape = (*targets[: len(targets) - family.event_dim], family.num_params)
    if eta.shape != shape:
        raise ValueError(
            f"`module` must give natural parameters of the family {family.name!r} of shape {shape}: rows, targets as "
            f"in `y`, parameters; got {tuple(eta.shape)}. End it in NaturalHead, with `num_targets` for a matrix `y`."
        )
