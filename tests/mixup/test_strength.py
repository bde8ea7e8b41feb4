"""How strongly laws of weights regularise: the table of the reference, quadrature, and draws."""

import re
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from probmix.mixup import (
    BetaWeights,
    FixedWeights,
    FoldedBetaWeights,
    LearnedWeights,
    Mixup,
    SimilarityWeights,
    TwoPointWeights,
    UniformWeights,
    WWeights,
    strength,
)


@pytest.mark.parametrize(
    ("law", "theta_bar", "s2", "variance", "spread"),
    [
        (BetaWeights(0.5), 0.5 + 1 / np.pi, 1 / 8 - 1 / np.pi**2, 0.0354, 0.120),
        (BetaWeights(1.0), 0.75, 1 / 48, 0.0370, 0.185),
        (BetaWeights(10.0), 0.5881, 0.00414, 0.0120, 0.515),
        (WWeights(0.5), 0.75, 1 / 32, 1 / 18, 0.222),
        (WWeights(0.1), 0.75, 5 / 96, 0.0926, 0.296),
        ("regmixup", 0.7940, 0.0445, 0.0706, 0.208),
        (Mixup(weights=BetaWeights(10.0), clean=0.5), 0.7940, 0.0445, 0.0706, 0.208),
        (TwoPointWeights(), 2 / 3, 1 / 18, 1 / 8, 0.5),
    ],
)
def test_the_table(law, theta_bar, s2, variance, spread):
    found = strength(law)
    assert found.theta_bar == pytest.approx(theta_bar, rel=1e-4)
    assert found.s2 == pytest.approx(s2, rel=2e-3)
    assert found.relative_variance == pytest.approx(variance, rel=4e-3)
    assert found.relative_spread == pytest.approx(spread, rel=4e-3)
    assert not found.is_estimate


@pytest.mark.parametrize("alpha", [0.05, 0.5, 1.0, 3.0, 50.0])
def test_betas_against_quadrature(alpha):
    beta = stats.beta(alpha, alpha)
    # in the upper half by its complement, which takes the singularity at 1 to 0
    moments = [
        2 * integrate.quad(lambda u, j=j: (1 - u**4) ** j * beta.pdf(u**4) * 4 * u**3, 0, 0.5**0.25, epsabs=1e-13)[0]
        for j in (1, 2)
    ]
    found = strength(BetaWeights(alpha))
    assert found.theta_bar == pytest.approx(moments[0], rel=1e-8)
    assert found.s2 == pytest.approx(moments[1] - moments[0] ** 2, rel=1e-6)
    assert strength(FoldedBetaWeights(alpha)) == found


@pytest.mark.parametrize(("order", "variance"), [(2, 0.035), (3, 0.056), (4, 0.068), (5, 0.076)])
def test_folds_of_larger_groups(order, variance):
    assert strength(BetaWeights(0.5), order).relative_variance == pytest.approx(variance, abs=5e-4)
    assert strength(Mixup(weights=BetaWeights(0.5), order=order)) == strength(BetaWeights(0.5), order)


@pytest.mark.parametrize("order", [3, 6])
@pytest.mark.parametrize("alpha", [0.1, 1.0, 8.0])
def test_larger_groups_against_draws(alpha, order):
    theta = np.random.default_rng(0).dirichlet(np.full(order, alpha), 200_000).max(1)
    found = strength(BetaWeights(alpha), order)
    assert abs(found.theta_bar - theta.mean()) < 4 * theta.std() / np.sqrt(len(theta))
    assert found.s2 == pytest.approx(theta.var(), rel=0.02)


def test_the_largest_weight_of_a_uniform_law_on_the_simplex():
    # of K uniform spacings: the harmonic number over K
    assert strength(UniformWeights(), 4).theta_bar == pytest.approx((1 + 1 / 2 + 1 / 3 + 1 / 4) / 4, rel=1e-10)


@pytest.mark.parametrize("alpha", [1e-8, 1e-3, 1e4, 1e8])
@pytest.mark.parametrize("order", [2, 3])
def test_extreme_concentrations(alpha, order):
    found = strength(BetaWeights(alpha), order)
    if alpha < 1:
        # one row has all but a share of alpha, whose mean over order - 1 others is log 2 each
        assert 1 - found.theta_bar == pytest.approx(alpha * (order - 1) * np.log(2), rel=1e-2)
    else:
        assert found.theta_bar == pytest.approx(1 / order, rel=2e-2)
    assert 0 <= found.s2 < 1e-3


def test_bounds_of_a_uniform_law_against_quadrature():
    for low, high in ((0.0, 1.0), (0.5, 1.0), (0.2, 0.9), (0.1, 0.4), (0.6, 0.7)):
        grid = low + (high - low) * (np.arange(200_000) + 0.5) / 200_000
        theta = np.maximum(grid, 1 - grid)
        found = strength(UniformWeights(low, high))
        assert found.theta_bar == pytest.approx(theta.mean(), rel=1e-8)
        assert found.s2 == pytest.approx(theta.var(), rel=1e-6)


def test_no_law_is_stronger_than_two_points():
    at = np.linspace(0.5, 1.0, 201)
    best = 0.0
    for probability in np.linspace(0.01, 0.99, 99):
        low, high = np.meshgrid(at, at)
        mean = probability * low + (1 - probability) * high
        best = max(best, (probability * (1 - probability) * (high - low) ** 2 / mean**2).max())
    assert best <= strength(TwoPointWeights()).relative_variance + 1e-12 == pytest.approx(1 / 8)
    assert best == pytest.approx(1 / 8, rel=1e-3)
    alphas = np.linspace(0.3, 2.0, 171)
    found = [strength(BetaWeights(float(alpha))).relative_variance for alpha in alphas]
    assert alphas[int(np.argmax(found))] == pytest.approx(0.82, abs=0.02)
    assert max(found) == pytest.approx(0.0374, abs=5e-5)


def test_laws_that_depend_on_the_rows():
    assert strength(LearnedWeights(start=FixedWeights(0.6))) == strength(FixedWeights(0.6))
    assert strength(SimilarityWeights(t_max=0.5)) == strength(BetaWeights(0.5))


@dataclass(frozen=True)
class Quarters:
    """A third party's law, which tells nothing of itself: the share of the row is uniform on [0, 1/4]."""

    def sample(self, shape, uniform, order=2):
        share = uniform(shape) / 4
        return torch.stack([share, 1 - share], -1)


def test_a_law_that_tells_nothing_is_estimated_and_says_so():
    found = strength(Quarters())
    assert found.is_estimate
    assert found.theta_bar == pytest.approx(0.875, abs=1e-3)
    assert found.s2 == pytest.approx(1 / (12 * 16), rel=1e-2)
    assert strength(Quarters()) == found


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: strength("erm"), ValueError, "a mixup with at=None mixes no rows and has no strength. Pass another, "),
        (lambda: strength("mixup", 3), ValueError, "a mixup has an order of its own, 2; got order=3. Leave it out."),
        (lambda: strength(3), TypeError, "strength asks for a mixup, a preset or a law of weights; got 3."),
        (lambda: strength(WWeights(), 3), ValueError, "WWeights is a law of pairs; got order=3."),
    ],
)
def test_errors(call, error, message):
    with pytest.raises(error, match="^" + re.escape(message)):
        call()
