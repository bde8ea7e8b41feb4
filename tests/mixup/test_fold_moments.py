"""Moments of the largest weight to nearly all digits, however small or large the concentration, and of any group."""

import re

import mpmath as mp
import numpy as np
import pytest
import torch
from scipy import special, stats

from probmix.mixup import (
    BetaWeights,
    DirichletWeights,
    FixedWeights,
    LearnedWeights,
    Mixup,
    TwoPointWeights,
    UniformWeights,
    WWeights,
    strength,
)
from probmix.mixup.drawing import draw_weights
from probmix.random import generator_uniform


def uniform(seed=0):
    return generator_uniform(torch.Generator().manual_seed(seed), torch.device("cpu"))


@pytest.mark.parametrize("alpha", [1e-32, 1e-12, 1e-3, 0.2, 0.999, 1.0, 2.5, 29.9, 30.1, 1e3, 1e6, 1e12])
def test_pairs_against_sixty_digits(alpha):
    with mp.workdps(60 if alpha > 1e-20 else 100):
        a = mp.mpf(alpha)
        above = mp.exp(mp.loggamma(a + 0.5) - mp.loggamma(a + 1)) / (2 * mp.sqrt(mp.pi))
        s2 = 1 / (4 * (2 * a + 1)) - above**2
        expected = [float(one) for one in (0.5 + above, s2, s2 + (0.5 - above) ** 2)]
    found = strength(BetaWeights(alpha))
    assert [found.theta_bar, found.s2, found.g2] == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize("order", [3, 4, 7, 40])
def test_uniform_spacings_in_closed_form(order):
    # the largest of K exponential variables has the mean and variance sum 1 / k and sum 1 / k^2
    k = np.arange(1, order + 1)
    mean, square = (1 / k).sum() / order, ((1 / k**2).sum() + (1 / k).sum() ** 2) / (order * (order + 1))
    found = strength(DirichletWeights(1.0), order)
    expected = [mean, square - mean**2, 2 / (order + 1) - square]
    assert [found.theta_bar, found.s2, found.g2] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("order", [3, 5])
@pytest.mark.parametrize("alpha", [1e-32, 1e-16, 1e-9, 1e-6])
def test_small_concentrations_of_groups_go_to_their_limit(alpha, order):
    # all but one row have (K - 1) alpha log 2, and E[(1 - theta)^2] is (K - 1) alpha (log 2 - 1 / 2)
    found = strength(BetaWeights(alpha), order)
    assert found.s2 == pytest.approx((order - 1) * alpha * (np.log(2) - 0.5), rel=20 * alpha + 1e-12)
    assert found.g2 == pytest.approx(found.s2, rel=20 * alpha + 1e-12)
    assert found.theta_bar == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("alpha", [1e3, 1e6])
def test_large_concentrations_of_groups_are_those_of_normal_variables(alpha):
    # the largest of three standard normal variables: mean 3 / (2 sqrt pi), variance 1 - 9 / (4 pi) + sqrt 3 / (2 pi)
    found = strength(BetaWeights(alpha), 3)
    mean, variance = 1.5 / np.sqrt(np.pi), 1 + np.sqrt(3) / (2 * np.pi) - 9 / (4 * np.pi)
    assert found.theta_bar - 1 / 3 == pytest.approx(mean / (3 * np.sqrt(alpha)), rel=0.5 / np.sqrt(alpha) + 1e-3)
    # less that of their mean, of which the sum has nothing left
    assert found.s2 == pytest.approx((variance - 1 / 3) / (9 * alpha), rel=1.5 / np.sqrt(alpha) + 1e-3)


@pytest.mark.parametrize("order", [3, 5])
@pytest.mark.parametrize("law", [BetaWeights(0.3), DirichletWeights(3.0), UniformWeights(), FixedWeights(0.1),
                                 FixedWeights(0.7), TwoPointWeights(0.2, 0.9, 0.3)], ids=repr)  # fmt: skip
def test_the_squares_of_the_other_weights_of_groups(law, order):
    weights = law.sample((100_000,), uniform(), order).double()
    others = weights.square().sum(-1) - weights.amax(-1).square()
    assert abs(strength(law, order).g2 - others.mean()) < 4 * others.std() / np.sqrt(len(others)) + 1e-7


