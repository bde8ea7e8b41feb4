"""The losses of the terms of a batch."""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from ..families import ExponentialFamily, Family, Label
from ..fusion import Noise
from ..pairs import Partners, columns, mix_rows
from .config import ENDS, Mixup
from .objectives import Objective, sum_targets
from .quadratic import Centring, quadratic_losses
from .terms import Groups, Inputs, Term, over_predictions, over_targets


class Mixable(Protocol):
    """A network in which rows can be mixed; L is empty or the member axis.

    What a network of members that make k predictions each gives has M * k on its first axis, and so have partners and
    weights that it is given.
    """

    @property
    def n_predictions(self) -> int:
        """How many predictions k a member makes of a row."""
        ...

    def __call__(self, x: Tensor) -> Tensor:
        """Natural parameters: (*L, N, *F) -> (*L, N, [d,] K)."""
        ...

    def standardize(self, x: Tensor) -> Tensor:
        """Rows as they are mixed at the input: (*L, N, *F) -> (*L, N, *F_z)."""
        ...

    def on_standardized(self, z: Tensor) -> Tensor:
        """Natural parameters of such rows: (*L, N, *F) -> (*L, N, [d,] K)."""
        ...

    def fused(
        self, x: Tensor, place: str, partners: Partners | None, weights: Tensor | None, noise: Noise | None
    ) -> Tensor:
        """Natural parameters of rows that are mixed at a layer, or at the "input": (*L, N, *F) -> (*L, B, [d,] K)."""
        ...


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
        self._network, self._objective, self._mixup = network, objective, mixup
        self._given, self._inputs = inputs, inputs.for_each(network.n_predictions)
        self._single: Tensor | None = None

    def of(self, term: Term) -> Tensor:
        """Loss of each group of a term, summed over the targets d: (*L, B)."""
        return self.of_all([term])[0]

    def of_all(self, terms: Sequence[Term]) -> list[Tensor]:
        """Losses of several terms."""
        predictions = self._network.n_predictions
        losses = self._of_all([term.for_each(predictions) for term in terms])
        return [over_predictions(one, predictions) for one in losses]

    def _over_draws(self, term: Term) -> Tensor:
        """Loss of each group of a term, over the draws of an embedding, where there are some."""
        mixup, row_dim = self._mixup, self._inputs.row_dim
        has_draws = mixup.embedding != "point" and (term.groups is not None or term.drawn_at is not None)
        copies = max(1, mixup.draws) if has_draws else 1
        if copies == 1:
            return self._of(term, self._density(term))
        # every draw has rows of its own from the input on: right for any network, whatever bypasses the layer
        own = term.targets.shape[row_dim]
        inputs = self._given if term.groups is not None else self._given.first(own)
        repeated = Losses(self._network, self._objective, mixup, inputs.repeat(copies, own))
        copied = term.repeat(row_dim, copies, inputs.x.shape[row_dim])
        losses = repeated._of(copied, repeated._density(copied))
        return self._objective.over_draws(losses.unflatten(row_dim, (copies, -1)), row_dim, mixup)

    def _of_all(self, terms: Sequence[Term]) -> list[Tensor]:
        """Losses of several terms: those of densities with labels of one kind are found at once."""
        if len(terms) == 1 or self._mixup.embedding != "point":
            return [self._over_draws(term) for term in terms]
        densities = [self._density(term) for term in terms]
        known = [density for density in densities if density is not None]
        row_dim = self._inputs.row_dim
        label = Label.joined([label for _, label in known], row_dim) if len(known) == len(terms) else None
        if label is None:
            return [self._of(term, density) for term, density in zip(terms, densities, strict=True)]
        losses = self._objective.losses(torch.cat([eta for eta, _ in known], row_dim), label)
        sizes = [eta.shape[row_dim] for eta, _ in known]
        return list(sum_targets(losses, row_dim + 1).split(sizes, row_dim))

    def _of(self, term: Term, density: tuple[Tensor, Label] | None) -> Tensor:
        """Loss of each group of a term, of whose density and label, as of `_density`, it is told."""
        if density is not None:
            return sum_targets(self._objective.losses(*density), self._inputs.row_dim + 1)
        assert term.groups is not None  # single rows have densities
        if term.groups.centring is not None:
            return self._of_expansions(term, term.groups, term.groups.centring)
        return self._of_mixtures(term, term.groups)

    def _density(self, term: Term) -> tuple[Tensor, Label] | None:
        """The natural parameters of one density for each group, and its label, unless the loss is another one."""
        if term.groups is None:
            return self._density_of_single_rows(term)
        at_output = term.groups.layer == "output"
        is_mixture = self._mixup.pool == "linear" or (at_output and not self._objective.family.pools_log_linearly)
        return None if is_mixture or term.groups.centring is not None else self._density_of_groups(term, term.groups)

    def _density_of_single_rows(self, term: Term) -> tuple[Tensor, Label]:
        family, row_dim = self._objective.family, self._inputs.row_dim
        inputs = self._inputs.first(term.targets.shape[row_dim])
        if term.drawn_at is None:
            eta = self._predictions(inputs)
        else:
            eta = self._network.fused(inputs.x, term.drawn_at, None, None, self._noise)
        check_params(family, eta, term.targets.shape[:-1])
        assert term.label is not None  # nothing is pooled
        return with_exposure(family, eta, inputs.log_exposure), term.label

    def _of_expansions(self, term: Term, groups: Groups, centring: Centring) -> Tensor:
        """Of the expansion around the heaviest row of each group, moved towards the mean."""
        network, family, inputs = self._network, self._objective.family.for_training(), self._inputs
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

    def _density_of_groups(self, term: Term, groups: Groups) -> tuple[Tensor, Label]:
        """Of one density for each group: of a mixed input, of a layer's mixed output, or of a log-linear pool."""
        family, log_exposure, row_dim = self._objective.family, self._inputs.log_exposure, self._inputs.row_dim
        label, points, partners, weights = term.label, None, groups.partners, groups.weights
        if groups.layer == "output":
            single = self._predictions(self._inputs)
            eta = pooled_rows(family, single, partners, weights, row_dim)
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
            # the residuals of points add up, also of one that is there twice
            of_label = weights if points is not None else term.distinct
            assert of_label is not None  # whoever leaves the label out knows which rows are the same
            of_targets = over_targets(of_label, term.targets)
            spread = self._mixup.label_spread
            label = family.for_training().calibrated_label(term.targets, of_targets, eta, spread, points)
        return eta, label

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
    return batch_losses(network, objective, mixup, inputs, terms)[0]


