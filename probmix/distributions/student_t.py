"""Student's t distribution with what torch lacks: cdf and quantiles, and a density that does not cancel."""

import math

import torch
from pyro.distributions.torch_distribution import TorchDistributionMixin
from scipy import special
from torch import Tensor
from torch.distributions import MixtureSameFamily

from .._incomplete_beta import incomplete_beta
from .._special import ndtr, stirling_remainder
from .inversion import with_ends
from .marginals import Marginals, cdf, icdf
from .normal_scores import from_normal_score, normal_score
from .origins import Parameters, parametrised, scipy_name, skpro_name
from .panel_crps import crps_by_panels, crps_by_panels_with_bound, sums_density, window_by_panels
from .quadrature import CUTS, cuts
from .scoring import (
    marginal_crps,
    marginal_crps_with_bound,
    marginal_nll,
    mixture_crps,
    mixture_crps_with_bound,
    mixture_window_crps,
    validate,
)

# Newton's method for quantiles: rounds at most, the relative step that ends it, for its square is below rounding, and
# the largest one.
_ROUNDS, _STEP, _LARGEST = 60, 1e-10, 4.0
# From this t / sqrt(df) on the leading term of a tail, t^-df, is all of it to the last digit.
_FAR = 1e30
_LOG_TINY = -700.0
# From so many degrees of freedom on Hill's expansion around the normal distribution is good to rounding.
_NEARLY_NORMAL = 1e5


class StudentT(Marginals, torch.distributions.StudentT, TorchDistributionMixin):
    r"""Pyro's StudentT with `cdf` and `icdf`, and a log-density that stays exact up to the normal limit.

    .. math:: f(y) = \frac{\Gamma(\frac{\nu + 1}2)}{\sigma\sqrt{\nu\pi}\,\Gamma(\frac\nu2)}
        \Bigl(1 + \frac{z^2}\nu\Bigr)^{-(\nu + 1)/2},\qquad z = \frac{y - \mu}\sigma

    with `df` :math:`\nu`, `loc` and `scale`. The mean is NaN for :math:`\nu \le 1`, the variance infinite for
    :math:`\nu \le 2`.

    Examples
    --------
    >>> import torch
    >>> from probmix.distributions import StudentT
    >>> cauchy = StudentT(torch.tensor(1.0))
    >>> cauchy.cdf(torch.tensor(1.0)), cauchy.icdf(torch.tensor(0.75))
    (tensor(0.7500), tensor(1.))
    """

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        df, loc, scale = parameters(self)
        return student_t_log_prob(value.double(), df, loc, scale.log()).to(self.loc.dtype)


def parameters(distribution: torch.distributions.StudentT) -> tuple[Tensor, Tensor, Tensor]:
    """Degrees of freedom, location and scale in float64."""
    return distribution.df.double(), distribution.loc.double(), distribution.scale.double()


def student_t_log_prob(y: Tensor, df: Tensor, loc: Tensor, log_scale: Tensor) -> Tensor:
    """Log-density in float64."""
    z = (y - loc) * (-log_scale).exp()
    return _log_constant(df) - 0.5 * (df + 1) * log_one_plus_square(z / df.sqrt()) - log_scale


def _log_constant(df: Tensor) -> Tensor:
    """The log-density at zero."""
    return half_step(0.5 * df) - 0.5 * (df.log() + math.log(math.pi))


def half_step(a: Tensor) -> Tensor:
    r""":math:`\log\Gamma(a + \tfrac12) - \log\Gamma(a)`, about :math:`\tfrac12\log a`, by Stirling's formula."""
    remainder = stirling_remainder(a + 0.5) - stirling_remainder(a)
    return a * torch.log1p(0.5 / a) - 0.5 + 0.5 * a.log() + remainder


def log_one_plus_square(x: Tensor) -> Tensor:
    """The logarithm of 1 + x^2, also where the square overflows."""
    large = x.abs() > 1
    safe = torch.where(large, 1.0, x)
    inverse = 1 / torch.where(large, x, 1.0)
    return torch.where(large, torch.log1p(inverse.square()) - 2 * inverse.abs().log(), torch.log1p(safe.square()))


