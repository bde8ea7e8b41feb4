"""The contracts of families of vectors, of mixtures of such, and of what a user adds."""

import sys
from dataclasses import dataclass

import pytest
import torch
from families_table import weights_like
from vector_families import Two, TwoT

from probmix.families import (
    ExponentialFamily,
    Gamma,
    Gaussian,
    Histogram,
    Label,
    Mixture,
    MultivariateGaussian,
    Poisson,
)
from probmix.testing import check_family

EDGES = (-1.0, -0.2, 0.3, 1.5), (-2.0, -0.1, 0.1, 0.4, 2.0)
BASES = [
    MultivariateGaussian(1),
    MultivariateGaussian(2),
    MultivariateGaussian(3),
    Histogram(edges=EDGES),
    Two(Gaussian()),
    Two(Gamma()),
    Two(Poisson()),
    TwoT(),
]
over_bases = pytest.mark.parametrize("base", BASES, ids=repr)


@pytest.mark.parametrize("seed", [0, 1])
@over_bases
def test_the_families_keep_their_contracts(base, seed):
    check_family(base, seed)


@pytest.mark.parametrize("n_components", [1, 2, 4])
@over_bases
def test_mixtures_keep_their_contracts(base, n_components):
    check_family(Mixture(base, n_components))


def _transposed(self, y, weights, spread=0.0, pool="log-linear"):
    if pool == "linear":
        return Label(y.double(), weights=weights.double())
    return Mixture.pool_labels(self, y, weights, spread, pool)


def _without_weights(self, eta, weights):
    return Mixture.density_label(self, eta, torch.full_like(weights, 1 / weights.shape[-1]))


@pytest.mark.parametrize(
    ("method", "replacement", "contract"),
    [
        ("pool_labels", _transposed, "label losses"),
        ("density_label", _without_weights, "density_label"),
    ],
)
def test_broken_mixtures_are_told_which_contract_they_break(monkeypatch, method, replacement, contract):
    # three targets, and three points in the groups of the contract: a transposed label has the right shape
    broken = dataclass(frozen=True)(type("Broken", (Mixture,), {method: replacement, "__module__": __name__}))
    monkeypatch.setattr(sys.modules[__name__], "Broken", broken, raising=False)  # where pickle looks for it
    with pytest.raises(AssertionError, match=r"breaks 1 contract\(s\):") as error:
        check_family(broken(MultivariateGaussian(3), 2))
    assert f"- {contract}: " in str(error.value)


class PlainGaussian(Gaussian):
    transported_residuals = ExponentialFamily.transported_residuals


class PlainGamma(Gamma):
    transported_residuals = ExponentialFamily.transported_residuals


@pytest.mark.parametrize("spread", [0.0, 0.2])
@pytest.mark.parametrize("base", [PlainGaussian(), PlainGamma(), Poisson()], ids=repr)
def test_labels_of_independent_targets_have_the_losses_of_each(base, spread):
    """What `ExponentialFamily` makes of vectors where a family says no more than it has to."""
    family, draw = Two(base), torch.Generator().manual_seed(0)
    points = family.constrain(torch.randn(5, 3, family.num_raw, generator=draw, dtype=torch.float64))
    weights = weights_like((5, 3))
    eta, other = (weights.unsqueeze(-1) * points).sum(-2), points[:, 0]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        y = family.distribution(points).sample().mT  # (5, 2, 3)

    def difference(family, label, eta, other):
        # what does not depend on the parameters may differ
        return family.expected_nll(eta, label) - family.expected_nll(other, label)

    def compare(pooled):
        found = difference(family, pooled(family, y, weights.unsqueeze(-2), eta, points), eta, other)
        want = 0
        for k in range(2):
            e, o, of_points = (one.unflatten(-1, (2, -1))[..., k, :] for one in (eta, other, points))
            want = want + difference(base, pooled(base, y[:, k], weights, e, of_points), e, o)
        torch.testing.assert_close(found, want)

    for pool in ("log-linear", "linear", "average"):
        compare(lambda family, y, w, _eta, _points, pool=pool: family.pool_labels(y, w, spread, pool))
    compare(lambda family, y, w, eta, points: family.calibrated_label(y, w, eta, spread, points))
    compare(lambda family, y, w, eta, _points: family.calibrated_label(y, w, eta, spread))
