"""Densities further from the marginal one by a factor: how predictions take back what mixup did to the targets."""

import numpy as np
import pytest
import torch

from probmix import families
from probmix.families import Family

OPTIONS = {"categorical": {"num_classes": 3}, "multivariate-gaussian": {"num_targets": 2}}
FAMILIES = [families.get(name, **OPTIONS.get(name, {})) for name in families.names()]
over_families = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)


def params(family, seed=0, dtype=torch.float64, scale=0.5):
    generator = torch.Generator().manual_seed(seed)
    return family.constrain(scale * torch.randn(6, family.num_raw, generator=generator, dtype=dtype))


@over_families
def test_a_factor_of_one_changes_nothing_and_factors_multiply(family):
    eta, marginal = params(family), params(family, 1)[:1]
    torch.testing.assert_close(family.stretch(eta, marginal, 1.0), eta, rtol=1e-9, atol=1e-9)
    twice = family.stretch(family.stretch(eta, marginal, 1.25), marginal, 1.6)
    torch.testing.assert_close(twice, family.stretch(eta, marginal, 2.0), rtol=1e-9, atol=1e-9)


@over_families
def test_it_is_taken_back_by_the_inverse_factor_in_float64(family):
    eta, marginal = params(family, dtype=torch.float32), params(family, 1, torch.float32)[:1]
    there = family.stretch(eta, marginal, 4 / 3)
    assert there.dtype == torch.float64
    torch.testing.assert_close(family.stretch(there, marginal, 3 / 4), eta.double(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("scale", [3.0, 1e4])
@over_families
def test_no_prediction_leaves_the_domain(family, scale):
    eta = family.constrain(scale * torch.randn(50, family.num_raw, generator=torch.Generator().manual_seed(0)))
    there = family.stretch(eta, params(family, 1)[:1], 2.0)
    assert there.isfinite().all()
    distribution = family.distribution(there)
    for name, constraint in distribution.arg_constraints.items():
        if hasattr(distribution, name) and name in ("rate", "scale", "concentration", "concentration0", "df"):
            assert constraint.check(getattr(distribution, name)).all(), name


@pytest.mark.parametrize("name", ["gaussian", "student-t", "lognormal"])
def test_location_and_scale_families_are_mapped_as_a_whole(name):
    family, factor = families.get(name), 4 / 3
    eta, marginal = params(family), params(family, 1)[:1]
    before, after = family.distribution(eta), family.distribution(family.stretch(eta, marginal, factor))
    centre = family.distribution(marginal).icdf(torch.tensor(0.5, dtype=torch.float64))
    y = before.icdf(torch.linspace(0.05, 0.95, 6, dtype=torch.float64))
    if name == "lognormal":
        there = centre * (y / centre) ** factor
        volume = np.log(factor) + there.log() - y.log()
    else:
        there, volume = centre + factor * (y - centre), np.log(factor)
    torch.testing.assert_close(after.log_prob(there) + volume, before.log_prob(y), rtol=1e-9, atol=1e-9)


def test_so_are_vectors():
    family, factor = families.get("multivariate-gaussian", num_targets=2), 4 / 3
    eta, marginal = params(family), params(family, 1)[:1]
    before, after = family.distribution(eta), family.distribution(family.stretch(eta, marginal, factor))
    centre = family.distribution(marginal).mean
    torch.testing.assert_close(after.mean, centre + factor * (before.mean - centre))
    torch.testing.assert_close(after.covariance_matrix, factor**2 * before.covariance_matrix)


def test_classes_have_the_formula_of_the_paper():
    family, theta_bar = families.get("categorical", num_classes=3), 0.75
    logits, centre = params(family), params(family, 1)[:1]
    expected = logits / theta_bar + (1 - 1 / theta_bar) * centre
    torch.testing.assert_close(family.stretch(logits, centre, 1 / theta_bar), expected)
    two = families.get("bernoulli")
    torch.testing.assert_close(
        two.stretch(logits[:, :1], centre[:, :1], 1 / theta_bar), expected[:, :1], rtol=1e-12, atol=1e-12
    )


@pytest.mark.parametrize(
    "name",
    [
        *("poisson", "fixed-negative-binomial", "negative-binomial", "gamma", "exponential", "inverse-gaussian"),
        *("tweedie", "beta"),
    ],
)
def test_means_are_moved_on_the_log_or_logit_scale(name):
    family, factor = families.get(name), 4 / 3
    eta, marginal = params(family), params(family, 1)[:1]
    before, after = family.distribution(eta), family.distribution(family.stretch(eta, marginal, factor))
    link = torch.logit if name == "beta" else torch.log
    centre = link(family.distribution(marginal).mean)
    torch.testing.assert_close(link(after.mean), centre + factor * (link(before.mean) - centre), rtol=1e-9, atol=1e-9)
    if name in ("gamma", "inverse-gaussian"):
        relative = [one.variance.sqrt() / one.mean for one in (before, after)]
        torch.testing.assert_close(relative[1], factor * relative[0])
    if name == "negative-binomial":
        dispersion = [(one.variance - one.mean) / one.mean**2 for one in (before, after)]
        torch.testing.assert_close(dispersion[1], factor**2 * dispersion[0])
    if name == "beta":
        torch.testing.assert_close(family.stretch(eta, marginal, factor).sum(-1), eta.sum(-1) / factor**2)
    if name == "tweedie":
        torch.testing.assert_close(family.stretch(eta, marginal, factor)[:, 1], eta[:, 1])


@pytest.mark.parametrize("name", ["zero-inflated-poisson", "hurdle-negative-binomial", "zero-adjusted-gamma"])
def test_zeros_and_the_rest_have_each_their_own(name):
    family, factor = families.get(name), 4 / 3
    eta, marginal = params(family), params(family, 1)[:1]
    found = family.distribution(family.stretch(eta, marginal, factor))
    before, centre = family.distribution(eta), family.distribution(marginal)
    gates = [torch.as_tensor(one.gate_logits) for one in (before, centre, found)]
    torch.testing.assert_close(gates[2], gates[1] + factor * (gates[0] - gates[1]))
    base = family.base.stretch(eta[:, 1:], marginal[:, 1:], factor)
    torch.testing.assert_close(family.stretch(eta, marginal, factor)[:, 1:], base)


@pytest.mark.parametrize("name", ["poisson", "bernoulli", "categorical", "exponential", "fixed-negative-binomial"])
def test_a_family_that_does_not_say_is_moved_in_the_space_of_its_link(name):
    family = families.get(name, **OPTIONS.get(name, {}))
    eta, marginal = params(family), params(family, 1)[:1]
    expected = family.stretch(eta, marginal, 4 / 3)
    torch.testing.assert_close(Family.stretch(family, eta, marginal, 4 / 3), expected, rtol=1e-6, atol=1e-6)
