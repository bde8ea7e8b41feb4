"""The continuous ranked probability score: one dispatch, closed forms where there are any."""

from functools import singledispatch

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, MixtureSameFamily, Normal

from .._special import poisson_log_prob
from ..distributions import is_discrete
from ..distributions.beta import concentrations
from ._closed_forms import bernoulli_crps, beta_crps, exponential_crps, lognormal_crps
from ._gamma import gamma_crps
from ._inputs import checked_targets, innermost, mean_over_event, to_dtype_of, widen
from ._normal import normal_crps, normal_mixture_crps
from ._quadrature import quadrature_crps
from ._sums import poisson_mixture_crps, sum_crps


def crps(distribution: Distribution, y: Tensor) -> Tensor:
    r"""Continuous ranked probability score, in the unit of y; smaller is better.

    .. math:: \mathrm{CRPS}(F, y) = \int (F(x) - 1[x \ge y])^2\,dx = E|Y - y| - \tfrac12 E|Y - Y'|

    Parameters
    ----------
    distribution : torch or Pyro distribution
        Closed form for Normal, Poisson, Gamma, Exponential, LogNormal, Beta, Bernoulli, Categorical and mixtures of
        Normals; else from the cdf.
    y : Tensor, broadcastable to batch shape + event shape
        Whole numbers where the distribution is discrete.

    Returns
    -------
    Tensor, (*batch_shape,), in the dtype of the distribution
        One value per row. For several targets: the mean of the CRPS of their marginals.

    Raises
    ------
    ValueError
        If `y` has another shape, is not finite, or no whole number where the distribution is discrete.
    NotImplementedError
        If there is no closed form and the distribution has no cdf or quantiles.

    Notes
    -----
    With :math:`z = (y - \mu)/\sigma`, cdf F, probability or density f, and :math:`\Phi, \varphi` of N(0, 1):

    - Normal: :math:`\sigma\,[z(2\Phi(z) - 1) + 2\varphi(z) - 1/\sqrt\pi]`;
    - mixtures of Normals: :math:`\sum_i w_i A(y - \mu_i, \sigma_i) - \tfrac12\sum_{ij} w_i w_j A(\mu_i - \mu_j,
      (\sigma_i^2 + \sigma_j^2)^{1/2})`, where :math:`A(m, s) = 2 s\varphi(m/s) + m(2\Phi(m/s) - 1)`;
    - Poisson: :math:`(y - r)(2F(y) - 1) + 2 r f(y) - r e^{-2r}(I_0(2r) + I_1(2r))`;
    - Gamma of mean :math:`\mu = a/b`: :math:`(y - \mu)(2F(y) - 1) + 2 y f(y)/b - \mu/(a B(\tfrac12, a))`;
    - Exponential: :math:`|y| - 2F(y)/r + 1/(2r)`;
    - LogNormal: :math:`y(2\Phi(z) - 1) - 2e^{\mu + \sigma^2/2}[\Phi(z - \sigma) + \Phi(\sigma/\sqrt2) - 1]` with
      :math:`z = (\log y - \mu)/\sigma`;
    - Beta of mean :math:`\mu`: :math:`(y - \mu)(2F(y) - 1) + \frac2{a + b}\,[y(1 - y)f(y) - B(2a, 2b)/B(a, b)^2]`;
    - Bernoulli: :math:`(y - p)^2`, the Brier score of a one;
    - Categorical: the ranked probability score :math:`\sum_k (F(k) - 1[y \le k])^2`, which is the CRPS of the class
      index and so is not divided by the number of classes less one; it means something where classes are ordered;
    - other discrete distributions: the same sum over all but 1e-12 of the mass in either tail. For mixtures of Poissons
      it is exact up to 256; beyond, quadrature with the Euler-Maclaurin correction (1e-8 relative) replaces it;
    - other continuous distributions: adaptive quadrature of the integral between the same quantiles.

    All are evaluated in float64 and differentiable in the parameters where the cdf is; the Gamma in its shape as well,
    once. Mixtures of Gammas are not differentiable in the shapes, for torch's incomplete gamma function is not.

    References
    ----------
    Gneiting and Raftery (2007), Strictly proper scoring rules, prediction, and estimation, JASA 102, 359-378.
    Grimit et al. (2006), The continuous ranked probability score for circular variables, QJRMS 132, 2925-2942.
    Wei and Held (2014), Calibration tests for count data, TEST 23, 787-805 (Poisson).
    Scheuerer and Möller (2015), Probabilistic wind speed forecasting on a grid, Ann. Appl. Stat. 9, 1328-1349 (Gamma).
    Baran and Lerch (2015), Log-normal distribution based EMOS models, QJRMS 141, 2289-2299 (LogNormal).
    Jordan, Krüger and Lerch (2019), Evaluating probabilistic forecasts with scoringRules, J. Stat. Software 90(12).

    Examples
    --------
    >>> import torch
    >>> from probmix import linear_pool
    >>> from probmix.distributions import Poisson
    >>> from probmix.scores import crps
    >>> crps(torch.distributions.Normal(torch.zeros(2), 1.0), torch.tensor([0.0, 3.0]))
    tensor([0.2337, 2.4366])
    >>> crps(linear_pool(Poisson(torch.tensor([[1.0, 3.0]])), torch.tensor([0.5, 0.5])), torch.tensor([2.0]))
    tensor([0.4156])
    """
    y = checked_targets(distribution, y)
    return to_dtype_of(distribution, mean_over_event(distribution, marginal_crps(distribution, y.double())))


