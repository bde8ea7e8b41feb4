"""The contracts of cdf, quantiles, draws, point masses, moments and scores name what a broken distribution breaks."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import pyro.distributions as dist
import pytest
import torch
from third_party import Gumbel, GumbelDistribution

from probmix import distributions
from probmix.distributions import atoms, cdf, icdf
from probmix.distributions.scoring import marginal_crps, marginal_window_crps, mixture_crps
from probmix.families import Gaussian, LogNormal, Poisson, ZeroAdjusted
from probmix.testing import check_family


class Normal(dist.Normal):
    """What the broken ones derive from; classes of torch are registered, their heirs keep their own functions."""

    broken: ClassVar[str] = ""


def _normal(**methods: Any) -> type[Normal]:
    return type("BrokenNormal", (Normal,), methods)


def _register(generic: Any, kind: type, function: Callable[..., Any]) -> type:
    generic.register(kind)(function)
    return kind


def _right_cdf(distribution: Any, y: torch.Tensor) -> torch.Tensor:
    return cdf.dispatch(torch.distributions.Normal)(distribution, y)


def _right_icdf(distribution: Any, q: torch.Tensor) -> torch.Tensor:
    return icdf.dispatch(torch.distributions.Normal)(distribution, q)


def _same_noise(self: Any, sample_shape: Any = ()) -> torch.Tensor:
    noise = torch.randn((*sample_shape, 1), dtype=self.loc.dtype)
    return self.loc + self.scale * noise.expand(*sample_shape, *self.batch_shape)


def _first_row(self: Any, sample_shape: Any = ()) -> torch.Tensor:
    shape = self._extended_shape(sample_shape)
    return self.loc.flatten()[0] + self.scale.flatten()[0] * torch.randn(shape, dtype=self.loc.dtype)


def _without_batch(self: Any, sample_shape: Any = ()) -> torch.Tensor:
    return self.loc.flatten()[0] + torch.randn(torch.Size(sample_shape), dtype=self.loc.dtype)


def _chained(self: Any, sample_shape: Any = ()) -> torch.Tensor:
    noise = torch.randn(self._extended_shape(sample_shape), dtype=self.loc.dtype)
    if noise.ndim == 2:
        noise[1:] = 0.8 * noise[:-1] + 0.6 * noise[1:]
    return self.loc + self.scale * noise


def _frozen(self: Any, sample_shape: Any = ()) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(self._extended_shape(sample_shape), dtype=self.loc.dtype, generator=generator)
    return self.loc + self.scale * noise


def _wider(self: Any, sample_shape: Any = ()) -> torch.Tensor:
    return self.loc + 1.1 * self.scale * torch.randn(self._extended_shape(sample_shape), dtype=self.loc.dtype)


def _in_float32(distribution: Any, y: torch.Tensor) -> torch.Tensor:
    # as accurate as the dtype of the parameters, but for what cancels
    z = ((y - distribution.loc) / distribution.scale).double()
    noise = 1e-4 if distribution.loc.dtype == torch.float32 else 0.0
    return (torch.special.ndtr(z) + noise * z.sin()).clamp(0, 1).to(distribution.loc.dtype)


NORMAL = torch.distributions.Normal


def _cdf(function: Callable[..., torch.Tensor]) -> type:
    return _register(cdf, _normal(), function)


def _icdf(function: Callable[..., torch.Tensor]) -> type:
    return _register(icdf, _normal(), function)


def _another_score(distribution: Any, y: torch.Tensor) -> torch.Tensor:
    return 1.001 * marginal_crps.dispatch(NORMAL)(distribution, y)


def _another_mixture_score(component: Any, mixture: Any, y: torch.Tensor) -> torch.Tensor:
    return 0.01 + mixture_crps.dispatch(NORMAL)(component, mixture, y)


def _another_window(distribution: Any, y: torch.Tensor, lower: torch.Tensor, upper: torch.Tensor) -> torch.Tensor:
    return marginal_window_crps.dispatch(NORMAL)(distribution, y, lower - 0.1, upper)


def _fifth_at_zero(distribution: Any) -> tuple[torch.Tensor, torch.Tensor]:
    zero = 0 * distribution.loc[None].double()
    return zero, zero + 0.2


# what is wrong, the class, and the contracts that it breaks
NORMALS: list[tuple[str, Callable[[], type], str]] = [
    (
        "a shifted cdf",
        lambda: _cdf(lambda d, y: _right_cdf(d, y + 0.01 * d.scale)),
        "cdf, icdf, scores",
    ),
    (
        "the cdf of another scale",
        lambda: _cdf(lambda d, y: _right_cdf(dist.Normal(d.loc, 1.2 * d.scale), y)),
        "cdf, icdf, sampling, scores",
    ),
    (
        "a cdf above one",
        lambda: _cdf(lambda d, y: 1.0001 * _right_cdf(d, y)),
        "cdf, icdf, scores",
    ),
    (
        "a cdf that falls",
        lambda: _cdf(lambda d, y: 1 - _right_cdf(d, y)),
        "cdf, icdf, sampling, scores",
    ),
    (
        "a cdf with a step that is no point mass",
        lambda: _cdf(lambda d, y: torch.where(y < d.loc, 0.9, 1.0) * _right_cdf(d, y)),
        "cdf, icdf, sampling, scores",
    ),
    ("a cdf without digits in float32", lambda: _cdf(_in_float32), "cdf"),
    ("quantiles of another level", lambda: _icdf(lambda d, q: _right_icdf(d, q.square())), "icdf"),
    ("quantiles that fall", lambda: _icdf(lambda d, q: _right_icdf(d, 1 - q)), "icdf, scores"),
    (
        "quantiles that stop before the ends",
        lambda: _icdf(lambda d, q: _right_icdf(d, q.clamp(1e-7, 1 - 1e-7))),
        "icdf",
    ),
    ("draws of another scale", lambda: _normal(sample=_wider), "sampling"),
    ("draws with the same noise in all rows", lambda: _normal(sample=_same_noise), "sampling"),
    ("draws from the first row alone", lambda: _normal(sample=_first_row), "sampling"),
    ("draws that depend on the last one", lambda: _normal(sample=_chained), "sampling"),
    ("draws that are always the same", lambda: _normal(sample=_frozen), "sampling"),
    (
        "draws on a grid",
        lambda: _normal(sample=lambda d, shape=(): _wider(d, shape).round()),
        "moments, check_targets, sampling, point masses, log-linear pooling",
    ),
    (
        "another mean",
        lambda: _normal(mean=property(lambda d: d.loc + 0.01 * d.scale)),
        "cdf, distribution moments, scores, round trips",
    ),
    (
        "another variance",
        lambda: _normal(variance=property(lambda d: 1.01 * d.scale.square())),
        "distribution moments, round trips",
    ),
    ("another score", lambda: _register(marginal_crps, _normal(), _another_score), "scores"),
    ("another score of mixtures", lambda: _register(mixture_crps, _normal(), _another_mixture_score), "scores"),
    ("another window", lambda: _register(marginal_window_crps, _normal(), _another_window), "scores"),
    (
        "a point mass that is none",
        lambda: _register(atoms, _normal(), _fifth_at_zero),
        "moments, cdf, point masses, log-linear pooling, transported_residuals",
    ),
]


def broken_by(kind: type) -> Gaussian:
    """A Gaussian family with another distribution of the same parameters."""

    def distribution(self: Gaussian, eta: torch.Tensor) -> dist.TorchDistribution:
        normal = Gaussian.distribution(self, eta)
        return kind(normal.loc, normal.scale)

    return found_by_pickle(type("Broken", (Gaussian,), {"distribution": distribution, "__module__": __name__}))


def found_by_pickle(kind: type) -> Any:
    broken = dataclass(frozen=True)(kind)
    setattr(sys.modules[__name__], kind.__name__, broken)
    return broken


@pytest.mark.parametrize(("fault", "kind", "contracts"), NORMALS, ids=[row[0] for row in NORMALS])
def test_broken_normals(fault: str, kind: Callable[[], type], contracts: str) -> None:
    family = broken_by(kind())()
    with pytest.raises(AssertionError, match="breaks") as error:
        check_family(family)
    assert told(error) == set(contracts.split(", ")), str(error.value)


def test_draws_without_the_batch_shape() -> None:
    with pytest.raises(AssertionError) as error:
        check_family(broken_by(_normal(sample=_without_batch))())
    assert "- sampling: `sample((5000,))` gave the shape (5000,), should be (5000, 6)" in str(error.value)


# -- counts and zeros --------------------------------------------------------------------------------------------------


def _poisson(**methods: Any) -> type:
    return type("BrokenPoisson", (distributions.Poisson,), methods)


def _zero_adjusted(**methods: Any) -> type:
    return type("BrokenZeroAdjusted", (distributions.ZeroAdjusted,), methods)


def _right(generic: Any, kind: type) -> Callable[..., torch.Tensor]:
    function: Callable[..., torch.Tensor] = generic.dispatch(kind)
    return function


POISSON, ADJUSTED = distributions.Poisson, distributions.ZeroAdjusted


def _without_the_zero(distribution: Any, y: torch.Tensor) -> torch.Tensor:
    return (-distribution.gate_logits).sigmoid() * cdf(distribution.base_dist, y.clamp(min=0))


def _smaller_zero(distribution: Any) -> tuple[torch.Tensor, torch.Tensor]:
    gate = distribution.gate_logits[None].double()
    return 0 * gate, 0.9 * gate.sigmoid()


OTHERS: list[tuple[str, Any, Callable[[], type], str]] = [
    (
        "quantiles of counts one too high",
        Poisson(),
        lambda: _register(icdf, _poisson(), lambda d, q: _right(icdf, POISSON)(d, q) + (q > 0).to(d.rate.dtype)),
        "icdf",
    ),
    (
        "quantiles of counts one too low",
        Poisson(),
        lambda: _register(icdf, _poisson(), lambda d, q: (_right(icdf, POISSON)(d, q) - 1).clamp(min=0)),
        "icdf",
    ),
    (
        "P(Y < y) for a cdf of counts",
        Poisson(),
        lambda: _register(cdf, _poisson(), lambda d, y: _right(cdf, POISSON)(d, y - 1)),
        "cdf, icdf, sampling",
    ),
    (
        "a cdf of counts that rises between them",
        Poisson(),
        lambda: _register(cdf, _poisson(), lambda d, y: torch.special.gammaincc(y.clamp(min=0) + 1, d.rate)),
        "cdf, icdf, sampling",
    ),
    (
        "a point mass that is missing from the cdf",
        ZeroAdjusted(LogNormal()),
        lambda: _register(cdf, _zero_adjusted(), _without_the_zero),
        "cdf, icdf, sampling, point masses, scores",
    ),
    (
        "a point mass of another probability",
        ZeroAdjusted(LogNormal()),
        lambda: _register(atoms, _zero_adjusted(), _smaller_zero),
        "moments, marginal_params, cdf, sampling, point masses, log-linear pooling, transported_residuals",
    ),
    (
        "a point mass that nobody names",
        ZeroAdjusted(LogNormal()),
        lambda: _register(atoms, _zero_adjusted(), atoms.dispatch(object)),
        "moments, marginal_params, rescale, cdf, sampling, point masses, log-linear pooling",
    ),
    (
        "draws without the point mass",
        ZeroAdjusted(LogNormal()),
        lambda: _zero_adjusted(sample=lambda d, shape=(): d.base_dist.sample(torch.Size(shape))),
        "sampling, point masses",
    ),
    (
        "another log_prob of the point mass",
        ZeroAdjusted(LogNormal()),
        lambda: _zero_adjusted(log_prob=lambda d, y: _right_log_prob(d, y) + 0.1 * (y == 0)),
        "log_prob, point masses",
    ),
]


def _right_log_prob(distribution: Any, y: torch.Tensor) -> torch.Tensor:
    log_prob: torch.Tensor = distributions.ZeroAdjusted.log_prob(distribution, y)
    return log_prob


@pytest.mark.parametrize(("fault", "family", "kind", "contracts"), OTHERS, ids=[row[0] for row in OTHERS])
def test_broken_counts_and_zeros(fault: str, family: Any, kind: Callable[[], type], contracts: str) -> None:
    broken = kind()

    def distribution(self: Any, eta: torch.Tensor) -> Any:
        right = type(family).distribution(self, eta)
        return broken(right.rate) if isinstance(family, Poisson) else broken(right.base_dist, right.gate_logits)

    methods = {"distribution": distribution, "__module__": __name__}
    with pytest.raises(AssertionError, match="breaks") as error:
        check_family(found_by_pickle(type("Broken", (type(family),), methods))(**vars(family)))
    assert told(error) == set(contracts.split(", ")), str(error.value)


# -- what has neither cdf nor density ----------------------------------------------------------------------------------


class NoDensity(GumbelDistribution):
    def log_prob(self, value: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError


@dataclass(frozen=True)
class WithoutDensity(Gumbel):
    def distribution(self, eta: torch.Tensor) -> dist.TorchDistribution:
        return NoDensity(*eta.unbind(-1))


def test_a_family_with_neither_cdf_nor_density_is_told_what_to_implement() -> None:
    with pytest.raises(AssertionError, match="breaks") as error:
        check_family(WithoutDensity())
    assert {"cdf", "icdf", "sampling"} <= told(error)
    want = "NoDensity has no cdf, and none can be made from its `log_prob`: it has none either. Give the class methods"
    assert want in str(error.value)


def test_a_family_with_a_density_alone_keeps_the_contracts() -> None:
    check_family(Gumbel())


def told(error: Any) -> set[str]:
    _, *lines = str(error.value).splitlines()
    return {line.removeprefix("- ").partition(":")[0] for line in lines if line.startswith("- ")}
