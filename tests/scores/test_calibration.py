"""Coverage at all levels, the distance of the PIT from uniform, and sharpness."""

import math

import numpy as np
import pyro.distributions as dist
import pytest
import scipy.stats as st
import torch
from calibration_cases import DTYPES, raises

from probmix import linear_pool
from probmix.distributions import Bernoulli, Gamma, Poisson
from probmix.scores import calibration_error, coverage, coverage_curve, expected_calibration_error, interval_width, pit


@pytest.fixture
def normals():
    """Distributions with rows of their own, targets that are too spread out, and weights, some of them zero."""
    random = np.random.default_rng(0)
    loc, scale = random.normal(size=60) * 3, random.uniform(0.5, 2, 60)
    return loc, scale, loc + 1.6 * scale * random.normal(size=60), random.integers(0, 4, 60)


# -- coverage at all levels --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_coverage_curve_counts_targets_in_central_intervals(normals, dtype):
    loc, scale, y, weights = normals
    levels = [0.9, 0.5, 0.05, 0.99]
    distribution = dist.Normal(torch.tensor(loc, dtype=dtype), torch.tensor(scale, dtype=dtype))
    curve = coverage_curve(distribution, torch.tensor(y), levels)
    ends = [st.norm.interval(level, loc, scale) for level in levels]
    inside = np.array([(low <= y) & (y <= high) for low, high in ends])
    assert curve.coverage.dtype == curve.levels.dtype == dtype
    np.testing.assert_allclose(curve.levels, levels, rtol=1e-7)
    np.testing.assert_allclose(curve.coverage, inside.mean(1), rtol=1e-7)
    of_scores = [coverage(distribution, torch.tensor(y), level).mean().item() for level in levels]
    np.testing.assert_allclose(curve.coverage, of_scores, rtol=1e-6)
    weighted = coverage_curve(distribution, torch.tensor(y), levels, sample_weight=torch.tensor(weights)).coverage
    np.testing.assert_allclose(weighted, np.average(inside, axis=1, weights=weights), rtol=1e-7)
    default = coverage_curve(distribution, torch.tensor(y)).levels
    np.testing.assert_allclose(default, np.arange(1, 20) / 20, rtol=1e-7)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_ends_of_an_interval_belong_to_it(dtype):
    # among these are levels whose ends round to the outside
    levels = torch.arange(1, 20, dtype=torch.float64) / 20
    uniform = torch.distributions.Uniform(torch.zeros(19, dtype=dtype), 1.0)
    for y in ((1 + levels) / 2, (1 - levels) / 2):
        # targets in float64: in float32 they would not be the ends
        share = coverage_curve(uniform, y).coverage
        np.testing.assert_allclose(share, np.arange(1, 20) / 19, rtol=1e-7)


def test_calibrated_counts_are_covered_exactly_as_often_as_they_should():
    n = 100_000
    rates = torch.linspace(0.1, 3.0, n, dtype=torch.float64)
    y = torch.poisson(rates, torch.Generator().manual_seed(0))
    curve = coverage_curve(Poisson(rates), y)
    noise = (curve.levels * (1 - curve.levels) / n).sqrt()
    assert ((curve.coverage - curve.levels).abs() < 4 * noise).all()
    # while the intervals themselves hold too many
    assert coverage(Poisson(rates), y, 0.5).mean() > 0.6
    again = coverage_curve(Poisson(rates), y, generator=torch.Generator().manual_seed(3)).coverage
    assert not torch.equal(curve.coverage, again)
    assert torch.equal(curve.coverage, coverage_curve(Poisson(rates), y).coverage)


