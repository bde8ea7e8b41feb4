"""Transforms that fall, and point masses under transforms: on which side they are, what they weigh, and moments."""

import warnings

import numpy as np
import pytest
import torch
from sklearn.compose import TransformedTargetRegressor
from sklearn.linear_model import BayesianRidge
from transformed_cases import LOC, LOG, NORMAL, SCALE, close, functions

from probmix.adapters._transforms import transformed
from probmix.distributions import (
    Empirical,
    Gamma,
    MonotoneMap,
    QuantileFunction,
    Transformed,
    ZeroAdjusted,
    atoms,
    blend,
    cdf_below,
)
from probmix.scores import crps, crps_with_bound, evaluate, nll, threshold_weighted_crps

NEGATIVE = MonotoneMap(np.negative, np.negative, increasing=False, name="negative")
CUBE = MonotoneMap(np.cbrt, lambda z: z**3, name="cbrt")
LOG1P = MonotoneMap(np.log1p, np.expm1, name="log1p")
SHAPES, RATES = torch.tensor([2.0, 100.0, 50.0]).double(), torch.tensor([1.0, 5.0, 20.0]).double()
GATES = torch.tensor([0.0, 2.0, -1.0]).double()
ADJUSTED, ZERO = ZeroAdjusted(Gamma(SHAPES, RATES), GATES), torch.sigmoid(GATES)


def test_scores_of_a_map_that_falls_are_those_of_the_mirror_image():
    fallen, mirrored = Transformed(NORMAL, NEGATIVE), torch.distributions.Normal(-LOC, SCALE)
    y = torch.tensor([0.5, -3.0, 2.0, 0.0]).double()
    for score in (crps, nll, lambda d, y: threshold_weighted_crps(d, y, 0.0, 1.0)):
        close(score(fallen, y), score(mirrored, y), 1e-8, 1e-10)
    values, bounds = crps_with_bound(fallen, y)
    assert ((values - crps(mirrored, y)).abs() <= bounds + 1e-12).all()
    model = TransformedTargetRegressor(BayesianRidge(), func=np.negative, inverse_func=np.negative, check_inverse=False)
    X = np.random.default_rng(0).normal(size=(50, 2))
    target = X[:, 0] + np.random.default_rng(1).normal(size=50)
    model.fit(X, target)
    table = evaluate({"mirrored": model, "plain": BayesianRidge().fit(X, target)}, X, target, scores=["crps"])
    assert table.loc[("crps", "mirrored"), "mean"] == pytest.approx(table.loc[("crps", "plain"), "mean"], rel=1e-6)


def test_point_masses_of_a_map_that_falls_are_on_their_own_side():
    fallen = Transformed(ADJUSTED, NEGATIVE)
    zero = torch.zeros(3).double()
    close(fallen.cdf(zero), torch.ones(3).double())
    close(cdf_below(fallen, zero), 1 - ZERO)
    y = -SHAPES / RATES
    close(fallen.cdf(y), 1 - ADJUSTED.cdf(-y))
    for level in (0.05, 0.2, 0.9, 0.999):
        q = torch.full((3,), level).double()
        place = fallen.icdf(q)
        assert (fallen.cdf(place) >= q - 1e-12).all()
        assert (cdf_below(fallen, place) <= q + 1e-12).all()
    # the mean of many draws
    torch.manual_seed(0)
    close(fallen.sample((20_000,)).mean(0), -ADJUSTED.mean, 0.05)


def moment(k):
    """E Z^k of the Gammas beside their zeros."""
    return (1 - ZERO) * torch.exp(torch.lgamma(SHAPES + k) - torch.lgamma(SHAPES)) / RATES**k


def test_moments_beside_zeros_are_exact():
    cubed = Transformed(ADJUSTED, CUBE)
    close(cubed.mean, moment(3))
    close(cubed.variance, moment(6) - moment(3).square(), 1e-8)
    close(Transformed(ADJUSTED, NEGATIVE).mean, -moment(1))
    # E exp(Z) of a Gamma, where it exists
    some = ZeroAdjusted(Gamma(SHAPES[1:], RATES[1:]), GATES[1:])
    expected = (1 - ZERO[1:]) * ((RATES / (RATES - 1)) ** SHAPES)[1:] + ZERO[1:] - 1
    close(Transformed(some, LOG1P).mean, expected, 1e-7)


