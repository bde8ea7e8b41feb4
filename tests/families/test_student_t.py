"""Student's t: the distribution against fifty digits and SciPy, the family and the estimator on heavy tails."""

import itertools
import math

import mpmath
import numpy as np
import pytest
import scoringrules
import torch
from scipy import integrate, stats

from probmix import DensityRegressor, families, linear_pool
from probmix.distributions import StudentT, cdf, icdf
from probmix.distributions.normal_scores import from_normal_score, normal_score
from probmix.scores import crps, crps_with_bound, dawid_sebastiani, nll, pit, threshold_weighted_crps
from probmix.testing import check_family

DFS = (0.3, 1.0, 1.05, 2.0, 3.3, 10.0, 100.0, 1e3, 2e4, 9.9e4, 1.1e5)
FAMILY = families.get("student-t")


def wide(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64).squeeze()


def standard(df: float | torch.Tensor) -> StudentT:
    df = torch.as_tensor(df, dtype=torch.float64)
    return StudentT(df, torch.zeros_like(df), torch.ones_like(df))


def exact_tail(t: float, df: float) -> mpmath.mpf:
    t, df = mpmath.mpf(t), mpmath.mpf(df)
    return mpmath.betainc(df / 2, mpmath.mpf(1) / 2, 0, df / (df + t * t), regularized=True) / 2


def exact_log_prob(t: float, df: float) -> mpmath.mpf:
    t, df = mpmath.mpf(t), mpmath.mpf(df)
    constant = mpmath.loggamma((df + 1) / 2) - mpmath.loggamma(df / 2) - mpmath.log(df * mpmath.pi) / 2
    return constant - (df + 1) / 2 * mpmath.log1p(t * t / df)


def exact_crps(df: float, z: float) -> mpmath.mpf:
    """Jordan, Krüger and Lerch (2019); around one degree of freedom the digits make up for its cancellation."""
    df = mpmath.mpf(df)
    if df == 1:
        df += mpmath.mpf("1e-20")
    tail = exact_tail(z, df)
    below = tail if z < 0 else 1 - tail
    density, square = mpmath.exp(exact_log_prob(z, df)), mpmath.mpf(z) ** 2
    last = mpmath.beta(0.5, df - mpmath.mpf(1) / 2) / mpmath.beta(0.5, df / 2) ** 2
    return z * (2 * below - 1) + 2 * density * (df + square) / (df - 1) - 2 * mpmath.sqrt(df) / (df - 1) * last


# -- the distribution --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("df", DFS)
def test_density_and_both_tails_in_fifty_digits(df):
    places = [t for t in (1e-9, 1e-3, 0.5, 0.69, 0.71, 1.0, 3.0, 10.0, 1e5, 1e30, 1e80) if df < 2e3 or t < 4]
    with mpmath.workdps(50):
        tails = [exact_tail(t, df) for t in places]
        densities = [float(exact_log_prob(t, df)) for t in places]
    t, distribution = wide(*places), standard(df)
    for sign in (-1, 1):
        np.testing.assert_allclose(distribution.log_prob(sign * t), densities, rtol=4e-15, atol=4e-15)
    np.testing.assert_allclose(distribution.cdf(-t), [float(p) for p in tails], rtol=2e-12, atol=1e-300)
    np.testing.assert_allclose(distribution.cdf(t), [float(1 - p) for p in tails], rtol=1e-15)


