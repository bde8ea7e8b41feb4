"""The Bernoulli family."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from ..distributions import Bernoulli as BernoulliDistribution
from .exponential_family import ExponentialFamily
from .label import Label
from .links import soft_limit, soft_limit_inverse
from .tools import check_kind, check_support, stretched, weighted_mean

_LOGIT_LIMIT = 1e6
_LEAST_FREQUENCY = 1e-3


@dataclass(frozen=True)
class Bernoulli(ExponentialFamily):
    r"""Bernoulli family of success probability p, :math:`\eta = \log p/(1 - p)`, :math:`T(y) = y` in {0, 1}.

    .. math:: A(\eta) = \log(1 + e^\eta),\qquad h(y) = 1

    Log-linear pooling is the weighted mean of the logits. Labels are probabilities of a one. The label kernel is that
    for classes: mass proportional to :math:`1[y = k] + \beta` on k, with `spread` :math:`\beta`; its log-linear pool
    tends to the value with the larger weight as :math:`\beta \to 0`. Targets are not scaled. The logit lies
    between -1e6 and 1e6.

    Examples
    --------
    >>> import torch
    >>> from probmix.families import Bernoulli
    >>> Bernoulli().distribution(torch.tensor([0.0])).probs
    tensor(0.5000)
    >>> y, w = torch.tensor([0.0, 1.0]), torch.tensor([0.75, 0.25])
    >>> Bernoulli().pool_labels(y, w, pool="linear").value
    tensor(0.2500, dtype=torch.float64)
    """

    @property
    def name(self) -> str:
        return "bernoulli"

    @property
    def num_params(self) -> int:
        return 1

    def constrain(self, raw: Tensor) -> Tensor:
        return soft_limit(raw, _LOGIT_LIMIT)

    def unconstrain(self, eta: Tensor) -> Tensor:
        return soft_limit_inverse(eta, _LOGIT_LIMIT)

    def distribution(self, eta: Tensor) -> BernoulliDistribution:
        return BernoulliDistribution(logits=eta.squeeze(-1))

    def natural_params(self, distribution: torch.distributions.Distribution) -> Tensor:
        return check_kind(distribution, torch.distributions.Bernoulli).logits.unsqueeze(-1)

    def sufficient_statistics(self, y: Tensor) -> Tensor:
        return y.unsqueeze(-1)

    def log_base_measure(self, y: Tensor) -> Tensor:
        return torch.zeros_like(y)

    def log_normalizer(self, eta: Tensor) -> Tensor:
        # torch's softplus is linear from 20 on
        return -logsigmoid(-eta.squeeze(-1))

    def mean_params(self, eta: Tensor) -> Tensor:
        return eta.sigmoid()

    def _log_prob(self, eta: Tensor, y: Tensor) -> Tensor:
        logit = eta.squeeze(-1)
        return y * logsigmoid(logit) + (1 - y) * logsigmoid(-logit)

    def residual(self, eta: Tensor, y: Tensor) -> Tensor:
        # y - p, of which a certain prediction leaves nothing
        y = y.unsqueeze(-1)
        return y * (-eta).sigmoid() - (1 - y) * eta.sigmoid()

    def pool_labels(self, y: Tensor, weights: Tensor, spread: float = 0.0, pool: str = "log-linear") -> Label:
        if pool != "log-linear":
            return super().pool_labels(y, weights, spread, pool)
        margin = (weights.double() * (2 * y.double() - 1)).sum(-1)
        if spread:
            return Label(torch.sigmoid(margin * (math.log1p(spread) - math.log(spread))))
        return Label(0.5 * (1 + margin.sign()))

    def kernel_excess(self, y: Tensor, spread: float) -> Tensor:
        return (spread * (1 - 2 * y) / (1 + 2 * spread)).unsqueeze(-1)

    def averaging_excess(self, eta: Tensor, concentration: Tensor) -> Tensor:
        return torch.zeros_like(eta)

    def stretch(self, eta: Tensor, marginal: Tensor, factor: float) -> Tensor:
        return stretched(eta, marginal, factor)

    def marginal_params(self, y: Tensor, weights: Tensor | None = None, dim: int = 0) -> Tensor:
        frequency = weighted_mean(y.double(), weights, dim).clamp(_LEAST_FREQUENCY, 1 - _LEAST_FREQUENCY)
        return frequency.logit().unsqueeze(-1)

    def check_targets(self, y: Tensor) -> None:
        check_support(
            y,
            (y == 0) | (y == 1),
            "Bernoulli targets must be 0 or 1",
            "Encode two classes as 0 and 1; for more use 'categorical'.",
        )
