"""Draws and quantiles as distributions, against NumPy, SciPy, integrals and finite differences."""

import pickle
import re
from itertools import pairwise

import numpy as np
import properscoring
import pytest
import scipy.stats as st
import torch
from matplotlib.figure import Figure
from scipy.integrate import quad
from score_oracles import DTYPES, close

from probmix.distributions import Empirical, QuantileFunction, cdf, icdf, is_discrete
from probmix.distributions.quantile_function import piecewise_linear_crps
from probmix.plots import PITHistogramDisplay
from probmix.scores import coverage, crps, crps_quantiles, crps_samples, dawid_sebastiani, nll, pit

LEVELS = [0.05, 0.2, 0.5, 0.6, 0.95]
RTOL = {torch.float32: 2e-6, torch.float64: 1e-12}


def raises(kind, message):
    return pytest.raises(kind, match=f"^{re.escape(message)}")


def draws(rows=6, m=50, dtype=torch.float64, seed=0):
    # halves, so that there are ties among the draws and with the targets
    return (2 * torch.randn(rows, m, generator=torch.Generator().manual_seed(seed), dtype=dtype)).round() / 2


def quantiles(dtype=torch.float64):
    return torch.tensor(
        [
            [-1.0, 0.0, 0.5, 2.0, 2.5],
            [0.0, 0.0, 0.0, 1.0, 1.0],
            [3.0, 3.0, 3.0, 3.0, 3.0],
            [1e4, 1e4 + 1, 1e4 + 2, 1e4 + 2, 1e4 + 64],
        ],
        dtype=dtype,
    )


def both(dtype=torch.float64):
    return [Empirical(draws(4, dtype=dtype)), QuantileFunction(quantiles(dtype), LEVELS)]


# -- draws -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_empirical_against_numpy_and_scipy(dtype):
    x = draws(dtype=dtype)
    distribution = Empirical(x)
    at = torch.tensor([-9.0, -0.5, -0.25, 0.0, 1.0, 9.0], dtype=dtype).reshape(6, 1)
    levels = torch.tensor([0.02, 0.07, 0.5, 0.51, 0.98, 1.0], dtype=torch.float64).reshape(6, 1)
    below, found = distribution.cdf(at), distribution.icdf(levels)
    assert below.dtype == found.dtype == dtype
    assert below.shape == found.shape == (6, 6)
    for row, sample in enumerate(x.numpy()):
        close(below[:, row], st.ecdf(sample).cdf.evaluate(at[:, 0].numpy()), 1e-6 if dtype == torch.float32 else 0)
        expected = np.quantile(sample, levels[:, 0].numpy(), method="inverted_cdf")
        np.testing.assert_array_equal(found[:, row].numpy(), expected)
    close(distribution.mean, x.double().numpy().mean(-1), 1e-6 if dtype == torch.float32 else 1e-14)
    close(distribution.variance, x.double().numpy().var(-1), RTOL[dtype])


@pytest.mark.parametrize("m", [10, 49, 100, 1000])
def test_empirical_quantiles_at_the_steps_of_the_cdf(m):
    x = torch.arange(1.0, m + 1, dtype=torch.float64)
    distribution = Empirical(x.flip(0))
    # typed as a user does, 0.07 or 0.29, which times 100 is a little more than a whole number
    levels = torch.tensor([float(f"{k / m:.17g}") for k in range(1, m + 1)], dtype=torch.float64)
    torch.testing.assert_close(distribution.icdf(levels), x, rtol=0, atol=0)
    torch.testing.assert_close(distribution.icdf(distribution.cdf(x)), x, rtol=0, atol=0)
    after = distribution.icdf((levels + 1e-12).clamp(max=1))
    torch.testing.assert_close(after, (x + 1).clamp(max=m), rtol=0, atol=0)


@pytest.mark.parametrize("dtype", DTYPES)
def test_empirical_crps_is_the_plain_score_of_the_draws(dtype):
    x, y = draws(dtype=dtype), torch.tensor([-5.0, -0.5, 0.0, 0.3, 1.0, 20.0], dtype=dtype)
    value = crps(Empirical(x), y)
    assert value.dtype == dtype
    close(value, properscoring.crps_ensemble(y.double().numpy(), x.double().numpy()), RTOL[dtype])
    torch.testing.assert_close(value, crps_samples(x, y, fair=False), rtol=RTOL[dtype], atol=0)


def test_empirical_crps_has_the_gradient_of_the_draws():
    x, y = torch.randn(3, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(1)), torch.zeros(3)
    assert torch.autograd.gradcheck(lambda x: crps(Empirical(x), y), x.requires_grad_())


