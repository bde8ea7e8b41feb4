"""Exponential, log-normal, Bernoulli, beta and inverse Gaussian: in the estimators, their targets and labels."""

import math

import numpy as np
import pytest
import torch
from families_table import draws, ordinary_params

import probmix
from probmix import DensityRegressor, families
from probmix.distributions import Beta, LogNormal
from probmix.families import ExponentialFamily
from probmix.mixup import preset
from probmix.scores import crps

NAMES = ["exponential", "lognormal", "bernoulli", "beta", "inverse-gaussian"]
over_names = pytest.mark.parametrize("name", NAMES)
LEVELS = np.array([1e-6, 0.01, 0.3, 0.5, 0.9, 0.999999])


def wide(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64).squeeze()


# -- estimators --------------------------------------------------------------------------------------------------------


def simulate(family: ExponentialFamily, targets: tuple[int, ...] = ()) -> tuple[np.ndarray, np.ndarray]:
    x = np.random.default_rng(0).uniform(-1, 1, (200, 1))
    raw = torch.zeros(200, *targets, family.num_raw, dtype=torch.float64)
    raw[..., 0] = torch.from_numpy(x).reshape(-1, *(1 for _ in targets))
    return x, draws(family, family.constrain(raw)).numpy()


@over_names
@pytest.mark.parametrize(
    "params",
    [
        {},
        {"n_members": 2, "mixup": preset("probmix", label_pool="calibrated")},
        {"pool": "log-linear", "n_members": 2, "mixup": preset("mixup", label_pool="calibrated")},
    ],
    ids=["default", "calibrated ensemble", "calibrated at the input"],
)
@pytest.mark.parametrize("targets", [(), (2,)], ids=["one target", "two targets"])
def test_regressors_fit_predict_and_persist(tmp_path, name, params, targets):
    x, y = simulate(families.get(name), targets)
    model = DensityRegressor(name, hidden_layer_sizes=(8,), max_epochs=4, random_state=0, **params, preset="plain").fit(
        x, y
    )
    mean, interval = model.predict(x), model.predict_interval(x, 0.9)
    assert mean.shape == y.shape
    assert interval.shape == (*y.shape, 2)
    assert np.isfinite(mean).all()
    assert (interval[..., 0] <= interval[..., 1]).all()
    families.get(name).check_targets(torch.from_numpy(model.sample(x, 2, random_state=0)))
    assert math.isfinite(model.score(x, y))
    assert crps(model.predict_dist(x), torch.from_numpy(y)).isfinite().all()
    model.save(tmp_path / "model")
    np.testing.assert_array_equal(probmix.load(tmp_path / "model").predict(x), mean)


@over_names
def test_regressors_learn(name):
    family = families.get(name)
    x, y = simulate(family)
    model = DensityRegressor(name, "erm", hidden_layer_sizes=(), max_epochs=60, random_state=0, preset="plain").fit(
        x, y
    )
    marginal = family.distribution(family.marginal_params(torch.from_numpy(y)))
    assert model.score(x, y) > marginal.log_prob(torch.from_numpy(y)).mean().item() + 0.02


@pytest.mark.parametrize("name", ["exponential", "lognormal", "inverse-gaussian"])
def test_units_do_not_matter(name):
    x, y = simulate(families.get(name))
    fits = [
        DensityRegressor(name, max_epochs=3, random_state=0, preset="plain").fit(x, unit * y).predict(x)
        for unit in (1.0, 1e6)
    ]
    np.testing.assert_allclose(fits[1], 1e6 * fits[0], rtol=1e-9)


# -- targets and their units -------------------------------------------------------------------------------------------


def test_scalers():
    y = torch.tensor([1.0, 2.0, 4.0, 8.0])
    assert families.get("exponential").scaler(y).scale.item() == 3.75
    assert families.get("inverse-gaussian").scaler(y).scale.item() == 3.75
    assert families.get("lognormal").scaler(y).scale.item() == pytest.approx(2**1.5)
    assert families.get("bernoulli").scaler(y).scale.item() == families.get("beta").scaler(y).scale.item() == 1
    assert families.get("exponential").scaler(torch.zeros(3)).scale.item() == 1


@pytest.mark.parametrize("name", ["gaussian", "gaussian-mixture", "multivariate-gaussian", "student-t"])
@pytest.mark.parametrize("values", [[3.0] * 4, [0.0] * 4, [1.0, 2.0, 4.0, 8.0]])
def test_units_of_targets_do_not_know_rows_of_weight_zero(name, values):
    y, weights = torch.tensor([*values, 1e9]), torch.tensor([1.0] * 4 + [0.0])
    found, expected = families.get(name).scaler(y, weights), families.get(name).scaler(y[:4])
    assert found.loc.item() == pytest.approx(expected.loc.item())
    assert found.scale.item() == pytest.approx(expected.scale.item())
    assert found.scale.item() > 0