@singledispatch
def marginal_crps(distribution: Distribution, y: Tensor) -> Tensor:
    """CRPS of every coordinate, float64, of shape batch + event; `y` is float64 of that shape and is not checked."""
    wide = widen(distribution)
    try:
        return sum_crps(wide, y) if is_discrete(wide) else quadrature_crps(wide, y)
    except NotImplementedError as error:
        name = type(innermost(distribution)).__name__
        raise NotImplementedError(
            f"the CRPS of {name} has no closed form here and needs its cdf and icdf. "
            f"Register them with `probmix.distributions.cdf.register({name})` and `icdf.register({name})`."
        ) from error


@marginal_crps.register
def _(distribution: torch.distributions.Normal, y: Tensor) -> Tensor:
    return normal_crps(distribution.loc.double(), distribution.scale.double(), y)


@marginal_crps.register
def _(distribution: torch.distributions.Poisson, y: Tensor) -> Tensor:
    rate = distribution.rate.double()
    inside = y >= 0
    y_inside = y.clamp(min=0)
    below = torch.where(inside, torch.special.gammaincc(y_inside.detach() + 1, rate), 0.0)
    at_y = torch.where(inside, poisson_log_prob(y_inside, rate.log()).exp(), 0.0)
    spread: Tensor = torch.special.i0e(2 * rate) + torch.special.i1e(2 * rate)
    return (y - rate) * (2 * below - 1) + 2 * rate * at_y - rate * spread


@marginal_crps.register
def _(distribution: torch.distributions.Gamma, y: Tensor) -> Tensor:
    return gamma_crps(distribution.concentration.double(), distribution.rate.double(), y)


@marginal_crps.register
def _(distribution: torch.distributions.Exponential, y: Tensor) -> Tensor:
    return exponential_crps(distribution.rate.double(), y)


@marginal_crps.register
def _(distribution: torch.distributions.LogNormal, y: Tensor) -> Tensor:
    return lognormal_crps(distribution.loc.double(), distribution.scale.double(), y)


@marginal_crps.register
def _(distribution: torch.distributions.Bernoulli, y: Tensor) -> Tensor:
    return bernoulli_crps(distribution.logits.double(), y)


@marginal_crps.register
def _(distribution: torch.distributions.Beta, y: Tensor) -> Tensor:
    return beta_crps(*concentrations(distribution), y)


@marginal_crps.register
def _(distribution: torch.distributions.Categorical, y: Tensor) -> Tensor:
    probs = distribution.probs.double()
    below = probs.cumsum(-1)[..., :-1]
    # 1 - F as a sum of its own keeps its digits where F is nearly one
    above = probs.flip(-1).cumsum(-1).flip(-1)[..., 1:]
    classes = torch.arange(below.shape[-1], device=y.device)
    return torch.where(classes < y.unsqueeze(-1), below, above).square().sum(-1)


@marginal_crps.register(Independent)
def _(distribution: Independent[Distribution], y: Tensor) -> Tensor:
    return marginal_crps(distribution.base_dist, y)


@marginal_crps.register
def _(distribution: MixtureSameFamily, y: Tensor) -> Tensor:
    component = innermost(distribution)
    if isinstance(component, Normal):
        loc, scale = _members_last(distribution, component.loc), _members_last(distribution, component.scale)
        return normal_mixture_crps(_weights(distribution), loc, scale, y)
    if isinstance(component, torch.distributions.Categorical):
        probs = component.probs.double().movedim(-2 - len(distribution.event_shape), -2)
        pooled = (_weights(distribution).unsqueeze(-1) * probs).sum(-2)
        return marginal_crps(torch.distributions.Categorical(pooled, validate_args=False), y)
    if isinstance(component, torch.distributions.Poisson):
        wide, rate = widen(distribution), _members_last(distribution, component.rate)
        return poisson_mixture_crps(wide, _weights(distribution), rate, y)
    generic = marginal_crps.dispatch(Distribution)
    return generic(distribution, y)


def _weights(mixture: MixtureSameFamily) -> Tensor:
    """Weights in float64, broadcastable to batch + event + (M,)."""
    probs = mixture.mixture_distribution.probs.double()
    probs = probs / probs.sum(-1, keepdim=True)
    return probs.reshape(probs.shape[:-1] + (1,) * len(mixture.event_shape) + probs.shape[-1:])


def _members_last(mixture: MixtureSameFamily, parameter: Tensor) -> Tensor:
    """A parameter of the components, (*batch, M, *event), as float64 of shape (*batch, *event, M)."""
    return parameter.double().movedim(-1 - len(mixture.event_shape), -1)
