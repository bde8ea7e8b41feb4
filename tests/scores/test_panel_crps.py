"""The CRPS of Student t and Tweedie mixtures, and of blends, by panels of all rows in one list."""

from itertools import pairwise

import numpy as np
import pyro.distributions as dist
import pytest
import torch
from scipy import integrate, stats
from score_oracles import integral_oracle

from probmix import linear_pool
from probmix.distributions import Binned, Blend, Gamma, Independent, LogNormal, StudentT, Tweedie, blend
from probmix.distributions import panel_crps as by_panels
from probmix.distributions.panels import gauss_legendre
from probmix.distributions.quadrature import cuts
from probmix.distributions.scoring import generic_crps_with_bound, generic_window_crps, marginal_crps_with_bound
from probmix.distributions.transformed import MonotoneMap, Transformed
from probmix.scores import crps, crps_with_bound, threshold_weighted_crps


def tensor(*values):
    return torch.tensor(values, dtype=torch.float64)


def uniform(low, high, *shape, seed=0):
    """Numbers whose logarithms are uniform."""
    return torch.from_numpy(np.exp(np.random.default_rng(seed).uniform(np.log(low), np.log(high), shape)))


def normal(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))


def shares(rows, members, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).dirichlet(np.full(members, 0.3), rows))


# of members a thousand times as narrow as others, with tails as heavy as moments allow and light ones
STUDENT = linear_pool(StudentT(uniform(1.5, 1e6, 6, 9), 4 * normal(6, 9), uniform(1e-3, 3, 6, 9, seed=1)), shares(6, 9))
TWEEDIE = linear_pool(Tweedie(uniform(0.1, 30, 6, 5), uniform(0.05, 3, 6, 5, seed=1), 1.6), shares(6, 5))
Y = tensor(0.0, 0.3, 1.0, 2.5, 9.0, 60.0)


def test_student_t_mixtures_against_scipy():
    components = STUDENT.component_distribution
    value, bound = crps_with_bound(STUDENT, Y)
    assert torch.equal(value, crps(STUDENT, Y))
    for i in range(6):
        members = [
            stats.t(df, loc, scale)
            for df, loc, scale in zip(
                components.df[i].tolist(), components.loc[i].tolist(), components.scale[i].tolist(), strict=True
            )
        ]
        want = integral_oracle(STUDENT.mixture_distribution.probs[i].numpy(), members, Y[i].item())
        assert value[i].item() == pytest.approx(want, rel=1e-9)
        assert abs(value[i].item() - want) <= bound[i].item() + 1e-10 * want
    assert (bound < 1e-9 * value).all()


@pytest.mark.parametrize("mixture", [STUDENT, TWEEDIE], ids=["student", "tweedie"])
def test_panels_agree_with_the_general_quadrature(mixture):
    value, bound = crps_with_bound(mixture, Y)
    want, error = generic_crps_with_bound(mixture, Y)
    assert ((value - want).abs() <= bound + error).all()
    assert (bound < error + 1e-14 * value).all()
    lower, upper = tensor(-1.0, 0.1, 0.2, -torch.inf, 3.0, 50.0), tensor(0.5, 4.0, 0.7, 9.0, torch.inf, 80.0)
    window = by_panels.window_by_panels(mixture, Y, lower, upper)
    torch.testing.assert_close(window, generic_window_crps(mixture, Y, lower, upper), rtol=1e-9, atol=1e-12)
    parts = [threshold_weighted_crps(mixture, Y, *w) for w in ((-np.inf, 0.3), (0.3, 2.0), (2.0, np.inf))]
    torch.testing.assert_close(sum(parts), value, rtol=1e-9, atol=0)


@pytest.mark.parametrize("weight", [1e-3, 1e-6])
@pytest.mark.parametrize("place", [0.37, 3.991, -2.0])
def test_narrow_members_do_not_hide(weight, place, monkeypatch):
    # with hardly an edge to begin with
    monkeypatch.setattr(by_panels, "_CUTS", 2)
    monkeypatch.setattr(by_panels, "_CUTS_WITH_DENSITY", 2)
    w = tensor(1 - weight, weight).expand(1, 2)
    wide, narrow = tensor(0.0, place), tensor(1.0, 1e-7)
    student = linear_pool(StudentT(tensor(5.0, 5.0), wide, narrow).expand((1, 2)), w)
    normals = Blend(w, [dist.Normal(tensor(0.0), 1.0), dist.Laplace(tensor(place), 1e-7)])
    y = tensor(0.4)
    for mixture, base in ((student, stats.t(5)), (normals, stats.norm())):
        value, bound = crps_with_bound(mixture, y)
        edges = sorted({-np.inf, 0.4, place, np.inf})
        want = sum(
            integrate.quad(
                lambda x, base=base: ((1 - weight) * base.cdf(x) + weight * (x >= place) - (x >= 0.4)) ** 2,
                a, b, epsabs=1e-13, epsrel=1e-12, limit=200,
            )[0]
            for a, b in pairwise(edges)
        )  # fmt: skip
        # a member of this width is a step to 1e-7 of its weight
        assert value.item() == pytest.approx(want, abs=bound.item() + 1e-6 * weight + 1e-12)
        assert bound.item() < 1e-8 * value.item()


