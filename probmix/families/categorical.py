"""The categorical family."""

import math
from dataclasses import dataclass
from typing import get_args

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from .._names import unknown_name
from ..distributions import Categorical as CategoricalDistribution
from .exponential_family import ExponentialFamily
from .family import LabelPool
from .label import Label
from .links import soft_limit, soft_limit_inverse
from .tools import check_kind, check_support, stretched, weighted_mean

_LOGIT_LIMIT = 1e6


@dataclass(frozen=True)
class Categorical(ExponentialFamily):
    r"""Categorical family over `num_classes` classes, :math:`\eta = \log\pi`, T one-hot.

    .. math:: A(\eta) = \log\sum_k e^{\eta_k},\qquad h(y) = 1

    Logits are shift-invariant. Log-linear pooling is the weighted mean of the logits. The label kernel puts mass
    proportional to :math:`1[y = k] + \beta` on class k, with `spread` :math:`\beta`; its log-linear pool tends to the
    class with the largest weight as :math:`\beta \to 0`. Labels are class probabilities, :math:`(*B, K)`.

    Parameters
    ----------
    num_classes : int
        At least 2.

    Examples
    --------
    >>> import torch
    >>> from probmix.families import Categorical
    >>> y, w = torch.tensor([0, 2]), torch.tensor([0.75, 0.25])
    >>> Categorical(3).pool_labels(y, w, pool="linear").value
    tensor([0.7500, 0.0000, 0.2500], dtype=torch.float64)
    """

    num_classes: int

    def __post_init__(self) -> None:
        if self.num_classes < 2:
            raise ValueError(f"`num_classes` must be at least 2, got {self.num_classes}.")

    @property
    def name(self) -> str:
        return "categorical"

    @property
    def num_params(self) -> int:
        return self.num_classes

    def constrain(self, raw: Tensor) -> Tensor:
        return soft_limit(raw, _LOGIT_LIMIT)

    def unconstrain(self, eta: Tensor) -> Tensor:
        return soft_limit_inverse(eta, _LOGIT_LIMIT)

    def distribution(self, eta: Tensor) -> CategoricalDistribution:
        return CategoricalDistribution(logits=eta)

    def natural_params(self, distribution: torch.distributions.Distribution) -> Tensor:
        logits: Tensor = check_kind(distribution, torch.distributions.Categorical).logits
        return logits

    def sufficient_statistics(self, y: Tensor) -> Tensor:
        return one_hot(y.long(), self.num_classes).to(y.dtype if y.is_floating_point() else torch.get_default_dtype())

    def log_base_measure(self, y: Tensor) -> Tensor:
        return torch.zeros_like(y, dtype=y.dtype if y.is_floating_point() else torch.get_default_dtype())

    def log_normalizer(self, eta: Tensor) -> Tensor:
        return eta.logsumexp(-1)

    def mean_params(self, eta: Tensor) -> Tensor:
        return eta.softmax(-1)

    def _log_prob(self, eta: Tensor, y: Tensor) -> Tensor:
        return eta.log_softmax(-1).gather(-1, y.long().unsqueeze(-1)).squeeze(-1)

    def expected_nll(self, eta: Tensor, label: Label) -> Tensor:
        return -(label.value * eta.double().log_softmax(-1)).sum(-1).to(eta.dtype)

    def label_statistics(self, label: Label) -> Tensor:
        return label.value.double()

    def point_label(self, y: Tensor) -> Label:
        return Label(self.sufficient_statistics(y.double()))

    def pool_labels(self, y: Tensor, weights: Tensor, spread: float = 0.0, pool: str = "log-linear") -> Label:
        mass = (weights.double().unsqueeze(-1) * self.sufficient_statistics(y.double())).sum(-2)
        if pool in ("linear", "average"):
            return Label((mass + spread) / (1 + self.num_classes * spread))
        if pool != "log-linear":
            raise unknown_name("label pool", pool, get_args(LabelPool))
        if spread:
            return Label(torch.softmax(mass * (math.log1p(spread) - math.log(spread)), -1))
        largest = (mass == mass.amax(-1, keepdim=True)).double()
        return Label(largest / largest.sum(-1, keepdim=True))

    def density_label(self, eta: Tensor, weights: Tensor) -> Label:
        return Label((weights.double().unsqueeze(-1) * self.mean_params(eta.detach().double())).sum(-2))

    def calibrated_label(
        self, y: Tensor, weights: Tensor, eta: Tensor, spread: float = 0.0, eta_points: Tensor | None = None
    ) -> Label:
        label = self.pool_labels(y, weights, spread, "linear")
        if eta_points is None:
            return label
        expected = (weights.double().unsqueeze(-1) * self.mean_params(eta_points.detach().double())).sum(-2)
        return Label(label.value + self.mean_params(eta.detach().double()) - expected)

    def stretch(self, eta: Tensor, marginal: Tensor, factor: float) -> Tensor:
        return stretched(eta, marginal, factor)

    def marginal_params(self, y: Tensor, weights: Tensor | None = None, dim: int = 0) -> Tensor:
        statistics = self.sufficient_statistics(y.double())
        dim = dim if dim >= 0 else dim - 1
        frequency = weighted_mean(statistics, None if weights is None else weights.unsqueeze(-1), dim)
        return frequency.clamp(min=1e-3).log()

    def check_targets(self, y: Tensor) -> None:
        check_support(
            y,
            (y >= 0) & (y < self.num_classes) & (y == y.round()),
            f"Categorical targets must be class indices 0 .. {self.num_classes - 1}",
            "Encode the classes first, for example with sklearn.preprocessing.LabelEncoder.",
        )