@cdf.register
def _(distribution: torch.distributions.StudentT, y: Tensor) -> Tensor:
    df, loc, scale = parameters(distribution)
    return standard_cdf((y.double() - loc) / scale, df).to(distribution.loc.dtype)


@icdf.register
def _(distribution: torch.distributions.StudentT, q: Tensor) -> Tensor:
    df, loc, scale = parameters(distribution)
    q, df = torch.broadcast_tensors(q.double(), df)
    y = loc + scale * _quantile(df, q)
    ends = torch.full_like(y, torch.inf)
    return with_ends(y, q.expand_as(y), -ends, ends).to(distribution.loc.dtype)


@normal_score.register
def _(distribution: torch.distributions.StudentT, y: Tensor) -> Tensor:
    df, loc, scale = parameters(distribution)
    z = (y - loc) / scale
    # of the smaller tail, which keeps its digits where the other one is rounded to 1
    score: Tensor = torch.special.ndtri(standard_cdf(-z.abs(), df))
    return torch.where(z < 0, score, -score)


@from_normal_score.register
def _(distribution: torch.distributions.StudentT, score: Tensor) -> Tensor:
    y = icdf(StudentT(*parameters(distribution), validate_args=False), ndtr(-score.abs()))
    return torch.where(score < 0, y, 2 * distribution.loc - y)


@cuts.register
def _(distribution: torch.distributions.StudentT, levels: tuple[float, ...] = CUTS) -> Tensor:
    """By the bound of the quantile at which Newton's method starts."""
    df, loc, scale = (p.detach() for p in parameters(distribution))
    places = []
    for level in levels:
        tail = torch.full_like(df, min(level, 1 - level))
        t = torch.minimum(_log_far(df, tail), _start(df, tail)).exp()
        places.append(loc if level == 0.5 else loc + math.copysign(1.0, level - 0.5) * scale * t)
    return torch.stack(places)


@mixture_crps.register
def _(component: torch.distributions.StudentT, mixture: MixtureSameFamily, y: Tensor) -> Tensor:
    return crps_by_panels(mixture, y)


@mixture_crps_with_bound.register
def _(component: torch.distributions.StudentT, mixture: MixtureSameFamily, y: Tensor) -> tuple[Tensor, Tensor]:
    return crps_by_panels_with_bound(mixture, y)


@mixture_window_crps.register
def _(
    component: torch.distributions.StudentT, mixture: MixtureSameFamily, y: Tensor, lower: Tensor, upper: Tensor
) -> Tensor:
    return window_by_panels(mixture, y, lower, upper)


@sums_density.register
def _(component: torch.distributions.StudentT) -> bool:
    return True


@marginal_nll.register
def _(distribution: torch.distributions.StudentT, y: Tensor) -> Tensor:
    validate(distribution, y)
    df, loc, scale = parameters(distribution)
    return -student_t_log_prob(y.double(), df, loc, scale.log())


@marginal_crps.register
def _(distribution: torch.distributions.StudentT, y: Tensor) -> Tensor:
    return student_t_crps(*parameters(distribution), y)


@marginal_crps_with_bound.register
def _(distribution: torch.distributions.StudentT, y: Tensor) -> tuple[Tensor, Tensor]:
    value = marginal_crps(distribution, y)
    df, loc, _ = parameters(distribution)
    # the error of the incomplete beta function
    return value, (1e-13 + 1e-16 * df.clamp(max=_NEARLY_NORMAL)) * ((y - loc).abs() + value)


@scipy_name("t")
def _(p: Parameters) -> StudentT:
    return parametrised(StudentT, df=p["df"], loc=p["loc"], scale=p["scale"])


@skpro_name("TDistribution")
def _(p: Parameters) -> StudentT:
    return parametrised(StudentT, df=p["df"], loc=p["mu"], scale=p["sigma"])


