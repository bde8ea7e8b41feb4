"""Families of counts with a zero of their own."""

from dataclasses import dataclass, field

import pyro.distributions as dist
import torch
from torch import Tensor

from ..distributions import Hurdle as HurdleDistribution
from ..distributions import ZeroInflated as ZeroInflatedDistribution
from ..distributions.inflated import hurdle_log_prob, log_positive, zero_inflated_log_prob
from .bounds import LEAST_SHARE
from .counts import check_counts
from .family import Family
from .links import soft_limit, soft_limit_inverse
from .poisson import Poisson
from .tools import first, rest, stretched, weighted_mean

# Logits of the probability of a zero: within 2e-9 of 0 and 1.
_LIMIT = 20.0
_LEAST, _MOST = 0.02, 0.98
_ROUNDS = 40


@dataclass(frozen=True)
class _Gated(Family):
    """A family of counts, and the logit of a probability of zero before its parameters; pools linearly."""

    base: Family = field(default_factory=Poisson)

    def __post_init__(self) -> None:
        if not isinstance(self.base, Family) or not self.base.is_discrete:
            raise ValueError(f"`base` must be a family of counts, such as Poisson(); got {self.base!r}.")
        if self.base.name.endswith("-mixture"):
            raise ValueError(
                f"`base` must be a family of one component; got {self.base!r}. Take a mixture of this family instead, "
                "families.Mixture."
            )

    @property
    def num_params(self) -> int:
        return 1 + self.base.num_params

    @property
    def num_raw(self) -> int:
        return 1 + self.base.num_raw

    def constrain(self, raw: Tensor) -> Tensor:
        return torch.cat([soft_limit(first(raw).unsqueeze(-1), _LIMIT), self.base.constrain(rest(raw))], -1)

    def unconstrain(self, eta: Tensor) -> Tensor:
        return torch.cat([soft_limit_inverse(first(eta).unsqueeze(-1), _LIMIT), self.base.unconstrain(rest(eta))], -1)

    def stretch(self, eta: Tensor, marginal: Tensor, factor: float) -> Tensor:
        gate = stretched(first(eta), first(marginal), factor)
        return torch.cat([gate.unsqueeze(-1), self.base.stretch(rest(eta), rest(marginal), factor)], -1)

    def beyond_bounds(self, y: Tensor, weights: Tensor | None = None) -> list[str]:
        return self.base.beyond_bounds(y, weights)

    def raw_bounds(
        self, y: Tensor, weights: Tensor | None = None, dim: int = 0, least: float = LEAST_SHARE
    ) -> tuple[Tensor, Tensor]:
        low, high = self.base.raw_bounds(y, weights, dim, least)
        free = torch.full_like(low[..., :1], torch.inf)
        return torch.cat([-free, low], -1), torch.cat([free, high], -1)

    def check_targets(self, y: Tensor) -> None:
        check_counts(y, self.name)


@dataclass(frozen=True)
class ZeroInflated(_Gated):
    r"""Zero-inflated counts: a zero with probability :math:`\pi`, else a count of a base family, zero or not.

    Parameters are :math:`\mathrm{logit}\,\pi` and those of the base. A mixture, which is no exponential family and
    **pools linearly**; see `Family`. Under an exposure the counts grow and :math:`\pi` stays. The logit lies between
    -20 and 20, other parameters as in the base.

    Parameters
    ----------
    base : Family
        Of counts: `Poisson()` for the name "zero-inflated-poisson", `NegativeBinomial()` for
        "zero-inflated-negative-binomial".

    References
    ----------
    Lambert (1992), Zero-inflated Poisson regression, Technometrics 34, 1-14.

    Examples
    --------
    >>> import torch
    >>> from probmix.families import ZeroInflated
    >>> ZeroInflated().distribution(torch.tensor([0.0, 0.0])).mean
    tensor(0.5000)
    """

    @property
    def name(self) -> str:
        return f"zero-inflated-{self.base.name}"

    def distribution(self, eta: Tensor) -> dist.TorchDistribution:
        return ZeroInflatedDistribution(self.base.distribution(rest(eta)), gate_logits=first(eta))

    def _log_prob(self, eta: Tensor, y: Tensor) -> Tensor:
        return zero_inflated_log_prob(self.base._log_prob(rest(eta), y), first(eta), y)

    def expose(self, eta: Tensor, log_exposure: Tensor) -> Tensor:
        return torch.cat([first(eta).unsqueeze(-1), self.base.expose(rest(eta), log_exposure)], -1)

    def marginal_params(self, y: Tensor, weights: Tensor | None = None, dim: int = 0) -> Tensor:
        y = y.double()
        # some of the zeros are those of the base
        gate = (0.5 * weighted_mean((y == 0).double(), weights, dim)).clamp(_LEAST, _MOST)
        counts = self.base.marginal_params(y / (1 - gate), weights, dim)
        return torch.cat([gate.logit().unsqueeze(-1), counts], -1)


@dataclass(frozen=True)
class Hurdle(_Gated):
    r"""Hurdle model of counts: a zero with probability :math:`\pi`, else a count of a base family above zero.

    Parameters are :math:`\mathrm{logit}\,\pi` and those of the base before it is truncated. **Pools linearly**, see
    `Family`, and has no exposure: it does not say how :math:`\pi` would depend on it. The logit lies between -20 and
    20, other parameters as in the base.

    Parameters
    ----------
    base : Family
        Of counts: `Poisson()` for the name "hurdle-poisson", `NegativeBinomial()` for "hurdle-negative-binomial".

    References
    ----------
    Mullahy (1986), Specification and testing of some modified count data models, J. Econometrics 33, 341-365.

    Examples
    --------
    >>> import torch
    >>> from probmix.families import Hurdle
    >>> Hurdle().distribution(torch.tensor([0.0, 0.0])).log_prob(torch.tensor(0.0)).exp()
    tensor(0.5000)
    """

    @property
    def name(self) -> str:
        return f"hurdle-{self.base.name}"

    def distribution(self, eta: Tensor) -> dist.TorchDistribution:
        return HurdleDistribution(self.base.distribution(rest(eta)), first(eta))

    def _log_prob(self, eta: Tensor, y: Tensor) -> Tensor:
        counted, none = (self.base._log_prob(rest(eta), value) for value in (y, torch.zeros_like(y)))
        return hurdle_log_prob(counted, none, first(eta), y)

    def expose(self, eta: Tensor, log_exposure: Tensor) -> Tensor:
        raise ValueError(
            f"the family {self.name!r} has no exposure: it does not say how the probability of a zero depends on it. "
            f"Use 'zero-inflated-{self.base.name}' or {self.base.name!r}."
        )

    def marginal_params(self, y: Tensor, weights: Tensor | None = None, dim: int = 0) -> Tensor:
        y = y.double()
        zeros = weighted_mean((y == 0).double(), weights, dim)
        positive = (y > 0).double() if weights is None else (y > 0) * weights.double()
        # without any count above zero the base is as small as it gets
        positive = torch.where(zeros < 1, positive, torch.ones_like(positive))
        target = weighted_mean(y, positive, dim).clamp(min=1e-3)
        scale = torch.ones_like(target)
        for _ in range(_ROUNDS):
            counts = self.base.marginal_params(y * scale, positive, dim)
            base = self.base.distribution(counts)
            truncated = base.mean / log_positive(base.log_prob(torch.zeros_like(target))).exp()
            scale = scale * target / truncated
        return torch.cat([zeros.clamp(_LEAST, _MOST).logit().unsqueeze(-1), counts], -1)
