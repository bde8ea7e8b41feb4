"""What training makes small: the negative log-likelihood, or the CRPS, of a density or of a mixture of two."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import Literal, get_args

import torch
from torch import Tensor

from .._names import unknown_name
from .._precision import in_full_precision
from ..distributions.scoring import marginal_crps
from ..families import Categorical, ExponentialFamily, Family, Label, TargetScaler
from ..families.label import expectation
from ..pooling import linear_pool
from .config import Mixup

Loss = Literal["nll", "crps"]


@dataclass(frozen=True)
class Objective(ABC):
    """A loss of predicted densities of a family; L is empty or the member axis."""

    family: Family

    @abstractmethod
    def check(self, mixup: Mixup) -> None:
        """Raise a ValueError if this loss is not defined under a mixup."""

    @abstractmethod
    def point_label(self, y: Tensor) -> Label:
        """The observed target itself as a label that trains."""

    @abstractmethod
    def pool_labels(self, y: Tensor, weights: Tensor, mixup: Mixup) -> Label | None:
        """The label of points that are pooled, (*B, M), (*B, M); None for calibrated ones, not known yet."""

    @abstractmethod
    def density_label(self, eta: Tensor, weights: Tensor) -> Label:
        """A mixture of predicted densities as a label: (*B, C, K), (*B, C)."""

    @abstractmethod
    def losses(self, eta: Tensor, label: Label) -> Tensor:
        """Expected loss of every target: (*B, K) -> (*B,)."""

    @abstractmethod
    def mixture_losses(
        self, points: tuple[Tensor, ...], weights: Tensor, label: Label, spread: float, row_ndim: int
    ) -> Tensor:
        """Loss of the mixture of C densities, summed over targets: C times (*L, B, [d,] K), (*L, B, C) -> (*L, B)."""

    @abstractmethod
    def over_draws(self, losses: Tensor, dim: int, mixup: Mixup) -> Tensor:
        """Loss of a row from its losses at draws of the embedding."""

    @abstractmethod
    def validation(self, eta: Tensor, y: Tensor, scaler: TargetScaler) -> Tensor:
        """Loss of rows in the user's units, summed over targets: (M, N, [d,] K), (M, N[, d]) -> (M, N), float64.

        Parameters and targets are in training units; the scaler is (M, 1[, d]).
        """

    @abstractmethod
    def validation_of_draws(self, eta: Tensor, y: Tensor, scaler: TargetScaler) -> Tensor:
        """The same for the mixture over draws of an embedding, (M, S, N, [d,] K)."""

    @abstractmethod
    def in_user_units(self, means: Tensor, y: Tensor, weights: Tensor | None, scaler: TargetScaler) -> Tensor | None:
        """Mean losses of targets (M, N[, d]) in training units, (E, M), in the user's units; None if these are several.

        Weights, (M, N), have mean one in each member.
        """


class NegativeLogLikelihood(Objective):
    r"""The expected negative log-likelihood :math:`-E[\log p(\tilde y)]`."""

    def check(self, mixup: Mixup) -> None:
        if getattr(mixup.weights, "is_learned", False) and not self.family.has_second_derivatives:
            raise ValueError(
                f"the likelihood of the family {self.family.name!r} has no second derivatives, by which weights are "
                "learned. Use another law of the weights."
            )
        if not isinstance(self.family, ExponentialFamily) and (mixup.label_pool == "calibrated" or mixup.label_spread):
            raise ValueError(
                f"the family {self.family.name!r} is no exponential family and has neither calibrated labels nor a "
                f"label kernel; got label_pool={mixup.label_pool!r} and label_spread={mixup.label_spread}. Leave both "
                "out."
            )
        if mixup.criterion == "quadratic" and not isinstance(self.family, ExponentialFamily):
            raise ValueError(
                f"criterion='quadratic' needs the log-normalizer of an exponential family; the family "
                f"{self.family.name!r} is none. Use criterion='expected-log'."
            )

    def point_label(self, y: Tensor) -> Label:
        return self.family.for_training().point_label(y)

    def pool_labels(self, y: Tensor, weights: Tensor, mixup: Mixup) -> Label | None:
        if mixup.label_pool == "calibrated":
            return None
        if mixup.label_pool == mixup.pool == "linear":
            # under a linear pool of densities the loss is that of either label, with their weights
            return Label.one_of(y, weights, self.family.event_dim)
        return self.family.for_training().pool_labels(y, weights, mixup.label_spread, mixup.label_pool)

    def density_label(self, eta: Tensor, weights: Tensor) -> Label:
        return self.family.density_label(eta, weights)

    def losses(self, eta: Tensor, label: Label) -> Tensor:
        return self.family.expected_nll(eta, label)

    def mixture_losses(
        self, points: tuple[Tensor, ...], weights: Tensor, label: Label, spread: float, row_ndim: int
    ) -> Tensor:
        log_weights = weights.to(points[0].dtype).log().unbind(-1)

        def nll(label: Label) -> Tensor:
            single = (sum_targets(self.family.expected_nll(one, label), row_ndim) for one in points)
            # two at a time: of pairs it is one step
            return -reduce(torch.logaddexp, map(torch.sub, log_weights, single))

        if label.weights is None:
            return nll(label)
        of_labels = label.weights.to(points[0].dtype)
        of_labels = of_labels.squeeze(-2) if of_labels.ndim > weights.ndim else of_labels
        trained, points_of_label = self.family.for_training(), label.value.unbind(-1 - self.family.event_dim)
        alone = torch.ones_like(points_of_label[0]).unsqueeze(-1)
        kernels = [trained.pool_labels(one.unsqueeze(-1), alone, spread) for one in points_of_label]
        return (of_labels * torch.stack([nll(kernel) for kernel in kernels], -1)).sum(-1)

    def over_draws(self, losses: Tensor, dim: int, mixup: Mixup) -> Tensor:
        return losses.mean(dim) if mixup.criterion == "expected-log" else _nll_of_mean(losses, dim)

    def validation(self, eta: Tensor, y: Tensor, scaler: TargetScaler) -> Tensor:
        losses = sum_targets(self.family.expected_nll(eta, self.family.point_label(y)), 2).double()
        return losses + self._log_volume(y, scaler)

    def validation_of_draws(self, eta: Tensor, y: Tensor, scaler: TargetScaler) -> Tensor:
        losses = sum_targets(self.family.expected_nll(eta, self.family.point_label(y.unsqueeze(1))), 3).double()
        return _nll_of_mean(losses, 1) + self._log_volume(y, scaler)

    def in_user_units(self, means: Tensor, y: Tensor, weights: Tensor | None, scaler: TargetScaler) -> Tensor:
        volume = self._log_volume(y, scaler)
        return means + (volume if weights is None else weights * volume).mean(1)

    @cached_property
    def _has_atoms(self) -> bool:
        """Asked once and not in every epoch: the family makes a density to look at."""
        return self.family.has_atoms

    def _log_volume(self, y: Tensor, scaler: TargetScaler) -> Tensor:
        """What the change to the user's units adds to the NLL of a row, (M, N) or (M, 1); none to a probability."""
        volume = scaler.scale.log()
        if self._has_atoms:
            volume = torch.where(y == 0, torch.zeros_like(volume), volume)
        return sum_targets(volume, 2)