@pytest.mark.parametrize(
    ("name", "y", "message"),
    [
        ("exponential", [0.0, -1.0], "Exponential targets must be non-negative; got -1 at row 1. "),
        ("lognormal", [1.0, 0.0], "Log-normal targets must be positive; got 0 at row 1. "),
        ("inverse-gaussian", [1.0, 0.0], "Inverse Gaussian targets must be positive; got 0 at row 1. "),
        ("beta", [0.5, 1.0], "Beta targets must lie between 0 and 1, both excluded; got 1 at row 1. "),
        ("bernoulli", [1.0, 0.0, 0.5], "Bernoulli targets must be 0 or 1; got 0.5 at row 2. "),
    ],
)
def test_targets_outside_the_support(name, y, message):
    with pytest.raises(ValueError, match="must") as error:
        families.get(name).check_targets(torch.tensor(y))
    assert str(error.value).startswith(message)


@pytest.mark.parametrize("y", [0.0, 1e-9, 0.2, 1.0])
@over_names
def test_constant_targets_have_a_start(name, y):
    family = families.get(name)
    y = y + 1 if name in ("lognormal", "inverse-gaussian") else y
    assert family.unconstrain(family.marginal_params(torch.full((20,), y))).isfinite().all()


def test_the_mean_of_a_lognormal_is_finite_at_every_output():
    family = families.get("lognormal")
    raw = torch.tensor([[3e38, 3e38], [-3e38, 3e38], [3e38, -3e38], [0.0, 0.0]])
    mean = family.distribution(family.constrain(raw)).mean
    assert mean.isfinite().all()
    assert mean[0].log().item() == pytest.approx(30 + 50, rel=1e-3)
    assert mean[2].log().item() == pytest.approx(30, rel=1e-4)


# -- labels ------------------------------------------------------------------------------------------------------------

WEIGHTS = torch.tensor([[0.8, 0.15, 0.05], [0.2, 0.5, 0.3]], dtype=torch.float64)


def statistics(family: ExponentialFamily, label: families.Label) -> torch.Tensor:
    values = family.sufficient_statistics(label.value)
    return values if label.excess is None else values + label.excess


@pytest.mark.parametrize("spread", [0.0, 0.3])
@pytest.mark.parametrize("pool", ["log-linear", "linear", "average"])
def test_exponential_labels_are_means(pool, spread):
    y = torch.tensor([[0.0, 3.0, 1.0], [2.0, 0.5, 0.0]], dtype=torch.float64)
    label = families.get("exponential").pool_labels(y, WEIGHTS, spread, pool)
    torch.testing.assert_close(statistics(families.get("exponential"), label)[:, 0], (WEIGHTS * y).sum(-1))


@pytest.mark.parametrize("pool", ["log-linear", "linear", "average"])
@pytest.mark.parametrize("spread", [0.0, 1e-300, 0.2])
def test_bernoulli_labels_are_those_of_two_classes(pool, spread):
    y = torch.tensor([[0.0, 1.0, 1.0], [1.0, 0.0, 1.0]], dtype=torch.float64)
    half = torch.tensor([[0.5, 0.25, 0.25], [0.25, 0.5, 0.25]], dtype=torch.float64)
    for weights in (WEIGHTS, half):
        two = families.Categorical(2).pool_labels(y, weights, spread, pool)
        label = families.get("bernoulli").pool_labels(y, weights, spread, pool)
        torch.testing.assert_close(statistics(families.get("bernoulli"), label)[:, 0], two.value[:, 1])
        eta = torch.tensor([[0.0, 0.7], [0.0, -2.0]], dtype=torch.float64)
        torch.testing.assert_close(
            families.get("bernoulli").expected_nll(eta[:, 1:], label), families.Categorical(2).expected_nll(eta, two)
        )


@pytest.mark.parametrize("at_points", [False, True])
def test_bernoulli_calibrated_labels_are_those_of_two_classes(at_points):
    family, two = families.get("bernoulli"), families.Categorical(2)
    points = ordinary_params(family, 2, 3)
    y, eta = draws(family, points), points.mean(1)

    def classes(eta: torch.Tensor) -> torch.Tensor:
        return torch.cat([torch.zeros_like(eta), eta], -1)

    label = family.calibrated_label(y, WEIGHTS, eta, 0.1, points if at_points else None)
    want = two.calibrated_label(y, WEIGHTS, classes(eta), 0.1, classes(points) if at_points else None)
    torch.testing.assert_close(statistics(family, label)[:, 0], want.value[:, 1])