# -- quantiles ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_quantile_function_against_interpolation(dtype):
    x = quantiles(dtype)
    distribution = QuantileFunction(x, LEVELS)
    levels = torch.tensor([0.0, 0.01, 0.05, 0.1, 0.2, 0.55, 0.6, 0.9, 0.95, 1.0], dtype=torch.float64)[:, None]
    found = distribution.icdf(levels)
    assert found.dtype == dtype
    for row, knots in enumerate(x.double().numpy()):
        close(found[:, row], np.interp(levels[:, 0].numpy(), LEVELS, knots), 1e-7 if dtype == torch.float32 else 1e-15)
    row = QuantileFunction(x[0], LEVELS)
    at = torch.tensor([-1.5, -1.0, -0.5, 0.25, 0.5, 2.25, 2.5, 3.0], dtype=dtype)
    expected = np.interp(at.numpy(), x[0].numpy(), LEVELS, left=0, right=1)
    expected[at.numpy() == 2.5] = 1  # the mass above the last quantile lies on it
    np.testing.assert_allclose(row.cdf(at).numpy(), expected, rtol=1e-6 if dtype == torch.float32 else 1e-15)


def test_quantile_function_jumps_where_quantiles_coincide():
    distribution = QuantileFunction(quantiles(), LEVELS)
    at = torch.tensor([0.0, 0.0, 3.0, 1e4 + 2], dtype=torch.float64)
    before = at - torch.tensor([1e-15, 1e-15, 1e-15, 1e-11], dtype=torch.float64)
    close(distribution.cdf(at), [0.2, 0.5, 1.0, 0.6], 1e-15)
    np.testing.assert_allclose(distribution.cdf(before).numpy(), [0.2, 0.0, 0.0, 0.5], rtol=1e-10)
    close(distribution.cdf(at + 1e-11), [0.2, 0.5, 1.0, 0.6], 1e-10)
    close(distribution.cdf(torch.full((4,), 1.0)), [0.5 + 0.1 / 3, 1.0, 0.0, 0.0], 1e-15)


@pytest.mark.parametrize("dtype", DTYPES)
def test_quantile_function_moments_are_integrals_of_the_quantile_function(dtype):
    distribution = QuantileFunction(quantiles(dtype), LEVELS)
    for row, knots in enumerate(quantiles().numpy()):
        cuts = [0.0, *LEVELS, 1.0]

        def integral(power, centre=0.0, knots=knots, cuts=cuts):
            return sum(
                quad(lambda p: (np.interp(p, LEVELS, knots) - centre) ** power, a, b, epsabs=0)[0]
                for a, b in pairwise(cuts)
            )

        mean = integral(1)
        assert distribution.mean[row].item() == pytest.approx(mean, rel=1e-7 if dtype == torch.float32 else 1e-13)
        variance = integral(2, mean)
        assert distribution.variance[row].item() == pytest.approx(variance, rel=RTOL[dtype], abs=1e-25)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("y", [-7.0, -1.0, -0.3, 0.0, 0.5, 1.0, 2.0, 2.4, 2.5, 3.0, 1e4 + 1.5, 1e4 + 60, 2e4])
def test_quantile_function_crps_is_the_integral(y, dtype):
    x = quantiles(dtype)
    value = crps(QuantileFunction(x, LEVELS), torch.full((4,), y, dtype=dtype))
    assert value.dtype == dtype
    y = torch.tensor(y, dtype=dtype).item()
    for row, knots in enumerate(x.double().numpy()):
        # twice the integral of the pinball loss over all levels, by Gauss-Legendre between the levels and that of y
        level = QuantileFunction(x[row].double(), LEVELS).cdf(torch.tensor(y, dtype=torch.float64)).item()
        cuts = np.unique([0.0, *LEVELS, level, 1.0])
        nodes, weights = np.polynomial.legendre.leggauss(4)
        half, middle = np.diff(cuts)[:, None] / 2, (cuts[1:] + cuts[:-1])[:, None] / 2
        p = middle + half * nodes
        q = np.interp(p, LEVELS, knots)
        expected = 2 * (half * weights * np.where(y <= q, 1 - p, p) * np.abs(q - y)).sum()
        assert value[row].item() == pytest.approx(expected, rel=RTOL[dtype], abs=1e-14)


def test_quantile_function_crps_approaches_that_of_the_distribution_behind():
    levels = (np.arange(999) + 0.5) / 999
    x = torch.from_numpy(st.norm.ppf(levels))[None]
    y = torch.tensor([0.3], dtype=torch.float64)
    exact = properscoring.crps_gaussian(0.3, 0, 1)
    value = crps(QuantileFunction(x, levels.tolist()), y).item()
    assert value == pytest.approx(exact, rel=1e-4)
    assert value == pytest.approx(crps_quantiles(x, y, levels.tolist()).item(), rel=1e-4)


