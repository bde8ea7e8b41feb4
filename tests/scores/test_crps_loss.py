"""Training by the CRPS: its label side, its mixtures, and what the estimators make of it."""

import math

import numpy as np
import pytest
import torch
from families_table import draws
from training_cases import MEMBERS, OPTIONS, make_data, run

import probmix
from probmix import DensityRegressor, NaturalHead, families, linear_pool
from probmix.mixup import Mixup, mixup_loss, preset
from probmix.scores import crps, neg_crps_scorer

FAST = {"hidden_layer_sizes": (8,), "max_epochs": 4, "random_state": 0, "loss": "crps"}
FAMILIES = [name for name in families.names() if name not in ("categorical", "multivariate-gaussian")]
ROWS = 10


def batch(name: str) -> tuple[NaturalHead, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Network, x, y, partners and mixing weights, the latter those of a generator with seed 1."""
    draw = torch.Generator().manual_seed(0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network, family = NaturalHead(name, 2), families.get(name)
        y = draws(family, family.constrain(torch.zeros(ROWS, family.num_raw, dtype=torch.float64)))
    x, partners = torch.randn(ROWS, 2, generator=draw), torch.randperm(ROWS, generator=draw)
    w = preset("probmix").weights.sample((ROWS,), lambda s: torch.rand(s, generator=torch.Generator().manual_seed(1)))
    return network, x, y, partners, w.double()


def loss_of(mixup: str | Mixup, name: str) -> torch.Tensor:
    network, x, y, partners, _ = batch(name)
    generator = torch.Generator().manual_seed(1)
    return mixup_loss(network, name, x, y, mixup, partners=partners, loss="crps", generator=generator).double()


def pooled(name: str) -> tuple[torch.distributions.Distribution, torch.Tensor, torch.Tensor]:
    """The pooled prediction of each pair, its two labels, and its weights."""
    network, x, y, partners, w = batch(name)
    family, eta = families.get(name), network(x)
    pair = torch.stack([eta, eta[partners]], 1)
    if family.pools_log_linearly:
        distribution = family.distribution(family.pool_params(pair, w.float()))
    else:
        distribution = linear_pool(family.distribution(pair), w.float())
    return distribution, torch.stack([y, y[partners]], -1), w


@pytest.mark.parametrize("name", FAMILIES)
def test_labels_of_a_linear_pool_have_the_mean_score(name):
    distribution, pairs, w = pooled(name)
    want = sum(w[:, k] * crps(distribution, pairs[:, k]).double() for k in range(2))
    torch.testing.assert_close(loss_of(Mixup(label_pool="linear"), name), want.mean(), rtol=1e-5, atol=1e-7)
    if families.get(name).is_discrete:
        torch.testing.assert_close(loss_of("probmix", name), want.mean(), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", ["gaussian", "gamma", "lognormal", "beta", "exponential", "inverse-gaussian"])
def test_labels_of_a_log_linear_pool_are_the_centre_of_their_kernels(name):
    distribution, pairs, w = pooled(name)
    centre = families.get(name).kernel_centre(pairs, w)
    torch.testing.assert_close(loss_of("probmix", name), crps(distribution, centre).double().mean(), rtol=1e-5, atol=0)


@pytest.mark.parametrize("name", ["poisson", "negative-binomial", "bernoulli", "hurdle-poisson"])
def test_the_score_of_a_mean_of_counts(name):
    """E|Y - y| is linear between whole numbers: against the integral over x of (F(x) - 1[x >= y])^2."""
    network, x, y, partners, w = batch(name)
    family = families.get(name)
    mean = (w * torch.stack([y, y[partners]], -1)).sum(-1)
    mean[0], mean[1] = mean[0].round(), mean[1].floor() + 0.999
    from probmix.mixup.objectives import objective

    goal = objective("crps", family)
    label = goal.pool_labels(mean.unsqueeze(-1), torch.ones(ROWS, 1), Mixup(label_pool="average"))
    got = goal.losses(network(x).double(), label)
    distribution = family.distribution(network(x).double().detach())
    k = torch.arange(400, dtype=torch.float64).unsqueeze(-1)
    below = distribution.cdf(k.expand(-1, ROWS))
    # of the unit interval from k on, the part left of y has (F - 0)^2, the rest (F - 1)^2
    left = (mean - k).clamp(0, 1)
    want = (left * below.square() + (1 - left) * (1 - below).square()).sum(0)
    torch.testing.assert_close(got.detach(), want, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("name", ["gaussian", "poisson", "gamma", "negative-binomial"])
def test_mixtures_of_a_linear_pool(name):
    network, x, y, partners, w = batch(name)
    eta = network(x)
    mixture = linear_pool(families.get(name).distribution(torch.stack([eta, eta[partners]], 1)), w.float())
    labels = torch.stack([y, y[partners]], -1)
    want = sum(w[:, k] * crps(mixture, labels[:, k]).double() for k in range(2))
    got = loss_of(Mixup(pool="linear", label_pool="linear"), name)
    torch.testing.assert_close(got, want.mean(), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", FAMILIES)
def test_gradients_are_those_of_finite_differences(name):
    network, x, y, partners, _ = batch(name)
    network, family = network.double(), families.get(name)
    bias = network.linear.bias

    def loss(bias: torch.Tensor) -> torch.Tensor:
        def module(x: torch.Tensor) -> torch.Tensor:
            return family.constrain(x.double() @ network.linear.weight.T + bias)

        generator = torch.Generator().manual_seed(1)
        return mixup_loss(module, name, x, y, "probmix", partners=partners, loss="crps", generator=generator)

    (gradient,) = torch.autograd.grad(loss(bias), bias)
    step = 1e-5
    for k, e in enumerate(torch.eye(len(bias), dtype=torch.float64)):
        want = (loss(bias.detach() + step * e) - loss(bias.detach() - step * e)) / (2 * step)
        assert gradient[k].item() == pytest.approx(want.item(), rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("mixup", ["erm", "probmix", "mixup", "m-probmix", "local-probmix"])
def test_members_train_as_if_alone(mixup):
    data = make_data("poisson")
    network, _, result = run(data, mixup, "poisson", loss="crps")
    for m in range(MEMBERS):
        members = slice(m, m + 1)
        alone, _, single = run(make_data("poisson", members), mixup, "poisson", OPTIONS, members, "crps")
        np.testing.assert_allclose(
            single.validation_curve[:, 0], result.validation_curve[: len(single.validation_curve), m], rtol=1e-4
        )
        x = data.rows.x[:5]
        torch.testing.assert_close(alone(x)[0], network(x)[m], rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("name", [*FAMILIES])
def test_estimators(tmp_path, name):
    family = families.get(name)
    x = np.random.default_rng(0).uniform(-1, 1, (120, 1))
    raw = torch.zeros(120, family.num_raw, dtype=torch.float64)
    raw[:, -1] = torch.from_numpy(x[:, 0])
    y = draws(family, family.constrain(raw)).numpy()
    model = DensityRegressor(name, **FAST, preset="plain").fit(x, y)
    assert np.isfinite(model.predict(x)).all()
    assert math.isfinite(model.score(x, y))
    model.save(tmp_path / "model")
    assert probmix.load(tmp_path / "model").loss == "crps"


@pytest.mark.parametrize("params", [{}, {"n_members": 2}, {"mixup": "m-probmix", "n_draws": 4}])
def test_the_validation_curve_is_the_crps_in_the_users_units(params):
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (200, 1))
    y = 1000 * (np.sin(3 * x[:, 0]) + 0.1 * rng.normal(size=200)) + 5000
    settings = {"hidden_layer_sizes": (16,), "max_epochs": 30, "random_state": 0, "loss": "crps"}
    model = DensityRegressor(**settings, **params, preset="plain")
    model.fit(x[:150], y[:150], X_val=x[150:], y_val=y[150:])
    best = np.nanmin(model.validation_curve_, axis=0).mean()
    assert best == pytest.approx(-neg_crps_scorer(model, x[150:], y[150:]), rel=0.2)
    assert 20 < best < 400


def test_what_is_made_small_is_what_gets_small():
    """Heavy tails: the CRPS forgives outliers, the likelihood does not."""
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (600, 1))
    y = 2 * x[:, 0] + 0.1 * rng.standard_t(1.3, size=600)
    settings = {"hidden_layer_sizes": (16,), "max_epochs": 60, "mixup": "erm", "random_state": 0}
    scores = {
        loss: -neg_crps_scorer(
            DensityRegressor(loss=loss, **settings, preset="plain").fit(x[:400], y[:400]), x[400:], y[400:]
        )
        for loss in ("nll", "crps")
    }
    assert scores["crps"] < 0.95 * scores["nll"]


def test_several_targets():
    x = np.random.default_rng(0).uniform(-1, 1, (60, 1))
    y = np.stack([x[:, 0], 10 - 100 * x[:, 0]], 1)
    for mixup in ("probmix", Mixup(pool="linear", label_pool="linear")):
        assert DensityRegressor(mixup=mixup, **FAST, preset="plain").fit(x, y).predict(x).shape == (60, 2)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"loss": "mse"}, "unknown loss 'mse'; known are 'crps', 'nll'"),
        ({"mixup": preset("probmix", label_pool="calibrated")}, "loss='crps' knows labels that are points"),
        ({"mixup": preset("probmix", label_spread=0.1)}, "loss='crps' knows labels that are points"),
        ({"mixup": preset("m-probmix", criterion="log-expected")}, "loss='crps' knows labels that are points"),
    ],
)
def test_errors(params, message):
    x = np.linspace(0, 1, 30)[:, None]
    with pytest.raises(ValueError, match="loss") as error:
        DensityRegressor(**{**FAST, **params}, preset="plain").fit(x, x[:, 0])
    assert str(error.value).startswith(message)


@pytest.mark.cuda
def test_cuda_agrees():
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (100, 1))
    y, exposure = rng.poisson(np.exp(1 + x[:, 0])), rng.uniform(0.5, 1, 100)
    for name in ("poisson", "negative-binomial"):
        settings = {**FAST, "hidden_layer_sizes": ()}
        fits = [DensityRegressor(name, device=device, **settings, preset="plain") for device in ("cpu", "cuda")]
        for fit in fits:
            fit.fit(x, y, exposure=exposure)
        np.testing.assert_allclose(fits[1].predict(x), fits[0].predict(x), rtol=1e-2)