def standard_cdf(t: Tensor, df: Tensor) -> Tensor:
    r"""F(t) for location 0 and scale 1, differentiable in both, the smaller tail to relative precision.

    .. math:: F(-t) = \tfrac12 I_{\nu/(\nu + t^2)}(\tfrac\nu2, \tfrac12) = \tfrac12 - \tfrac12 I_{t^2/(\nu +
        t^2)}(\tfrac12, \tfrac\nu2),\qquad t \ge 0
    """
    held, df = torch.broadcast_tensors(t.detach(), df)
    outer = held.abs() > 0.7
    mass = _tail_or_middle(held.abs(), df, outer)
    tail = torch.where(outer, mass, 0.5 - mass)
    value = torch.where(held < 0, tail, 1 - tail)
    # the argument of the beta function has no slope at t = 0, where the density has its peak
    return value + _density(held, df).detach() * (t - held) if t.requires_grad else value


def _density(t: Tensor, df: Tensor) -> Tensor:
    return (_log_constant(df) - 0.5 * (df + 1) * log_one_plus_square(t / df.sqrt())).exp()


def _tail_or_middle(t: Tensor, df: Tensor, outer: Tensor) -> Tensor:
    """1 - F(t), or F(t) - 1/2, each to relative precision, for t >= 0."""
    u, normal = t / df.sqrt(), df > _NEARLY_NORMAL
    shape, half = torch.where(normal, 1.0, 0.5 * df), torch.full_like(df, 0.5)
    log_power = _log_far_tail(2 * shape) - 2 * shape * t.clamp(min=1).log()
    # the leading term is a bound of the tail: where it vanishes, so do both
    far = (u > _FAR) | (log_power < _LOG_TINY)
    square = torch.where(far | normal, 1.0, u).square()
    outer_part, inner_part = 1 / (1 + square), square / (1 + square)
    a, b = torch.where(outer, shape, half), torch.where(outer, half, shape)
    x, rest = torch.where(outer, outer_part, inner_part), torch.where(outer, inner_part, outer_part)
    beta = 0.5 * incomplete_beta(a, b, x, rest)
    score = _normal_score(torch.where(normal, t, 1.0), torch.where(normal, df, 2 * _NEARLY_NORMAL))
    gauss = torch.where(outer, ndtr(-score), 0.5 * torch.erf(score * math.sqrt(0.5)))
    return torch.where(normal, gauss, torch.where(far, torch.where(far, log_power, 0.0).exp(), beta))


def _log_far_tail(df: Tensor) -> Tensor:
    """The logarithm of what a far tail is in units of t^-df."""
    return _log_constant(df) + 0.5 * (df - 1) * df.log()


def _log_far(df: Tensor, level: Tensor) -> Tensor:
    """The logarithm of the quantile if the tail were its leading term, which is a bound."""
    return (_log_far_tail(df) - level.log()) / df


def _normal_score(t: Tensor, df: Tensor) -> Tensor:
    """Hill (1970), Algorithm 395: Student's t-distribution, CACM 13, 617-619."""
    a, u = df - 0.5, t / df.sqrt()
    # the root has no slope at t = 0, but the ratio has
    small = u < 1e-5
    safe = torch.where(small, 1.0, u)
    ratio = torch.where(small, 1 - 0.5 * u.square(), log_one_plus_square(safe) / safe.square())
    w = t * (a / df * ratio).sqrt()
    b = 48 * a.square()
    return w + w * (w.square() + 3) / b


def _quantile(df: Tensor, q: Tensor) -> Tensor:
    """The quantile at location 0 and scale 1, differentiable in both arguments."""
    t = _newton(df.detach(), q.detach())
    if not (torch.is_grad_enabled() and (df.requires_grad or q.requires_grad)):
        return t
    # the implicit function theorem: F(t) - q stays zero
    missing = q - standard_cdf(t, df)
    return t + (missing - missing.detach()) / _density(t, df.detach())