def test_several_targets_and_several_batch_axes(normals):
    loc, scale, y, weights = (torch.tensor(values).double() for values in normals)
    both = dist.Normal(torch.stack([loc, loc + 1], -1), torch.stack([scale, 2 * scale], -1)).to_event(1)
    first, second = dist.Normal(loc, scale), dist.Normal(loc + 1, 2 * scale)
    targets = torch.stack([y, y], -1)
    curve = coverage_curve(both, targets, [0.5, 0.9], sample_weight=weights).coverage
    expected = [coverage_curve(one, y, [0.5, 0.9], sample_weight=weights).coverage for one in (first, second)]
    assert torch.equal(curve, torch.stack(expected))
    error = calibration_error(both, targets, sample_weight=weights)
    torch.testing.assert_close(
        error, torch.stack([calibration_error(one, y, sample_weight=weights) for one in (first, second)])
    )
    square = dist.Normal(loc.reshape(6, 10), scale.reshape(6, 10))
    assert torch.equal(coverage_curve(square, y.reshape(6, 10)).coverage, coverage_curve(first, y).coverage)
    assert calibration_error(square, y.reshape(6, 10), sample_weight=weights.reshape(6, 10)) == error[0]


# -- the distance of the PIT from uniform ------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_calibration_error_is_the_area_between_two_cdfs(normals, dtype):
    loc, scale, y, weights = normals
    distribution = dist.Normal(torch.tensor(loc, dtype=dtype), torch.tensor(scale, dtype=dtype))
    error = calibration_error(distribution, torch.tensor(y))
    assert error.dtype == dtype
    assert error.shape == ()
    grid = (np.arange(200_000) + 0.5) / 200_000
    for repeats, value in (
        (np.ones_like(weights), error),
        (weights, calibration_error(distribution, torch.tensor(y), sample_weight=torch.tensor(weights))),
    ):
        u = np.sort(np.repeat(st.norm.cdf(y, loc, scale), repeats))
        area = np.abs(np.searchsorted(u, grid, side="right") / len(u) - grid).mean()
        assert value.item() == pytest.approx(area, abs=1e-6)
        assert value.item() == pytest.approx(st.wasserstein_distance(u, grid), abs=1e-5)


def test_calibration_error_at_its_limits():
    for u in (0.0, 0.1, 0.5, 0.8, 1.0):
        value = calibration_error(torch.distributions.Uniform(0.0, 1.0, validate_args=False), torch.tensor(u))
        assert value.item() == pytest.approx((u**2 + (1 - u) ** 2) / 2, abs=1e-7)  # one row: by hand
    normal = dist.Normal(torch.zeros(9, dtype=torch.float64), 1.0)
    assert calibration_error(normal, torch.full((9,), 50.0)).item() == pytest.approx(0.5)
    assert calibration_error(normal, torch.full((9,), -1e300, dtype=torch.float64)).item() == pytest.approx(0.5)
    wide = dist.Normal(torch.zeros(9), 1e30)
    assert calibration_error(wide, torch.randn(9, generator=torch.Generator().manual_seed(0))).item() == 0.25
    n = 1000
    best = torch.distributions.Uniform(torch.zeros(n, dtype=torch.float64), 1.0)
    assert calibration_error(best, (torch.arange(n).double() + 0.5) / n).item() == pytest.approx(1 / (4 * n))


