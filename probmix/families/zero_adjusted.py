"""Families of positive targets with exact zeros."""

from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.distributions import constraints
from torch.nn.functional import logsigmoid, softplus

from ..distributions import ZeroAdjusted as ZeroAdjustedDistribution
from .bounds import LEAST_SHARE
from .exponential_family import ExponentialFamily
from .gamma import Gamma
from .label import Label, TargetScaler
from .links import soft_limit, soft_limit_inverse
from .tools import check_kind, check_support, first, rest, stretched, weighted_mean

# Logits of the probability of a zero: within 2e-9 of 0 and 1.
_LIMIT = 20.0
_LEAST = 1e-6


@dataclass(frozen=True)
class ZeroAdjusted(ExponentialFamily):
    r"""A zero with probability :math:`\pi`, else a target of a positive family, with natural parameters :math:`\theta`.

    .. math:: p(0) = \pi,\qquad p(y) = (1 - \pi)\,h(y)\,e^{\theta\cdot T(y) - A(\theta)},\quad y > 0

    For payments of which many are exactly zero. With respect to the Lebesgue measure and a unit mass at zero this is an
    exponential family,

    .. math:: \eta = \Bigl(\log\tfrac{1 - \pi}\pi - A(\theta) + \theta\cdot T(1),\ \theta\Bigr),\qquad
        \bigl(1[y > 0],\ 1[y > 0]\,(T(y) - T(1))\bigr),\qquad
        \log\tfrac1\pi,\qquad h(y)\text{ above zero, 1 at zero}

    in the order of eta, statistics, log-normaliser and base measure. Its log-linear pool is that of any densities with
    respect to a common measure, by the weighted mean of eta: of two that agree about :math:`\pi` but put the positive
    targets at different places it is **more likely zero** than either, for zeros are what they have in common.

    `log_prob` is the logarithm of a probability at zero and of a density above.

    The label of mixed rows is zero with the weight of those that are, else the pool of the positive ones, with the
    label kernel of the base. The logit of :math:`\pi` lies between -20 and 20, other parameters as in the base. Targets
    are scaled as the positive ones among them are in the base. There is no exposure; see `Tweedie`.

    Parameters
    ----------
    base : ExponentialFamily
        Of positive targets: `Gamma()` for the name "zero-adjusted-gamma", `LogNormal()` for "zero-adjusted-lognormal".

    References
    ----------
    Heller, Stasinopoulos and Rigby (2006), The zero-adjusted inverse Gaussian distribution as a model for insurance
    claims, Proc. 21st Int. Workshop Statist. Modelling, 226-233.

    Examples
    --------
    >>> import torch
    >>> from probmix.families import ZeroAdjusted
    >>> payments = ZeroAdjusted().distribution(ZeroAdjusted().constrain(torch.zeros(3)))
    >>> payments.log_prob(torch.tensor(0.0)).exp(), payments.mean
    (tensor(0.5000), tensor(0.5000))
    """

    base: ExponentialFamily = field(default_factory=Gamma)

    def __post_init__(self) -> None:
        if not isinstance(self.base, ExponentialFamily) or self.base.event_dim or not _is_positive(self.base):
            raise ValueError(
                f"`base` must be an exponential family of positive targets, such as Gamma(); got {self.base!r}."
            )

    @property
    def name(self) -> str:
        return f"zero-adjusted-{self.base.name}"

    @property
    def num_params(self) -> int:
        return 1 + self.base.num_params

    @property
    def num_raw(self) -> int:
        return 1 + self.base.num_raw

    def constrain(self, raw: Tensor) -> Tensor:
        return self._natural(soft_limit(first(raw), _LIMIT), self.base.constrain(rest(raw)))

    def unconstrain(self, eta: Tensor) -> Tensor:
        gate = soft_limit_inverse(-self._log_odds(eta), _LIMIT)
        return torch.cat([gate.unsqueeze(-1), self.base.unconstrain(rest(eta))], -1)

    def distribution(self, eta: Tensor) -> ZeroAdjustedDistribution:
        gate_logits = -self._log_odds(eta).to(eta.dtype)
        return ZeroAdjustedDistribution(self.base.distribution(rest(eta)), gate_logits)

    def natural_params(self, distribution: torch.distributions.Distribution) -> Tensor:
        distribution = check_kind(distribution, ZeroAdjustedDistribution)
        return self._natural(distribution.gate_logits, self.base.natural_params(distribution.base_dist))

    def _natural(self, gate_logits: Tensor, theta: Tensor) -> Tensor:
        first = (self._reference(theta.double()) - gate_logits.double()).to(theta.dtype)
        return torch.cat([first.unsqueeze(-1), theta], -1)

    def _log_odds(self, eta: Tensor) -> Tensor:
        """The logarithm of (1 - pi) / pi, in float64."""
        eta = eta.double()
        return first(eta) - self._reference(rest(eta))

    def _reference(self, theta: Tensor) -> Tensor:
        """The exponent of the base at y = 1, its density over h: small, where the targets are of size one."""
        one = torch.ones_like(first(theta))
        return self.base._log_prob(theta, one) - self.base.log_base_measure(one)

    def _split(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Where targets are positive, and the targets with ones for zeros."""
        positive = y > 0
        return positive, torch.where(positive, y, torch.ones_like(y))

    def _statistics_at_one(self, like: Tensor) -> Tensor:
        return self.base.sufficient_statistics(torch.ones_like(like))

    def sufficient_statistics(self, y: Tensor) -> Tensor:
        positive, inside = self._split(y)
        statistics = self.base.sufficient_statistics(inside) - self._statistics_at_one(inside)
        return _after(positive.to(y.dtype), torch.where(positive.unsqueeze(-1), statistics, 0.0))

    def log_base_measure(self, y: Tensor) -> Tensor:
        positive, inside = self._split(y)
        return torch.where(positive, self.base.log_base_measure(inside), 0.0)

    def log_normalizer(self, eta: Tensor) -> Tensor:
        return softplus(self._log_odds(eta)).to(eta.dtype)

    def mean_params(self, eta: Tensor) -> Tensor:
        share = self._log_odds(eta).sigmoid().to(eta.dtype)
        return _after(share, share.unsqueeze(-1) * self._mean_statistics(eta))

    def _mean_statistics(self, eta: Tensor) -> Tensor:
        """Of positive targets, less those at one."""
        return self.base.mean_params(rest(eta)) - self._statistics_at_one(first(eta))

    def _log_prob(self, eta: Tensor, y: Tensor) -> Tensor:
        log_odds = self._log_odds(eta)
        positive, inside = self._split(y)
        above = logsigmoid(log_odds) + self.base._log_prob(rest(eta), inside)
        return torch.where(positive, above, logsigmoid(-log_odds))

    def residual(self, eta: Tensor, y: Tensor) -> Tensor:
        positive, inside = self._split(y)
        return self._residual(eta, positive, self.base.residual(rest(eta), inside), eta)

    def centre(self, eta: Tensor) -> Tensor:
        return self.base.centre(rest(eta))

    def transported_residuals(self, y: Tensor, eta_points: Tensor, eta: Tensor) -> Tensor:
        positive, inside = self._split(y)
        base = self.base.transported_residuals(inside, rest(eta_points), rest(eta))
        return self._residual(eta_points, positive, base, eta.unsqueeze(-2))

    def _residual(self, eta_points: Tensor, positive: Tensor, base: Tensor, eta: Tensor) -> Tensor:
        """From the residual of the gate at the points, that of the base, and the mean statistics at eta."""
        gate = positive.to(eta_points.dtype) - self._log_odds(eta_points).sigmoid().to(eta_points.dtype)
        rest = torch.where(positive.unsqueeze(-1), base, torch.zeros_like(base))
        return _after(gate, rest + gate.unsqueeze(-1) * self._mean_statistics(eta))

    def kernel_excess(self, y: Tensor, spread: float) -> Tensor:
        positive, inside = self._split(y)
        excess = self.base.kernel_excess(inside, spread)
        return _after(torch.zeros_like(y), torch.where(positive.unsqueeze(-1), excess, 0.0))

    def pool_labels(self, y: Tensor, weights: Tensor, spread: float = 0.0, pool: str = "log-linear") -> Label:
        """Pool the labels of M points into one, see `ExponentialFamily`; log-linearly among the positive ones."""
        if pool != "log-linear":
            return super().pool_labels(y, weights, spread, pool)
        positive, inside = self._split(y.double())
        part = torch.where(positive, weights.double(), 0.0)
        share = part.sum(-1)
        some = share > 0
        inner = torch.where(some.unsqueeze(-1), part / torch.where(some, share, 1.0).unsqueeze(-1), weights.double())
        centre = torch.where(some, self.base.kernel_centre(inside, inner), 0.0)
        lost = share - 1
        excess = lost.unsqueeze(-1) * self.sufficient_statistics(centre)
        excess = excess + share.unsqueeze(-1) * self.kernel_excess(centre, spread) if spread else excess
        return Label(centre, excess, lost * self.log_base_measure(centre))

    def scaler(self, y: Tensor, weights: Tensor | None = None, dim: int = 0) -> TargetScaler:
        return self.base.scaler(*self._positive_part(y.double(), weights, dim), dim)

    def rescale(self, eta: Tensor, scaler: TargetScaler) -> Tensor:
        theta = self.base.rescale(rest(eta), scaler)
        return self._natural(-self._log_odds(eta).expand(theta.shape[:-1]), theta)

    def stretch(self, eta: Tensor, marginal: Tensor, factor: float) -> Tensor:
        gate = stretched(-self._log_odds(eta), -self._log_odds(marginal), factor)
        return self._natural(gate, self.base.stretch(rest(eta), rest(marginal), factor))

    def marginal_params(self, y: Tensor, weights: Tensor | None = None, dim: int = 0) -> Tensor:
        y = y.double()
        zeros = weighted_mean((y == 0).double(), weights, dim).clamp(_LEAST, 1 - _LEAST)
        return self._natural(zeros.logit(), self.base.marginal_params(*self._positive_part(y, weights, dim), dim))

    def _positive_part(self, y: Tensor, weights: Tensor | None, dim: int) -> tuple[Tensor, Tensor]:
        """Targets with ones for zeros, and weights of the positive ones; of all, where there are none."""
        positive, inside = self._split(y)
        part = positive.double() if weights is None else positive * weights.double()
        return inside, torch.where(part.sum(dim, keepdim=True) > 0, part, 1.0)

    def raw_bounds(
        self, y: Tensor, weights: Tensor | None = None, dim: int = 0, least: float = LEAST_SHARE
    ) -> tuple[Tensor, Tensor]:
        inside, part = self._positive_part(y.double(), weights, dim)
        # zeros have no part in the range: the mean of the others stands for them
        inside = torch.where(y > 0, inside, weighted_mean(inside, part, dim))
        low, high = self.base.raw_bounds(inside, part, dim, least)
        free = torch.full_like(low[..., :1], torch.inf)
        return torch.cat([-free, low], -1), torch.cat([free, high], -1)

    def as_component(self, raw: Tensor, high: Tensor) -> Tensor:
        of_base = rest(raw)
        narrowed = self.base.as_component(of_base, rest(high))
        return raw if narrowed is of_base else torch.cat([first(raw).unsqueeze(-1), narrowed], -1)

    def beyond_bounds(self, y: Tensor, weights: Tensor | None = None) -> list[str]:
        return self.base.beyond_bounds(*self._positive_part(y.double(), weights, 0))

    def expose(self, eta: Tensor, log_exposure: Tensor) -> Tensor:
        raise ValueError(
            f"the family {self.name!r} has no exposure: it does not say how the probability of a zero depends on it. "
            "Use 'tweedie'."
        )

    def check_targets(self, y: Tensor) -> None:
        check_support(
            y,
            y.isfinite() & (y >= 0),
            f"{self.name} targets must be zero or positive",
            "Use a family for real targets such as 'gaussian' or 'student-t'.",
        )


def _after(first: Tensor, rest: Tensor) -> Tensor:
    return torch.cat([first.unsqueeze(-1).expand(*rest.shape[:-1], 1), rest], -1)


def _is_positive(family: ExponentialFamily) -> bool:
    support = family.distribution(family.constrain(torch.zeros(family.num_raw))).support
    return support in (constraints.positive, constraints.nonnegative)