def _newton(df: Tensor, q: Tensor) -> Tensor:
    """Newton's method on a logarithm that is concave in log t, which needs no bracket.

    That of the tail for the outer half of the mass, that of the mass between zero and t for the inner half.
    """
    level = torch.where(q < 0.5, q, 1 - q)
    inside = (level > 0) & (level < 0.5)
    level = torch.where(inside, level, 0.25)
    outer = level < 0.25
    target = torch.where(outer, level, 0.5 - level).log()
    # where the tail is a power of t to the last digit, its inverse is known; elsewhere it lies above the quantile
    log_far = _log_far(df, level)
    far = log_far - 0.5 * df.log() > math.log(_FAR)
    log_t = torch.where(outer, torch.minimum(log_far, _start(df, level)), (0.5 - level).log() - _log_constant(df))
    for _ in range(_ROUNDS):
        t = torch.where(far, 1.0, log_t.exp())
        mass = _tail_or_middle(t, df, outer).clamp(min=torch.finfo(t.dtype).tiny)
        step = (target - mass.log()) * mass / (t * _density(t, df))
        step = torch.where(far, 0.0, torch.where(outer, -step, step)).clamp(-_LARGEST, _LARGEST)
        log_t = log_t + step
        if not bool((step.abs() > _STEP).any()):
            break
    t = torch.where(inside, torch.where(far, log_far, log_t).exp(), 0.0)
    return torch.where(q < 0.5, -t, t)


def _start(df: Tensor, level: Tensor) -> Tensor:
    """The logarithm of the quantile by the leading term of Hill's expansion; infinite below one degree of freedom."""
    square = torch.special.ndtri(level).square() / (df.clamp(min=1) - 0.5)
    log_t = 0.5 * (df.log() + square + torch.log(-torch.expm1(-square)))
    return torch.where(df < 1, torch.inf, log_t)


def student_t_crps(df: Tensor, loc: Tensor, scale: Tensor, y: Tensor) -> Tensor:
    r"""CRPS in float64, in closed form for more than half a degree of freedom, else infinite.

    .. math:: z(2F(z) - 1) + \frac{2 f(z)(\nu + z^2)}{\nu - 1} - \frac{2\sqrt\nu}{\nu - 1}\,
        \frac{B(\frac12, \nu - \frac12)}{B(\frac12, \frac\nu2)^2}

    in units of the scale (Jordan, Krüger and Lerch 2019). The last two terms are :math:`E\,(e^x - 1)/(\nu - 1)`, where
    x is the logarithm of their ratio and vanishes with :math:`\nu - 1`: at one the score is smooth.
    """
    z = (y - loc) / scale
    finite = df > 0.5
    df = torch.where(finite, df, 1.0)
    excess = df - 1
    last = half_step(df - 0.5)
    near = excess.abs() < _NEAR_ONE
    small = torch.where(near, excess, 0.0)
    series = torch.full_like(df, _NEAR_TERMS[-1])
    for coefficient in reversed(_NEAR_TERMS[:-1]):
        series = series * small + coefficient
    slope = torch.where(near, series, (last - half_step(0.5 * df)) / torch.where(near, 1.0, excess))
    slope = slope - 0.5 * log_one_plus_square(z / df.sqrt())
    x = excess * slope
    tiny = x.abs() < 1e-8
    growth = torch.where(tiny, 1 + 0.5 * x, torch.expm1(x) / torch.where(tiny, 1.0, x))
    middle = 2 * (df / math.pi).sqrt() * (2 * half_step(0.5 * df) - last).exp()
    score = z * (2 * standard_cdf(z, df) - 1) + middle * slope * growth
    return torch.where(finite, scale * score, torch.inf)


# Coefficients of (log Gamma(nu) - log Gamma(nu - 1/2) - log Gamma((nu + 1) / 2) + log Gamma(nu / 2)) / (nu - 1) around
# one, from the series of the log-gamma function around one half.
_NEAR_ONE = 0.05
_NEAR_TERMS = [math.log(2)] + [
    (-1) ** k * (2**k - 1) * float(special.zeta(k)) / k * (2 ** (1 - k) - 1) for k in range(2, 18)
]