def test_what_a_calibrated_prediction_has_by_chance():
    n, cases = 400, 2000
    y = torch.rand(n, cases, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    uniform = torch.distributions.Uniform(torch.zeros_like(y), 1.0)
    errors = calibration_error(torch.distributions.Independent(uniform, 1), y) * math.sqrt(n)
    assert errors.mean().item() == pytest.approx(math.sqrt(2 * math.pi) / 8, rel=0.03)
    assert errors.quantile(0.95).item() == pytest.approx(0.58, rel=0.05)
    curve = coverage_curve(torch.distributions.Independent(uniform, 1), y, torch.arange(1, 100) / 100)
    distance = (curve.coverage - curve.levels).abs().mean(-1) * math.sqrt(n)
    assert distance.mean().item() == pytest.approx(math.sqrt(2 * math.pi) / 8, rel=0.03)


def test_calibration_error_of_counts_sees_calibration_and_its_lack():
    rates = torch.linspace(0.1, 3.0, 20_000, dtype=torch.float64)
    y = torch.poisson(rates, torch.Generator().manual_seed(0))
    assert calibration_error(Poisson(rates), y) < 0.58 / math.sqrt(20_000)
    assert calibration_error(Poisson(2 * rates), y) > 0.1
    generator = torch.Generator().manual_seed(7)
    other = calibration_error(Poisson(rates), y, generator=generator)
    assert other != calibration_error(Poisson(rates), y)


def test_calibration_error_is_differentiable(normals):
    loc, scale, y, weights = (torch.tensor(values).double() for values in normals)
    check = torch.autograd.gradcheck
    parameters = loc.requires_grad_(), scale.requires_grad_()
    assert check(lambda m, s: calibration_error(dist.Normal(m, s), y, sample_weight=weights), parameters)
    assert not coverage_curve(dist.Normal(*parameters), y).coverage.requires_grad


def test_nothing_global_is_drawn_from():
    before = torch.get_rng_state()
    distribution = Poisson(torch.ones(5))
    coverage_curve(distribution, torch.arange(5))
    calibration_error(distribution, torch.arange(5))
    assert torch.equal(before, torch.get_rng_state())
    assert pit(distribution, torch.arange(5)).dtype == torch.float32


# -- sharpness ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("level", [0.05, 0.5, 0.9, 0.999])
def test_interval_width(dtype, level):
    def width(law):
        return law.ppf((1 + level) / 2) - law.ppf((1 - level) / 2)

    rtol = 1e-6 if dtype == torch.float32 else 1e-9
    scale = torch.tensor([1e-3, 1.0, 1e4], dtype=dtype)
    value = interval_width(dist.Normal(torch.full_like(scale, 100.0), scale), level)
    assert value.dtype == dtype
    # far from zero as well, where quantiles in float32 would have lost a narrow width
    np.testing.assert_allclose(value, width(st.norm(0, scale.double().numpy())), rtol=rtol)
    shape = torch.tensor([0.5, 2.0, 80.0], dtype=dtype)
    value = interval_width(Gamma(shape, 2 * torch.ones_like(shape)), level)
    np.testing.assert_allclose(value, width(st.gamma(shape.double().numpy(), scale=0.5)), rtol=10 * rtol)
    np.testing.assert_array_equal(interval_width(Poisson(shape), level), width(st.poisson(shape.double().numpy())))


def test_interval_width_of_several_targets_and_of_mixtures():
    scale = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    value = interval_width(dist.Normal(torch.zeros(2, 2), scale).to_event(1), 0.9)
    np.testing.assert_allclose(value, 2 * st.norm.ppf(0.95) * scale, rtol=1e-6)
    # in float32, far from zero: the bisection must not be in float32
    pool = linear_pool(dist.Normal(torch.tensor([[99.0, 101.0], [100.0, 100.0]]), 1e-3))
    np.testing.assert_allclose(interval_width(pool, 0.9)[0], 2 + 2e-3 * st.norm.ppf(0.9), rtol=1e-6)
    np.testing.assert_allclose(interval_width(pool, 0.9)[1], 2e-3 * st.norm.ppf(0.95), rtol=1e-6)
    assert interval_width(dist.Categorical(torch.tensor([0.2, 0.2, 0.6])), 0.5).item() == 1
    sigma = torch.tensor([1.0, 2.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda s: interval_width(dist.Normal(0.0, s), 0.8), (sigma,))


# -- errors ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("score", [coverage_curve, calibration_error, expected_calibration_error])
def test_rows_and_weights_that_do_not_fit(score):
    three, y = torch.distributions.Bernoulli(torch.full((3,), 0.5)), torch.zeros(3)
    rule = "`sample_weight` must hold one weight for each of the 3 rows; got shape "
    with raises(ValueError, rule + "(2,)."):
        score(three, y, sample_weight=torch.ones(2))
    message = "`sample_weight` must be finite and not negative; got -1 at row 1. Give dropped rows the weight 0."
    with raises(ValueError, message):
        score(three, y, sample_weight=torch.tensor([1.0, -1.0, 1.0]))
    with raises(ValueError, message.replace("-1 at row 1", "nan at row 0")):
        score(three, y, sample_weight=torch.tensor([math.nan, -1.0, 1.0]))
    with raises(ValueError, "`sample_weight` must be positive in at least one row; got zeros only."):
        score(three, y, sample_weight=torch.zeros(3))
    with raises(ValueError, "the distribution must have at least one row; got batch shape (0,)."):
        score(torch.distributions.Bernoulli(torch.zeros(0)), torch.zeros(0))
    with raises(ValueError, "`y` must be finite; got nan at row 0. Drop or impute these rows."):
        score(three, torch.tensor([math.nan, 0, 0]))


@pytest.mark.parametrize(
    ("levels", "got"),
    [([0.5, 90], "90"), ([0.0], "0"), ([math.nan], "nan"), (0.9, "shape ()"), ([[0.5]], "shape (1, 1)")],
)
def test_levels_that_are_none(levels, got):
    with raises(
        ValueError,
        f"`levels` must be a sequence of numbers between 0 and 1, both excluded, got {got}. For 90 % pass 0.9.",
    ):
        coverage_curve(dist.Normal(torch.zeros(3), 1.0), torch.zeros(3), levels)


def test_other_errors():
    one = torch.distributions.Bernoulli(torch.tensor([0.5]))
    with raises(ValueError, "`bins` must be at least 1, or None for an isotonic regression; got 0."):
        expected_calibration_error(one, torch.zeros(1), 0)
    with raises(ValueError, "`strategy` must be 'uniform' or 'quantile'; got 'equal'."):
        expected_calibration_error(one, torch.zeros(1), strategy="equal")
    with raises(
        TypeError,
        "classes or events need a Categorical or a Bernoulli distribution with one target per row, got Normal.",
    ):
        expected_calibration_error(dist.Normal(torch.zeros(1), 1.0), torch.zeros(1))
    with raises(ValueError, "`y` must be 0 or 1; got 2 at row 0. Encode the two classes first."):
        expected_calibration_error(one, torch.tensor([2.0]))
    with raises(ValueError, "`level` must lie between 0 and 1, got 90. For 90 % pass 0.9."):
        interval_width(dist.Normal(0.0, 1.0), 90)


@pytest.mark.cuda
def test_cuda_calibrates_like_the_cpu(normals):
    loc, scale, y, weights = (torch.tensor(values).double() for values in normals)
    there = dist.Normal(loc.cuda(), scale.cuda())
    here = dist.Normal(loc, scale)
    curve = coverage_curve(there, y.cuda(), sample_weight=weights.cuda()).coverage
    assert curve.device.type == "cuda"
    torch.testing.assert_close(curve.cpu(), coverage_curve(here, y, sample_weight=weights).coverage)
    error = calibration_error(there, y.cuda())
    assert error.device.type == "cuda"
    torch.testing.assert_close(error.cpu(), calibration_error(here, y))
    torch.testing.assert_close(interval_width(there, 0.9).cpu(), interval_width(here, 0.9))
    assert coverage_curve(Poisson(scale.cuda()), weights.cuda()).coverage.device.type == "cuda"
    p, z = loc.sigmoid(), (y > 0).double()
    for bins, strategy in ((15, "uniform"), (5, "quantile"), (None, "uniform")):
        value = expected_calibration_error(Bernoulli(p.cuda()), z.cuda(), bins, strategy=strategy)
        assert value.device.type == "cuda"
        torch.testing.assert_close(value.cpu(), expected_calibration_error(Bernoulli(p), z, bins, strategy=strategy))
