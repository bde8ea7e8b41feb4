"""The multivariate Gaussian family: its contracts, against SciPy and autograd, and in the estimators."""

import math
import pickle

import numpy as np
import pytest
import scipy.stats as st
import torch
from families_table import weights_like

import probmix
from probmix import DensityRegressor, NaturalHead, families, log_linear_pool
from probmix.distributions import cdf, icdf
from probmix.families import Gaussian, MultivariateGaussian
from probmix.mixup import Mixup, mixup_loss, preset
from probmix.scores import coverage, crps, nll, pit

SIZES = (1, 2, 4)
over_sizes = pytest.mark.parametrize("d", SIZES)
FAST = {"hidden_layer_sizes": (8,), "max_epochs": 5, "random_state": 0}


def ordinary(d: int, *shape: int, seed: int = 0) -> torch.Tensor:
    family, draw = MultivariateGaussian(d), torch.Generator().manual_seed(seed)
    return family.constrain(torch.randn(*shape, family.num_raw, generator=draw, dtype=torch.float64))


def targets(d: int, *shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(*shape, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def scipy_of(family: MultivariateGaussian, eta: torch.Tensor):
    ours = family.distribution(eta)
    return st.multivariate_normal(ours.mean.numpy(), ours.covariance_matrix.numpy())


# -- mathematics -------------------------------------------------------------------------------------------------------


@over_sizes
def test_natural_params_from_their_definition(d):
    """Eta = (Lambda mu, lower triangle of -Lambda with halves on the diagonal), and back."""
    family, draw = MultivariateGaussian(d), np.random.default_rng(0)
    root = draw.normal(size=(d, d))
    covariance, mean = root @ root.T + 0.1 * np.eye(d), draw.normal(size=d)
    precision = np.linalg.inv(covariance)
    want = [*precision @ mean, *(-precision[i, j] / (1 + (i == j)) for i in range(d) for j in range(i + 1))]
    distribution = torch.distributions.MultivariateNormal(torch.tensor(mean), torch.tensor(covariance))
    eta = family.natural_params(distribution)
    np.testing.assert_allclose(eta.numpy(), want, rtol=1e-8)
    back = family.distribution(eta)
    np.testing.assert_allclose(back.mean.numpy(), mean, rtol=1e-8)
    np.testing.assert_allclose(back.covariance_matrix.numpy(), covariance, rtol=1e-8)


@over_sizes
def test_log_prob_is_that_of_scipy_and_of_the_exponential_form(d):
    family, eta, y = MultivariateGaussian(d), ordinary(d, 5), targets(d, 5)
    want = [scipy_of(family, eta[row]).logpdf(y[row].numpy()) for row in range(5)]
    np.testing.assert_allclose(family.log_prob(eta, y).numpy(), want, rtol=1e-10)
    form = (eta * family.sufficient_statistics(y)).sum(-1) - family.log_normalizer(eta) + family.log_base_measure(y)
    np.testing.assert_allclose(form.numpy(), want, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(nll(family.distribution(eta), y).numpy(), [-one for one in want], rtol=1e-9)
    single = family.log_prob(eta.float(), y.float())
    assert single.dtype == torch.float32
    np.testing.assert_allclose(single.numpy(), want, rtol=2e-4, atol=2e-4)


@over_sizes
def test_mean_params_and_residuals_are_gradients(d):
    family, eta, y = MultivariateGaussian(d), ordinary(d, 5).requires_grad_(), targets(d, 5)
    (gradient,) = torch.autograd.grad(family.log_normalizer(eta).sum(), eta)
    torch.testing.assert_close(family.mean_params(eta), gradient, rtol=1e-8, atol=1e-9)
    (gradient,) = torch.autograd.grad(family.log_prob(eta, y).sum(), eta)
    torch.testing.assert_close(family.residual(eta, y), gradient, rtol=1e-8, atol=1e-9)
    (gradient,) = torch.autograd.grad(family.expected_nll(eta, family.point_label(y)).sum(), eta)
    torch.testing.assert_close(-family.residual(eta, y), gradient, rtol=1e-12, atol=1e-12)


def _choice(*shape: int) -> torch.Tensor:
    return torch.randint(5, shape, generator=torch.Generator().manual_seed(0))


@over_sizes
def test_links(d):
    family, eta = MultivariateGaussian(d), ordinary(d, 20)
    torch.testing.assert_close(family.constrain(family.unconstrain(eta)), eta, rtol=1e-8, atol=1e-8)
    raw = torch.tensor([0.0, 1e4, -1e4, 3e38, -3e38])[_choice(256, family.num_raw)].requires_grad_()
    eta = family.constrain(raw)
    loss = family.expected_nll(eta, family.point_label(torch.zeros(256, d)))
    (gradient,) = torch.autograd.grad(loss.sum(), raw)
    assert eta.isfinite().all()
    assert loss.isfinite().all()
    assert gradient.isfinite().all()
    family.distribution(eta.detach().double())
    assert pickle.loads(pickle.dumps(family)) == family


@over_sizes
@pytest.mark.parametrize("points", [2, 5])
def test_pooling_is_the_normalised_product_of_powers(d, points):
    family, eta, weights = MultivariateGaussian(d), ordinary(d, 6, points), weights_like((6, points), 0)
    pooled, y = log_linear_pool(eta, weights), targets(d, 40, 6)
    product = (weights * family.log_prob(eta, y.unsqueeze(-2).expand(40, 6, points, d))).sum(-1)
    difference = family.log_prob(pooled, y) - product
    # constant in y
    torch.testing.assert_close(difference, difference[:1].expand_as(difference), rtol=1e-9, atol=1e-8)


def test_pools_of_the_most_extreme_predictions_are_densities_in_float32():
    family = MultivariateGaussian(5)
    draw = torch.Generator().manual_seed(0)
    raw = 1e4 * torch.randn(200, 2, family.num_raw, generator=draw)
    pooled = log_linear_pool(family.constrain(raw), weights_like((200, 2), 0).float())
    assert family.log_prob(pooled, torch.zeros(200, 5)).isfinite().all()


def test_one_target_is_gaussian():
    family, gaussian, y = MultivariateGaussian(1), Gaussian(), targets(1, 30)
    eta, weights = ordinary(1, 30, 2), weights_like((30, 2), 0)
    pairs = targets(1, 30, 2, seed=3).movedim(-1, -2)
    torch.testing.assert_close(family.log_prob(eta[:, 0], y), gaussian.log_prob(eta[:, 0], y[:, 0]))
    fused = log_linear_pool(eta, weights)
    for pool in ("log-linear", "linear", "average"):
        ours = family.pool_labels(pairs, weights.unsqueeze(-2), 0.2, pool)
        theirs = gaussian.pool_labels(pairs[:, 0], weights, 0.2, pool)
        torch.testing.assert_close(family.expected_nll(fused, ours), gaussian.expected_nll(fused, theirs))
    for points in (eta, None):
        ours = family.calibrated_label(pairs, weights.unsqueeze(-2), fused, 0.2, points)
        theirs = gaussian.calibrated_label(pairs[:, 0], weights, fused, 0.2, points)
        torch.testing.assert_close(family.expected_nll(fused, ours), gaussian.expected_nll(fused, theirs))


# -- labels ------------------------------------------------------------------------------------------------------------


@over_sizes
def test_labels_of_a_linear_pool_have_the_mean_loss(d):
    family, eta, weights = MultivariateGaussian(d), ordinary(d, 6), weights_like((6, 3), 0)
    y = targets(d, 6, 3)
    label = family.pool_labels(y.mT, weights.unsqueeze(-2), pool="linear")
    want = -(weights * family.log_prob(eta.unsqueeze(1).expand(-1, 3, -1), y)).sum(-1)
    torch.testing.assert_close(family.expected_nll(eta, label), want, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("pool", ["log-linear", "linear", "average"])
def test_a_label_kernel_is_noise_on_the_label(pool):
    """Against the mean loss over Gauss-Hermite nodes around every label."""
    family, eta, spread = MultivariateGaussian(2), ordinary(2, 4), 0.3
    y, weights = targets(2, 4, 2), weights_like((4, 2), 0)
    nodes, rule = np.polynomial.hermite_e.hermegauss(6)
    grid = torch.tensor(np.stack(np.meshgrid(nodes, nodes), -1).reshape(-1, 2)) * math.sqrt(spread)
    mass = torch.tensor(np.outer(rule, rule).reshape(-1) / rule.sum() ** 2)
    centres = y if pool == "linear" else (weights.unsqueeze(-1) * y).sum(1, keepdim=True)
    share = weights if pool == "linear" else torch.ones(4, 1).double()
    losses = -family.log_prob(eta[:, None, None].expand(4, centres.shape[1], 36, -1), centres.unsqueeze(2) + grid)
    want = (share * (losses * mass).sum(-1)).sum(-1)
    got = family.expected_nll(eta, family.pool_labels(y.mT, weights.unsqueeze(-2), spread, pool))
    torch.testing.assert_close(got, want, rtol=1e-8, atol=1e-8)


@over_sizes
def test_residuals_that_are_carried_over_keep_their_mean_and_are_right_at_the_point_itself(d):
    family, fused = MultivariateGaussian(d), ordinary(d, 1, seed=5)
    point = ordinary(d, 1, seed=6)
    draw = torch.Generator().manual_seed(0)
    noise = torch.randn(20_000, d, generator=draw, dtype=torch.float64)
    noise = torch.cat([noise, -noise])
    mine = family.distribution(point[0])
    y = (mine.mean + noise @ mine.scale_tril.T).T.unsqueeze(0)
    many = point.unsqueeze(1).expand(1, y.shape[-1], -1)
    carried = family.transported_residuals(y, many, fused)[0]
    assert (carried.mean(0).abs() < 6 * carried.std(0) / math.sqrt(len(noise)) + 1e-9).all()
    own = family.transported_residuals(y[..., :5], fused.unsqueeze(1).expand(1, 5, -1), fused)[0]
    want = family.sufficient_statistics(y[0, :, :5].T) - family.mean_params(fused)
    torch.testing.assert_close(own, want, rtol=1e-7, atol=1e-8)


def test_averages_get_their_covariance_back():
    """The statistics of averages of draws, plus the excess, are those of the draws."""
    family, eta, weights = MultivariateGaussian(2), ordinary(2, 1), torch.tensor([0.3, 0.7]).double()
    excess = family.averaging_excess(eta, weights.square().sum().unsqueeze(0))[0]
    mean = family.distribution(eta[0]).mean
    covariance = family.distribution(eta[0]).covariance_matrix
    averaged = weights.square().sum() * covariance + mean.unsqueeze(-1) * mean
    rows, columns = torch.tril_indices(2, 2)
    got = torch.cat([mean, averaged[rows, columns]]) + excess
    torch.testing.assert_close(got, family.mean_params(eta)[0], rtol=1e-8, atol=1e-9)


# -- scores ------------------------------------------------------------------------------------------------------------


def test_scores_of_marginals():
    family, y = MultivariateGaussian(3), targets(3, 6)
    joint = family.distribution(ordinary(3, 6))
    marginal = torch.distributions.Normal(joint.mean, joint.variance.sqrt())
    torch.testing.assert_close(cdf(joint, y), marginal.cdf(y))
    torch.testing.assert_close(icdf(joint, torch.tensor(0.3).double()), marginal.icdf(torch.tensor(0.3).double()))
    torch.testing.assert_close(crps(joint, y), crps(torch.distributions.Independent(marginal, 1), y))
    assert pit(joint, y).shape == coverage(joint, y, 0.9).shape == (6, 3)


# -- estimators --------------------------------------------------------------------------------------------------------


def correlated(n: int = 300) -> tuple[np.ndarray, np.ndarray]:
    """Two targets whose correlation changes its sign with x, far from their training units."""
    rng = np.random.default_rng(0)
    x, noise = rng.uniform(-1, 1, (n, 1)), rng.normal(size=(n, 2))
    rho = 0.9 * np.tanh(4 * x[:, 0])
    second = rho * noise[:, 0] + np.sqrt(1 - rho**2) * noise[:, 1]
    return x, np.stack([1000 + 200 * (x[:, 0] + 0.5 * noise[:, 0]), 0.01 * (x[:, 0] ** 2 + 0.5 * second)], 1)


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"mixup": "mixup", "n_members": 2},
        {"mixup": "m-probmix", "n_draws": 3},
        {"mixup": preset("probmix", label_pool="calibrated"), "n_members": 2, "pool": "log-linear"},
        {"mixup": preset("mixup", label_pool="calibrated")},
        {"mixup": Mixup(pool="linear", label_pool="linear")},
        {"mixup": preset("probmix", label_spread=0.1)},
    ],
    ids=["default", "ensemble", "m-probmix", "calibrated", "calibrated at the input", "linear", "spread"],
)
def test_regressors(tmp_path, params):
    x, y = correlated()
    model = DensityRegressor("multivariate-gaussian", **FAST, **params, preset="plain").fit(x, y)
    assert model.predict(x).shape == y.shape
    assert model.predict_interval(x, 0.9).shape == (300, 2, 2)
    assert model.sample(x, 3, random_state=0).shape == (3, 300, 2)
    assert model.log_prob(x, y).shape == (300,)
    assert crps(model.predict_dist(x), torch.from_numpy(y)).isfinite().all()
    model.save(tmp_path / "model")
    np.testing.assert_array_equal(probmix.load(tmp_path / "model").predict(x), model.predict(x))


def test_what_targets_have_in_common_is_learned():
    x, y = correlated(1500)
    settings = {"mixup": "erm", "hidden_layer_sizes": (16,), "max_epochs": 40, "random_state": 0}
    joint = DensityRegressor("multivariate-gaussian", **settings, preset="plain").fit(x[:1000], y[:1000])
    apart = DensityRegressor("gaussian", **settings, preset="plain").fit(x[:1000], y[:1000])
    assert joint.score(x[1000:], y[1000:]) > apart.score(x[1000:], y[1000:]) + 0.15
    covariance = joint.predict_dist([[-0.9], [0.9]]).covariance_matrix
    correlation = covariance[:, 0, 1] / covariance.diagonal(dim1=-2, dim2=-1).prod(-1).sqrt()
    assert correlation[0].item() < -0.6
    assert correlation[1].item() > 0.6


def test_units_and_starting_point():
    x, y = correlated()
    slow = DensityRegressor(
        "multivariate-gaussian", hidden_layer_sizes=(), learning_rate=1e-9, max_epochs=1, preset="plain"
    )
    model = slow.set_params(random_state=0, mixup="erm").fit(x, y)
    np.testing.assert_allclose(model.predict(x).mean(0), y.mean(0), rtol=0.2)
    units = np.array([1e3, 1e-6])
    fits = [
        DensityRegressor("multivariate-gaussian", **FAST, preset="plain").fit(x, y * unit)
        for unit in (np.ones(2), units)
    ]
    np.testing.assert_allclose(fits[0].predict(x), fits[1].predict(x) / units, rtol=1e-5)
    change = fits[0].log_prob(x, y) - fits[1].log_prob(x, y * units)
    np.testing.assert_allclose(change, np.log(units).sum(), atol=1e-3)


def test_training_loops_of_ones_own():
    x, y = targets(3, 20).float(), targets(2, 20).float()
    family = families.get("multivariate-gaussian", num_targets=2)
    network = NaturalHead(family, 3)
    for mixup in ("erm", "probmix", "mixup", preset("probmix", label_pool="calibrated")):
        assert mixup_loss(network, family, x, y, mixup).isfinite()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: MultivariateGaussian(0), "`num_targets` must be a positive integer, the columns of y; got 0"),
        (
            lambda: DensityRegressor("multivariate-gaussian", **FAST, preset="plain").fit(
                np.ones((9, 1)), np.arange(9)
            ),
            "targets of MultivariateGaussian(1) must be (n, 1), a vector for each row; got shape (9,)",
        ),
        (
            lambda: DensityRegressor(MultivariateGaussian(3), **FAST, preset="plain").fit(
                np.ones((9, 1)), np.ones((9, 2))
            ),
            "targets of MultivariateGaussian(3) must be (n, 3), a vector for each row; got shape (9, 2)",
        ),
        (
            lambda: DensityRegressor("multivariate-gaussian", loss="crps", **FAST, preset="plain").fit(*correlated(20)),
            "the CRPS looks at one target at a time",
        ),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=r"must|CRPS") as error:
        call()
    assert str(error.value).startswith(message)


@pytest.mark.cuda
def test_cuda_agrees():
    x, y = correlated(200)
    settings = {**FAST, "hidden_layer_sizes": (), "mixup": "erm"}
    fits = [
        DensityRegressor("multivariate-gaussian", device=device, **settings, preset="plain").fit(x, y)
        for device in ("cpu", "cuda")
    ]
    np.testing.assert_allclose(fits[1].predict(x), fits[0].predict(x), rtol=1e-3)
    eta, targets_ = ordinary(3, 6), targets(3, 6)
    family = MultivariateGaussian(3)
    there = family.log_prob(eta.cuda(), targets_.cuda())
    torch.testing.assert_close(there.cpu(), family.log_prob(eta, targets_), rtol=1e-10, atol=1e-10)
