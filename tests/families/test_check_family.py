"""The public contract suite: it passes the families here and anyone's, and names what a broken one breaks."""

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pyro.distributions as dist
import pytest
import torch
from families_table import over_families
from third_party import Bernoulli, Beta, Exponential

from probmix import NaturalHead, families
from probmix.families import Categorical, ExponentialFamily, Gamma, Gaussian, Label, Poisson, registry
from probmix.testing import check_family


@pytest.mark.parametrize("seed", [0, 1, 2])
@over_families
def test_the_families_keep_their_contracts(family: ExponentialFamily, seed: int) -> None:
    check_family(family, seed)


@pytest.mark.parametrize("family", [Exponential(), Bernoulli(), Beta()], ids=repr)
def test_third_party_families_can_run_the_suite(family: ExponentialFamily) -> None:
    check_family(family)


def test_the_global_random_state_is_left_alone() -> None:
    before = torch.get_rng_state()
    check_family(Poisson())
    assert torch.equal(torch.get_rng_state(), before)


# -- a third-party family in use ---------------------------------------------------------------------------------------


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(registry, "_FAMILIES", dict(registry._FAMILIES))
    families.register("waiting-times", Exponential)
    return "waiting-times"


def test_a_registered_family_is_found_by_name(registered: str) -> None:
    assert registered in families.names()
    assert families.get(registered) == Exponential()
    head = NaturalHead(registered, 3)
    assert head.family.distribution(head(torch.zeros(4, 3))).batch_shape == (4,)
    with pytest.raises(ValueError, match=r"unknown family 'waiting-tims'; did you mean 'waiting-times'\?"):
        families.get("waiting-tims")


def test_what_a_family_does_not_define_says_so() -> None:
    y, half = torch.tensor([[1.0, 2.0]]), torch.tensor([[0.5, 0.5]])
    with pytest.raises(ValueError, match="label kernel") as error:
        Exponential().pool_labels(y, half, spread=0.1)
    assert str(error.value) == (
        "the family 'exponential' defines no label kernel, so `label_spread` must be 0, got 0.1. "
        "Implement `kernel_excess` to give it one."
    )
    with pytest.raises(ValueError, match="calibrated label side") as error:
        Exponential().calibrated_label(y, half, torch.tensor([[-1.0]]))
    assert str(error.value) == (
        "the family 'exponential' has no calibrated label side for fusion at the input; "
        "use at='output', or implement `averaging_excess`."
    )


# -- broken families ---------------------------------------------------------------------------------------------------


