"""The calibrated label side keeps the truth a stationary point of the loss; the plain one does not (analysis.md, 1)."""

from collections.abc import Callable

import pytest
import torch
from families_table import draws, ordinary_params, over_families

from probmix import log_linear_pool
from probmix.families import (
    Bernoulli,
    Beta,
    Categorical,
    Exponential,
    ExponentialFamily,
    Gamma,
    Gaussian,
    InverseGaussian,
    Label,
    LogNormal,
    Poisson,
)

ROWS = 100_000
NATURAL_SLOPES = {  # eta(x) = constant + slope x on x in (-1, 1), inside the domain
    Gaussian(): ([0.5, -0.6], [2.0, 0.4]),
    Poisson(): ([0.7], [1.1]),
    Gamma(): ([2.0, -1.5], [1.5, 0.8]),
    Categorical(3): ([0.0, 0.5, -0.3], [1.0, -1.0, 0.4]),
    Exponential(): ([-1.5], [0.8]),
    LogNormal(): ([0.5, -1.6], [2.0, 0.4]),
    Bernoulli(): ([0.4], [1.5]),
    Beta(): ([3.0, 2.0], [1.5, -1.2]),
    InverseGaussian(): ([-0.8, -1.0], [0.5, 0.3]),
}


def simulate(family: ExponentialFamily) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Pairs from the truth: eta (n, 2, K), y (n, 2), uniform weights (n, 2), pooled regressors (1, x) (n, 2)."""
    generator = torch.Generator().manual_seed(1)
    constant, slope = (torch.tensor(value, dtype=torch.float64) for value in NATURAL_SLOPES[family])
    x = 2 * torch.rand(ROWS, 2, generator=generator, dtype=torch.float64) - 1
    share = torch.rand(ROWS, 1, generator=generator, dtype=torch.float64)
    weights = torch.cat([share, 1 - share], -1)
    eta = constant + slope * x.unsqueeze(-1)
    regressors = torch.stack([torch.ones(ROWS, dtype=torch.float64), (weights * x).sum(-1)], -1)
    return eta, draws(family, eta), weights, regressors


def scores(
    family: ExponentialFamily, label: Callable[[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor], Label]
) -> torch.Tensor:
    """Mean gradient of the loss in constant and slope of eta(x) at the truth, in standard errors."""
    points, y, weights, regressors = simulate(family)
    eta = log_linear_pool(points, weights).requires_grad_()
    (gradient,) = torch.autograd.grad(family.expected_nll(eta, label(y, weights, eta, points)).sum(), eta)
    projected = (gradient.unsqueeze(-1) * regressors.unsqueeze(-2)).flatten(1)
    return projected.mean(0) / (projected.std(0) / ROWS**0.5)


@pytest.mark.parametrize("family", NATURAL_SLOPES, ids=repr)
def test_the_truth_is_stationary(family: ExponentialFamily) -> None:
    z = scores(family, lambda y, w, eta, points: family.calibrated_label(y, w, eta, eta_points=points))
    assert z.abs().max() < 4.5, z


def test_plain_log_linear_labels_bias_the_gaussian_variance() -> None:
    z = scores(Gaussian(), lambda y, w, eta, points: Gaussian().pool_labels(y, w))
    assert z.abs().max() > 50, z


def test_plain_labels_bias_poisson_rates() -> None:
    """Labels mix arithmetically, rates geometrically."""
    z = scores(Poisson(), lambda y, w, eta, points: Poisson().pool_labels(y, w))
    assert z.abs().max() > 20, z


@pytest.mark.parametrize("pool", ["log-linear", "linear", "calibrated", "calibrated, at the input"])
def test_homoscedastic_variance_is_that_of_the_analysis(pool: str) -> None:
    """Y = 2 x + 1 + 0.7 eps with uniform weights, alpha = 1: two thirds of 0.49, 0.49 + mixing, 0.49, 0.49."""
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(ROWS, 2, generator=generator, dtype=torch.float64)
    y = 2 * x + 1 + 0.7 * torch.randn(ROWS, 2, generator=generator, dtype=torch.float64)
    share = torch.rand(ROWS, 1, generator=generator, dtype=torch.float64)
    weights = torch.cat([share, 1 - share], -1)
    points = torch.stack([(2 * x + 1) / 0.49, torch.full_like(x, -0.5 / 0.49)], -1)
    eta = log_linear_pool(points, weights)
    if pool.startswith("calibrated"):
        label = Gaussian().calibrated_label(y, weights, eta, eta_points=points if pool == "calibrated" else None)
    else:
        label = Gaussian().pool_labels(y, weights, pool=pool)
    # the variance of least loss is the mean square around the fused mean
    centre = Gaussian().distribution(eta).mean
    second = label.value**2 + (0 if label.excess is None else label.excess[:, 1])
    first = label.value + (0 if label.excess is None else label.excess[:, 0])
    variance = (second - 2 * centre * first + centre**2).mean().item()
    jump = (weights.prod(-1) * 4 * (x[:, 0] - x[:, 1]) ** 2).mean().item()
    want = {"log-linear": 0.49 * 2 / 3, "linear": 0.49 + jump}.get(pool, 0.49)
    assert variance == pytest.approx(want, rel=0.02)


# -- without the predictions of the points -----------------------------------------------------------------------------


@pytest.mark.parametrize("count", [2, 5])
@pytest.mark.parametrize(
    "family", [Gaussian(), Poisson(), Gamma(), Exponential(), Bernoulli(), InverseGaussian()], ids=repr
)
def test_averaging_excess_is_what_averaging_takes_away(family: ExponentialFamily, count: int) -> None:
    """Exact for equal weights, where the mean of i.i.d. Gamma variables is Gamma."""
    eta = torch.tensor(NATURAL_SLOPES[family][0], dtype=torch.float64)
    y = draws(family, eta.expand(ROWS, count, -1))
    averaged = family.sufficient_statistics(y.mean(-1))
    lost = family.sufficient_statistics(y).mean(1) - averaged
    excess = family.averaging_excess(eta, torch.tensor(1 / count, dtype=torch.float64))
    error = lost.mean(0) - excess
    assert bool((error.abs() <= 4.5 * lost.std(0) / ROWS**0.5 + 1e-12).all()), (lost.mean(0), excess)


@over_families
def test_calibrated_label_without_points_is_stationary_for_equal_predictions(family: ExponentialFamily) -> None:
    eta = ordinary_params(family, 1).expand(ROWS, -1)
    y = draws(family, eta.unsqueeze(1).expand(-1, 2, -1))
    half = torch.full((ROWS, 2), 0.5, dtype=torch.float64)
    leaf = eta.clone().requires_grad_()
    loss = family.expected_nll(leaf, family.calibrated_label(y, half, leaf))
    (gradient,) = torch.autograd.grad(loss.sum(), leaf)
    z = gradient.mean(0) / (gradient.std(0) / ROWS**0.5)
    assert z.abs().max() < 4.5, z


@over_families
def test_a_vertex_of_the_simplex_gives_the_gradient_of_the_point(family: ExponentialFamily) -> None:
    points = ordinary_params(family, 4, 2)
    y = draws(family, points)
    vertex = torch.tensor([0.0, 1.0], dtype=torch.float64).expand(4, 2)
    eta = points[:, 1].clone().requires_grad_()
    for eta_points in (points, None):
        calibrated = family.expected_nll(eta, family.calibrated_label(y, vertex, eta, eta_points=eta_points))
        plain = -family.log_prob(eta, y[:, 1])
        gradients = [torch.autograd.grad(loss.sum(), eta)[0] for loss in (calibrated, plain)]
        torch.testing.assert_close(*gradients)


def test_kernels_widen_the_calibrated_label() -> None:
    points = ordinary_params(Gaussian(), 4, 2)
    y, half = draws(Gaussian(), points), torch.full((4, 2), 0.5, dtype=torch.float64)
    for eta_points in (points, None):
        narrow, wide = (
            Gaussian().calibrated_label(y, half, points[:, 0], spread, eta_points).excess for spread in (0.0, 0.3)
        )
        torch.testing.assert_close(wide - narrow, torch.tensor([0.0, 0.3], dtype=torch.float64).expand(4, 2))


def test_a_noisy_point_does_not_push_a_precise_one_about() -> None:
    """Gaussian and Gamma residuals are carried over in units of their scale: one size at every noisy partner."""
    gaussian = Gaussian().natural_params(torch.distributions.Normal(torch.zeros(2), torch.tensor([1e-3, 1e3]))).double()
    residual = Gaussian().transported_residuals(torch.tensor([2e-3, 2e3]).double(), gaussian, gaussian[0])
    torch.testing.assert_close(residual[0], residual[1], rtol=1e-5, atol=0)
    gamma = torch.tensor([[3.0, -4.0], [3.0, -4e-3]], dtype=torch.float64)
    residual = Gamma().transported_residuals(torch.tensor([0.5, 500.0]).double(), gamma, gamma[0])
    torch.testing.assert_close(residual[0], residual[1])