@pytest.mark.parametrize("name", ["lognormal", "inverse-gaussian"])
@pytest.mark.parametrize("pool", ["log-linear", "linear", "average"])
def test_losses_are_expectations_over_log_normal_kernels(name, pool):
    family, spread = families.get(name), 0.3
    eta = ordinary_params(family, 2)
    y = torch.tensor([[13.0, 0.2, 4.0], [0.3, 0.1, 2.0]], dtype=torch.float64)
    nodes, mass = (torch.from_numpy(a) for a in np.polynomial.hermite_e.hermegauss(40))

    def expected(centre: torch.Tensor) -> torch.Tensor:
        points = centre.unsqueeze(-1) * (math.sqrt(spread) * nodes).exp()
        parameters = eta.reshape(2, *(1,) * (points.ndim - 1), 2).expand(*points.shape, 2)
        return -(mass / mass.sum() * family.log_prob(parameters, points)).sum(-1)

    want = {
        "log-linear": lambda: expected((WEIGHTS * y.log()).sum(-1).exp()),
        "linear": lambda: (WEIGHTS * expected(y)).sum(-1),
        "average": lambda: expected((WEIGHTS * y).sum(-1)),
    }[pool]()
    torch.testing.assert_close(family.expected_nll(eta, family.pool_labels(y, WEIGHTS, spread, pool)), want)


@pytest.mark.parametrize("count", [2, 5])
def test_what_averaging_logarithms_takes_away(count):
    family = families.get("lognormal")
    eta = ordinary_params(family, 1)[0]
    y = draws(family, eta.expand(100_000, count, -1))
    lost = family.sufficient_statistics(y).mean(1) - family.sufficient_statistics(y.log().mean(-1).exp())
    error = lost.mean(0) - family.averaging_excess(eta, wide(1 / count))
    assert (error.abs() <= 4.5 * lost.std(0) / 100_000**0.5 + 1e-12).all()


@pytest.mark.parametrize("pool", ["log-linear", "linear", "average"])
def test_beta_losses_are_expectations_over_beta_kernels(pool):
    family, spread = families.get("beta"), 0.05
    eta = ordinary_params(family, 2)
    y = torch.tensor([[0.9, 0.2, 0.4], [0.3, 0.1, 0.7]], dtype=torch.float64)
    nodes, mass = (torch.from_numpy(a) for a in np.polynomial.legendre.leggauss(400))

    def expected(centre: torch.Tensor) -> torch.Tensor:
        # integrated in the logit
        points = (30 * nodes).sigmoid()
        kernel = Beta((centre / spread).unsqueeze(-1), ((1 - centre) / spread).unsqueeze(-1)).log_prob(points)
        parameters = eta.reshape(2, *(1,) * centre.ndim, 2).expand(*centre.shape, 400, 2)
        losses = -family.log_prob(parameters, points.expand(*centre.shape, 400))
        return (30 * mass * points * (1 - points) * kernel.exp() * losses).sum(-1)

    mean = (WEIGHTS * y).sum(-1)
    want = (WEIGHTS * expected(y)).sum(-1) if pool == "linear" else expected(mean)
    torch.testing.assert_close(family.expected_nll(eta, family.pool_labels(y, WEIGHTS, spread, pool)), want)


def test_beta_averaging_excess_is_off_by_little():
    family = families.get("beta")
    for a, b, bound in [(1.0, 1.0, 0.005), (0.5, 0.5, 0.03), (2.0, 5.0, 0.002), (40.0, 10.0, 0.0005)]:
        eta = wide(a, b)
        y = draws(family, eta.expand(200_000, 2, -1))
        lost = family.sufficient_statistics(y).mean(1) - family.sufficient_statistics(y.mean(-1))
        error = lost.mean(0) - family.averaging_excess(eta, wide(0.5))
        assert (error.abs() <= bound + 4.5 * lost.std(0) / 200_000**0.5).all(), (a, b, error)
    torch.testing.assert_close(family.averaging_excess(eta, wide(1.0)), torch.zeros_like(eta))


def test_a_noisy_point_does_not_push_a_precise_one_about():
    exponential, lognormal = families.get("exponential"), families.get("lognormal")
    eta = torch.tensor([[-1.0], [-1e-3]], dtype=torch.float64)
    residual = exponential.transported_residuals(wide(2.0, 2e3), eta, eta[0])
    torch.testing.assert_close(residual[0], residual[1])
    eta = lognormal.natural_params(LogNormal(wide(0.0, 0.0), wide(0.01, 2.0)))
    residual = lognormal.transported_residuals(wide(0.02, 4.0).exp(), eta, eta[0])
    torch.testing.assert_close(residual[0], residual[1])
