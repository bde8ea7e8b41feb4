"""The map of the probability integral transform."""

import numpy as np
import pytest
import torch
from recalibration_cases import bent_map, wide
from scipy import integrate, stats
from sklearn.isotonic import IsotonicRegression

from probmix.calibration import PITMap, fit_pit_map


@pytest.fixture(scope="module")
def bent() -> PITMap:
    return bent_map()


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
