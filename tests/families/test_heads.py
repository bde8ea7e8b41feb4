"""Heads: shapes, gradients, use in Pyro programs, errors; and that the package leaves global state alone."""

import subprocess
import sys

import pyro
import pyro.poutine
import pytest
import torch
from families_table import draws, ordinary_params, over_families

from probmix import NaturalHead, families
from probmix.families import Categorical, ExponentialFamily, Gaussian
from probmix.heads import marginal_bias, natural_params_from


@pytest.fixture(autouse=True)
def seeded() -> object:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


@over_families
@pytest.mark.parametrize("batch", [(7,), (2, 3), ()])
@pytest.mark.parametrize("num_targets", [None, 1, 3])
def test_shapes(family: ExponentialFamily, batch: tuple[int, ...], num_targets: int | None) -> None:
    head = NaturalHead(family, 4, num_targets)
    targets = () if num_targets is None else (num_targets,)
    eta = head(torch.randn(*batch, 4))
    assert eta.shape == (*batch, *targets, family.num_params)
    distribution = family.distribution(eta)
    assert distribution.batch_shape == distribution.sample().shape == (*batch, *targets)


@over_families
def test_gradients_reach_features_and_weights(family: ExponentialFamily) -> None:
    head = NaturalHead(family, 4, 2)
    features = torch.randn(5, 4, requires_grad=True)
    eta = head(features)
    family.expected_nll(eta, family.point_label(draws(family, eta.detach()))).sum().backward()
    for tensor in (features, *head.parameters()):
        assert bool(tensor.grad.isfinite().all())
        assert bool(tensor.grad.any())


@over_families
def test_a_head_in_a_pyro_model(family: ExponentialFamily) -> None:
    head, features = NaturalHead(family, 3), torch.randn(5, 3)
    y = draws(family, head(features).detach()).float()

    def model(features: torch.Tensor, y: torch.Tensor | None = None) -> torch.Tensor:
        with pyro.plate("rows", len(features)):
            return pyro.sample("y", family.distribution(head(features)), obs=y)

    assert model(features).shape == (5,)
    trace = pyro.poutine.trace(model).get_trace(features, y)
    torch.testing.assert_close(trace.log_prob_sum(), family.log_prob(head(features), y).sum())


def test_heads_differ_by_family_only() -> None:
    assert NaturalHead(Categorical(5), 4).linear.out_features == 5
    assert NaturalHead("gaussian", 4).family == Gaussian()
    assert list(NaturalHead("gamma", 4).state_dict()) == ["linear.weight", "linear.bias"]


@over_families
@pytest.mark.parametrize("num_targets", [None, 2])
def test_marginal_bias_predicts_the_marginal(family: ExponentialFamily, num_targets: int | None) -> None:
    eta = ordinary_params(family, 3, *(() if num_targets is None else (num_targets,)))
    bias = marginal_bias(family, eta, num_targets)
    assert bias.shape == (3, family.num_raw * (num_targets or 1))
    torch.testing.assert_close(natural_params_from(bias, family, num_targets), eta)


@over_families
def test_marginal_bias_of_extreme_targets_is_finite(family: ExponentialFamily) -> None:
    """Constant targets, and classes and counts that were never seen."""
    y = torch.zeros(20) if family.name in ("categorical", "poisson") else torch.full((20,), 3.0)
    bias = marginal_bias(family, family.marginal_params(y), None)
    assert bool(bias.isfinite().all())


def test_unknown_family_names() -> None:
    with pytest.raises(ValueError, match="unknown family") as error:
        NaturalHead("poison", 3)
    assert str(error.value) == "unknown family 'poison'; did you mean 'poisson' or 'hurdle-poisson'?"
    with pytest.raises(ValueError, match="unknown family") as error:
        NaturalHead("zipf", 3)
    known = ", ".join(map(repr, families.names()))
    assert str(error.value) == f"unknown family 'zipf'; known are {known}."


def test_importing_and_calling_leaves_global_state_alone() -> None:
    code = """
import pyro, torch
def state():
    return torch.get_rng_state().tolist(), torch.get_default_dtype(), torch.distributions.Distribution._validate_args
before = state()
import probmix, probmix.testing
assert state() == before, "importing changed global state"
for family in map(probmix.families.get, ("gaussian", "poisson", "gamma")):
    probmix.testing.check_family(family)
    eta = family.constrain(torch.zeros(3, family.num_raw))
    y = torch.ones(3)
    family.expected_nll(eta, family.pool_labels(y, torch.ones(3) / 3))
    weights = torch.tensor([0.5, 0.25, 0.25])
    probmix.log_linear_pool(eta, weights), probmix.linear_pool(family.distribution(eta), weights).log_prob(y[0])
assert state() == before, "calling changed global state"
"""
    result = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