class RankedProbability(Objective):
    r"""The expected continuous ranked probability score :math:`E[\mathrm{CRPS}(F, \tilde y)]`, summed over targets.

    Labels are points: the linear pool has each of them with its weight, and so does the log-linear pool of labels of
    whole numbers or with exact zeros; that of real ones is the centre of their kernels. Between two whole numbers the
    CRPS is linear in y, which gives the weighted mean of counts the loss of its two neighbours.
    """

    def check(self, mixup: Mixup) -> None:
        if self.family.event_dim:
            raise ValueError(
                f"the CRPS looks at one target at a time and learns nothing of how those of the family "
                f"{self.family.name!r} depend on each other. Use loss='nll', or a family of single targets."
            )
        if getattr(mixup.weights, "is_learned", False):
            raise ValueError("loss='crps' has no second derivatives, by which weights are learned. Use loss='nll'.")
        if mixup.label_pool == "calibrated" or mixup.label_spread or mixup.criterion != "expected-log":
            raise ValueError(
                "loss='crps' knows labels that are points, and averages over draws: it has no label_pool='calibrated', "
                f"label_spread > 0 or other criterion than 'expected-log'; got {mixup.label_pool!r}, "
                f"{mixup.label_spread} and {mixup.criterion!r}. Leave them out, or use loss='nll'."
            )

    def point_label(self, y: Tensor) -> Label:
        return Label(y.double())

    def pool_labels(self, y: Tensor, weights: Tensor, mixup: Mixup) -> Label:
        y, weights = y.double(), weights.double()
        discrete, family = self.family.is_discrete, self.family
        # the mean of two classes is either class, and not one in between
        if mixup.label_pool == "linear" or isinstance(family, Categorical):
            return Label(y, weights=weights)
        if mixup.label_pool == "log-linear" and family.has_atoms:
            return Label(y, weights=weights)
        if mixup.label_pool == "log-linear" and isinstance(family, ExponentialFamily):
            return Label(family.kernel_centre(y, weights))
        mean = (weights * y).sum(-1)
        if not discrete:
            return Label(mean)
        below = mean.floor()
        share = mean - below
        return Label(torch.stack([below, below + 1], -1), weights=torch.stack([1 - share, share], -1))

    def density_label(self, eta: Tensor, weights: Tensor) -> Label:
        # of classes too: other labels of theirs are no points
        return Family.density_label(self.family, eta, weights)

    @in_full_precision
    def losses(self, eta: Tensor, label: Label) -> Tensor:
        def crps(params: Tensor, y: Tensor) -> Tensor:
            return marginal_crps(self.family.distribution(params.expand(*y.shape, params.shape[-1])), y)

        return expectation(crps, eta, label).to(eta.dtype)

    @in_full_precision
    def mixture_losses(
        self, points: tuple[Tensor, ...], weights: Tensor, label: Label, spread: float, row_ndim: int
    ) -> Tensor:
        eta = torch.stack(points, -2)
        weights = weights if eta.ndim == row_ndim + 2 else weights.unsqueeze(-2)
        return sum_targets(self._mixture_crps(eta, weights.to(eta.dtype), label), row_ndim)

    def over_draws(self, losses: Tensor, dim: int, mixup: Mixup) -> Tensor:
        return losses.mean(dim)

    def validation(self, eta: Tensor, y: Tensor, scaler: TargetScaler) -> Tensor:
        return sum_targets(scaler.scale * self.losses(eta, Label(y)), 2).double()

    def validation_of_draws(self, eta: Tensor, y: Tensor, scaler: TargetScaler) -> Tensor:
        draws = eta.shape[1]
        weights = torch.full((draws,), 1 / draws, dtype=eta.dtype, device=eta.device)
        return sum_targets(scaler.scale * self._mixture_crps(eta.movedim(1, -2), weights, Label(y)), 2).double()

    def in_user_units(self, means: Tensor, y: Tensor, weights: Tensor | None, scaler: TargetScaler) -> Tensor | None:
        # the sum over targets in one unit says nothing of that in their own
        return scaler.scale.squeeze(1) * means if y.ndim == 2 else None

    def _mixture_crps(self, eta: Tensor, weights: Tensor, label: Label) -> Tensor:
        """Expected CRPS of mixtures: (*B, C, K), (*B, C) -> (*B,)."""

        def crps(params: Tensor, y: Tensor) -> Tensor:
            return marginal_crps(linear_pool(self.family.distribution(params), weights), y)

        if label.weights is None:
            return crps(eta, label.value).to(eta.dtype)
        values = [crps(eta, y) for y in label.value.unbind(-1)]
        return (label.weights * torch.stack(values, -1)).sum(-1).to(eta.dtype)


_OBJECTIVES: dict[str, type[Objective]] = {"nll": NegativeLogLikelihood, "crps": RankedProbability}


def objective(loss: str, family: Family) -> Objective:
    """The loss of that name.

    Raises
    ------
    ValueError
        For an unknown name, with the near misses.
    """
    if not isinstance(loss, str) or loss not in _OBJECTIVES:
        raise unknown_name("loss", loss, get_args(Loss))
    return _OBJECTIVES[loss](family)


def sum_targets(losses: Tensor, row_ndim: int) -> Tensor:
    """Losses of rows from losses of targets: (*L, B[, d]) -> (*L, B)."""
    return losses.sum(-1) if losses.ndim > row_ndim else losses


def _nll_of_mean(losses: Tensor, dim: int) -> Tensor:
    """The negative logarithm of mean likelihoods, from their negative logarithms."""
    return math.log(losses.shape[dim]) - torch.logsumexp(-losses, dim)