def _literal(self: ExponentialFamily, eta: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    inner = (eta * self.sufficient_statistics(y)).sum(-1)
    return inner - self.log_normalizer(eta) + self.log_base_measure(y)


def _leaky_label(self: Any, y: Any, w: Any, eta: Any, spread: float = 0.0, eta_points: Any = None) -> Label:
    excess = (w.unsqueeze(-1) * (self.sufficient_statistics(y) - self.mean_params(eta_points))).sum(-2)
    mean = (w * y).sum(-1)
    return Label(mean, excess + self.mean_params(eta.detach()) - self.sufficient_statistics(mean))


def _biased_label(self: Any, y: Any, w: Any, eta: Any, spread: float = 0.0, eta_points: Any = None) -> Label:
    return self.pool_labels(y, w, spread)


BROKEN: list[tuple[str, ExponentialFamily, str, Callable[..., object], set[str]]] = [
    (
        "sign of A",
        Gaussian(),
        "log_normalizer",
        lambda self, eta: -Gaussian.log_normalizer(self, eta),
        {"log_prob", "moments"},
    ),
    (
        "mean_params without the variance",
        Gaussian(),
        "mean_params",
        lambda self, eta: torch.stack([self.distribution(eta).mean, self.distribution(eta).mean ** 2], -1),
        {"moments", "calibrated label", "transported_residuals"},
    ),
    (
        "residual without the variance",
        Gaussian(),
        "residual",
        lambda self, eta, y: self.sufficient_statistics(y) - self.sufficient_statistics(self.distribution(eta).mean),
        {"residual", "calibrated label"},
    ),
    (
        "residuals in their own location",
        Gaussian(),
        "transported_residuals",
        lambda self, y, points, eta: self.sufficient_statistics(y) - self.mean_params(eta).unsqueeze(-2),
        {"transported_residuals"},
    ),
    (
        "half the scale",
        Gaussian(),
        "distribution",
        lambda self, eta: dist.Normal(Gaussian.distribution(self, eta).mean, (-0.25 / eta[..., 1]).sqrt()),
        {"round trips", "log_prob", "distribution moments"},
    ),
    (
        "no constant",
        Gaussian(),
        "log_base_measure",
        lambda self, y: torch.zeros_like(y),
        {"log_prob"},
    ),
    (
        "density without its constant",
        Gaussian(),
        "_log_prob",
        lambda self, eta, y: Gaussian._log_prob(self, eta, y) + 0.9,
        {"log_prob", "moments", "log-linear pooling", "marginal_params", "distribution moments"},
    ),
    (
        "float64 out",
        Gamma(),
        "log_prob",
        lambda self, eta, y: self._log_prob(eta.double(), y.double()),
        {"log_prob"},
    ),
    (
        "unbounded link",
        Poisson(),
        "constrain",
        lambda self, raw: raw,
        {"extreme outputs"},
    ),
    (
        "link that leaves the domain",
        Gamma(),
        "constrain",
        lambda self, raw: Gamma.constrain(self, raw) - raw.clamp(10, 11) + 10,
        {"extreme outputs"},
    ),
    (
        "link without a gradient at its end",
        Poisson(),
        "constrain",
        lambda self, raw: Poisson.constrain(self, raw) + 0 * (raw.square() + 1).sqrt(),
        {"extreme outputs"},
    ),
    (
        "unconstrain is not the inverse",
        Gamma(),
        "unconstrain",
        lambda self, eta: Gamma.unconstrain(self, eta) + 0.01,
        {"round trips"},
    ),
    (
        "natural_params of the standard deviation",
        Gaussian(),
        "natural_params",
        lambda self, d: torch.stack([d.mean / d.variance, -0.5 / d.stddev], -1),
        {"round trips"},
    ),
    (
        "weights in the wrong order",
        Categorical(3),
        "pool_labels",
        lambda self, y, w, spread=0.0, pool="log-linear": Categorical.pool_labels(self, y, w.flip(-1), spread, pool),
        {"label losses", "residual", "calibrated label"},
    ),
    (
        "loss without the spread of the label",
        Gaussian(),
        "expected_nll",
        lambda self, eta, label: ExponentialFamily.expected_nll(self, eta, replace(label, excess=None)),
        {"label losses", "residual", "calibrated label"},
    ),
    ("label that leaks a gradient", Gaussian(), "calibrated_label", _leaky_label, {"calibrated label"}),
    ("label that is not calibrated", Gamma(), "calibrated_label", _biased_label, {"calibrated label"}),
    (
        "marginal of another mean",
        Poisson(),
        "marginal_params",
        lambda self, y, weights=None, dim=0: Poisson.marginal_params(self, y, weights, dim) + 0.1,
        {"marginal_params"},
    ),
    (
        "rescale forgets the location",
        Gaussian(),
        "rescale",
        lambda self, eta, scaler: Gaussian.rescale(self, eta, replace(scaler, loc=torch.zeros_like(scaler.loc))),
        {"rescale"},
    ),
    (
        "rescale multiplies the rate",
        Gamma(),
        "rescale",
        lambda self, eta, scaler: eta.double() * torch.stack([torch.ones_like(scaler.scale), scaler.scale], -1),
        {"rescale"},
    ),
    (
        "rescale in float32",
        Poisson(),
        "rescale",
        lambda self, eta, scaler: eta,
        {"rescale"},
    ),
    (
        "stretch of the marginal",
        Gaussian(),
        "stretch",
        lambda self, eta, marginal, factor: Gaussian.stretch(self, marginal, eta, factor),
        {"stretch"},
    ),
    (
        "targets unchecked",
        Poisson(),
        "check_targets",
        lambda self, y: None,
        {"check_targets"},
    ),
    (
        "targets refused",
        Gamma(),
        "check_targets",
        lambda self, y: Poisson().check_targets(y),
        {"rescale", "check_targets"},
    ),
    (
        "not in natural parameters",
        Poisson(),
        "_log_prob",
        lambda self, eta, y: Poisson._log_prob(self, eta.exp().log1p(), y),
        {
            "log_prob",
            "moments",
            "log-linear pooling",
            "marginal_params",
            "distribution moments",
            "residual",
            "transported_residuals",
        },
    ),
    ("an error", Exponential(), "log_normalizer", lambda self, eta: eta.no_such_method(), {"log_prob", "moments"}),
    ("no name", Exponential(), "name", property(lambda self: ""), {"object"}),
]


@pytest.mark.parametrize(
    ("fault", "family", "method", "replacement", "contracts"), BROKEN, ids=[row[0] for row in BROKEN]
)
def test_broken_families_are_told_which_contracts_they_break(
    monkeypatch: pytest.MonkeyPatch, fault: str, family: Any, method: str, replacement: Any, contracts: set[str]
) -> None:
    broken = dataclass(frozen=True)(type("Broken", (type(family),), {method: replacement, "__module__": __name__}))
    monkeypatch.setattr(sys.modules[__name__], "Broken", broken, raising=False)  # where pickle looks for it
    with pytest.raises(AssertionError, match="breaks") as error:
        check_family(broken(**vars(family)))
    first, *lines = str(error.value).splitlines()
    assert first.endswith(f"breaks {len(contracts)} contract(s):"), str(error.value)
    assert {line.removeprefix("- ").partition(":")[0] for line in lines} == contracts, str(error.value)


def test_the_message_carries_the_numbers() -> None:
    with pytest.raises(AssertionError) as error:
        check_family(Shifted())
    numbers = re.search(r"- moments: `mean_params`, against grad A, is (\S+), should be (\S+) ", str(error.value))
    assert float(numbers[1]) - float(numbers[2]) == pytest.approx(2)


@dataclass(frozen=True)
class Shifted(Poisson):
    """E[T(y)] two too large."""

    def mean_params(self, eta: torch.Tensor) -> torch.Tensor:
        return super().mean_params(eta) + 2


class Mutable(Poisson):
    """A subclass that forgot @dataclass(frozen=True)."""


@dataclass(eq=False, frozen=True)
class ByIdentity(Gamma):
    """Equal to itself only."""

    __eq__ = object.__eq__
    __hash__ = object.__hash__


def test_objects_must_be_frozen_and_compare_by_value() -> None:
    with pytest.raises(AssertionError, match="- object: the family must be frozen"):
        check_family(Mutable())
    with pytest.raises(AssertionError, match="- object: the pickled copy is not equal to the family"):
        check_family(ByIdentity())