def test_a_rise_behind_the_last_node_is_seen():
    values = torch.zeros(by_panels._NODES, 3).double()
    found = by_panels._hidden(values, torch.zeros(3).double(), tensor(0.0, 1e-5, 0.1))
    assert found[0] == 0
    first = (1 - np.polynomial.legendre.leggauss(by_panels._NODES)[0][-1]) / 2
    torch.testing.assert_close(found[1:], tensor(3 * first * 1e-10, 3 * first * 1e-2))
    # a polynomial that the nodes resolve has none
    x = torch.from_numpy(gauss_legendre(by_panels._NODES)[0])
    smooth = (0.5 + 0.5 * x).pow(7).unsqueeze(-1)
    assert by_panels._hidden(smooth, tensor(2.0**-7), tensor(1.0)).item() < 1e-12


def test_integrals_within_a_panel_are_those_of_polynomials():
    within, ends = by_panels._integrals(12)
    x = gauss_legendre(12)[0]
    for degree in range(12):
        np.testing.assert_allclose(within @ x**degree, x ** (degree + 1) / (degree + 1), atol=1e-14)
        np.testing.assert_allclose(ends @ x**degree, [float(degree == 0), 1.0], atol=1e-13)


def test_histograms_are_cut_at_their_edges():
    edges = np.sort(np.random.default_rng(3).normal(size=65)).tolist()
    bars = Binned(3 * normal(4, 64), edges, [0.5, 0.5])
    student = StudentT(tensor(2.5, 4.0, 8.0, 30.0), tensor(0.0, 1.0, -1.0, 3.0), tensor(0.2, 1.0, 2.0, 5.0))
    blended, y = blend(tensor(0.6, 0.4), [bars, student]), tensor(0.1, -1.0, 4.0, 0.7)
    value, bound = crps_with_bound(blended, y)
    t, rule = (torch.from_numpy(one) for one in np.polynomial.legendre.leggauss(30))
    far = torch.logspace(-4, 7, 150).double()
    for i in range(4):
        places = torch.cat([tensor(*edges), y[i] - far, y[i : i + 1], y[i] + far]).sort().values
        middle, half = (places[1:] + places[:-1]) / 2, places.diff() / 2
        x = middle + half * t[:, None]
        below = 0.6 * bars.cdf(x.reshape(-1, 1).expand(-1, 4))[:, i] + 0.4 * student.cdf(x.reshape(-1, 1))[:, i]
        squares = (below.reshape(x.shape) - (x > y[i]).double()).square()
        want = (rule[:, None] * squares * half).sum()
        assert value[i].item() == pytest.approx(want.item(), rel=1e-9)
        assert abs(value[i] - want) <= bound[i] + 1e-10 * want
    assert (bound < 1e-8 * value).all()


@pytest.mark.parametrize("df", [0.6, 1.0, 2.0, 7.0, 300.0, 1e5, 1e8])
def test_no_more_of_a_student_t_lies_beyond_its_cuts(df):
    levels = (1e-12, 1e-10, 1e-3, 0.2)
    places = cuts(StudentT(tensor(df), 3.0, 2.0), levels + tuple(1 - level for level in levels))[:, 0].numpy()
    scaled = (places - 3) / 2
    outside = np.concatenate([stats.t.cdf(scaled[:4], df), stats.t.sf(scaled[4:], df)]) / np.array(levels + levels)
    # 1 - 1e-12 is not the number that is meant
    assert ((outside < 1 + 1e-4) & (outside > 0.7)).all()


@pytest.mark.parametrize("power", [1.02, 1.5, 1.9])
@pytest.mark.parametrize("dispersion", [1e-4, 0.3, 50.0])
def test_no_more_of_a_tweedie_lies_beyond_its_cuts(power, dispersion):
    distribution, levels = Tweedie(tensor(3.0), tensor(dispersion), power), (1e-9, 1e-3, 0.2)
    low, high = cuts(distribution, levels), cuts(distribution, tuple(1 - level for level in levels))
    below, above = distribution.cdf(low)[:, 0], 1 - distribution.cdf(high)[:, 0]
    for level, place, under, over in zip(levels, low, below, above, strict=True):
        assert place == 0 or 0.01 * level < under <= level
        assert over <= level + 1e-12
    assert (low.diff(dim=0) >= 0).all()
    assert (high.diff(dim=0) < 0).all()
    assert cuts(distribution, (0.5,)).item() == pytest.approx(3.0)