def test_normal_scores_keep_both_tails():
    distribution = StudentT(wide(3.0, 40.0), wide(1.0), wide(2.0))
    score = torch.linspace(-20, 20, 41, dtype=torch.float64).unsqueeze(-1)
    y = from_normal_score(distribution, score)
    torch.testing.assert_close(normal_score(distribution, y), score.expand(41, 2), rtol=1e-9, atol=1e-12)
    near = score.abs().squeeze(-1) < 5
    levels = 0.5 * torch.erfc(-score[near] * 0.5**0.5)
    torch.testing.assert_close(y[near], distribution.icdf(levels), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("df", [0.3, 1.0, 1.05, 3.0, 30.0, 1e3, 9.9e4, 1e6, 1e12])
def test_quantiles_undo_the_cdf_from_the_farthest_tail_to_the_middle(df):
    distribution = standard(df)
    q = 10 ** torch.linspace(-100 if df >= 1 else -20, -0.31, 60, dtype=torch.float64)
    y = distribution.icdf(q)
    assert bool((y.diff() > 0).all())
    np.testing.assert_allclose(distribution.cdf(y), q, rtol=1e-9)
    torch.testing.assert_close(distribution.icdf(1 - q[q > 1e-6]), -y[q > 1e-6], rtol=1e-9, atol=0)
    assert distribution.icdf(wide(0.5)) == 0
    assert distribution.icdf(wide(0.0, 1.0)).tolist() == [-math.inf, math.inf]
    assert bool(distribution.icdf(wide(-0.1, 1.1)).isnan().all())


def test_quantiles_against_scipy():
    levels = np.array([1e-12, 1e-3, 0.2, 0.26, 0.499999, 0.6, 0.95])
    for df in (1.05, 4.0, 250.0):
        y = StudentT(wide(df), wide(3.0), wide(0.5)).icdf(wide(*levels))
        np.testing.assert_allclose(y, stats.t.ppf(levels, df, 3.0, 0.5), rtol=1e-9)


def test_in_the_limit_it_is_normal():
    t = torch.linspace(-9, 9, 19, dtype=torch.float64)
    normal = torch.distributions.Normal(wide(0.0), wide(1.0))
    torch.testing.assert_close(standard(1e15).log_prob(t), normal.log_prob(t), rtol=1e-12, atol=0)
    np.testing.assert_allclose(standard(1e15).cdf(t), stats.norm.cdf(t), rtol=1e-11)


def test_derivatives():
    df, t = wide(1.05, 3.0, 50.0, 2e5).requires_grad_(), wide(-3.0, 0.0, 0.5, 1.0).requires_grad_()
    loc, scale = wide(0.1, 0.0, -2.0, 3.0).requires_grad_(), wide(1.0, 0.5, 2.0, 9.0).requires_grad_()
    q = wide(0.01, 0.4, 0.5, 0.9).requires_grad_()
    for method, value in (("log_prob", t), ("cdf", t), ("icdf", q)):
        assert torch.autograd.gradcheck(
            lambda *p, f=method: getattr(StudentT(*p[:3]), f)(p[3]), (df, loc, scale, value)
        )
    assert torch.autograd.gradcheck(lambda *p: crps(StudentT(*p[:3]), p[3]), (df, loc, scale, t))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_far_out_everything_is_finite_with_finite_gradients(dtype):
    df, scale, z = torch.cartesian_prod(
        torch.tensor([1.05, 2.0, 30.0, 1e3, 1e8]), torch.tensor([1e-6, 1.0, 1e6]), torch.tensor([-1e9, -3.0, 0.0, 1e4])
    ).to(dtype).unbind(-1)  # fmt: skip
    parameters = [df.requires_grad_(), torch.zeros_like(scale).requires_grad_(), scale.requires_grad_()]
    y = (z * scale).detach()
    for function in (nll, crps):
        value = function(StudentT(*parameters), y)
        assert value.dtype == dtype
        assert value.isfinite().all()
        for gradient in torch.autograd.grad(value.sum(), parameters):
            assert gradient.isfinite().all()
    for value in (StudentT(*parameters).cdf(y), StudentT(*parameters).icdf(torch.full_like(df, 0.01))):
        assert value.dtype == dtype
        for gradient in torch.autograd.grad(value.sum(), parameters):
            assert gradient.isfinite().all()


def test_moments_samples_and_expansion():
    distribution = StudentT(wide(0.9, 1.5, 4.0), wide(1.0, 2.0, 3.0), wide(2.0))
    assert distribution.mean.isnan().tolist() == [True, False, False]
    assert distribution.variance.tolist()[1:] == [math.inf, 8.0]
    tall = distribution.expand((5, 3))
    assert isinstance(tall, StudentT)
    assert tall.batch_shape == (5, 3)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        u = cdf(distribution, distribution.sample((4000,)))
    for column in u.unbind(-1):
        assert stats.kstest(column.numpy(), "uniform").pvalue > 0.01


# -- its scores --------------------------------------------------------------------------------------------------------


def test_crps_in_fifty_digits_also_where_there_is_no_mean():
    for df in (0.51, 0.7, 0.949, 0.951, 1.0, 1.0001, 1.049, 1.051, 2.0, 7.0, 100.0, 1e3):
        places = (0.0, 0.1, -1.0, 3.0, -30.0, 1e5)
        with mpmath.workdps(60):
            exact = [float(exact_crps(df, z)) for z in places]
        distribution = StudentT(wide(df), wide(1.0), wide(2.0))
        value, bound = crps_with_bound(distribution.expand((len(places),)), 1 + 2 * wide(*places))
        np.testing.assert_allclose(value, 2 * np.array(exact), rtol=2e-13)
        assert bool(((value - 2 * wide(*exact)).abs() <= bound).all())
        assert bool((bound <= 1e-9 * value).all())
    assert crps(StudentT(wide(0.5), wide(0.0), wide(1.0)), wide(0.0)) == math.inf


def test_crps_against_quadrature_and_scoringrules():
    cauchy = integrate.quad(lambda x: stats.cauchy.cdf(x) ** 2, -np.inf, 2)[0]
    cauchy += integrate.quad(lambda x: stats.cauchy.sf(x) ** 2, 2, np.inf)[0]
    assert crps(standard(1.0), wide(2.0)).item() == pytest.approx(cauchy, rel=1e-8)
    df, z = np.array([1.3, 2.0, 5.0, 80.0]), np.array([0.2, -1.0, 4.0, 0.0])
    np.testing.assert_allclose(crps(standard(df), wide(*z)), scoringrules.crps_t(z, df), rtol=1e-10)


def test_windows_of_a_partition_add_up():
    distribution, y = standard(wide(1.5, 3.0, 40.0)), wide(0.3, -5.0, 1.0)
    parts = [threshold_weighted_crps(distribution, y, *ends) for ends in ((-math.inf, -1), (-1, 2), (2, math.inf))]
    torch.testing.assert_close(sum(parts), crps(distribution, y), rtol=1e-9, atol=0)


def test_mixtures():
    df, loc = wide(1.5, 4.0, 30.0), wide(-2.0, 0.0, 7.0)
    weights = wide(0.2, 0.5, 0.3)
    mixture = linear_pool(StudentT(df, loc, torch.ones_like(df)), weights)
    y = np.array([-30.0, -2.0, 0.1, 6.0, 50.0])
    want = sum(w * stats.t.cdf(y, d, m) for w, d, m in zip(*(p.numpy() for p in (weights, df, loc)), strict=True))
    np.testing.assert_allclose(cdf(mixture, wide(*y)), want, rtol=1e-12)
    np.testing.assert_allclose(icdf(mixture, wide(*want)), y, rtol=1e-9)

    def below(x):
        return float(cdf(mixture, wide(x)))

    edges = [-math.inf, -30.0, -2.0, 0.0, 3.0, 7.0, 30.0, math.inf]
    for target in (0.0, 30.0):
        squares = sum(
            integrate.quad(lambda x, t=target: (below(x) - (x >= t)) ** 2, *ends)[0]
            for ends in itertools.pairwise(edges)
        )
        assert crps(mixture, wide(target)).item() == pytest.approx(squares, rel=1e-7)


def test_a_variance_that_is_infinite_is_told():
    with pytest.raises(ValueError, match=r"^the variance must be positive and finite; got inf at row 0\. "):
        dawid_sebastiani(standard(wide(1.5, 3.0)), wide(0.0, 0.0))


# -- the family --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_contracts(seed):
    check_family(FAMILY, seed)


def test_bounds_are_the_documented_ones():
    eta = FAMILY.constrain(torch.tensor([[0.0, 0.0, -1e4], [0.0, 0.0, 1e4], [1e30, -1e4, 0.0], [0.0, 1e30, 0.0]]))
    loc, scale, df = eta[:, 0], eta[:, 1].exp(), eta[:, 2].exp()
    torch.testing.assert_close(df[:2], torch.tensor([1.05, 1e3]), rtol=2e-3, atol=0)
    assert loc[2].item() == pytest.approx(1e6)
    torch.testing.assert_close(scale[2:], torch.tensor([1e-3, 1e6]))
    assert not FAMILY.pools_log_linearly


@pytest.mark.parametrize("df", [1.2, 2.0, 5.0, 100.0])
def test_the_marginal_fit_and_the_unit_of_targets_stand_heavy_tails(df):
    y = torch.from_numpy(7 + 3 * np.random.default_rng(0).standard_t(df, size=5000))
    scaler = FAMILY.scaler(y)
    assert 0.8 < scaler.scale.item() / 3 < 1.6
    assert abs(scaler.loc.item() - 7) < 0.3
    loc, log_scale, log_df = FAMILY.rescale(FAMILY.marginal_params(scaler.transform(y)), scaler).squeeze().tolist()
    assert abs(loc - 7) < 0.3
    assert math.exp(log_scale) == pytest.approx(3, rel=0.08)
    assert math.exp(log_df) == pytest.approx(df, rel=0.25) or df > 50 > 1 / math.exp(log_df)
    # a row of weight two is the row twice
    weights = torch.from_numpy(np.random.default_rng(1).integers(1, 3, 5000)).double()
    twice = y.repeat_interleave(weights.long())
    torch.testing.assert_close(FAMILY.marginal_params(y / 3, weights), FAMILY.marginal_params(twice / 3))


@pytest.mark.parametrize(
    "y", [torch.full((9,), 0.1), torch.tensor([0.0] * 60 + [*np.linspace(-1, 1, 40)])], ids=["all", "most"]
)
def test_equal_targets(y):
    scaler = FAMILY.scaler(y)
    eta = FAMILY.marginal_params(scaler.transform(y))
    assert FAMILY.unconstrain(eta).isfinite().all()
    assert FAMILY.rescale(eta, scaler).isfinite().all()


def test_outliers_cost_a_gaussian_more():
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, (600, 1))
    y = np.sin(3 * X[:, 0]) + 0.1 * rng.standard_t(1.5, 600)
    settings = {"hidden_layer_sizes": (128, 64), "max_epochs": 60, "batch_size": 64, "random_state": 0}
    models = {
        name: DensityRegressor(name, "erm", **settings, preset="plain").fit(X[:300], y[:300])
        for name in ("t", "gaussian")
    }
    scores = {name: model.score(X[300:], y[300:]) for name, model in models.items()}
    assert scores["t"] > scores["gaussian"] + 0.15
    student = models["t"]
    assert np.abs(student.predict(X[300:]) - np.sin(3 * X[300:, 0])).mean() < 0.1
    u = pit(student.predict_dist(X[300:]), torch.from_numpy(y[300:]))
    assert abs(float(((u > 0.05) & (u < 0.95)).double().mean()) - 0.9) < 0.06


@pytest.mark.parametrize("mixup", ["mixup", "probmix", "m-probmix"])
@pytest.mark.parametrize("loss", ["nll", "crps"])
def test_it_learns_under_every_kind_of_mixup(mixup, loss):
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, (80, 1))
    y = 3 * X[:, 0] + 0.1 * rng.standard_t(3, 80)
    model = DensityRegressor(
        "student-t", mixup, hidden_layer_sizes=(8,), max_epochs=4, loss=loss, random_state=0, n_draws=4, preset="plain"
    )
    assert np.isfinite(model.fit(X, y).validation_curve_).all()
    interval = model.predict_interval(X[:5])
    assert (interval[:, 0] < interval[:, 1]).all()
