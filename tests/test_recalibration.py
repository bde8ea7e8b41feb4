"""Recalibrated distributions and the estimator around them."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pyro
import pytest
import torch
from scipy import integrate, stats
from sklearn.base import BaseEstimator, clone
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV, GroupKFold, ShuffleSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from probmix import DensityRegressor, linear_pool
from probmix.calibration import PITMap, Recalibrated, RecalibratedRegressor, fit_pit_map
from probmix.distributions import Gamma, Independent, LogNormal, Poisson, cdf, icdf, is_discrete
from probmix.random import seeded
from probmix.scores import coverage, crps, neg_crps_scorer, neg_nll_scorer, nll, pit

QUICK = DensityRegressor(hidden_layer_sizes=(8,), max_epochs=3, random_state=0)


def wide(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def line(slope: float, shift: float = 0.0) -> PITMap:
    """Straight in normal scores: the model's standard deviation is `slope` times the true one."""
    scores = wide(-1.0, 0.0, 1.0)
    return PITMap((scores - shift) / slope, scores, torch.full_like(scores, slope))


class Known(BaseEstimator):
    """Predicts Normal(x, scale), or Poisson(exp(x)), without learning anything."""

    def __init__(self, scale=1.0, law="normal", dtype=torch.float64):
        self.scale, self.law, self.dtype = scale, law, dtype

    def fit(self, X, y):
        self.fitted_ = True
        return self

    def predict_dist(self, X):
        x = torch.as_tensor(np.asarray(X)[:, 0]).to(self.dtype)
        return Poisson(x.exp()) if self.law == "poisson" else torch.distributions.Normal(x, self.scale)


@pytest.fixture(scope="module")
def bent() -> PITMap:
    """A map that is far from the identity."""
    return fit_pit_map(np.random.default_rng(0).beta(0.5, 0.7, 1000))


# -- the map -----------------------------------------------------------------------------------------------------------


def test_a_cell_of_the_spline_by_hand() -> None:
    """Gregory and Delbourgo's formula between (0, 0) and (1, 1) with the slopes 2 and 1/2: h(1/2) = 2/3."""
    cell = PITMap(wide(0.0, 1.0), wide(0.0, 1.0), wide(2.0, 0.5))
    z = wide(-1.0, 0.0, 0.5, 1.0, 3.0)
    torch.testing.assert_close(cell.score(z), wide(-2.0, 0.0, 2 / 3, 1.0, 2.0))
    torch.testing.assert_close(cell.inverse_score(wide(-2.0, 0.0, 2 / 3, 1.0, 2.0)), z)
    slopes = (cell.log_density_at_score(z) + 0.5 * (cell.score(z).square() - z.square())).exp()
    torch.testing.assert_close(slopes, wide(2.0, 2.0, 8 / 9, 0.5, 0.5))