def test_shapes_blocks_and_precision(monkeypatch):
    grid = StudentT(uniform(2, 9, 2, 3, 4), normal(2, 3, 4), uniform(0.1, 2, 2, 3, 4))
    mixture, y = linear_pool(grid), normal(2, 3, seed=1)
    whole = crps(mixture, y)
    assert whole.shape == (2, 3)
    single = linear_pool(StudentT(grid.df[1, 2], grid.loc[1, 2], grid.scale[1, 2]))
    torch.testing.assert_close(crps(single, y[1, 2]), whole[1, 2])
    pairs = linear_pool(Independent(StudentT(*(p.movedim(1, -1) for p in (grid.df, grid.loc, grid.scale))), 1))
    torch.testing.assert_close(crps(pairs, y), whole.mean(-1))
    low = linear_pool(StudentT(*(p.float() for p in (grid.df, grid.loc, grid.scale))))
    assert crps(low, y.float()).dtype == torch.float32
    torch.testing.assert_close(crps(low, y.float()).double(), whole, rtol=1e-5, atol=1e-6)
    none = linear_pool(StudentT(torch.ones(0, 2), torch.ones(0, 2)))
    assert crps(none, torch.ones(0)).shape == (0,)
    monkeypatch.setattr(by_panels, "_BLOCK", 100)
    monkeypatch.setattr(by_panels, "_ROWS", 1)
    torch.testing.assert_close(crps(mixture, y), whole, rtol=1e-13, atol=0)


def test_gradients_go_by_the_general_quadrature():
    loc = tensor(0.0, 1.0).requires_grad_()
    mixture = linear_pool(StudentT(tensor(3.0, 5.0), loc, 1.0).expand((1, 2)))
    assert by_panels.panel_window(mixture, tensor(0.3), tensor(-np.inf), tensor(np.inf)) is None
    score = crps(mixture, tensor(0.3))
    (gradient,) = torch.autograd.grad(score.sum(), loc)
    step = 1e-6

    def value(shift):
        moved = loc.detach() + shift * tensor(0.0, 1.0)
        return crps(linear_pool(StudentT(tensor(3.0, 5.0), moved, 1.0).expand((1, 2))), tensor(0.3)).item()

    assert gradient[1].item() == pytest.approx((value(step) - value(-step)) / (2 * step), rel=1e-5)


def test_moments_of_what_is_made_of_a_blend_are_found_part_by_part():
    log = MonotoneMap(np.log, np.exp, y_range=(0.0, np.inf))
    parts = [dist.Normal(tensor(0.0, 1.0), tensor(0.5, 1.0)), dist.Laplace(tensor(0.0, 0.5), tensor(0.1, 0.2))]
    blended = Transformed(Blend(tensor(0.3, 0.7), parts), log)
    means = [LogNormal(parts[0].loc, parts[0].scale).mean, parts[1].loc.exp() / (1 - parts[1].scale.square())]
    torch.testing.assert_close(blended.mean, 0.3 * means[0] + 0.7 * means[1], rtol=1e-9, atol=0)


def test_zeros_and_poles_of_densities():
    # a density that is infinite at zero, beside a mass there
    parts = [TWEEDIE, Gamma(uniform(0.05, 0.5, 6), uniform(0.1, 2, 6)), LogNormal(normal(6), uniform(0.1, 1, 6))]
    blended = Blend(shares(6, 3, seed=2), parts)
    y = tensor(0.0, 0.3, 1.0, 2.5, 9.0, 0.01)
    value, bound = crps_with_bound(blended, y)
    want, error = generic_crps_with_bound(blended, y)
    assert ((value - want).abs() <= bound + error).all()
    assert (bound < 1e-8 * value).all()


@pytest.mark.parametrize("loc", [1e7, 1e9, 1e10])
def test_far_from_zero_the_rounding_of_places_ends_the_halving(loc):
    weights = torch.tensor([0.5, 0.5], dtype=torch.float64)
    values = []
    for place in (0.0, loc):
        centre = torch.tensor([place], dtype=torch.float64)
        normal, t = torch.distributions.Normal(centre, 3.0), StudentT(torch.tensor([5.0]).double(), centre, 3.0)
        values.append(marginal_crps_with_bound(Blend(weights, [normal, t]), centre + 1.25))
    (here, _), (there, bound) = values
    assert abs((there - here).item()) <= bound.item() <= 1e-3


@pytest.mark.parametrize("df", [0.1, 0.3, 0.5])
def test_tails_without_a_mean_end_with_a_bound_that_says_so(df):
    one = torch.ones(1, dtype=torch.float64)
    blended = Blend(
        0.5 * torch.ones(2, dtype=torch.float64),
        [StudentT(df * one, 0 * one, one), torch.distributions.Normal(0 * one, one)],
    )
    value, bound = marginal_crps_with_bound(blended, 0.5 * one)
    assert value.item() > 1
    assert bound.item() > 1