def test_quantile_function_crps_has_the_right_gradient():
    x = quantiles()[:1].clone().requires_grad_()
    levels = torch.tensor(LEVELS, dtype=torch.float64)
    for y in (-3.0, 0.2, 1.7, 4.0):
        target = torch.tensor([y], dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(lambda x, t: piecewise_linear_crps(x, levels, t), (x, target))
    flat = torch.full((1, 5), 3.0, dtype=torch.float64, requires_grad=True)
    crps(QuantileFunction(flat, LEVELS), torch.tensor([3.5])).sum().backward()
    assert flat.grad.isfinite().all()
    assert flat.grad.sum().item() == pytest.approx(-1)


def test_one_quantile_is_a_point():
    distribution = QuantileFunction(torch.tensor([[2.0], [5.0]]), [0.5])
    np.testing.assert_array_equal(crps(distribution, torch.tensor([3.0, 1.0])).numpy(), [1, 4])
    np.testing.assert_array_equal(distribution.cdf(torch.tensor([1.9, 5.0])).numpy(), [0, 1])
    np.testing.assert_array_equal(distribution.icdf(torch.tensor([0.1, 0.9])).numpy(), [2, 5])
    np.testing.assert_array_equal(distribution.mean.numpy(), [2, 5])


def test_quantile_function_draws_follow_it_and_have_a_gradient():
    x = quantiles()[0].clone().requires_grad_()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        sample = QuantileFunction(x, LEVELS).rsample((20_000,))
    below = QuantileFunction(x.detach(), LEVELS).cdf(torch.tensor([-1.0, 0.0, 0.25, 2.4]))
    share = (sample.detach()[:, None] <= torch.tensor([-1.0, 0.0, 0.25, 2.4])).double().mean(0)
    np.testing.assert_allclose(share.numpy(), below.numpy(), atol=0.02)
    sample.mean().backward()
    # the mean is linear in the quantiles; these are its coefficients
    np.testing.assert_allclose(x.grad.numpy(), [0.125, 0.225, 0.2, 0.225, 0.225], atol=0.015)


# -- both --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("index", [0, 1])
@pytest.mark.parametrize("dtype", DTYPES)
def test_they_are_distributions(index, dtype):
    distribution = both(dtype)[index]
    assert distribution.batch_shape == (4,)
    assert distribution.event_shape == ()
    assert not is_discrete(distribution)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        sample = distribution.sample((3, 5))
    assert sample.shape == (3, 5, 4)
    assert sample.dtype == dtype
    wide = distribution.expand((2, 4))
    assert wide.batch_shape == (2, 4)
    y = torch.tensor([0.0, 0.5, 3.0, 1e4 + 5])
    torch.testing.assert_close(crps(wide, y), crps(distribution, y).expand(2, 4), rtol=0, atol=0)
    torch.testing.assert_close(cdf(wide, y), cdf(distribution, y).expand(2, 4), rtol=0, atol=0)
    torch.testing.assert_close(icdf(wide, y / 2e4), icdf(distribution, y / 2e4).expand(2, 4), rtol=0, atol=0)
    assert torch.equal(pickle.loads(pickle.dumps(distribution)).mean, distribution.mean)
    assert distribution.to_event(1).event_shape == (4,)
    assert crps(distribution.to_event(1), y).item() == pytest.approx(crps(distribution, y).mean().item())
    assert icdf(distribution, torch.tensor([-0.1, 1.1, torch.nan, 0.5])).isnan().tolist() == [True, True, True, False]
    one = type(distribution)(*([quantiles(dtype)[0], LEVELS] if index else [draws(dtype=dtype)[0]]))
    assert one.icdf(torch.tensor([0.2, 0.8])).shape == (2,)
    assert one.sample().shape == ()


def test_empirical_draws_are_its_draws():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        sample = Empirical(torch.tensor([[1.0, 2.0, 4.0], [10.0, 10.0, 20.0]])).sample((6000,))
    for row, share in enumerate([{1: 1 / 3, 2: 1 / 3, 4: 1 / 3}, {10: 2 / 3, 20: 1 / 3}]):
        values, counts = np.unique(sample[:, row].numpy(), return_counts=True)
        assert values.tolist() == list(share)
        np.testing.assert_allclose(counts / 6000, list(share.values()), atol=0.03)


@pytest.mark.parametrize("dtype", DTYPES)
def test_calibration_of_draws_and_quantiles(dtype):
    generator = torch.Generator().manual_seed(0)
    y = torch.randn(2000, generator=generator, dtype=dtype)
    sample = Empirical(torch.randn(2000, 400, generator=generator, dtype=dtype))
    levels = torch.linspace(0.01, 0.99, 99, dtype=torch.float64)
    between = QuantileFunction(torch.special.ndtri(levels).to(dtype).expand(2000, 99), levels)
    for distribution in (sample, between):
        value = pit(distribution, y)
        assert value.dtype == dtype
        np.testing.assert_allclose(value.numpy(), torch.special.ndtr(y).numpy(), atol=0.11)
        assert coverage(distribution, y, 0.9).mean().item() == pytest.approx(0.9, abs=0.03)
        display = PITHistogramDisplay.from_predictions(distribution, y, ax=Figure().subplots())
        np.testing.assert_allclose(display.heights, 1, atol=0.3)
    expected = ((y - 0.0) ** 2 - dawid_sebastiani(between, y)).abs()
    assert expected.median() < 0.1


@pytest.mark.parametrize("index", [0, 1])
def test_there_is_no_density(index):
    with pytest.raises(NotImplementedError, match=r"no density, so neither log_prob nor NLL\. Use `crps`"):
        nll(both()[index], torch.zeros(4))


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (
            lambda: Empirical(torch.zeros(3, 0)),
            ValueError,
            "`samples` must hold at least one value along the last axis, got shape (3, 0). Pass shape (rows, draws).",
        ),
        (
            lambda: Empirical(torch.tensor([[0.0, 1.0], [0.0, torch.nan]])),
            ValueError,
            "`samples` must be finite, got nan at index (1, 1). Drop or impute these rows.",
        ),
        (
            lambda: Empirical(torch.zeros(3, 2, dtype=torch.int64)),
            TypeError,
            "`samples` must be a float32 or float64 tensor, got torch.int64. Pass torch.as_tensor(samples).double().",
        ),
        (lambda: Empirical(np.zeros((3, 2))), TypeError, "`samples` must be a float32 or float64 tensor, got ndarray."),
        (
            lambda: QuantileFunction(torch.tensor([[0.0, 1.0], [2.0, 1.0]]), [0.1, 0.9]),
            ValueError,
            "the quantiles must not decrease from level to level, got [2.0, 1.0] at row (1,). Sort them along the last "
            "axis, which never makes the forecast worse.",
        ),
        (
            lambda: QuantileFunction(torch.zeros(3, 2), [0.1, 0.5, 0.9]),
            ValueError,
            "`levels` must hold one number for each of the 2 quantiles on the last axis, got shape (3,). Pass a "
            "sequence of 2.",
        ),
        (
            lambda: QuantileFunction(torch.zeros(3, 2), [0.9, 0.1]),
            ValueError,
            "`levels` must increase between 0 and 1, both excluded, got [0.9, 0.1]. Sort them, and the quantiles with "
            "them; 90 % is 0.9.",
        ),
        (lambda: QuantileFunction(torch.zeros(3, 2), [0.0, 0.5]), ValueError, "`levels` must increase between 0 and 1"),
        (lambda: QuantileFunction(torch.zeros(3, 2), [10, 90]), ValueError, "`levels` must increase between 0 and 1"),
        (
            lambda: QuantileFunction(torch.zeros(3, 2), [0.5, float("nan")]),
            ValueError,
            "`levels` must increase between 0 and 1",
        ),
    ],
    ids=["no-draws", "nan", "integers", "array", "crossing", "count", "order", "zero", "percent", "nan-level"],
)
def test_errors(make, kind, message):
    with raises(kind, message):
        make()


@pytest.mark.cuda
@pytest.mark.parametrize("dtype", DTYPES)
def test_cuda_is_like_the_cpu(dtype):
    y = torch.tensor([0.0, 0.5, 3.0, 1e4 + 5], dtype=dtype)
    for cpu, cuda in (
        (Empirical(draws(4, dtype=dtype)), Empirical(draws(4, dtype=dtype).cuda())),
        (QuantileFunction(quantiles(dtype), LEVELS), QuantileFunction(quantiles(dtype).cuda(), LEVELS)),
    ):
        for score in (crps, pit, lambda d, y: coverage(d, y, 0.5), lambda d, y: icdf(d, y / 2e4)):
            value = score(cuda, y.cuda())
            assert value.device.type == "cuda"
            torch.testing.assert_close(value.cpu(), score(cpu, y), rtol=RTOL[dtype], atol=0)
        assert cuda.sample((2,)).device.type == "cuda"
        torch.testing.assert_close(cuda.variance.cpu(), cpu.variance, rtol=RTOL[dtype], atol=1e-25)