def test_the_map_is_a_smooth_cdf_with_an_inverse(bent: PITMap) -> None:
    p = torch.linspace(0, 1, 2001, dtype=torch.float64)
    value = bent(p)
    assert (value[0], value[-1]) == (0, 1)
    assert bool((value.diff() > 0).all())
    torch.testing.assert_close(bent.inverse(value), p, atol=1e-12, rtol=0)
    torch.testing.assert_close(bent(bent.inverse(p)), p, atol=1e-12, rtol=0)
    inside = p[1:-1].clone().requires_grad_()
    (slope,) = torch.autograd.grad(bent(inside).sum(), inside)
    torch.testing.assert_close(bent.log_density(inside).exp(), slope, rtol=1e-10, atol=0)
    central = (bent(inside + 1e-6) - bent(inside - 1e-6)) / 2e-6
    torch.testing.assert_close(central, slope, rtol=1e-5, atol=0)

    def density(u: float) -> float:
        return bent.log_density(wide(u)).exp().item()

    knots = torch.special.ndtr(bent.pit_scores).tolist()
    pieces = [integrate.quad(density, *ends, limit=200)[0] for ends in zip([0, *knots], [*knots, 1], strict=True)]
    assert sum(pieces) == pytest.approx(1, abs=1e-7)
    # g has no jumps at the knots
    knots = torch.special.ndtr(bent.pit_scores)
    torch.testing.assert_close(bent.log_density(knots - 1e-12), bent.log_density(knots + 1e-12), atol=1e-6, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_the_map_at_the_ends(bent: PITMap, dtype: torch.dtype) -> None:
    p = torch.tensor([0.0, 1e-30, 0.5, 1.0], dtype=dtype)
    assert bent(p).dtype == bent.inverse(p).dtype == bent.log_density(p).dtype == dtype
    assert bent(p)[[0, 3]].tolist() == [0, 1]
    assert bent.inverse(p)[[0, 3]].tolist() == [0, 1]
    assert bool(bent.log_density(p).isfinite().all())
    outside = torch.tensor([-0.1, 1.1, torch.nan], dtype=dtype)
    assert bool(bent.inverse(outside).isnan().all())


@pytest.mark.parametrize("n", [200, 20_000])
def test_the_map_follows_the_isotonic_regression(n: int) -> None:
    """Kuleshov et al. regress the empirical cdf of the PIT on the PIT."""
    u = np.random.default_rng(1).beta(0.5, 0.8, n)
    share = stats.rankdata(u) / n
    regression = IsotonicRegression(out_of_bounds="clip").fit(u, share)
    p = np.linspace(0.01, 0.99, 99)
    np.testing.assert_allclose(fit_pit_map(u)(torch.from_numpy(p)), regression.predict(p), atol=0.8 / np.sqrt(n))


def test_of_a_calibrated_model_it_stays_near_the_identity() -> None:
    p = torch.linspace(0, 1, 101, dtype=torch.float64)
    rng = np.random.default_rng(2)
    torch.testing.assert_close(fit_pit_map(rng.uniform(size=20_000))(p), p, atol=0.015, rtol=0)
    torch.testing.assert_close(fit_pit_map([0.9])(p), p, atol=0.1, rtol=0)
    # fresh rows lose little likelihood
    # tails that float64 cannot tell apart leave no steep end behind, which would make them too light
    saturated = fit_pit_map(stats.norm.cdf(4 * rng.normal(size=1000)))
    assert bool((saturated.slopes[[0, -1]] < 0.5).all())
    losses = [-fit_pit_map(rng.uniform(size=n)).log_density(torch.rand(20_000)).mean() for n in (10, 100, 1000)]
    assert losses[0] < 0.5
    assert losses[1] < 0.15
    assert losses[2] < 0.03


def test_weights_of_rows_of_the_map() -> None:
    rng = np.random.default_rng(3)
    u, weight = rng.beta(2, 1, 300), rng.integers(0, 4, 300)
    weighted, repeated = fit_pit_map(u, weight), fit_pit_map(u.repeat(weight))
    torch.testing.assert_close(weighted.pit_scores, repeated.pit_scores)
    # of others what counts is how they compare
    weight = rng.uniform(size=300)
    torch.testing.assert_close(fit_pit_map(u, weight).slopes, fit_pit_map(u, 1000 * weight).slopes)
    heavy = np.where(u > 0.5, 1.7, 0.1)
    assert fit_pit_map(u, heavy)(wide(0.5)).item() == pytest.approx(heavy[u <= 0.5].sum() / heavy.sum(), abs=0.05)


def test_ties_and_certainties_leave_the_map_finite() -> None:
    p = torch.linspace(0, 1, 101, dtype=torch.float64)
    for values in (np.full(500, 0.3), np.repeat([0.0, 1.0], 250), np.repeat([0.0, 0.5, 1.0], 200), np.zeros(100)):
        fitted = fit_pit_map(values)
        assert bool((fitted.pit_scores.diff() > 0).all())
        assert bool(fitted.log_density(p).isfinite().all())
        z = 20 * p - 10
        torch.testing.assert_close(fitted.inverse_score(fitted.score(z)), z, atol=1e-9, rtol=1e-9)


def test_several_targets_have_a_map_each() -> None:
    u = np.random.default_rng(4).beta([0.5, 1.0, 3.0], 1.0, (400, 3))
    p = torch.rand(7, 5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    together = fit_pit_map(u)
    for name in ("__call__", "inverse", "log_density"):
        alone = torch.stack([getattr(fit_pit_map(u[:, j]), name)(p[..., j]) for j in range(3)], -1)
        torch.testing.assert_close(getattr(together, name)(p), alone)


@pytest.mark.parametrize(("values", "weights", "message"), [
    ([0.5, 1.5], None, r"numbers in \[0, 1\]"),
    ([0.5, np.nan], None, r"numbers in \[0, 1\]"),
    (np.zeros((2, 2, 2)), None, r"got shape \(2, 2, 2\)"),
    ([], None, "at least one row"),
    ([0.5, 0.6], [0.0, 0.0], "at least one row"),
], ids=["beyond one", "not a number", "three axes", "empty", "no weight"])  # fmt: skip
def test_what_no_map_can_be_fitted_to(values: object, weights: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fit_pit_map(values, weights)


# -- the distribution --------------------------------------------------------------------------------------------------

BASES = {
    "normal": torch.distributions.Normal(wide(1.0, -3.0), wide(0.3, 4.0)),
    "gamma": Gamma(wide(1.5, 40.0), wide(2.0, 3.0)),
    "lognormal": LogNormal(wide(0.0, 1.0), wide(0.5, 0.2)),
    "mixture of normals": linear_pool(torch.distributions.Normal(wide(-1.0, 4.0).expand(2, 2), wide(0.5, 2.0))),
    "poisson": Poisson(wide(0.7, 30.0)),
    "mixture of poissons": linear_pool(Poisson(torch.stack([wide(1.0, 9.0), wide(3.0, 40.0)]))),
}
CONTINUOUS = [name for name in BASES if "poisson" not in name]
COUNTS = [name for name in BASES if "poisson" in name]


def panels(edges: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Nodes and weights, (N, 2), of 60-point Gauss rules between sorted edges, (E, 2)."""
    x, weight = map(torch.from_numpy, np.polynomial.legendre.leggauss(60))
    middle, half = (edges[1:] + edges[:-1]) / 2, (edges[1:] - edges[:-1]) / 2
    nodes = middle.unsqueeze(1) + half.unsqueeze(1) * x.reshape(-1, 1)
    return nodes.flatten(0, 1), (half.unsqueeze(1) * weight.reshape(-1, 1)).flatten(0, 1)


@pytest.mark.parametrize("name", CONTINUOUS)
def test_density_cdf_moments_and_crps_agree_by_quadrature(bent: PITMap, name: str) -> None:
    recalibrated = Recalibrated(BASES[name], bent)
    y = recalibrated.icdf(wide(0.03, 0.8))
    # between the knots of the map everything is smooth
    levels = torch.cat([wide(1e-9, 1e-6, 1e-4, 1 - 1e-4, 1 - 1e-6, 1 - 1e-9), torch.special.ndtr(bent.scores)])
    edges = torch.cat([recalibrated.icdf(levels.unsqueeze(-1)), y.unsqueeze(0)]).sort(0).values
    x, weight = panels(edges)
    density = recalibrated.log_prob(x).exp()
    torch.testing.assert_close((weight * density).sum(0), torch.ones(2, dtype=torch.float64), atol=1e-7, rtol=0)
    mean = (weight * density * x).sum(0)
    torch.testing.assert_close(recalibrated.mean, mean, rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(recalibrated.variance, (weight * density * (x - mean) ** 2).sum(0), rtol=1e-5, atol=0)
    square = (recalibrated.cdf(x) - (x > y).double()).square()
    torch.testing.assert_close(crps(recalibrated, y), (weight * square).sum(0), rtol=1e-6, atol=0)
    below = (weight * density * (x < y)).sum(0)
    torch.testing.assert_close(recalibrated.cdf(y), below, rtol=0, atol=1e-7)


@pytest.mark.parametrize("name", COUNTS)
def test_probabilities_of_counts_are_those_of_the_cdf(bent: PITMap, name: str) -> None:
    recalibrated = Recalibrated(BASES[name], bent)
    k = torch.arange(400.0, dtype=torch.float64).unsqueeze(-1)
    probability, below = recalibrated.log_prob(k).exp(), recalibrated.cdf(k)
    torch.testing.assert_close(probability.sum(0), torch.ones(2, dtype=torch.float64), atol=3e-6, rtol=0)
    torch.testing.assert_close(probability.cumsum(0), below, atol=3e-6, rtol=0)
    torch.testing.assert_close(recalibrated.mean, (k * probability).sum(0), rtol=1e-4, atol=0)
    mean = recalibrated.mean
    torch.testing.assert_close(recalibrated.variance, ((k - mean) ** 2 * probability).sum(0), rtol=1e-3, atol=0)
    y = wide(2.0, 35.0)
    torch.testing.assert_close(crps(recalibrated, y), (below - (k >= y).double()).square().sum(0), rtol=1e-6, atol=0)
    assert is_discrete(recalibrated)
    assert bool((recalibrated.cdf(wide(-1.0)) == 0).all())


@pytest.mark.parametrize("name", COUNTS)
def test_quantiles_of_counts_are_the_smallest_that_suffice(bent: PITMap, name: str) -> None:
    recalibrated = Recalibrated(BASES[name], bent)
    q = torch.linspace(0.001, 0.999, 999, dtype=torch.float64).unsqueeze(-1)
    k = recalibrated.icdf(q)
    assert bool((recalibrated.cdf(k) >= q).all())
    assert bool((recalibrated.cdf(k - 1) < q).all())
    # also where a level is met exactly
    k = torch.arange(0.0, 25.0, dtype=torch.float64).unsqueeze(-1) + wide(0.0, 15.0)
    k = k[(recalibrated.cdf(k) < 1 - 1e-6).all(-1)]
    torch.testing.assert_close(recalibrated.icdf(recalibrated.cdf(k)), k)
    just_above = recalibrated.cdf(k).nextafter(torch.ones((), dtype=torch.float64))
    torch.testing.assert_close(recalibrated.icdf(just_above), k + 1)


@pytest.mark.parametrize("name", CONTINUOUS)
def test_quantiles_and_cdf_are_inverse(bent: PITMap, name: str) -> None:
    recalibrated = Recalibrated(BASES[name], bent)
    q = torch.tensor([1e-6, 0.01, 0.3, 0.5, 0.9, 1 - 1e-6], dtype=torch.float64).unsqueeze(-1).expand(6, 2)
    torch.testing.assert_close(recalibrated.cdf(recalibrated.icdf(q)), q, atol=1e-10, rtol=0)
    # the definition
    y = icdf(BASES[name], wide(0.2))
    torch.testing.assert_close(recalibrated.cdf(y), bent(cdf(BASES[name], y)))
    q = q[1:-1]
    torch.testing.assert_close(recalibrated.icdf(q), icdf(BASES[name], bent.inverse(q)), rtol=1e-8, atol=1e-8)
    low, high = recalibrated.icdf(wide(0.0, 1.0).unsqueeze(-1))
    assert bool((low <= 0).all() and (high == torch.inf).all())


@pytest.mark.parametrize("name", BASES)
def test_draws_follow_the_cdf(bent: PITMap, name: str) -> None:
    recalibrated = Recalibrated(BASES[name], bent)
    with seeded(1):
        draws = recalibrated.sample((4000,))
    assert draws.shape == (4000, 2)
    u = pit(recalibrated.expand((4000, 2)), draws).numpy()
    assert min(stats.kstest(column, "uniform").pvalue for column in u.T) > 1e-3
    assert coverage(recalibrated.expand((4000, 2)), draws, 0.9).mean(0).numpy() == pytest.approx(
        0.9, abs=0.02 if name in CONTINUOUS else 0.1
    )


@pytest.mark.parametrize("slope", [0.2, 0.5, 1.0, 3.0])
def test_a_normal_of_the_wrong_scale_becomes_the_right_one_in_the_tails_too(slope: float) -> None:
    base = torch.distributions.Normal(wide(2.0), wide(0.7))
    recalibrated, right = Recalibrated(base, line(slope, 0.4)), stats.norm(2 - 0.7 * 0.4 / slope, 0.7 / slope)
    y = np.linspace(-25, 25, 101) * 0.7
    np.testing.assert_allclose(recalibrated.log_prob(torch.from_numpy(y)), right.logpdf(y), rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(recalibrated.cdf(torch.from_numpy(y)), right.cdf(y), rtol=1e-9, atol=1e-300)
    assert recalibrated.mean.item() == pytest.approx(right.mean(), rel=1e-10)
    assert recalibrated.stddev.item() == pytest.approx(right.std(), rel=1e-10)
    np.testing.assert_allclose(crps(recalibrated, wide(3.0)), crps(torch.distributions.Normal(*map(wide, (
        right.mean(), right.std()))), wide(3.0)), rtol=1e-6)  # fmt: skip


def test_a_lognormal_of_the_wrong_scale_becomes_the_right_one() -> None:
    recalibrated = Recalibrated(LogNormal(wide(1.0), wide(0.1)), line(0.25))
    y = np.geomspace(1e-3, 1e3, 31)
    np.testing.assert_allclose(
        recalibrated.log_prob(torch.from_numpy(y)), stats.lognorm(0.4, scale=np.e).logpdf(y), rtol=1e-10
    )
    assert recalibrated.mean.item() == pytest.approx(np.exp(1 + 0.08), rel=1e-9)
    assert recalibrated.cdf(wide(-1.0)).item() == 0


@pytest.mark.parametrize("name", BASES)
def test_the_likelihood_is_finite_wherever_that_of_the_model_is(bent: PITMap, name: str) -> None:
    base = BASES[name].expand((5, 2))
    y = torch.tensor([0.0, 1.0, 5.0, 100.0, 700.0], dtype=torch.float64).unsqueeze(-1).expand(5, 2)
    y = (y + (0 if is_discrete(base) else 0.5)).requires_grad_()
    value = Recalibrated(base, bent).log_prob(y)
    assert bool(value.isfinite().all())
    (slope,) = torch.autograd.grad(value.sum(), y, allow_unused=True)
    assert slope is None or bool(slope.isfinite().all())
    torch.testing.assert_close(nll(Recalibrated(base, bent), y.detach()), -value.detach())


def test_float32_comes_back_as_float32(bent: PITMap) -> None:
    for base in (torch.distributions.Normal(torch.zeros(2), 1.0), Poisson(torch.ones(2))):
        recalibrated = Recalibrated(base, bent)
        y = torch.tensor([1.0, 2.0])
        results = recalibrated.cdf(y), recalibrated.icdf(torch.tensor([0.1, 0.9])), recalibrated.log_prob(y)
        results += (recalibrated.sample(), recalibrated.mean, recalibrated.variance)
        results += (crps(recalibrated, y), nll(recalibrated, y), pit(recalibrated, y))
        assert {result.dtype for result in results} == {torch.float32}
    # at 7 standard deviations a cdf in float32 is one
    single = Recalibrated(torch.distributions.Normal(torch.zeros(1), 1.0), line(0.5))
    assert single.log_prob(torch.tensor([7.0])).item() == pytest.approx(stats.norm(0, 2).logpdf(7), rel=1e-5)


def test_pyro_samples_scores_and_expands_it(bent: PITMap) -> None:
    recalibrated = Recalibrated(BASES["normal"], bent)
    with pyro.plate("rows", 2):
        value = pyro.sample("y", recalibrated)
        assert value.shape == (2,)
        torch.testing.assert_close(pyro.sample("z", recalibrated, obs=wide(0.0, 1.0)), wide(0.0, 1.0))
    assert recalibrated.to_event(1).log_prob(value).shape == ()
    expanded = recalibrated.expand((5, 2))
    assert expanded.batch_shape == (5, 2)
    torch.testing.assert_close(expanded.mean, recalibrated.mean.expand(5, 2))
    assert not is_discrete(recalibrated)
    with pytest.raises(ValueError, match="support"):
        Recalibrated(BASES["gamma"], bent).log_prob(wide(-1.0, 1.0))


def test_what_cannot_be_recalibrated(bent: PITMap) -> None:
    with pytest.raises(ValueError, match=r"no event axes; got event shape \(2,\)"):
        Recalibrated(Independent(BASES["normal"], 1), bent)
    with pytest.raises(ValueError, match="is of 3 targets"):
        Recalibrated(BASES["normal"], fit_pit_map(np.full((5, 3), 0.5)))


@pytest.mark.cuda
@pytest.mark.parametrize("name", BASES)
def test_cuda_gives_what_the_cpu_gives(bent: PITMap, name: str) -> None:
    moved = {
        "normal": lambda: torch.distributions.Normal(wide(1.0, -3.0).cuda(), wide(0.3, 4.0).cuda()),
        "gamma": lambda: Gamma(wide(1.5, 40.0).cuda(), wide(2.0, 3.0).cuda()),
        "poisson": lambda: Poisson(wide(0.7, 30.0).cuda()),
    }
    if name not in moved:
        pytest.skip("its components are tried")
    cpu, cuda = Recalibrated(BASES[name], bent), Recalibrated(moved[name](), bent.to(torch.device("cuda")))
    y = wide(1.0, 2.0)
    for result in ("log_prob", "cdf"):
        value = getattr(cuda, result)(y.cuda())
        assert value.device.type == "cuda"
        torch.testing.assert_close(value.cpu(), getattr(cpu, result)(y))
    torch.testing.assert_close(crps(cuda, y.cuda()).cpu(), crps(cpu, y))
    torch.testing.assert_close(cuda.mean.cpu(), cpu.mean)
    torch.testing.assert_close(cuda.icdf(wide(0.3).cuda()).cpu(), cpu.icdf(wide(0.3)))
    assert cuda.sample((3,)).device.type == "cuda"


# -- the estimator -----------------------------------------------------------------------------------------------------


def noisy(n: int, seed: int, scale: float = 2.0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 2))
    return X, X[:, 0] + scale * rng.normal(size=n)


@pytest.mark.parametrize("scale", [0.5, 1.0, 6.0])
def test_a_wrong_spread_is_put_right(scale: float) -> None:
    """The model says N(x, scale), the truth is N(x, 2)."""
    X, y = noisy(2000, 0)
    model = RecalibratedRegressor(FrozenEstimator(Known(scale).fit(X, y)), random_state=0).fit(X, y)
    X, y = noisy(4000, 1)
    before, after, truth, target = Known(scale).predict_dist(X), model.predict_dist(X), Known(2.0), torch.from_numpy(y)
    assert stats.kstest(pit(before, target), "uniform").statistic > 0.12
    assert stats.kstest(pit(after, target), "uniform").statistic < 0.035
    assert coverage(after, target, 0.9).mean().item() == pytest.approx(0.9, abs=0.015)
    ideal = crps(truth.predict_dist(X), target).mean()
    assert crps(after, target).mean() < ideal * 1.003 < crps(before, target).mean()
    assert nll(after, target).mean() < nll(truth.predict_dist(X), target).mean() + 0.02
    assert model.predict(X) == pytest.approx(X[:, 0], abs=0.15)


def test_counts_are_put_right() -> None:
    """The model says Poisson, the truth has more zeros and a longer tail."""
    rng = np.random.default_rng(0)
    X = rng.normal(1, 0.5, (6000, 1))
    y = rng.poisson(np.exp(X[:, 0]) * rng.gamma(1, 1, 6000)).astype(float)
    model = RecalibratedRegressor(FrozenEstimator(Known(law="poisson").fit(X, y)), random_state=0)
    model.fit(X[:2000], y[:2000])
    before, after = Known(law="poisson").predict_dist(X[2000:]), model.predict_dist(X[2000:])
    target = torch.from_numpy(y[2000:])
    assert stats.kstest(pit(after, target), "uniform").statistic < 0.04
    assert nll(after, target).mean() < nll(before, target).mean() - 0.5
    assert crps(after, target).mean() < 0.98 * crps(before, target).mean()
    interval = model.predict_interval(X[2000:], 0.8)
    assert np.array_equal(interval, interval.round())


def test_methods_agree_with_the_distribution() -> None:
    X, y = noisy(300, 0)
    model = RecalibratedRegressor(QUICK, cv=2, random_state=0).fit(X, y)
    distribution = model.predict_dist(X)
    assert isinstance(distribution, Recalibrated)
    np.testing.assert_allclose(model.predict(X), distribution.mean)
    np.testing.assert_allclose(model.log_prob(X, y), distribution.log_prob(torch.from_numpy(y)))
    assert model.score(X, y) == pytest.approx(model.log_prob(X, y).mean())
    weight = np.arange(300)
    assert model.score(X, y, weight) == pytest.approx(np.average(model.log_prob(X, y), weights=weight))
    quantiles = model.predict_quantile(X, [0.05, 0.5, 0.95])
    np.testing.assert_allclose(model.predict_interval(X, 0.9), quantiles[:, [0, 2]])
    np.testing.assert_allclose(model.predict_quantile(X, 0.5), quantiles[:, 1])
    np.testing.assert_allclose(distribution.cdf(torch.from_numpy(quantiles[:, 1])), 0.5, atol=1e-9)
    assert neg_nll_scorer(model, X, y) == pytest.approx(model.score(X, y))
    for call, message in (
        (lambda: model.predict_quantile(X, 1.5), r"levels in \(0, 1\)"),
        (lambda: model.predict_interval(X, 1.0), "coverage"),
        (lambda: model.log_prob(X, y[:5]), r"y must have shape \(300,\)"),
        (lambda: model.sample(X, 0), "n_samples"),
    ):
        with pytest.raises(ValueError, match=message):
            call()


def test_draws_and_fits_follow_the_seed_and_touch_nothing_global() -> None:
    X, y = noisy(60, 0)
    state = np.random.get_state()[1].copy(), torch.get_rng_state()
    first, second = (RecalibratedRegressor(QUICK, random_state=1).fit(X, y) for _ in range(2))
    np.testing.assert_array_equal(first.predict(X), second.predict(X))
    draws = first.sample(X[:2], 5000, random_state=3)
    np.testing.assert_array_equal(draws, second.sample(X[:2], 5000, random_state=3))
    np.testing.assert_allclose(draws.mean(0), first.predict(X[:2]), atol=0.15)
    other = RecalibratedRegressor(QUICK, random_state=2).fit(X, y)
    assert not np.array_equal(other.predict(X), first.predict(X))
    assert np.array_equal(state[0], np.random.get_state()[1])
    assert torch.equal(state[1], torch.get_rng_state())


@pytest.mark.parametrize(("cv", "n_fitted"), [
    (0.25, 30),
    (3, 40),
    (ShuffleSplit(1, test_size=0.5, random_state=0), 20),
    (list(GroupKFold(4).split(np.zeros(40), groups=np.arange(40) // 10)), 40),
], ids=["share", "folds", "one split", "groups"])  # fmt: skip
def test_which_rows_calibrate(cv: object, n_fitted: int) -> None:
    """A model that knows the rows it was fitted to betrays itself by a PIT of 1/2."""

    class Memory(Known):
        def fit(self, X, y):
            self.rows_ = set(X[:, 0])
            return self

        def predict_dist(self, X):
            known = torch.tensor([x in self.rows_ for x in X[:, 0]])
            return torch.distributions.Normal(torch.where(known, 0.0, -1e6).double(), 1.0)

    X, y = np.arange(40.0)[:, None], np.zeros(40)
    model = RecalibratedRegressor(Memory(), cv=cv, random_state=0).fit(X, y)
    assert model.pit_map_(wide(0.999)).item() < 0.6
    assert len(model.estimator_.rows_) == n_fitted


def test_frozen_models_pipelines_and_searches_inside_and_outside() -> None:
    X, y = noisy(80, 0)
    pipeline = make_pipeline(StandardScaler(), QUICK)
    search = GridSearchCV(QUICK, {"mixup": ["erm"]}, scoring=neg_crps_scorer, cv=2)
    for inside in (pipeline, search, FrozenEstimator(clone(pipeline).fit(X, y)), FrozenEstimator(search.fit(X, y))):
        model = RecalibratedRegressor(inside, cv=2, random_state=0).fit(X, y)
        assert np.isfinite(model.score(X, y))
        assert isinstance(model.predict_dist(X), Recalibrated)
    frozen = FrozenEstimator(clone(QUICK).fit(X, y))
    model = RecalibratedRegressor(frozen, random_state=0).fit(X, y)
    assert model.estimator_ is frozen
    expected = fit_pit_map(pit(clone(QUICK).fit(X, y).predict_dist(X), torch.from_numpy(y)))
    torch.testing.assert_close(model.pit_map_.pit_scores, expected.pit_scores)
    outside = make_pipeline(StandardScaler(), RecalibratedRegressor(QUICK, cv=2, random_state=0))
    grid = {"recalibratedregressor__estimator__mixup": ["erm", "probmix"]}
    found = GridSearchCV(outside, grid, scoring=neg_crps_scorer, cv=2).fit(X, y)
    assert np.isfinite(found.best_score_)


def test_pandas_clones_and_pickles() -> None:
    X, y = noisy(60, 0)
    frame, series = pd.DataFrame(X, columns=["speed", "load"]), pd.Series(y, index=np.arange(60) + 7)
    model = RecalibratedRegressor(QUICK, cv=2, random_state=0).fit(frame, series)
    assert (model.n_features_in_, model.feature_names_in_.tolist()) == (2, ["speed", "load"])
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame.rename(columns={"load": "weight"}))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).predict(frame), model.predict(frame))
    again = clone(model)
    assert again.get_params()["estimator__max_epochs"] == 3
    with pytest.raises(NotFittedError):
        again.predict_dist(frame)
    tensors = RecalibratedRegressor(QUICK, cv=2, random_state=0).fit(torch.from_numpy(X), torch.from_numpy(y))
    np.testing.assert_array_equal(tensors.predict(torch.from_numpy(X)), model.predict(frame))


def test_weights_reach_the_model_and_the_map() -> None:
    X, y = noisy(60, 0)
    weight = np.where(y > X[:, 0], 3.0, 1.0)
    plain, weighted = (RecalibratedRegressor(QUICK, cv=2, random_state=0).fit(X, y, w) for w in (None, weight))
    assert weighted.predict(X).mean() > plain.predict(X).mean() + 0.1
    frozen = RecalibratedRegressor(FrozenEstimator(Known(2.0).fit(X, y)), random_state=0)
    lift = frozen.fit(X, y, weight).predict(X) - X[:, 0]
    assert lift.mean() > (clone(frozen).fit(X, y).predict(X) - X[:, 0]).mean() + 0.3


def test_several_targets() -> None:
    X, y = noisy(200, 0)
    Y = np.column_stack([y, 5 * y[::-1]])
    model = RecalibratedRegressor(QUICK, cv=2, random_state=0).fit(X, Y)
    distribution = model.predict_dist(X)
    assert (distribution.batch_shape, distribution.event_shape) == ((200,), (2,))
    assert model.pit_map_.pit_scores.shape[0] == 2
    u = pit(distribution, torch.from_numpy(Y)).numpy()
    assert max(stats.kstest(column, "uniform").statistic for column in u.T) < 0.12
    joint = distribution.base_dist.log_prob(torch.from_numpy(Y)).sum(-1)
    np.testing.assert_allclose(model.log_prob(X, Y), joint)
    assert model.predict(X).shape == (200, 2)
    assert model.predict_interval(X).shape == (200, 2, 2)
    assert model.sample(X, 3, random_state=0).shape == (3, 200, 2)
    assert np.isfinite(neg_crps_scorer(model, X, Y))
    ensemble = clone(QUICK).set_params(n_members=2)
    with pytest.raises(ValueError, match='pool="log-linear"'):
        model.set_params(estimator=ensemble).fit(X, Y)
    assert not hasattr(model, "pit_map_")
    assert np.isfinite(model.set_params(estimator__pool="log-linear").fit(X, Y).score(X, Y))


@pytest.mark.parametrize(("model", "kind", "message"), [
    (RecalibratedRegressor(LinearRegression()), TypeError, "predict_dist"),
    (RecalibratedRegressor(QUICK, cv=None), ValueError, "`cv` must be a share"),
    (RecalibratedRegressor(QUICK, cv=1), ValueError, "at least 2"),
    (RecalibratedRegressor(QUICK, cv=1.5), ValueError, r"`cv` must be a number in \(0, 1\)"),
    (RecalibratedRegressor(QUICK, cv=61), ValueError, "number of splits"),
    (RecalibratedRegressor(FrozenEstimator(QUICK)), NotFittedError, "not fitted"),
    (RecalibratedRegressor(QUICK, random_state=-1), ValueError, "random_state"),
], ids=["no density", "no cv", "one fold", "more than all", "too few rows", "frozen unfitted", "seed"])  # fmt: skip
def test_a_fit_that_fails_says_why_and_leaves_it_unfitted(model, kind, message: str) -> None:
    X, y = noisy(60, 0)
    model = clone(model)
    wrong = model.get_params(deep=False)
    model.set_params(estimator=QUICK, cv=2, random_state=0).fit(X, y)
    with pytest.raises(kind, match=message):
        model.set_params(**wrong).fit(X, y)
    assert not [name for name in vars(model) if name.endswith("_")]
    with pytest.raises(NotFittedError):
        model.predict(X)


def test_weights_for_a_model_that_takes_none() -> None:
    X, y = noisy(60, 0)
    with pytest.raises(TypeError, match=r"`fit` of Pipeline has no argument `sample_weight`.*FrozenEstimator"):
        RecalibratedRegressor(make_pipeline(StandardScaler(), QUICK)).fit(X, y, np.ones(60))
    with pytest.raises(ValueError, match=r"[Nn]egative"):
        RecalibratedRegressor(QUICK).fit(X, y, -np.ones(60))


def test_scikit_learns_whole_check_suite() -> None:
    """No expected failures; the one skip is scikit-learn's own, for an array API that is switched off."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the suite provokes warnings on purpose
        results = check_estimator(RecalibratedRegressor(QUICK, cv=2, random_state=0), on_fail=None)
    assert {r["check_name"]: repr(r["exception"]) for r in results if r["status"] == "failed"} == {}
    assert {r["check_name"] for r in results if r["status"] != "passed"} <= {"check_array_api_input"}


@pytest.mark.cuda
def test_cuda_fits_and_predicts_like_the_cpu() -> None:
    X, y = noisy(100, 0)
    models = [
        RecalibratedRegressor(clone(QUICK).set_params(device=device), cv=2, random_state=0).fit(X, y)
        for device in ("cpu", "cuda")
    ]
    assert models[1].predict_dist(X).mean.device.type == "cuda"
    np.testing.assert_allclose(models[1].predict(X), models[0].predict(X), rtol=1e-2, atol=1e-2)
    assert pickle.loads(pickle.dumps(models[1])).predict(X).shape == y.shape