def test_the_spread_of_pairs_is_a_function_of_the_other_moments():
    for law in (WWeights(0.3), UniformWeights(0.2, 0.9), FixedWeights(0.3), TwoPointWeights(), "regmixup"):
        found = strength(law)
        assert found.g2 == pytest.approx(found.s2 + (1 - found.theta_bar) ** 2, rel=1e-12)


class Untold:
    def sample(self, shape, uniform, order=2):
        return BetaWeights(1.0).sample(shape, uniform, order)


def test_what_is_estimated_says_so_within_another_law_too():
    found = strength(LearnedWeights(start=Untold()))
    assert found.is_estimate
    assert found.g2 == pytest.approx(strength(BetaWeights(1.0)).g2, rel=1e-2)


@pytest.mark.parametrize("alpha", [1e-32, 1e-3, 1.0, 1e6])
@pytest.mark.parametrize("order", [2, 3, 4, 5])
def test_no_uniform_numbers_give_weights_that_are_none(alpha, order):
    ends = torch.tensor([2.0**-24, 0.25, 0.5, 0.75, 1 - 2.0**-24])
    numbers = torch.cartesian_prod(ends, ends, ends, ends)

    def source(shape):
        return numbers.reshape(len(numbers), *[1] * (len(shape) - 1), 4).expand(len(numbers), *shape)

    weights = BetaWeights(alpha).sample((1,), source, order)
    torch.testing.assert_close(weights.sum(-1), torch.ones(len(numbers), 1))


@pytest.mark.parametrize(("alpha", "order"), [(1e-3, 3), (0.05, 5), (0.5, 3), (5.0, 5), (1e6, 4)])
def test_weights_of_groups_by_rank_are_those_of_gamma_variables(alpha, order):
    # jointly, not each weight alone; in logarithms, since numpy's own Dirichlet loses small weights below alpha = 0.1
    ours = BetaWeights(alpha).sample((20_000,), uniform(4), order).double().numpy()
    rng, shape = np.random.default_rng(0), (20_000, order)
    log_gamma = np.log(rng.gamma(alpha + 1, size=shape)) + np.log(rng.random(shape)) / alpha
    theirs = special.softmax(log_gamma, axis=1)
    # the largest rounds to 1 in float32, and below 1e-37 there is no number left
    for rank in range(order - 1):
        assert stats.ks_2samp(*(np.sort(one, 1)[:, rank].clip(min=1e-37) for one in (ours, theirs))).pvalue > 1e-3


@pytest.mark.parametrize("order", [2, 4])
@pytest.mark.parametrize(
    ("law", "of_labels"),
    [
        (BetaWeights(0.2), BetaWeights(1.0)),
        (BetaWeights(1.0), BetaWeights(5.0)),
        (UniformWeights(), FixedWeights(0.75)),
    ],
    ids=repr,
)
def test_the_heavier_a_row_the_heavier_its_label(law, of_labels, order):
    mixup = Mixup(weights=law, label_weights=of_labels, order=order)
    weights, labels = draw_weights(mixup, (20_000,), uniform(), lambda: torch.empty(0))
    ordered = labels.gather(-1, weights.argsort(-1, descending=True))
    assert bool((ordered.diff(dim=-1) <= 0).all())
    torch.testing.assert_close(labels.sum(-1), torch.ones(20_000))
    if isinstance(of_labels, BetaWeights):
        a = of_labels.alpha
        assert stats.kstest(labels[:, 0].double().numpy(), stats.beta(a, a * (order - 1)).cdf).pvalue > 1e-3


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: strength(BetaWeights(), 1), "`order` must be an integer of at least 2; got 1."),
        (lambda: strength(BetaWeights(), 0), "`order` must be an integer of at least 2; got 0."),
        (lambda: strength(FixedWeights(), 2.5), "`order` must be an integer of at least 2; got 2.5."),
        (lambda: strength(UniformWeights(0.5, 1.0), 3), "UniformWeights(low=0.5, high=1.0) is a law of pairs; got "),
        (lambda: BetaWeights().sample((2,), uniform(), 1), "`order` must be an integer of at least 2; got 1."),
        (lambda: FixedWeights().sample((2,), uniform(), 1), "`order` must be an integer of at least 2; got 1."),
    ],
)
def test_groups_that_are_none_are_errors(call, message):
    with pytest.raises(ValueError, match="^" + re.escape(message)):
        call()
