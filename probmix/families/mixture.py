"""Finite mixtures of the densities of a family, with their log-linear pool in closed form."""

import math
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from .._shapes import broadcast_shapes
from ..distributions import Mixture as MixtureDistribution
from .bernoulli import Bernoulli
from .bounds import LEAST_SHARE
from .categorical import Categorical
from .exponential_family import ExponentialFamily
from .family import Family
from .gaussian import Gaussian
from .label import Label, TargetScaler
from .links import floored_log_softmax, soft_limit, soft_limit_inverse
from .mixture_gradients import components, mixture_nll, mixture_pool
from .tools import first, in_planes, weighted_mean

# Logits of the weights lie within this of zero, and no component has less than this share of an equal weight: one that
# had none would never be given a gradient again.
_LOGIT_LIMIT, _LEAST_WEIGHT = 20.0, 1e-3
# Components start as the densities of parts of the targets that overlap: the width of a part, in ranks from 0 to 1.
_START_WIDTH = 0.3


@dataclass(frozen=True)
class Mixture(Family):
    r"""Mixtures of K densities of a base family, of weights w and parameters :math:`\eta_k` that the network learns.

    .. math:: p(y) = \sum_k w_k\,p(y; \eta_k)

    Parameters are :math:`(\log w_1, \dots, \log w_K, \eta_1, \dots, \eta_K)`. With a base that is an exponential family
    **mixtures are pooled log-linearly in closed form**. The marginal density of y is in no exponential family, but the
    joint one of y and its component z is in one, of natural parameters :math:`(c_k, \eta_k)` with
    :math:`c_k = \log w_k - A(\eta_k)`, and its log-linear pool is their weighted mean. What is pooled is that joint
    density, and the pool of mixtures is its marginal:

    .. math:: \tilde\eta_k = \sum_m \lambda_m \eta_{mk},\qquad
        \tilde w_k \propto \exp\Bigl(\sum_m \lambda_m (\log w_{mk} - A(\eta_{mk})) + A(\tilde\eta_k)\Bigr)

    So a component is pooled with the one of its number, and the network that is trained so gives them numbers that have
    a meaning. K = 1 is the base family. With any other base they pool linearly, see `Family`.

    The label of pooled points is a point, the mean or the centre of the base family's kernels ("average",
    "log-linear"), or each of them with its weight ("linear"). A mixture can hold both humps of the latter, which one
    density cannot, and learns more from it. Calibrated labels belong to the statistics of a single density.

    No weight falls below 0.001 / K. Scales have the bounds of the base family, so that no component collapses on single
    targets: see `probmix.families.bounds.rounding` for targets on a lattice. Components that are log-normal keep their
    root mean square in proportion to the targets, see `LogNormal.as_component`: otherwise one of least weight could
    decide on mean and variance.

    Parameters
    ----------
    base : Family
        Of single targets or of vectors; classes have no mixtures but themselves. The name "gamma-mixture" has that of
        Gammas, and so on.
    n_components : int
        K.

    References
    ----------
    Bishop (1994), Mixture Density Networks, Aston University; the pool is derived here.

    Examples
    --------
    >>> import torch
    >>> from probmix.families import Gaussian, Mixture
    >>> family = Mixture(Gaussian(), 2)
    >>> normal = torch.distributions.Normal(torch.tensor([-1.0, 1.0]), torch.tensor([0.5, 0.5]))
    >>> log_weights = torch.tensor([0.25, 0.75]).log()
    >>> eta = torch.cat([log_weights, Gaussian().natural_params(normal).flatten()])
    >>> family.distribution(eta).mean
    tensor(0.5000)
    """

    base: Family = field(default_factory=Gaussian)
    n_components: int = 5

    def __post_init__(self) -> None:
        if not isinstance(self.base, Family):
            raise TypeError(f"`base` must be a family, such as Gaussian(); got {self.base!r}.")
        if isinstance(self.base, (Mixture, Categorical, Bernoulli)):
            raise ValueError(
                f"`base` must be a family whose mixtures are no densities of its own; got {self.base!r}. Use it as it "
                "is, or with more components."
            )
        if not isinstance(self.n_components, int) or isinstance(self.n_components, bool) or self.n_components < 1:
            raise ValueError(f"`n_components` must be a positive integer; got {self.n_components!r}.")

    @property
    def name(self) -> str:
        return f"{self.base.name}-mixture"

    @property
    def num_params(self) -> int:
        return self.n_components * (1 + self.base.num_params)

    @property
    def num_raw(self) -> int:
        return self.n_components * (1 + self.base.num_raw)

    @property
    def event_dim(self) -> int:
        return self.base.event_dim

    @property
    def pools_log_linearly(self) -> bool:
        return isinstance(self.base, ExponentialFamily)

    @property
    def has_second_derivatives(self) -> bool:
        return self.base.has_second_derivatives

    def for_targets(self, y: Tensor, weights: Tensor | None = None) -> "Mixture":
        return replace(self, base=self.base.for_targets(y, weights))

    # -- parameters ----------------------------------------------------------------------------------------------------

    def split(self, eta: Tensor) -> tuple[Tensor, Tensor]:
        """Logarithms of the weights, and parameters of the components: (*B, K), (*B, K, P)."""
        of_components = eta.narrow(-1, self.n_components, eta.shape[-1] - self.n_components)
        return eta.narrow(-1, 0, self.n_components), of_components.unflatten(-1, (self.n_components, -1))

    def _joined(self, of_weights: Tensor, of_components: Tensor) -> Tensor:
        shape = broadcast_shapes(of_weights.shape, of_components.shape[:-1])
        parts = of_weights.expand(shape), of_components.expand(*shape, -1).flatten(-2)
        return torch.cat([part.to(of_components.dtype) for part in parts], -1)

    def constrain(self, raw: Tensor) -> Tensor:
        # components and parameters first, in memory too: torch is slow along axes as short as these
        of_weights, of_components = components(in_planes(raw).movedim(-1, 0), self.n_components)
        logits = soft_limit(of_weights, _LOGIT_LIMIT)
        params = self.base.constrain(of_components).movedim(-1, 1).flatten(0, 1)
        return torch.cat([floored_log_softmax(logits, _LEAST_WEIGHT), params]).movedim(0, -1)

    def unconstrain(self, eta: Tensor) -> Tensor:
        log_weights, params = self.split(eta)
        least = _LEAST_WEIGHT / self.n_components
        # weights at the floor, or that a pool has taken below it, come back just above it
        logits = (log_weights.exp() - least).clamp(min=1e-3 * least).log()
        logits = logits - logits.mean(-1, keepdim=True)
        within = logits.clamp(-0.999 * _LOGIT_LIMIT, 0.999 * _LOGIT_LIMIT)
        return self._joined(soft_limit_inverse(within, _LOGIT_LIMIT), self.base.unconstrain(params))

    def distribution(self, eta: Tensor) -> MixtureDistribution:
        log_weights, params = self.split(eta)
        # side by side in memory again, as torch takes the weights of a mixture
        logits = log_weights.clone(memory_format=torch.contiguous_format)
        weights = torch.distributions.Categorical(logits=logits, validate_args=False)
        return MixtureDistribution(weights, self.base.distribution(params), validate_args=False)

    def pool_params(self, eta: Tensor, weights: Tensor | None = None) -> Tensor:
        assert isinstance(self.base, ExponentialFamily)  # others pool linearly
        if weights is None:
            weights = torch.full_like(first(eta), 1 / eta.shape[-2])
        return mixture_pool(self.base, self.n_components, eta, weights)

    # -- densities -----------------------------------------------------------------------------------------------------

    def joint_log_prob(self, eta: Tensor, y: Tensor) -> Tensor:
        """Log-density of the target and its component, float64: (*B, K (1 + P)), (*B,) -> (*B, K)."""
        log_weights, params = self.split(eta)
        log_weights = log_weights - log_weights.logsumexp(-1, keepdim=True)
        return log_weights + self.base._log_prob(params, y.unsqueeze(-1 - self.event_dim))

    def _log_prob(self, eta: Tensor, y: Tensor) -> Tensor:
        if isinstance(self.base, ExponentialFamily) and not y.requires_grad:
            return -mixture_nll(self.base, self.n_components, eta, y)
        return self.joint_log_prob(eta, y).logsumexp(-1)

    def expected_nll(self, eta: Tensor, label: Label) -> Tensor:
        if not isinstance(self.base, ExponentialFamily) or label.requires_grad:
            return super().expected_nll(eta, label)
        if label.weights is None:
            return mixture_nll(self.base, self.n_components, eta, label.value)
        shape = label.value.shape[: label.value.ndim - self.event_dim]
        if not shape == label.weights.shape == (*eta.shape[:-1], shape[-1]):
            # one is broadcast against the other, for which the axis of the points is to be last
            return super().expected_nll(eta, label)
        points = (one.movedim(eta.ndim - 1, 0) for one in (label.value, label.weights))
        return mixture_nll(
            self.base, self.n_components, eta, *(one.clone(memory_format=torch.contiguous_format) for one in points)
        )

    def pool_labels(self, y: Tensor, weights: Tensor, spread: float = 0.0, pool: str = "log-linear") -> Label:
        base = self.base
        if spread == 0 and pool == "log-linear" and isinstance(base, ExponentialFamily) and not self.has_atoms:
            return Label(base.kernel_centre(y.double(), weights.double()))
        return super().pool_labels(y, weights, spread, pool)

    def density_label(self, eta: Tensor, weights: Tensor) -> Label:
        log_weights, params = self.split(eta)
        # points of each component: a rule over the quantiles of all would miss what lies between two humps
        of_components = (weights.to(eta.dtype).unsqueeze(-1) * log_weights.exp()).flatten(-2)
        return Family.density_label(self.base, params.flatten(-3, -2), of_components)

    # -- target units --------------------------------------------------------------------------------------------------

    def scaler(self, y: Tensor, weights: Tensor | None = None, dim: int = 0) -> TargetScaler:
        return self.base.scaler(y, weights, dim)

    def rescale(self, eta: Tensor, scaler: TargetScaler) -> Tensor:
        log_weights, params = self.split(eta.double())
        # one unit for all components
        of_components = TargetScaler(scaler.loc.unsqueeze(-1), scaler.scale.unsqueeze(-1))
        if self.event_dim:
            of_components = TargetScaler(scaler.loc.unsqueeze(-2), scaler.scale.unsqueeze(-2))
        return self._joined(log_weights, self.base.rescale(params, of_components))

    def stretch(self, eta: Tensor, marginal: Tensor, factor: float) -> Tensor:
        log_weights, params = self.split(eta.double())
        of_marginal, marginal_params = self.split(marginal.double())
        # all move from one centre, that of the pool of the marginal's components
        centre = (of_marginal.exp().unsqueeze(-1) * marginal_params).sum(-2, keepdim=True)
        return self._joined(log_weights, self.base.stretch(params, centre, factor))

    def expose(self, eta: Tensor, log_exposure: Tensor) -> Tensor:
        log_weights, params = self.split(eta)
        return self._joined(log_weights, self.base.expose(params, log_exposure.unsqueeze(-1)))

    def marginal_params(self, y: Tensor, weights: Tensor | None = None, dim: int = 0) -> Tensor:
        """Of components that are spread over the targets: each is fitted to a part of them, and the parts overlap."""
        y = y.double()
        places, rows = _ranks(y, weights, dim, self.event_dim), torch.ones_like(y) if weights is None else weights
        middles = [(number + 0.5) / self.n_components for number in range(self.n_components)]
        closeness = [(-0.5 * ((places - middle) / _START_WIDTH).square()).exp() for middle in middles]
        total = torch.stack(closeness).sum(0)
        parts = [one / total for one in closeness]
        own = weights if weights is None or not self.event_dim else weights.narrow(-1, 0, 1)
        shares = [weighted_mean(part, own, dim) for part in parts]
        params = torch.stack([self.base.marginal_params(y, part * rows, dim) for part in parts], -2)
        shares = [share.squeeze(-1) if self.event_dim else share for share in shares]
        return self._joined(torch.stack(shares, -1).log(), self._within(params, y, weights, dim))

    def _within(self, params: Tensor, y: Tensor, weights: Tensor | None, dim: int) -> Tensor:
        """Components of the marginal as a head can predict them: a part of the targets may have a longer tail."""
        if self.n_components == 1:
            return params
        raw = self.base.unconstrain(params)
        narrowed = self.base.as_component(raw, self.base.raw_bounds(y, weights, dim)[1].unsqueeze(-2))
        if narrowed is raw:
            return params
        return torch.where((narrowed < raw).any(-1, keepdim=True), self.base.constrain(narrowed), params)

    def beyond_bounds(self, y: Tensor, weights: Tensor | None = None) -> list[str]:
        return self.base.beyond_bounds(y, weights)

    def raw_bounds(
        self, y: Tensor, weights: Tensor | None = None, dim: int = 0, least: float = LEAST_SHARE
    ) -> tuple[Tensor, Tensor]:
        ends = []
        for end, free in zip(self.base.raw_bounds(y, weights, dim, least), (-math.inf, math.inf), strict=True):
            of_weights = end.new_full((*end.shape[:-1], self.n_components), free)
            ends.append(torch.cat([of_weights, *[end] * self.n_components], -1))
        return ends[0], ends[1]

    def narrowed(self, raw: Tensor, high: Tensor) -> Tensor:
        if self.n_components == 1:
            # that of the base family, whose width the targets have a say in
            return raw
        of_weights, of_components = self.split(raw)
        narrowed = self.base.as_component(of_components, self.split(high)[1])
        return raw if narrowed is of_components else torch.cat([of_weights, narrowed.flatten(-2)], -1)

    def check_targets(self, y: Tensor) -> None:
        self.base.check_targets(y)


def _ranks(y: Tensor, weights: Tensor | None, dim: int, event_dim: int) -> Tensor:
    """Where a target stands among all, from 0 to 1, equal ones in the middle of their range; vectors by their sum."""
    if event_dim:
        y = (y / y.abs().amax(dim, keepdim=True).clamp(min=1e-300)).sum(-1, keepdim=True)
    dim = dim % y.ndim
    rows = torch.ones_like(y) if weights is None else weights.expand(*y.shape[:-1], weights.shape[-1])
    rows = rows[..., :1].expand_as(y) if event_dim else rows.expand_as(y)
    ordered, order = y.movedim(dim, -1).sort(-1)
    mass = rows.movedim(dim, -1).double().gather(-1, order).cumsum(-1)
    mass = torch.cat([torch.zeros_like(mass[..., :1]), mass], -1)
    first = torch.searchsorted(ordered.contiguous(), ordered.contiguous())
    last = torch.searchsorted(ordered.contiguous(), ordered.contiguous(), right=True)
    middle = (mass.gather(-1, first) + mass.gather(-1, last)) / (2 * mass[..., -1:])
    return torch.empty_like(middle).scatter_(-1, order, middle).movedim(-1, dim)


__all__ = ["Mixture"]
