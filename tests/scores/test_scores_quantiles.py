"""Scores of quantiles and intervals, against other libraries, their definitions, and quadrature."""

import math
import re

import numpy as np
import pytest
import scipy.stats as st
import scoringrules
import torch
from score_oracles import DTYPES, close

from probmix.scores import (
    crps,
    crps_quantiles,
    crps_samples,
    interval_score,
    quantile_score,
    weighted_interval_score,
)

LEVELS = [0.001, 0.025, 0.1, 0.4, 0.5, 0.75, 0.999]
SCALES = [(0.0, 1.0), (1e6, 1.0), (1e6, 1e-3), (0.0, 1e-3), (-5.0, 1e8)]
RTOL = {torch.float32: 1e-6, torch.float64: 1e-12}


def case(dtype, offset=0.0, scale=1.0, count=7):
    """Ordered quantiles (4, 5, count) and targets (4, 5), some equal to a quantile."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn((4, 5, count + 1), generator=generator, dtype=torch.float64)
    quantiles = (offset + scale * noise[..., :-1]).to(dtype).sort(-1).values
    y = (offset + 2 * scale * noise[..., -1]).to(dtype)
    y[0] = quantiles[0, :, 2]
    return quantiles, y


def arrays(*tensors):
    return tuple(t.double().numpy() for t in tensors)


def raises(kind, message):
    return pytest.raises(kind, match=f"^{re.escape(message)}$")


# -- values ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("offset", "scale"), SCALES)
def test_quantile_score(dtype, offset, scale):
    quantiles, y = case(dtype, offset, scale)
    value = quantile_score(quantiles, y, LEVELS)
    assert value.dtype == dtype
    assert value.shape == quantiles.shape
    q, t = arrays(quantiles, y)
    t = t[..., None]
    close(value, np.where(t <= q, 1 - np.array(LEVELS), np.array(LEVELS)) * np.abs(q - t), RTOL[dtype])
    close(value, scoringrules.quantile_score(t, q, np.array(LEVELS), backend="numpy"), RTOL[dtype])
    # levels in any order, and crossing
    close(quantile_score(quantiles.flip(-1), y, LEVELS[::-1]), value.flip(-1).double().numpy(), 1e-15)
    assert (quantile_score(quantiles.flip(-1), y, LEVELS) >= 0).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("offset", "scale"), SCALES)
@pytest.mark.parametrize("coverage", [0.01, 0.5, 0.9, 0.999])
def test_interval_score(dtype, offset, scale, coverage):
    quantiles, y = case(dtype, offset, scale)
    lower, upper = quantiles[..., 1], quantiles[..., 4]
    value = interval_score(lower, upper, y, coverage)
    assert value.dtype == dtype
    assert value.shape == y.shape
    low, high, t = arrays(lower, upper, y)
    alpha = 1 - coverage
    expected = (high - low) + 2 / alpha * ((low - t) * (t < low) + (t - high) * (t > high))
    close(value, expected, RTOL[dtype])
    close(value, scoringrules.interval_score(t, low, high, alpha, backend="numpy"), RTOL[dtype])
    # the two quantile scores, as 2 / alpha times their sum
    losses = quantile_score(torch.stack([lower, upper], -1), y, [alpha / 2, 1 - alpha / 2]).double().sum(-1)
    close(value, 2 / alpha * losses.numpy(), 2 * RTOL[dtype])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("offset", "scale"), SCALES)
def test_weighted_interval_score(dtype, offset, scale):
    quantiles, y = case(dtype, offset, scale)
    lower, upper = quantiles[..., :3], quantiles[..., 4:].flip(-1)
    coverages = [0.98, 0.8, 0.2]
    value = weighted_interval_score(quantiles[..., 3], lower, upper, y, coverages)
    assert value.dtype == dtype
    assert value.shape == y.shape
    median, low, high, t = arrays(quantiles[..., 3], lower, upper, y)
    expected = 0.5 * np.abs(t - median)
    for k, coverage in enumerate(coverages):
        alpha = 1 - coverage
        outside = np.maximum(low[..., k] - t, 0) + np.maximum(t - high[..., k], 0)
        expected = expected + alpha / 2 * (high[..., k] - low[..., k]) + outside
    close(value, expected / 3.5, RTOL[dtype])
    # scoringrules 0.10 with NumPy adds the median itself for its distance to y, so that part stays out
    alphas = 1 - np.array(coverages)
    library = scoringrules.weighted_interval_score(t, median, low, high, alphas, 0.0, backend="numpy")
    close(value, library + 0.5 * np.abs(t - median) / 3.5, RTOL[dtype])
    # in any order of the intervals
    order = torch.tensor([1, 2, 0])
    mixed = weighted_interval_score(
        quantiles[..., 3], lower[..., order], upper[..., order], y, torch.tensor(coverages, dtype=torch.float64)[order]
    )
    close(mixed, value.double().numpy(), 1e-15)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("offset", "scale"), SCALES)
def test_crps_of_quantiles(dtype, offset, scale):
    quantiles, y = case(dtype, offset, scale)
    value = crps_quantiles(quantiles, y, LEVELS)
    assert value.dtype == dtype
    assert value.shape == y.shape
    # each quantile stands for the levels nearest to its own
    edges = np.concatenate([[0.0], (np.array(LEVELS[1:]) + LEVELS[:-1]) / 2, [1.0]])
    close(value, 2 * (np.diff(edges) * arrays(quantile_score(quantiles, y, LEVELS))[0]).sum(-1), 2 * RTOL[dtype])
    # in the middle of equal cells: the CRPS of the quantiles as draws, and the unweighted mean of scoringrules
    middle = (np.arange(7) + 0.5) / 7
    even = crps_quantiles(quantiles, y, middle)
    close(even, crps_samples(quantiles, y, fair=False).double().numpy(), 2 * RTOL[dtype])
    q, t = arrays(quantiles, y)
    close(even, scoringrules.crps_quantile(t, q, middle, backend="numpy"), RTOL[dtype])
    close(crps_quantiles(quantiles[..., :1], y, [0.5]), np.abs(t - q[..., 0]), RTOL[dtype])


def test_the_crps_of_quantiles_is_as_near_as_its_documentation_says():
    y = torch.tensor([0.3], dtype=torch.float64)
    exact = crps(torch.distributions.Normal(torch.zeros(1, dtype=torch.float64), 1.0), y)
    rules = {
        lambda q: (np.arange(q) + 0.5) / q: {9: 2e-3, 99: 2.4e-4, 999: 3e-6},
        lambda q: np.arange(1, q + 1) / (q + 1): {9: 7e-2, 99: 1.5e-3},
    }
    for rule, bounds in rules.items():
        for q, bound in bounds.items():
            quantiles = torch.tensor(st.norm.ppf(rule(q)))
            value = crps_quantiles(quantiles.unsqueeze(0), y, rule(q))
            assert abs(value / exact - 1) < bound


# -- propriety and gradients -------------------------------------------------------------------------------------------


def test_the_expected_scores_are_smallest_at_the_truth():
    y = torch.tensor(st.gamma(2.0).ppf((np.arange(20_000) + 0.5) / 20_000))
    levels = [0.05, 0.25, 0.5, 0.75, 0.95]
    truth = torch.tensor(st.gamma(2.0).ppf(levels))

    def expected(quantiles):
        q = quantiles.expand(len(y), -1)
        return {
            "quantiles": quantile_score(q, y, levels).mean(0).sum(),
            "crps": crps_quantiles(q, y, levels).mean(),
            "interval": interval_score(q[:, 0], q[:, 4], y, 0.9).mean(),
            "weighted": weighted_interval_score(q[:, 2], q[:, :2], q[:, 3:].flip(-1), y, [0.9, 0.5]).mean(),
        }

    best = expected(truth)
    for k in range(5):
        for factor in (0.9, 1.1):
            other = truth.clone()
            other[k] *= factor
            for name, value in expected(other).items():
                if name != "interval" or k in (0, 4):
                    assert value > best[name] + 1e-6, (name, k, factor)


def test_gradients():
    quantiles, y = case(torch.float64)
    quantiles, y = quantiles[1:].requires_grad_(), y[1:].requires_grad_()
    check = torch.autograd.gradcheck
    assert check(lambda q, t: quantile_score(q, t, LEVELS), (quantiles, y))
    assert check(lambda q, t: crps_quantiles(q, t, LEVELS), (quantiles, y))
    assert check(lambda q, t: interval_score(q[..., 0], q[..., 6], t, 0.9), (quantiles, y))
    assert check(
        lambda q, t: weighted_interval_score(q[..., 3], q[..., :3], q[..., 4:].flip(-1), t, [0.9, 0.5, 0.2]),
        (quantiles, y),
    )
    at_kink = torch.zeros(1, 1, requires_grad=True)
    (gradient,) = torch.autograd.grad(quantile_score(at_kink, torch.zeros(1), [0.9]).sum(), at_kink)
    assert gradient.item() == pytest.approx(-0.4)


def test_shapes():
    quantiles, y = case(torch.float32)
    assert quantile_score(quantiles, torch.tensor(1), LEVELS).shape == (4, 5, 7)
    assert crps_quantiles(quantiles, torch.zeros(5), torch.tensor(LEVELS)).shape == (4, 5)
    assert crps_quantiles(quantiles[:0], torch.zeros(5), LEVELS).shape == (0, 5)
    assert crps_quantiles(quantiles[0, 0], y[0, 0], LEVELS).shape == ()
    assert interval_score(y, y, torch.tensor(3.0), 0.5).shape == (4, 5)
    # intervals of no width, and all quantiles equal, are no crossing
    flat = torch.zeros(2, 3)
    close(crps_quantiles(flat, torch.ones(2), [0.1, 0.5, 0.9]), [1.0, 1.0], 1e-6)
    close(weighted_interval_score(flat[:, 0], flat, flat, torch.ones(2), [0.1, 0.5, 0.9]), [1.0, 1.0], 1e-6)


# -- errors and devices ------------------------------------------------------------------------------------------------


def test_errors_of_quantiles():
    good, y, three = torch.tensor([[0.0, 1.0, 2.0], [0.0, 1.0, 2.0]]), torch.zeros(2), [0.1, 0.5, 0.9]
    for score in (quantile_score, crps_quantiles):
        with raises(TypeError, "`quantiles` must be float32 or float64, got torch.float16. Pass quantiles.double()."):
            score(good.half(), y, three)
        with raises(ValueError, "`quantiles` must be finite; got nan at index (0, 0). Drop or impute these rows."):
            score(good * math.nan, y, three)
        with raises(ValueError, "`y` must be finite; got nan at row 1. Drop or impute these rows."):
            score(good, torch.tensor([0.0, math.nan]), three)
        with raises(
            ValueError,
            "`y` must broadcast to the rows of the quantiles, (2,); got shape (2, 1). Pass y.reshape((2,)).",
        ):
            score(good, torch.zeros(2, 1), three)
        with raises(
            ValueError,
            "`quantiles` must hold at least one value along the last axis, got shape (2, 0). "
            "Pass shape (rows, levels).",
        ):
            score(good[:, :0], y, [])
        with raises(
            ValueError,
            "`levels` must hold one number for each of the 3 on the last axis, got shape (2,). Pass a sequence of 3.",
        ):
            score(good, y, [0.1, 0.9])
        for level in (0.0, 1.0, 90.0, math.nan):
            message = f"`levels` must lie between 0 and 1, both excluded, got {level:g}. For 90 % pass 0.9."
            with raises(ValueError, message):
                score(good, y, [0.1, level, 0.95])
    with raises(ValueError, "`levels` must increase, got [0.1, 0.5, 0.5]. Sort them, and the quantiles with them."):
        crps_quantiles(good, y, [0.1, 0.5, 0.5])
    crossing = torch.tensor([[0.0, 1.0, 2.0], [0.0, 3.0, 2.0]])
    with raises(
        ValueError,
        "the quantiles must not decrease from level to level, got [0.0, 3.0, 2.0] at row (1,). "
        "Sort them along the last axis, which never makes the score worse.",
    ):
        crps_quantiles(crossing, y, three)


def test_errors_of_intervals():
    zero, one = torch.zeros(2), torch.ones(2)
    for coverage in (0.0, 1.0, 90, math.nan):
        message = f"`coverage` must lie between 0 and 1, both excluded, got {coverage:g}. For 90 % pass 0.9."
        with raises(ValueError, message):
            interval_score(zero, one, zero, coverage)
    with raises(ValueError, "`lower` must not be above `upper`; got 2 at row 1. Swap the ends of these rows."):
        interval_score(torch.tensor([0.0, 2.0]), one, zero, 0.9)
    with raises(
        ValueError,
        "`lower` and `upper` must have the same shape, got (2,) and (2, 1). Pass both ends of every interval.",
    ):
        interval_score(zero, one.unsqueeze(-1), zero, 0.9)
    with raises(TypeError, "`upper` must be float32 or float64, got torch.float16. Pass upper.double()."):
        interval_score(zero, one.half(), zero, 0.9)
    lower, upper = torch.tensor([[-1.0, -2.0]] * 2), torch.tensor([[1.0, 2.0]] * 2)
    with raises(
        ValueError,
        "`median` must have the shape of `lower` without the last axis, (2,); got shape (2, 1). "
        "Pass one median for each row.",
    ):
        weighted_interval_score(zero.unsqueeze(-1), lower, upper, zero, [0.5, 0.9])
    with raises(ValueError, "`coverages` must differ, got [0.5, 0.5]. Pass one interval for each."):
        weighted_interval_score(zero, lower, upper, zero, [0.5, 0.5])
    with raises(ValueError, "`coverages` must lie between 0 and 1, both excluded, got 90. For 90 % pass 0.9."):
        weighted_interval_score(zero, lower, upper, zero, [50, 90][::-1])
    # the wide interval inside the narrow one, and a median outside
    for median, coverages in ((zero, [0.9, 0.5]), (3 * one, [0.5, 0.9])):
        with pytest.raises(
            ValueError, match=r"^the quantiles must not decrease from level to level, got .* at row \(0"
        ):
            weighted_interval_score(median, lower, upper, zero, coverages)


@pytest.mark.cuda
def test_cuda_scores_quantiles_like_the_cpu():
    quantiles, y = case(torch.float32)
    for score in (quantile_score, crps_quantiles):
        value = score(quantiles.cuda(), y.cuda(), LEVELS)
        assert value.device.type == "cuda"
        torch.testing.assert_close(value.cpu(), score(quantiles, y, LEVELS))

    def scores(q, t):
        yield interval_score(q[..., 0], q[..., 6], t, 0.9)
        yield weighted_interval_score(q[..., 3], q[..., :3], q[..., 4:].flip(-1), t, [0.9, 0.5, 0.2])

    for value, expected in zip(scores(quantiles.cuda(), y.cuda()), scores(quantiles, y), strict=True):
        torch.testing.assert_close(value.cpu(), expected)