def batch_losses(
    network: Mixable, objective: Objective, mixup: Mixup, inputs: Inputs, terms: Sequence[Term]
) -> tuple[Tensor, Tensor]:
    """The `batch_loss`, and without gradient what each member has part in it, (*L,)."""
    total, each = None, None
    for term, of_rows in zip(terms, Losses(network, objective, mixup, inputs).of_all(terms), strict=True):
        means = (of_rows if term.row_weight is None else term.row_weight * of_rows).mean(-1)
        mean, own = means.sum(), means.detach()
        if term.share != 1:
            mean, own = term.share * mean, term.share * own
        total = mean if total is None else total + mean
        each = own if each is None else each + own
    assert total is not None
    assert each is not None
    return total, each


def pooled_rows(family: Family, eta: Tensor, partners: Partners, weights: Tensor, row_dim: int) -> Tensor:
    """Parameters of the log-linear pool of each group of rows: (*L, N, [d,] K), (*L, B, M) -> (*L, B, [d,] K)."""
    if isinstance(family, ExponentialFamily):
        return mix_rows(eta, partners, weights)
    if isinstance(partners, Tensor):
        points = torch.stack(list(columns(eta, partners, row_dim)), -2)
    else:
        # one parameter after the other, as mixtures have them in memory
        points = torch.stack(list(columns(eta.movedim(-1, 0), partners, row_dim + 1))).movedim((0, 1), (-2, -1))
    return family.pool_params(points, over_targets(weights, points[..., 0]))


def with_exposure(family: Family, eta: Tensor, log_exposure: Tensor | None) -> Tensor:
    """Parameters (*L, N, [d,] K) under the exposures of the rows, (*L, N), if there are any."""
    if log_exposure is None:
        return eta
    log_exposure = log_exposure.to(eta.dtype)
    return family.expose(eta, log_exposure.unsqueeze(-1) if eta.ndim > log_exposure.ndim + 1 else log_exposure)


def check_params(family: Family, eta: Tensor, targets: torch.Size) -> None:
    """Raise unless parameters fit the targets."""
    shape = (*targets[: len(targets) - family.event_dim], family.num_params)
    if eta.shape != shape:
        raise ValueError(
            f"`module` must give natural parameters of the family {family.name!r} of shape {shape}: rows, targets as "
            f"in `y`, parameters; got {tuple(eta.shape)}. End it in NaturalHead, with `num_targets` for a matrix `y`."
        )
