"""Contracts of the distributions of a family: cdf, quantiles, draws, point masses, moments and scores."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Categorical, Distribution

from ..distributions import Mixture, atoms, cdf, cdf_below, icdf, is_discrete
from ..distributions.from_density import cdf_from_density
from ..distributions.normal_scores import from_normal_score, normal_score
from ..distributions.parts import innermost
from ..distributions.point_masses import mass_at
from ..distributions.scoring import (
    generic_crps_with_bound,
    generic_window_crps,
    marginal_crps,
    marginal_crps_with_bound,
    marginal_nll,
    marginal_window_crps,
    mixture_crps,
    mixture_window_crps,
)
from ..distributions.supports import support_ends
from .cases import EXACT, INTEGRAL, LINK, ROWS, SINGLE, Case, cdf_by_pieces, close, grid, log_prob, pieces, require

_LEVELS = (1e-6, 0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99)
_PLACES, _SCORED, _SAMPLED = 100, 1, 5_000
# With this probability draws break their bound by chance; the generator is seeded, so that they do always or never.
_CHANCE = 1e-10
# The same for a mean of independent numbers, in standard errors.
_STANDARD_ERRORS = 7.0
# So many equal draws are a point mass.
_TIES = 20


def _distributions(case: Case, dtype: torch.dtype = torch.float64) -> Distribution:
    return case.family.distribution(case.eta.to(dtype))


def _check_cdf(case: Case) -> None:
    distribution, y = _distributions(case), case.y[:_PLACES].sort(0).values
    found = cdf(distribution, y)
    require(found.shape == y.shape, f"`cdf` gave the shape {tuple(found.shape)} for targets of shape {tuple(y.shape)}")
    require(bool(((found >= 0) & (found <= 1)).all()), f"`cdf` must lie in [0, 1]; got {_extreme(found):.8g}")
    fall = found.diff(dim=0).amin().item()
    require(fall >= -EXACT, f"`cdf` must not decrease; it falls by {-fall:.3g} between two targets")
    places = pieces(distribution)
    want = cdf_from_density(distribution, y) if places is None else cdf_by_pieces(distribution, places, y)
    close("`cdf`, against the integral of the density,", found, want, LINK)
    lower, upper = _ends(distribution, y)
    # 1e30 stands for infinity, where a cdf may well be no number
    close("`cdf` below the support", cdf(distribution, lower.clamp(min=-1e30) - 1), torch.zeros_like(lower), LINK)
    close(
        "`cdf` at the upper end of the support", cdf(distribution, upper.clamp(max=1e30)), torch.ones_like(upper), LINK
    )
    if is_discrete(distribution):
        close("`cdf` between two whole numbers", cdf(distribution, y + 0.5), found, EXACT)
    again = torch.special.ndtr(normal_score(distribution, y))
    close("`cdf`, against `normal_score`,", found, again, LINK)
    single = cdf(_distributions(case, torch.float32), y.float())
    require(single.dtype == torch.float32, f"`cdf` of a float32 distribution is {single.dtype}")
    close("`cdf` in float32", single, cdf(_rounded(case), y.float().double()), SINGLE)


def _check_icdf(case: Case) -> None:
    distribution = _distributions(case)
    q = torch.tensor(_LEVELS, dtype=torch.float64).unsqueeze(-1).expand(-1, ROWS)
    found = icdf(distribution, q)
    require(found.shape == q.shape, f"`icdf` gave the shape {tuple(found.shape)} for levels of shape {tuple(q.shape)}")
    require(
        bool((found.diff(dim=0) >= 0).all()), "`icdf` must not decrease; a quantile lies below one of a lower level"
    )
    _require_quantiles(distribution, found, q, LINK)
    # a level in the middle of a jump belongs to one place alone
    y = case.y[:_PLACES]
    upper, lower = cdf(distribution, y), cdf_below(distribution, y)
    jump = upper - lower > 1e-6
    if bool(jump.any()):
        middle = icdf(distribution, torch.lerp(lower, upper, 0.5))
        close("`icdf` at a level between P(Y < y) and P(Y <= y)", middle[jump], y[jump], EXACT)
    ends = _ends(distribution, found[0])
    for level, end in zip((0.0, 1.0), ends, strict=True):
        at_end = icdf(distribution, torch.full_like(end, level))
        same = bool(((at_end == end) | ((at_end - end).abs() <= EXACT)).all())
        require(
            same, f"`icdf` at the level {level:g} is {at_end.tolist()}, should be the end of the support {end.tolist()}"
        )
    if not bool(jump.any()):
        again = cdf(distribution, from_normal_score(distribution, normal_score(distribution, y)))
        close("`cdf` at `from_normal_score(normal_score)`", again, upper, LINK)
    single = icdf(_distributions(case, torch.float32), q.float())
    require(
        single.is_floating_point() is found.is_floating_point(), f"`icdf` of a float32 distribution is {single.dtype}"
    )
    _require_quantiles(_rounded(case), single, q.float().double(), SINGLE)


def _check_sampling(case: Case) -> None:
    distribution, shape = _distributions(case), (_SAMPLED, ROWS)
    draws = distribution.sample(torch.Size([_SAMPLED]))
    require(draws.shape == shape, f"`sample(({_SAMPLED},))` gave the shape {tuple(draws.shape)}, should be {shape}")
    single = _distributions(case, torch.float32).sample()
    require(single.shape == (ROWS,), f"`sample()` gave the shape {tuple(single.shape)}, should be {(ROWS,)}")
    dtypes = (torch.float64, torch.float32)
    same = not draws.is_floating_point() or (draws.dtype, single.dtype) == dtypes
    require(same, f"`sample` of float64 and float32 parameters gave {draws.dtype} and {single.dtype}")
    y = draws.double()
    support: Any = distribution.support
    require(bool(support.check(y).all()), "draws lie outside of the `support`")
    upper, lower = cdf(distribution, y).double(), cdf_below(distribution, y).double()
    order = y.T.contiguous().sort(-1).values
    for name, right, want in (("P(Y <= y)", True, upper), ("P(Y < y)", False, lower)):
        share = torch.searchsorted(order, y.T.contiguous(), right=right).T / _SAMPLED
        _require_below(f"the share of draws is off from {name} of the same row", share - want, _dkw(_SAMPLED))
    # on jumps a uniform number decides, so that all are uniform, and all rows together more exact
    uniform = torch.lerp(lower, upper, torch.rand(shape, generator=case.generator, dtype=torch.float64))
    together = uniform.flatten().sort().values
    ranks = torch.arange(1, together.numel() + 1, dtype=torch.float64) / together.numel()
    _require_below("over all rows the share of draws is off from the cdf", ranks - together, _dkw(together.numel()))
    centred = (uniform - uniform.mean(0)) / uniform.std(0)
    correlation = (centred.T @ centred / _SAMPLED).fill_diagonal_(0)
    limit = _STANDARD_ERRORS / _SAMPLED**0.5
    _require_below("the draws of different rows are correlated", correlation, limit)
    _require_below("one draw is correlated with the next", (centred[1:] * centred[:-1]).mean(0), limit)
    again = torch.equal(distribution.sample(torch.Size([_SAMPLED])).double(), y)
    require(not again, "two calls of `sample` give the same draws")


def _check_point_masses(case: Case) -> None:
    distribution = _distributions(case)
    places, masses = atoms(distribution)
    if is_discrete(distribution):
        require(not len(places), "`atoms` are those of distributions that are not discrete")
        return
    total = masses.sum(0)
    require(bool((masses >= 0).all() & (total <= 1 + EXACT).all()), f"`atoms` have the probabilities {total.tolist()}")
    draws = distribution.sample(torch.Size([_SAMPLED])).double()
    for place in places:
        mass = mass_at(distribution, place)
        close("the jump of `cdf` at a point mass", _jump(distribution, place), mass, LINK)
        there = mass > 0
        close("`log_prob` of a point mass", distribution.log_prob(place)[there], mass.log()[there], EXACT)
        error = ((draws == place).double().mean(0) - mass).abs() / (mass * (1 - mass) / _SAMPLED).sqrt().clamp(min=1e-9)
        _require_below("the share of draws at a point mass is off, in standard errors,", error, _STANDARD_ERRORS)
    for row, values in enumerate(draws.T):
        value, count = values.unique(return_counts=True)
        tied = value[count > _TIES]
        unnamed = tied[~(places[:, row].unsqueeze(-1) == tied).any(0)]
        require(not len(unnamed), f"many draws are {unnamed[:3].tolist()}, which `atoms` does not name as point masses")
    at_ends = [end for end in _ends(distribution, draws[0]) if bool(end.isfinite().all())]
    y = torch.stack([*draws[:_PLACES], *at_ends])
    close("the jump of `cdf`, against `atoms`,", _jump(distribution, y), mass_at(distribution, y), LINK)


def _check_moments(case: Case) -> None:
    distribution = _distributions(case)
    if isinstance(distribution, Categorical):
        return  # the numbers of classes have no mean
    y, log_step = grid(case.family, case.eta)
    mass = (log_prob(case.family, case.eta, y) + log_step).exp()
    mean = (mass * y).sum(0)
    squares = mass * (y - mean).square()
    variance = squares.sum(0)
    # where the outermost places still count, the tails are too heavy for a sum
    outer = torch.cat([squares[:_PLACES], squares[-_PLACES:]]).sum(0)
    known = torch.full_like(outer, True, dtype=torch.bool) if is_discrete(distribution) else outer < 1e-9 * variance
    for name in ("mean", "variance"):
        require(_has(distribution, name), f"the distribution has no `{name}`, which predictions and scores need")
    spread = variance.sqrt()
    off = ((distribution.mean - mean) / spread)[known]
    close("`mean` less the integral, in standard deviations,", off, torch.zeros_like(off), INTEGRAL)
    ratio = (distribution.variance / variance)[known]
    close("`variance` over the integral", ratio, torch.ones_like(ratio), INTEGRAL)


def _check_scores(case: Case) -> None:
    eta, y = case.eta.expand(_SCORED, *case.eta.shape), case.y[:_SCORED]
    distribution = case.family.distribution(eta)
    close("the `nll`, against `log_prob`,", marginal_nll(distribution, y), -distribution.log_prob(y), EXACT)
    points, weights = (t.expand(_SCORED, *t.shape) for t in case.points(2))
    mixing = Categorical(probs=weights, validate_args=False)
    mixture = Mixture(mixing, case.family.distribution(points), validate_args=False)
    ends = [icdf(distribution, torch.full_like(y, level)).double() for level in (0.3, 0.8)]
    _compare_scores("", distribution, y, ends)
    _compare_scores(" of a mixture", mixture, y, ends)


def _compare_scores(kind: str, distribution: Distribution, y: Tensor, ends: list[Tensor]) -> None:
    """What is registered for the distribution or a mixture of its kind against the general forms."""
    mixed = isinstance(distribution, Mixture)
    generics = (mixture_crps, mixture_window_crps) if mixed else (marginal_crps, marginal_window_crps)
    scored, windowed = (generic.dispatch(type(innermost(distribution))) for generic in generics)
    if scored is not generics[0].dispatch(object):
        value, bound = marginal_crps_with_bound(distribution, y)
        close(f"the `crps`{kind}, with and without a bound,", value, marginal_crps(distribution, y), LINK)
        want, error = generic_crps_with_bound(distribution, y)
        # an infinite mean makes an infinite score
        known = want.isfinite() & (error < INTEGRAL * want)
        ratio = (value / want)[known]
        close(f"the `crps`{kind}, over the general one,", ratio, torch.ones_like(ratio), INTEGRAL)
        over = (((value - want).abs() - error - bound) / want)[known].clamp(min=0)
        _require_below(f"`crps_with_bound`{kind} promises too much, relative to the score", over, EXACT)
    if windowed is not generics[1].dispatch(object):
        value = marginal_window_crps(distribution, y, *ends)
        close(f"the CRPS{kind} between thresholds", value, generic_window_crps(distribution, y, *ends), INTEGRAL)


def _rounded(case: Case) -> Distribution:
    """The distribution in float64 at parameters in float32."""
    return case.family.distribution(case.eta.float().double())


def _ends(distribution: Distribution, like: Tensor) -> tuple[Tensor, Tensor]:
    """Both ends of the support, (*batch_shape)."""
    lower, upper = (end.expand(distribution.batch_shape) for end in support_ends(distribution))
    return lower, upper


def _jump(distribution: Distribution, y: Tensor) -> Tensor:
    before = torch.nextafter(y, torch.full_like(y, -torch.inf))
    return cdf(distribution, y) - cdf(distribution, before)


def _require_quantiles(distribution: Distribution, y: Tensor, q: Tensor, tolerance: float) -> None:
    """The cdf passes the level at the quantile, or one rounding of it beside."""
    if is_discrete(distribution):
        before, after = y.double() - 1, y.double()
    else:
        before, after = (torch.nextafter(y, torch.full_like(y, end)).double() for end in (-torch.inf, torch.inf))
    below, above = cdf(distribution, before), cdf(distribution, after)
    late, early = (below - q).amax().item(), (q - above).amax().item()
    require(late <= tolerance, f"`icdf` is too large: below it `cdf` is above the level by {late:.3g} already")
    require(early <= tolerance, f"`icdf` is too small: `cdf` there is below the level by {early:.3g}")


def _dkw(count: int) -> float:
    """What the share of independent draws is off from a cdf at most, by Dvoretzky, Kiefer, Wolfowitz and Massart."""
    return math.sqrt(math.log(2 / _CHANCE) / (2 * count)) + 1 / count


def _require_below(what: str, values: Tensor, limit: float) -> None:
    worst = values.abs().amax().item() if values.numel() else 0.0
    require(worst <= limit, f"{what} by {worst:.3g} (limit {limit:.3g})")


def _extreme(values: Tensor) -> float:
    low, high = values.amin().item(), values.amax().item()
    return low if not low >= 0 else high


def _has(distribution: Distribution, name: str) -> bool:
    try:
        getattr(distribution, name)
    except NotImplementedError:
        return False
    return True


DISTRIBUTION_CONTRACTS: dict[str, Callable[[Case], None]] = {
    "cdf": _check_cdf,
    "icdf": _check_icdf,
    "sampling": _check_sampling,
    "point masses": _check_point_masses,
    "distribution moments": _check_moments,
    "scores": _check_scores,
}