def test_moments_of_a_row_that_is_all_zeros():
    certain = Transformed(ZeroAdjusted(Gamma(SHAPES, RATES), torch.tensor([800.0, 2.0, -1.0]).double()), CUBE)
    close(certain.mean, torch.where(torch.arange(3) > 0, moment(3), 0.0))
    close(certain.variance[0], torch.zeros(()).double())


PLACES = torch.tensor([[-1.0, 0.0, 0.5, 1.0, 2.0]]).double()


def test_means_of_draws_are_their_sums():
    close(Transformed(Empirical(PLACES), CUBE).mean, (PLACES**3).mean(-1))


def test_means_between_quantiles_with_masses_at_both_ends():
    levels = [0.1, 0.3, 0.5, 0.8, 0.9]
    ends = 0.1 * (PLACES[0, 0] ** 3 + PLACES[0, -1] ** 3)
    # a cube has the mean (b^4 - a^4) / 4 (b - a) between a and b
    low, high, width = PLACES[0, :-1], PLACES[0, 1:], torch.tensor(np.diff(levels))
    between = (width * (high**4 - low**4) / (4 * (high - low))).sum()
    # the quantile function has corners inside the panels
    close(Transformed(QuantileFunction(PLACES, levels), CUBE).mean, (ends + between).reshape(1), 4e-4)


def test_densities_beside_a_heavy_point_mass_are_those_of_the_formula():
    gate = torch.tensor([1.0, 3.0, 6.0]).double()  # 73 to 99.8 %
    base = ZeroAdjusted(Gamma(torch.full((3,), 3.0).double(), torch.ones(3).double()), gate)
    ours = transformed(base, functions(np.cbrt, lambda z: z**3))
    y = torch.tensor([[0.5], [8.0], [27.0]]).double()
    z = torch.from_numpy(np.cbrt(y.numpy()))
    expected = base.log_prob(z.expand(3, 3)) - (3 * z**2).log()
    close(ours.log_prob(y.expand(3, 3)), expected, 1e-7, 1e-8)
    close(ours.log_prob(torch.zeros(3).double()), torch.sigmoid(gate).log())


def test_a_square_root_keeps_the_zeros_where_nothing_lies_below():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ours = transformed(ADJUSTED, functions(np.sqrt, np.square))
    zero = torch.zeros(3).double()
    close(ours.log_prob(zero), ZERO.log())
    close(ours.cdf(zero), ZERO)
    close(cdf_below(ours, zero), zero, atol=1e-15)
    close(ours.icdf(zero), zero)
    y = torch.tensor([0.5, 400.0, 6.0]).double()
    close(ours.log_prob(y), ADJUSTED.log_prob(y.sqrt()) - (2 * y.sqrt()).log())
    assert ours.log_prob(-torch.ones(3).double()).tolist() == [-np.inf] * 3
    close(ours.cdf(-torch.ones(3).double()), zero)
    # where something does, it is cut off as before
    mixed = blend(torch.tensor([0.5, 0.5]).double(), [ADJUSTED, torch.distributions.Normal(zero, 1.0)])
    with pytest.warns(UserWarning, match="where the inverse of sqrt is not defined"):
        transformed(mixed, functions(np.sqrt, np.square))


def test_point_masses_move_along():

    table = QuantileFunction(torch.tensor([[-1.0, 0.0, 2.0]]).double(), [0.1, 0.5, 0.9])
    ours = Transformed(table, LOG)
    places, masses = atoms(ours)
    np.testing.assert_allclose(places.flatten(), np.exp([-1.0, 0.0, 2.0]))
    np.testing.assert_allclose(masses.flatten(), [0.1, 0.0, 0.1], atol=1e-15)
